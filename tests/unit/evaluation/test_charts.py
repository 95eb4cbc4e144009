"""Charts: SVG that says what it shows, stays within its frame, and lets no markup in."""

import re
from itertools import pairwise
from math import inf, nan
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from regen.evaluation.charts import BESIDE, HEIGHT, WIDTH, bars, histogram, lines, short, ticks

numbers = st.floats(-1e6, 1e6)


def drawing(chart: str) -> ET.Element:
    """The chart proper, before its legend."""
    return ET.fromstring(chart[: chart.index("</svg>") + 6])


def paths(chart: str) -> list[str]:
    return [path.attrib["d"] for path in drawing(chart).iter("path")]


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]


def test_a_line_chart_names_its_axes_and_series_for_eyes_and_for_ears() -> None:
    chart = lines({"VAE": ([0, 1], [0, 1]), "kNN": ([0, 1], [1, 0])}, "ROC", "recall", "precision", unit_square=True)

    assert drawing(chart).attrib["aria-label"] == "ROC: precision by recall, for VAE, kNN"
    assert drawing(chart).attrib["role"] == "img"
    assert all(f">{word}<" in chart for word in ("VAE", "kNN", "recall", "precision"))


def test_a_line_goes_from_corner_to_corner() -> None:
    (path,) = paths(lines({"a": ([0, 5, 10], [0, 1, 2])}, "t", "x", "y"))

    (left, bottom), *_, (right, top) = points(path)
    assert left < WIDTH / 4 < 3 * WIDTH / 4 < right
    assert top < HEIGHT / 4 < 3 * HEIGHT / 4 < bottom


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
def test_no_point_leaves_the_frame(given_: list[tuple[float, float]]) -> None:
    x, y = zip(*given_, strict=True)

    for path in paths(lines({"a": (x, y)}, "t", "x", "y")):
        assert all(0 <= left <= WIDTH and 0 <= top <= HEIGHT for left, top in points(path))


def test_what_is_not_finite_leaves_a_gap() -> None:
    (path,) = paths(lines({"a": ([0, 1, 2, 3, 4, 5], [1, 2, nan, 1, inf, 3])}, "t", "x", "y"))

    assert path.count("M") == 3
    assert "nan" not in path


def test_a_chart_of_nothing_finite_is_an_empty_frame() -> None:
    assert paths(lines({"a": ([0, 1], [nan, nan])}, "t", "x", "y")) == [""]


def test_a_staircase_keeps_its_corners_and_loses_what_lies_between() -> None:
    (path,) = paths(lines({"a": ([0, 0.2, 0.4, 1, 1, 1], [0, 0, 0, 0, 0.5, 1])}, "t", "x", "y", unit_square=True))

    assert len(points(path)) == 3


def test_a_line_that_turns_back_keeps_its_turning_point() -> None:
    (path,) = paths(lines({"a": ([0, 1, 1, 1], [0, 0.2, 1, 0.1])}, "t", "x", "y", unit_square=True))

    assert min(top for _, top in points(path)) < HEIGHT / 4


def test_a_long_curve_stays_small() -> None:
    steps = np.linspace(0, 1, 20_000)

    assert len(lines({"a": (steps, np.sqrt(steps))}, "t", "x", "y", unit_square=True)) < 12_000


def test_more_lines_than_styles_are_drawn() -> None:
    chart = lines({f"line {i}": ([1, 2], [i, 1]) for i in range(7)}, "t", "x", "y")

    assert all(f">line {i}<" in chart for i in range(7))


def test_a_histogram_names_its_groups_and_its_mark() -> None:
    rng = np.random.default_rng(0)
    chart = histogram(
        {"normal": rng.normal(size=90), "eights": rng.normal(size=9)}, "Scores", "score", 1.5, "threshold"
    )

    assert "share of the group by score, for normal, eights" in drawing(chart).attrib["aria-label"]
    assert ">threshold<" in chart


@pytest.mark.parametrize("mark", [None, inf])
def test_a_histogram_may_be_without_a_mark(mark: float | None) -> None:
    assert "threshold" not in histogram({"normal": np.arange(9.0)}, "t", "score", mark, "threshold")


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_a_histogram_of_equal_values_is_drawn(value: float) -> None:
    chart = histogram({"normal": np.full(9, value), "other": np.full(3, value)}, "t", "score")

    assert len(paths(chart)) == 2


def test_equal_charts_are_equal_text() -> None:
    one, same = (lines({"a": ([0, 1], [0, 1])}, "t", "x", "y") for _ in range(2))

    assert one == same


def test_a_name_cannot_put_markup_into_a_chart() -> None:
    name = '<script>alert(1)</script>"'
    one, other = (
        lines({name: ([0, 1], [0, 1])}, name, name, name),
        histogram({name: np.arange(9.0)}, name, name, 1, name),
    )

    assert "<script" not in one + other
    assert drawing(one).tag == drawing(other).tag == "svg"


@given(numbers, st.floats(1e-6, 1e6))
def test_ticks_are_round_evenly_spaced_and_within_the_range(low: float, width: float) -> None:
    assume(low + width > low)
    found = ticks(low, low + width)

    assert 2 <= len(found) <= 11
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in found)
    steps = [after - before for before, after in pairwise(found)]
    assert max(steps) - min(steps) < 1e-6 * max(width, 1)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.25, "0.25"), (-3.0, "−3"), (9000.0, "9000"), (48000.0, "48k"), (2.5e6, "2.5M")]
)
def test_a_tick_is_short(value: float, text: str) -> None:
    assert short(value) == text


def test_bars_stand_in_the_order_of_their_labels_as_long_as_their_shares():
    drawn = bars({"before": [0.25, 0.75], "now": [0.5, 0.5]}, ["a", "a label that is too long"], "Kinds")

    ends = [float(end) for end in re.findall(r'class="area s\d" d="M146 [\d.]+H([\d.]+)V', drawn)]
    spans = [end - BESIDE for end in ends]
    assert spans[0] * 2 == pytest.approx(spans[1], abs=1)
    assert spans[2] == max(spans)
    assert ">a label that is …<" in drawn
    assert 'aria-label="Kinds: shares of before, now in 2 parts"' in drawn


def test_bars_escape_what_they_are_told():
    assert "<b>" not in bars({"<b>": [1.0]}, ["<b>"], "<b>")
