"""The report of a table: one page that needs nothing outside itself, in order, with words for every drawing."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regen.evaluation import table_report
from tests.unit.evaluation.made_up_table import CONFIG, curves, exhibits, measured
from tests.unit.evaluation.test_report import POLICY, Page


def write(out: Path, found: dict, drop: tuple[str, ...] = ()) -> str:
    kept = {name: table for name, table in curves().items() if name not in drop}
    table_report.write(out, CONFIG, found, exhibits(), kept)
    return (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("champions", [False, True])
def test_the_page_needs_nothing_outside_itself_and_every_link_leads_to_a_place_on_it(
    tmp_path: Path, champions: bool
) -> None:
    text = write(tmp_path, measured(champions=champions))
    page = Page(text)
    places = [attributes["id"] for _, attributes in page.attributes if "id" in attributes]

    assert {reference[1:] for reference in page.references} == set(places)
    assert not {"script", "link", "iframe", "object", "embed", "base", "img"} & set(page.tags)
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in page.all("meta")
    assert "<travel>" not in text


def test_headings_come_in_order_and_tables_and_drawings_have_words(tmp_path: Path) -> None:
    page = Page(write(tmp_path, measured(champions=True)))
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h\d", tag)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.tags.count("caption") == page.tags.count("table") == 9
    assert all(attributes.get("scope") for attributes in page.all("th"))
    assert all((one.get("role") == "img" and one["aria-label"]) or one.get("aria-hidden") for one in page.all("svg"))


def test_it_says_what_was_measured(tmp_path: Path) -> None:
    text = Page(write(tmp_path, measured(champions=True))).text

    for said in (
        "45 of the test rows are anomalies by the column fraud, known 7 days after the row came",
        "With 20 alerts a day a perfect ranking reaches 0.900",
        "Trees that learnt from as many real rows reach 0.970",
        "Real training rows reach 0.980 [0.930, 1.030]",
        "not enough samples: 1000 normal test rows are needed, got 850",
        "amount 1,234 (expected −34.5; 12.3 nats)",
        "Beside champion version 3: better in",
        "modes are missing",
    ):
        assert said in text


def test_without_labels_and_times_their_sections_are_left_out(tmp_path: Path) -> None:
    found = measured() | {
        "label": None,
        "alerts": None,
        "weeks": [],
        "explained": [],
        "baselines": {},
        "begins": {},
        "pairs": [],
    }
    page = Page(write(tmp_path, found, drop=("roc", "precision_recall")))

    assert {"detection", "alerts", "weeks", "explained", "pairs"}.isdisjoint(
        attributes.get("id") for _, attributes in page.attributes
    )


def test_rows_whose_label_is_not_known_are_told(tmp_path: Path) -> None:
    found = measured() | {"unknown_labels": 400}
    found["explained"][0]["is_anomaly"] = None

    text = Page(write(tmp_path, found)).text

    assert "45 of the 500 test rows whose label is known are anomalies by the column fraud" in text
    assert "The other 400 have no known label and are left out of all that is told of detection." in text
    assert "a guess reaches their share, 9 %" in text
    assert "9.10not known" in text


def test_a_champion_that_could_not_be_measured_is_told(tmp_path: Path) -> None:
    found = measured()
    found["models"]["vae"]["champion"] = {"version": 2, "error": "its files are damaged"}

    assert "version 2, could not be measured: its files are damaged" in Page(write(tmp_path, found)).text


def test_synthetic_values_that_no_real_row_has_are_drawn_as_such(tmp_path: Path) -> None:
    shown = exhibits()
    made = shown.synthetic.numbers.copy()
    at = shown.synthetic.names.index("count")
    made[:, at] = 999
    real = shown.real.control.numbers.copy()
    real[:, at] = np.arange(len(real)) % 2
    control = replace(shown.real.control, numbers=real)
    shown = replace(shown, synthetic=replace(shown.synthetic, numbers=made), real=replace(shown.real, control=control))

    table_report.write(tmp_path, CONFIG, measured(), shown, curves())

    assert "not among real rows" in (tmp_path / "report.html").read_text(encoding="utf-8")
