"""The page about a tuned model: its rows in order, shares in percent, before above after, and nothing that asks for the web."""

import re

import numpy as np
import pytest

from regen.core.config import parse
from regen.evaluation import alignment_report
from regen.evaluation.alignment_report import BeforeAfter

CONFIG = parse({"project": "digits"})


def estimate(value):
    return {"value": value, "low": value - 0.02, "high": value + 0.02}


def arm(name, win, distance, hits=0):
    return {
        "name": name, "label": f"the {name}", "win_rate": estimate(win), "frechet_distance": distance, "reward": 0.5,
        "bias": {"shares": [0.6, 0.4], "shift": 0.1, "entropy": 0.97, "p_value": 0.2},
        "safety": {"unacceptable": hits, "n": 4096, "upper": 0.00073},
    }  # fmt: skip


def proof():
    figure = {"frechet_distance": estimate(9.0), "recall": estimate(0.8)}
    return {
        "model": "digits-gan", "kind": "gan", "base": "digits-gan/1", "against": 1, "campaigns": ["digits-gan-1-1"],
        "votes": 1000, "people": 4, "digest": "d" * 64, "classes": ["<b>zero</b>", "one"], "declared": [0.5, 0.5],
        "arms": {name: arm(name, *of) for name, of in {
            "best_of_4": (0.78, 46.0), "base": (0.5, 5.0, 9), "tuned": (0.9, 8.0), "best_of_16": (0.84, 160.0)}.items()},
        "judged_by": {"extractor": "digits-extractor", "version": 1, "sha256": "e" * 64, "rows": "r" * 64, "n": 443},
        "figures": {"estimates": figure, "champion": None, "base": {
            "estimates": figure, "difference": {"frechet_distance": estimate(3.0), "recall": estimate(0.0)}}},
        "tuning": {"stopped": "", "looks": [
            {"images": 0, "frechet_distance": 5.0, "win_rate": 0.5}, {"images": 3200, "frechet_distance": 8.0, "win_rate": 0.9}]},
        "rows": {"train": 900, "test": 443}, "learned": {},
    }  # fmt: skip


VERDICT = {
    "decision": "PROMOTE", "reasons": ["preferred to the base"], "version": 2, "win_rate": estimate(0.9),
    "by": "as the judge expects it", "checks": [
        {"kind": "primary", "metric": "win_rate", "wanted": "a lower bound above 0.55", "met": "0.9", "passed": True}],
}  # fmt: skip


@pytest.fixture(scope="module")
def shown():
    rng = np.random.default_rng(0)
    before, after = (rng.integers(0, 255, (16, 8, 8, 1), dtype=np.uint8) for _ in range(2))
    return BeforeAfter(before, after, [0.0] * 16, [1.0] * 16)


@pytest.fixture(scope="module")
def page(tmp_path_factory, shown):
    out = tmp_path_factory.mktemp("page")
    alignment_report.write(out, CONFIG, proof(), VERDICT, shown)
    return out


def test_arms_stand_in_the_order_of_the_table_with_their_multiple_of_the_bases_distance():
    rows = alignment_report.arm_rows(proof())

    assert [row[0] for row in rows] == ["the base", "the tuned", "the best_of_4", "the best_of_16"]
    assert rows[1][1:3] == ("0.900 [0.880, 0.920]", "8.0 (1.60 ×)")
    assert rows[0][4] == "9 of 4,096, under 0.07 %"


def test_shares_are_told_before_and_after_beside_what_was_declared():
    rows = alignment_report.share_rows(proof())

    assert [(row.declared, row.before, row.after) for row in rows] == [
        ("50.0 %", "60.0 %", "60.0 %"),
        ("50.0 %", "40.0 %", "40.0 %"),
    ]


def test_figures_stand_beside_the_bases_with_what_became_of_them():
    rows = {row.label: row for row in alignment_report.figure_rows(proof())}

    assert [row.outcome for row in rows.values()] == ["worse", "no clear difference"]


def test_each_picture_before_stands_above_the_same_after(shown):
    tile = shown.tiles[0]

    np.testing.assert_array_equal(tile[:8, :, 0], shown.before[0, :, :, 0])
    np.testing.assert_array_equal(tile[-8:, :, 0], shown.after[0, :, :, 0])


def test_the_page_holds_all_of_it_and_asks_for_nothing(page):
    text = (page / "report.html").read_text()

    assert "digits-gan, version 2" in text
    assert "1,000 votes of 4 people" in text
    assert text.count("data:image/png;base64,") == 1
    assert "&lt;b&gt;zero&lt;/b&gt;" in text
    assert "<b>zero" not in text
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", text)
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert (page / "before_after.png").stat().st_size > 1000


def test_a_tuning_without_a_judge_has_one_curve():
    found = proof()
    for look in found["tuning"]["looks"]:
        del look["win_rate"]

    assert list(alignment_report.curve(found)) == ["Fréchet distance"]
