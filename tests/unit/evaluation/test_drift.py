"""Drift: PSI and MMD by formula, by property and against brute force; verdicts that need size and certainty."""

from math import log

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from regen.core.errors import EvaluationError
from regen.core.sections.operations import MonitorConfig
from regen.evaluation import drift
from regen.evaluation.drift import (
    Bins,
    Distance,
    Shift,
    feature_distance,
    gaussian_kernel,
    judge,
    median_distance,
    score_shift,
    shift,
    squared_mmd,
    stability_index,
    stability_p_value,
    too_few,
)

RULES = MonitorConfig()
COUNTS = arrays(np.int64, 6, elements=st.integers(0, 500)).filter(lambda c: c.sum() > 0)


def normal(n, mean=0.0, seed=0, d=None):
    return np.random.default_rng(seed).normal(mean, 1, n if d is None else (n, d))


def brute_force(x, y, width):
    """The unbiased squared MMD term by term, as Gretton et al. write it."""

    def k(a, b):
        return np.exp(-np.square(a - b).sum() / (2 * width**2))

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_a_stability_index_is_the_sum_over_bins_of_the_difference_times_the_log_ratio():
    p, q = np.array([20.5, 80.5]) / 101, np.array([60.5, 40.5]) / 101

    found = stability_index(np.array([20, 80]), np.array([60, 40]))

    assert found == pytest.approx((p[0] - q[0]) * log(p[0] / q[0]) + (p[1] - q[1]) * log(p[1] / q[1]))


@given(COUNTS, COUNTS)
def test_a_stability_index_is_symmetric_finite_and_not_negative(before, after):
    found = stability_index(before, after)

    assert 0 <= found < float("inf")
    assert found == pytest.approx(stability_index(after, before))


@given(COUNTS, st.permutations(range(6)))
def test_a_stability_index_does_not_depend_on_the_order_of_the_bins(before, order):
    after = before[::-1]

    assert stability_index(before[order], after[order]) == pytest.approx(stability_index(before, after))


@given(COUNTS)
def test_equal_counts_have_the_index_0_and_a_p_value_of_1(counts):
    assert stability_index(counts, counts) == 0
    assert stability_p_value(0.0, counts, counts) == 1


@pytest.mark.parametrize("counts", [([0, 0], [1, 2]), ([1, 2], [0, 0]), ([1, 2], [1, 2, 3])])
def test_an_index_without_rows_or_with_other_bins_is_refused(counts):
    with pytest.raises(EvaluationError, match="needs rows on both sides in the same bins"):
        stability_index(*map(np.array, counts))


def test_the_p_value_of_an_index_holds_its_level_without_drift():
    rng = np.random.default_rng(0)
    p_values = [
        shift("x", pd.Series(rng.normal(size=900)), pd.Series(rng.normal(size=300))).p_value for _ in range(400)
    ]

    assert 0.01 < np.mean(np.array(p_values) < 0.05) < 0.09


def test_numbers_are_cut_at_the_references_quantiles():
    bins = Bins.fit(pd.Series(np.arange(1000.0)))

    assert len(bins.edges) == 9
    assert bins.count(pd.Series(np.arange(1000.0))).tolist() == [100] * 10 + [0]


def test_few_values_are_counted_each_and_new_ones_together():
    bins = Bins.fit(pd.Series([1.0, 2.0, 2.0, None]))

    assert bins.labels == ("1", "2", "others", "missing")
    assert bins.count(pd.Series([2.0, 7.0, 0.0, None])).tolist() == [0, 1, 2, 1]


def test_frequent_categories_are_counted_each_and_rare_ones_together():
    words = [f"w{i:02d}" for i in range(30) for _ in range(31 - i)]

    bins = Bins.fit(pd.Series(words))

    assert bins.labels[:2] == ("w00", "w01")
    assert len(bins.labels) == drift.CATEGORIES + 2
    assert bins.count(pd.Series(["w00", "w29", "never seen"])).tolist() == [1, *[0] * 19, 2, 0]


@pytest.mark.parametrize("column", [["a", "b"], [True, False], [1.5, 2.5], list(range(50)), [None, None]])
def test_every_value_lies_in_one_bin_of_any_column(column):
    bins = Bins.fit(pd.Series(column))

    assert bins.count(pd.Series(column)).sum() == len(column)
    assert len(bins.count(pd.Series(column))) == len(bins.labels)


@given(
    st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=40),
    st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=40),
)
def test_every_new_number_lies_in_one_bin(before, after):
    bins = Bins.fit(pd.Series(before, dtype=float))

    assert bins.count(pd.Series(after, dtype=float)).sum() == len(after)


def test_a_moved_column_has_shifted_and_an_unmoved_one_has_not():
    before = pd.Series(normal(2000))

    still, moved = (shift("x", before, pd.Series(normal(500, mean, seed=1))) for mean in (0, 1))

    assert not still.drifted(RULES, 1)
    assert moved.drifted(RULES, 1)
    assert sum(moved.reference) == pytest.approx(1) == pytest.approx(sum(moved.new))


def test_a_column_that_begins_to_be_missing_has_shifted():
    before = pd.Series(normal(1000))

    assert shift("x", before, before.where(before > 0)).drifted(RULES, 1)


def test_a_column_that_was_missing_throughout_has_shifted_once_it_has_values():
    assert shift("x", pd.Series([None] * 300, dtype=float), pd.Series(normal(300))).drifted(RULES, 1)


def test_a_large_index_from_few_rows_is_chance():
    few = Shift("x", 0.4, 0.3, (), (), ())

    assert few.psi > RULES.psi
    assert not few.drifted(RULES, 1)


def test_a_small_index_from_many_rows_is_no_drift():
    assert not Shift("x", 0.01, 1e-9, (), (), ()).drifted(RULES, 1)


def test_the_more_columns_there_are_the_surer_each_must_be():
    one = Shift("x", 0.4, 0.002, (), (), ())

    assert one.drifted(RULES, 1)
    assert not one.drifted(RULES, 10)


@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 1000))
def test_the_squared_mmd_is_that_of_brute_force(n, m, seed):
    x, y = normal(n, seed=seed, d=3), normal(m, 0.5, seed=seed + 1, d=3)
    labels = (np.arange(n + m) < n).astype(float)[None]

    found = squared_mmd(gaussian_kernel(np.concatenate([x, y]), 1.3), labels)

    assert found[0] == pytest.approx(brute_force(x, y, 1.3), abs=1e-10)


def test_the_order_of_the_rows_and_of_the_sides_does_not_matter_to_the_mmd():
    x, y = normal(20, d=2), normal(30, 1, seed=1, d=2)
    kernel = gaussian_kernel(np.concatenate([x, y]), 1.0)
    labels = (np.arange(50) < 20).astype(float)
    order = np.random.default_rng(0).permutation(50)

    values = [
        squared_mmd(kernel, labels[None])[0], squared_mmd(kernel, 1 - labels[None])[0],
        squared_mmd(kernel[np.ix_(order, order)], labels[order][None])[0],
    ]  # fmt: skip

    assert values == pytest.approx([values[0]] * 3)


def test_a_kernel_is_as_wide_as_the_median_distance():
    rows = np.array([[0.0], [3.0], [4.0]])

    assert median_distance(rows) == 3
    assert median_distance(np.zeros((4, 2))) == 1
    assert gaussian_kernel(rows, 3.0)[0, 1] == pytest.approx(np.exp(-0.5))


def test_moved_features_are_beyond_chance_and_unmoved_ones_are_not():
    before = normal(200, d=4)

    still, moved = (feature_distance(before, normal(150, mean, seed=1, d=4), "here", 999, 0) for mean in (0, 0.5))

    assert moved.drifted(RULES)
    assert not still.drifted(RULES)
    assert still.squared_mmd < moved.squared_mmd
    assert (moved.reference_rows, moved.new_rows) == (200, 150)


def test_the_permutation_test_holds_its_level_without_drift():
    rng = np.random.default_rng(0)
    p_values = [
        feature_distance(rng.normal(size=(30, 2)), rng.normal(size=(25, 2)), "here", 99, seed).p_value
        for seed in range(200)
    ]

    assert 0.02 < np.mean(np.array(p_values) <= 0.05) < 0.09


def test_a_p_value_is_never_0_and_the_same_seed_gives_the_same():
    found = [feature_distance(normal(40, d=2), normal(40, 5, d=2), "here", 99, 3) for _ in range(2)]

    assert found[0] == found[1]
    assert found[0].p_value == 0.01


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (np.zeros((1, 2)), "at least 2 rows of each side"),
        (np.zeros((5, 3)), "with the same features"),
        (np.full((5, 2), np.nan), "hold NaN or infinity"),
    ],
)
def test_features_that_cannot_be_compared_are_refused(new, words):
    with pytest.raises(EvaluationError, match=words):
        feature_distance(np.zeros((5, 2)), new, "here", 99, 0)


def test_scores_are_held_against_those_of_held_out_rows():
    before, now = normal(500), normal(400, 2, seed=1)

    found = score_shift(before, now, (before > 2, now > 2))

    assert found.statistic == pytest.approx(stats.ks_2samp(before, now).statistic)
    assert found.flagged_now > 10 * found.flagged_before
    assert found.drifted(RULES)
    assert not score_shift(before, normal(400, seed=2), (before > 2, before > 2)).drifted(RULES)


def test_drift_is_found_if_anything_has_drifted_and_the_reasons_say_what():
    still, moved = (Shift(name, psi, 0.0001, ("a",), (1.0,), (1.0,)) for name, psi in (("still", 0.01), ("moved", 0.9)))
    near, far = (Distance("the space", 0.1, p, 9, 9) for p in (0.5, 0.001))

    calm = judge(900, 300, {"still": still}, near, None, RULES)
    found = judge(900, 300, {"still": still, "moved": moved}, far, None, RULES)

    assert (calm.outcome, calm.reasons) == ("no drift", ("no test is beyond its threshold",))
    assert found.outcome == "drift"
    assert found.reasons == (
        "moved has shifted: PSI 0.90, from 0.25 on a shift",
        "the space: squared MMD 0.1, p = 0.001",
    )
    assert [one.name for one in found.columns] == ["moved", "still"]
    assert found.figures == {"psi/moved": 0.9, "psi/still": 0.01, "squared_mmd": 0.1, "mmd_p_value": 0.001}


def test_too_few_new_rows_are_not_judged():
    found = too_few(900, 7, RULES)

    assert found.outcome == "too few rows"
    assert found.reasons == ("7 new rows, and fewer than 200 (monitor.min_rows) are not judged",)


def test_so_few_permutations_that_nothing_could_count_are_refused():
    with pytest.raises(ValueError, match=r"199 permutations cannot show a p-value of 0\.0033; at least 299 are needed"):
        MonitorConfig(permutations=199)


def test_the_kernels_width_does_not_depend_on_the_order_of_the_rows(monkeypatch):
    rng = np.random.default_rng(0)
    ordered = np.sort(rng.normal(size=(2000, 1)), axis=0)
    widths = []
    monkeypatch.setattr(drift, "gaussian_kernel", lambda rows, width: widths.append(width) or np.eye(len(rows)))

    for rows in (ordered, rng.permutation(ordered), ordered):
        feature_distance(rows, rows, "all", permutations=1, seed=0)

    assert widths[0] == widths[2]
    assert widths[0] == pytest.approx(median_distance(ordered), rel=0.1)
    assert widths[1] == pytest.approx(median_distance(ordered), rel=0.1)
