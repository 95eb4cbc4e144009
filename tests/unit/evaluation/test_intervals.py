"""Intervals: they follow their seed, pair two models, keep strata apart, and hold the truth about as often as they say."""

import math
from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.errors import EvaluationError
from regen.evaluation.intervals import Difference, Estimate, Replicated, Spread, bootstrap, proportion

FINITE = st.floats(-1e6, 1e6)


def mean_of(values: np.ndarray):
    return lambda rows: values[rows].mean()


def test_the_same_seed_gives_the_same_resamples() -> None:
    values = np.random.default_rng(0).normal(size=50)

    one, same, other = (bootstrap(mean_of(values), [np.arange(50)], 40, seed) for seed in (0, 0, 1))

    np.testing.assert_array_equal(one.replicates, same.replicates)
    assert not np.array_equal(one.replicates, other.replicates)
    assert one.point == other.point == values.mean()
    assert one.replicates.shape == (40,)


def test_each_stratum_is_resampled_within_itself() -> None:
    strata, seen = [np.array([0, 1, 2]), np.array([7, 8])], []

    bootstrap(lambda rows: seen.append(rows.tolist()) or 0.0, strata, 30, seed=0)

    assert all(set(rows[:3]) <= {0, 1, 2} for rows in seen)
    assert all(set(rows[3:]) <= {7, 8} for rows in seen)
    assert seen[-1] == [0, 1, 2, 7, 8]
    assert len({tuple(rows) for rows in seen}) > 10


def test_strata_apart_are_given_one_by_one() -> None:
    found = bootstrap(
        lambda one, other: len(one) + 10 * len(other), [np.arange(3), np.arange(4)], 5, seed=0, together=False
    )

    assert found.point == 43
    assert set(found.replicates) == {43.0}


@pytest.mark.parametrize("sizes", [(1,), (0,), (5, 1)])
def test_a_group_of_fewer_than_two_rows_is_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(EvaluationError, match=r"needs at least 2 rows of each group, got \[.*\]; add test rows"):
        bootstrap(lambda rows: 0.0, [np.arange(n) for n in sizes], 5, seed=0)


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    values = np.random.default_rng(0).normal(size=400)

    found = bootstrap(mean_of(values), [np.arange(400)], 2000, seed=0).estimate(0.95)

    error = values.std() / 20
    assert found.value == values.mean()
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(0), 0
    for seed in range(200):
        values = rng.normal(size=60)
        found = bootstrap(mean_of(values), [np.arange(60)], 200, seed).estimate(0.8)
        held += found.low <= 0 <= found.high

    assert 0.68 <= held / 200 <= 0.9


@given(st.lists(FINITE, min_size=2, max_size=50), FINITE, st.booleans(), st.floats(0.51, 0.99))
def test_more_confidence_gives_a_wider_interval(
    replicates: list, point: float, corrects: bool, confidence: float
) -> None:
    figure = Replicated(point, np.array(replicates), corrects)

    narrow, wide = figure.estimate(confidence), figure.estimate((1 + confidence) / 2)

    assert wide.low <= narrow.low <= narrow.high <= wide.high


def test_a_corrected_interval_holds_the_resamples_about_the_corrected_value() -> None:
    figure = Replicated(9.0, np.array([14.0, 15.0, 16.0, 17.0, 18.0]), corrects_bias=True)

    found = figure.estimate(0.5)

    narrower = 3 / 4  # the root of 9 over the mean of 16
    assert (found.value, found.low, found.high) == (2, 2 - narrower, 2 + narrower)


@given(st.lists(FINITE, min_size=2, max_size=20), FINITE)
def test_a_correction_takes_the_shift_off_twice(replicates: list, point: float) -> None:
    figure = Replicated(point, np.array(replicates), corrects_bias=True)

    assert figure.centre == pytest.approx(2 * point - np.mean(replicates), abs=1e-3)
    assert figure.corrected.mean() == pytest.approx(figure.centre, abs=1e-3)
    assert figure.corrected.std() <= np.std(replicates) + 1e-9


def test_a_correction_does_not_lead_below_the_least_value() -> None:
    figure = Replicated(1.0, np.array([0.5, 2.5, 6.0]), corrects_bias=True, least=0.0)

    found = figure.estimate(0.9)

    assert (found.value, found.low) == (0, 0)
    assert found.high > 0


@given(st.lists(FINITE, min_size=1, max_size=20), FINITE, st.booleans())
def test_the_paired_difference_of_a_model_with_itself_is_exactly_zero(
    replicates: list, point: float, corrects: bool
) -> None:
    figure = Replicated(point, np.array(replicates), corrects, least=0.5)

    assert figure.minus(figure).estimate(0.95) == Estimate(0, 0, 0)


def test_a_difference_may_lie_below_the_least_value_of_either_side() -> None:
    worse, better = (Replicated(p, np.array([p + 0.1, p + 0.3]), True, least=0.0) for p in (5.0, 2.0))

    assert better.minus(worse).estimate(0.95).value == pytest.approx(-3)


def test_what_two_models_share_cancels_in_their_difference() -> None:
    values = np.random.default_rng(0).normal(size=60)
    one, other = (bootstrap(mean_of(v), [np.arange(60)], 100, seed=0) for v in (values + 0.5, values))

    found = one.minus(other).estimate(0.95)

    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


@given(st.lists(FINITE, min_size=2, max_size=20), FINITE, st.integers(2, 400))
def test_the_interval_of_the_reverse_difference_is_its_mirror_image(replicates: list, point: float, rows: int) -> None:
    one = Difference(point, np.array(replicates), rows).estimate(0.95)
    other = Difference(-point, -np.array(replicates), rows).estimate(0.95)

    assert (other.value, other.low, other.high) == pytest.approx((-one.value, -one.high, -one.low))


def test_a_difference_from_few_rows_is_wider() -> None:
    replicates = np.array([-1.0, 1.0] * 50)

    few, some, many = (Difference(0.0, replicates, rows).estimate(0.95).high for rows in (5, 50, None))

    assert few == pytest.approx(2.7764 * math.sqrt(5 / 4), rel=1e-4)
    assert few > some > many == pytest.approx(1.95996, rel=1e-4)


def test_a_difference_knows_the_smaller_group_of_its_two_sides() -> None:
    one, other, unknown = (Replicated(1.0, np.ones(3), rows=rows) for rows in (30, 20, None))

    assert one.minus(other).rows == 20
    assert unknown.minus(one).rows == 30
    assert unknown.minus(unknown).rows is None


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_difference_that_is_no_number_has_no_interval(value: float) -> None:
    for one in (Difference(value, np.ones(3)), Difference(1.0, np.array([1.0, value]))):
        assert not one.estimate(0.95).is_finite


def test_an_interval_of_a_difference_of_two_distances_holds_it() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(100):  # squared lengths of two means of 60 rows in 8 dimensions
        rows = [rng.normal(shift, 1, (60, 8)) for shift in (0.1, 0.3)]
        seed = int(rng.integers(2**31))
        one, other = (
            bootstrap(lambda r, x=x: np.square(x[r].mean(axis=0)).sum(), [np.arange(60)], 100, seed, corrects_bias=True)
            for x in rows
        )
        found = other.minus(one).estimate(0.95)
        held += found.low <= 8 * (0.09 - 0.01) <= found.high

    assert held >= 89


@given(st.floats(0, 1), st.floats(0, 0.5), st.integers(1, 400), st.floats(0.51, 0.98))
def test_the_interval_of_a_figure_with_a_known_error_lies_between_0_and_1_and_about_it(
    point: float, error: float, degrees: int, confidence: float
) -> None:
    figure = Replicated(point, np.full(3, point), spread=Spread(error, 0.01, degrees))

    narrow, wide = figure.estimate(confidence), figure.estimate((1 + confidence) / 2)

    assert 0 <= narrow.low <= point <= narrow.high <= 1
    assert 0 <= wide.low <= narrow.low + 1e-12
    assert narrow.high - 1e-12 <= wide.high <= 1


def test_a_small_known_error_gives_an_interval_of_two_of_it_to_either_side() -> None:
    found = Replicated(0.5, np.full(3, 0.5), spread=Spread(0.001, 1e-6, 10**6)).estimate(0.95)

    assert (found.low, found.high) == pytest.approx((0.5 - 0.00196, 0.5 + 0.00196), abs=1e-6)


def test_a_perfect_figure_of_few_rows_may_be_less_than_perfect() -> None:
    few, many = (Replicated(1.0, np.ones(3), spread=Spread(0.0, 1 / n, n)).estimate(0.95) for n in (20, 2000))

    assert few.high == many.high == 1
    assert few.low < many.low < 1


@pytest.mark.parametrize(
    ("hits", "rows", "interval"), [(0, 10, (0, 0.2775)), (10, 10, (0.7225, 1)), (5, 10, (0.2366, 0.7634))]
)
def test_a_share_has_wilsons_interval(hits: int, rows: int, interval: tuple[float, float]) -> None:
    found = proportion(hits, rows, 0.95)

    assert found.value == hits / rows
    assert (found.low, found.high) == pytest.approx(interval, abs=1e-4)


@given(st.integers(1, 500), st.data(), st.floats(0.51, 0.999))
def test_the_interval_of_a_share_mirrors_that_of_the_rest(rows: int, data: st.DataObject, confidence: float) -> None:
    hits = data.draw(st.integers(0, rows))

    found, rest = proportion(hits, rows, confidence), proportion(rows - hits, rows, confidence)

    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (1 - rest.high, 1 - rest.low) == pytest.approx((found.low, found.high))


def test_a_share_of_no_rows_is_refused() -> None:
    with pytest.raises(EvaluationError, match="a share needs at least 1 row, got 0; add test rows"):
        proportion(0, 0, 0.95)


def test_differences_need_as_many_resamples_on_both_sides() -> None:
    with pytest.raises(EvaluationError, match=r"got 3 and 2; measure both with one evaluation\.bootstrap_draws"):
        Replicated(1.0, np.ones(3)).minus(Replicated(1.0, np.ones(2)))


@pytest.mark.parametrize("corrects", [False, True])
@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_figure_that_is_no_number_has_no_interval(value: float, corrects: bool) -> None:
    for figure in (Replicated(value, np.ones(3), corrects, 0.0), Replicated(1.0, np.array([1, value]), corrects, 0.0)):
        found = figure.estimate(0.95)

        assert all(map(isnan, (found.value, found.low, found.high)))
        assert not found.is_finite


@pytest.mark.parametrize("parts", [(nan, 0, 1), (0, -inf, 1), (0, 0, inf)])
def test_an_estimate_is_finite_only_as_a_whole(parts: tuple[float, float, float]) -> None:
    assert not Estimate(*parts).is_finite
    assert Estimate(0, -1, 1).is_finite


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(12.345, 10.0, 99.99), "12.3 [10.0, 100.0]"),
        (Estimate(0.9, 0.85, 1.0), "0.900 [0.850, 1.000]"),
        (Estimate(0.00123, 0.0, -0.005), "0.00123 [0.000, -0.00500]"),
        (Estimate(nan, nan, nan), "–"),
    ],
)
def test_an_estimate_reads_as_value_and_interval(estimate: Estimate, text: str) -> None:
    assert str(estimate) == text
