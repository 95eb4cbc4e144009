"""Schedules: where they start, where they end, and that they never leave the way between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.training.schedules import cosine, ramp

VALUES = st.floats(-100, 100)
SPENT = st.floats(0, 1)


def test_a_cosine_takes_known_values() -> None:
    assert [cosine(3.0, 1.0, spent) for spent in (0, 1 / 3, 0.5, 2 / 3, 1)] == pytest.approx([3, 2.5, 2, 1.5, 1])


@given(VALUES, VALUES, SPENT, SPENT)
def test_a_cosine_goes_one_way_and_stays_between_its_ends(start: float, end: float, one: float, other: float) -> None:
    first, second = (cosine(start, end, spent) for spent in sorted((one, other)))

    assert min(start, end) - 1e-9 <= first <= max(start, end) + 1e-9
    assert (second - first) * (end - start) >= -1e-9


@pytest.mark.parametrize(("spent", "value"), [(-0.5, 3.0), (1.5, 1.0)])
def test_a_cosine_stays_at_its_ends_beyond_them(spent: float, value: float) -> None:
    assert cosine(3.0, 1.0, spent) == pytest.approx(value)


def test_a_ramp_takes_known_values() -> None:
    assert [ramp(2.0, 0.5, spent) for spent in (0, 0.125, 0.25, 0.5, 0.75, 1)] == [0, 0.5, 1, 2, 2, 2]


@pytest.mark.parametrize("spent", [0.0, 0.5, 1.0])
def test_a_ramp_over_nothing_is_at_its_end_at_once(spent: float) -> None:
    assert ramp(2.0, 0.0, spent) == 2.0


@given(st.floats(0, 100), SPENT, SPENT, SPENT)
def test_a_ramp_never_falls_and_never_exceeds_its_end(end: float, over: float, one: float, other: float) -> None:
    first, second = (ramp(end, over, spent) for spent in sorted((one, other)))

    assert 0 <= first <= second <= end
