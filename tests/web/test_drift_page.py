"""The drift report in a real browser: for everybody, on a phone, in the dark, and without a network."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regen.core.sections.operations import MonitorConfig
from regen.evaluation import drift, drift_report
from regen.evaluation.appearance import appearance
from regen.evaluation.drift import Drift
from regen.evaluation.drift_report import Gallery
from tests.web.conftest import OpenPage, Scheme

RULES = MonitorConfig(min_rows=20, permutations=299)
PHONE = 360


def found_drift() -> tuple[Drift, Gallery]:
    """Dark images among bright ones, with all that a report may hold."""
    rng = np.random.default_rng(0)
    before, after = (rng.integers(low, low + 90, (120, 8, 8, 3)).astype(np.uint8) for low in (100, 10))
    tables = [appearance(side).assign(kind=words) for side, words in ((before, "a"), (after, ["<b>b</b>"] * 120))]
    columns = {name: drift.shift(name, tables[0][name], tables[1][name]) for name in tables[0]}
    features = drift.feature_distance(
        rng.normal(size=(120, 4)), rng.normal(2, 1, (120, 4)), "features of digits-extractor", 299, 0
    )
    scores = drift.score_shift(rng.normal(size=120), rng.normal(3, 1, 120), (np.zeros(120), np.ones(120)))
    gallery = Gallery(before[:24], after[:24], after[24:48])
    return drift.judge(1797, 120, columns, features, scores, RULES), gallery


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of drift."""
    return write(tmp_path_factory.mktemp("full"), *found_drift())


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of too few rows."""
    return write(tmp_path_factory.mktemp("empty"), drift.too_few(1797, 7, RULES), None)


def write(folder: Path, found: Drift, gallery: Gallery | None) -> str:
    watched = {
        "project": "digits", "champion": "digits-vae 3", "data_version": "9fc5175aa8ef623092c305ef9420c33a.dir",
        "looked_at": "0c7a3be1f59d2846a1b5d3e7c9f08264.dir", "run": "8799e564d87840c494b960f3f1b8cd93",
        "new": "rows taken in since", "drift": asdict(found), "action": "none", "why": "drift is told and not acted on",
        "unreadable": 3 if gallery else 0,
    }  # fmt: skip
    drift_report.write(folder, watched, found, gallery, RULES)
    return (folder / drift_report.PAGE).as_uri()


@pytest.mark.parametrize("which", ["full", "empty"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(which: str, scheme: Scheme, open_page: OpenPage, request: pytest.FixtureRequest) -> None:
    opened = open_page(request.getfixturevalue(which), scheme=scheme)
    opened.page.locator("summary").click()

    assert opened.barriers() == []


@pytest.mark.parametrize("which", ["full", "empty"])
def test_on_a_phone_the_page_does_not_scroll_sideways(
    which: str, open_page: OpenPage, request: pytest.FixtureRequest
) -> None:
    opened = open_page(request.getfixturevalue(which), width=PHONE, height=740)

    assert opened.overflow() == 0


def test_nothing_but_the_page_itself_is_asked_for_and_nothing_goes_wrong(full: str, open_page: OpenPage) -> None:
    opened = open_page(full)

    assert opened.asked == [full]
    assert opened.complaints == []


def test_the_verdict_and_each_shift_can_be_read(full: str, open_page: OpenPage) -> None:
    opened = open_page(full)

    assert opened.page.locator("h3").first.inner_text() == "The data has drifted"
    assert opened.page.locator("#columns ~ .scroll tbody tr").count() == 7
    assert opened.page.locator("section[aria-labelledby=columns] figure").count() == drift_report.CHARTS
    assert opened.page.locator("img").count() == 3


def test_a_categorys_name_is_shown_and_not_run(full: str, open_page: OpenPage) -> None:
    opened = open_page(full)

    assert opened.page.locator("b").count() == 0
    assert opened.page.get_by_text("<b>b</b>").count() > 0 or "others" in opened.page.content()


def test_too_few_rows_are_told_and_nothing_is_drawn(empty: str, open_page: OpenPage) -> None:
    opened = open_page(empty)

    assert opened.page.locator("h3").first.inner_text() == "Too few new rows to judge"
    assert opened.page.locator("figure").count() == 0


def test_a_table_of_figures_needs_no_images(tmp_path: Path, open_page: OpenPage) -> None:
    moved = drift.shift("amount", pd.Series(range(300)), pd.Series(range(200, 500)))
    found = drift.judge(300, 300, {"amount": moved}, None, None, RULES)

    opened = open_page(write(tmp_path, found, None))

    assert opened.page.locator("img").count() == 0
    assert opened.overflow() == 0
