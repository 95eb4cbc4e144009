"""Charts of tables: every share and every pair is drawn, and told to those who cannot see it."""

import re
from xml.etree import ElementTree as ET

import numpy as np

from regen.evaluation.table_charts import MOST_BARS, bars, heat_map, shares


def drawing(chart: str) -> ET.Element:
    return ET.fromstring(chart[: chart.index("</svg>") + len("</svg>")])


def test_each_value_has_a_bar_in_each_group_the_most_frequent_first() -> None:
    chart = bars({"real": {"fuel": 0.25, "travel": 0.75}, "synthetic": {"fuel": 0.5, "travel": 0.5}}, "trade", "trade")
    titles = [title.text for title in drawing(chart).iter("title")]

    assert titles == ["travel, real: 75.0%", "fuel, real: 25.0%", "travel, synthetic: 50.0%", "fuel, synthetic: 50.0%"]
    assert "for real, synthetic" in drawing(chart).attrib["aria-label"]
    assert '<ul class="legend">' in chart


def test_rare_values_are_drawn_together() -> None:
    one = {str(i): 1 / 20 for i in range(20)}

    chart = bars({"real": one, "synthetic": one}, "x", "x")

    assert f"{20 - MOST_BARS} others, real: 60.0%" in chart


def test_names_cannot_break_the_page() -> None:
    chart = bars({"<b>": {"<i>&": 1.0}}, "<u>", "<s>") + heat_map(["<b>", "&"], {("<b>", "&"): 0.5}, "<i>")

    assert not re.search(r"<(b|i|u|s)>", chart)


def test_a_map_has_a_cell_for_each_pair_and_the_worst_is_the_strongest() -> None:
    chart = heat_map(["a", "b", "c"], {("a", "b"): 0.9, ("a", "c"): 0.5, ("b", "c"): 1.0}, "Likeness")
    cells = {cell.find("title").text: float(cell.attrib["fill-opacity"]) for cell in drawing(chart).iter("rect")}  # type: ignore[union-attr]

    assert cells["a and c: 0.500"] == 1.0
    assert cells["a and b: 0.900"] == 0.2
    assert cells["b and c: 1.000"] == 0.04
    assert "the least alike is a and c, 0.500" in drawing(chart).attrib["aria-label"]


def test_codes_that_are_not_known_have_no_share() -> None:
    assert shares(np.array([0, -1, 1, 5]), ["a", "b"]) == {"a": 0.25, "b": 0.25}
