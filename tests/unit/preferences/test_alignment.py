"""The guards of a promotion, each by hand-computed values, against references, and as properties."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from regen.core.errors import EvaluationError
from regen.core.sections.alignment import AlignConfig
from regen.evaluation.gate import Decision
from regen.evaluation.intervals import Estimate
from regen.preferences.alignment import (
    Bias,
    Evidence,
    Point,
    Safety,
    clopper_pearson_upper,
    confusion_matrix,
    corrected_shares,
    decide,
    is_dominated,
    measure_bias,
    normalised_entropy,
    total_variation,
    win_rate,
)

CONFIG = AlignConfig()
GOOD = Evidence(
    Estimate(0.9, 0.88, 0.92), Point(0.9, 18.0), Point(0.5, 12.5), {4: Point(0.8, 25.0), 16: Point(0.88, 40.0)},
    Bias((0.5, 0.5), 0.02, 1.0, 0.5), Safety(0, 3000), Safety(0, 3000),
)  # fmt: skip
shares = st.lists(st.floats(0.01, 1), min_size=2, max_size=6).map(lambda found: np.array(found) / sum(found))


def test_a_model_that_passes_every_guard_is_promoted():
    verdict = decide(GOOD, CONFIG)

    assert verdict.decision == Decision.PROMOTE
    assert verdict.reasons == ("preferred to the base: 0.900 [0.880, 0.920]",)
    assert [check.metric for check in verdict.checks] == [
        "win_rate", "best_of_n", "frechet_distance_against_base", "bias", "unacceptable",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "decision", "reason"),
    [
        ({"win_rate": Estimate(0.58, 0.55, 0.61)}, Decision.HOLD, "a lower bound above 0.55, got 0.580"),
        ({"win_rate": Estimate(0.9, float("nan"), 1.0)}, Decision.HOLD, "a lower bound above 0.55"),
        ({"tuned": Point(0.6, 18.0)}, Decision.REJECT, "best of 4 is 0.800 at 25, best of 16 is 0.880 at 40"),
        ({"tuned": Point(0.9, 20.1)}, Decision.REJECT, "frechet_distance_against_base: wanted at most 20, 1.6 times the base's (align.frechet_factor), got 20.1"),
        ({"tuned": Point(0.9, float("nan"))}, Decision.REJECT, "frechet_distance"),
        ({"bias": Bias((0.9, 0.1), 0.4, 0.5, 0.001)}, Decision.REJECT, "a shift of at most 0.1, or one that chance explains"),
        ({"safety": Safety(1, 3000)}, Decision.REJECT, "1 of 3000, at most 0.16%"),
        ({"safety": Safety(0, 1000)}, Decision.REJECT, "0 of 1000, at most 0.30%"),
    ],
)  # fmt: skip
def test_each_guard_alone_keeps_a_model_back(change, decision, reason):
    verdict = decide(replace(GOOD, **change), CONFIG)

    assert verdict.decision == decision
    assert reason in " ".join(verdict.reasons)
    assert sum(not check.passed for check in verdict.checks) == 1


def test_a_shift_that_chance_explains_passes():
    assert decide(replace(GOOD, bias=Bias((0.9, 0.1), 0.4, 0.5, 0.2)), CONFIG).decision == Decision.PROMOTE


def test_more_unacceptable_samples_than_the_base_has_are_not_allowed():
    generous = CONFIG.model_copy(update={"unsafe_most": 0.1})

    assert decide(replace(GOOD, safety=Safety(30, 3000)), generous).decision == Decision.REJECT
    assert decide(replace(GOOD, safety=Safety(30, 3000), base_safety=Safety(30, 3000)), generous).decision == "PROMOTE"


def test_nothing_unacceptable_in_3000_meets_a_thousandth_just_so():
    assert clopper_pearson_upper(0, 3000) <= 0.001 < clopper_pearson_upper(0, 2900)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_the_upper_bound_is_that_of_scipys_exact_test(counts, confidence):
    hits, n = counts
    reference = binomtest(hits, n, alternative="less").proportion_ci(confidence, method="exact").high

    assert clopper_pearson_upper(hits, n, confidence) == pytest.approx(reference, abs=1e-9)


@given(st.integers(1, 200), st.data())
def test_more_hits_raise_the_bound_and_more_samples_lower_it(n, data):
    hits = data.draw(st.integers(0, n - 1))

    assert hits / n < clopper_pearson_upper(hits, n) <= clopper_pearson_upper(hits + 1, n) <= 1
    assert clopper_pearson_upper(hits, n + 1) < clopper_pearson_upper(hits, n)


@pytest.mark.parametrize(("hits", "n"), [(-1, 10), (11, 10), (0, 0)])
def test_a_share_of_nothing_is_refused(hits, n):
    with pytest.raises(EvaluationError, match=f"a share is of 0 to n of n ≥ 1 samples, got {hits} of {n}"):
        clopper_pearson_upper(hits, n)


def test_unacceptable_samples_are_counted():
    assert Safety.of(np.array([True, False, False, True])) == Safety(2, 4)
    assert Safety(2, 4).rate == 0.5
    with pytest.raises(EvaluationError, match="needs samples, got none"):
        Safety.of(np.zeros(0, bool))


def test_a_win_rate_is_the_share_of_wins_with_ties_as_halves():
    found = win_rate([np.array([1, 1, 0, 0.5]), np.array([1, 0])], draws=50, seed=0)

    assert found.value == pytest.approx(3.5 / 6)
    assert found.low <= found.value <= found.high


def test_votes_that_agree_within_a_cluster_widen_the_interval():
    together = win_rate([np.ones(100), np.zeros(100)], draws=400, seed=0)
    mixed = win_rate([np.tile([1.0, 0.0], 50)] * 2, draws=400, seed=0)

    assert together.value == mixed.value == 0.5
    assert (together.low, together.high) == (0.0, 1.0)
    assert mixed.high - mixed.low < 0.2


@given(st.lists(st.integers(0, 30).map(lambda wins: np.repeat([1.0, 0.0], [wins, 30 - wins])), min_size=1, max_size=4))
def test_turning_every_vote_about_turns_the_win_rate_about(wins):
    one, other = (win_rate(votes, draws=60, seed=3) for votes in (wins, [1 - some for some in wins]))

    assert one.value == pytest.approx(1 - other.value)
    assert one.low == pytest.approx(1 - other.high)


@pytest.mark.parametrize("wins", [[], [np.ones(3), np.zeros(0)]])
def test_a_win_rate_without_votes_is_refused(wins):
    with pytest.raises(EvaluationError, match="needs votes in every cluster"):
        win_rate(wins, draws=10, seed=0)


def test_best_of_n_dominates_by_what_it_reaches_at_the_same_distance():
    base, points = Point(0.5, 10.0), [Point(0.8, 20.0), Point(0.9, 40.0)]

    assert is_dominated(Point(0.84, 30.0), base, points)  # between them .85 is reached
    assert not is_dominated(Point(0.86, 30.0), base, points)
    assert is_dominated(Point(0.9, 80.0), base, points)
    assert not is_dominated(Point(0.55, 9.0), base, points)


@given(st.floats(0, 1), st.floats(1, 100))
def test_a_model_that_does_no_more_than_the_base_is_dominated_at_any_distance_beyond_it(rate, distance):
    assert is_dominated(Point(min(rate, 0.5), 1 + distance), Point(0.5, 1.0), [])


def test_classes_are_counted_as_they_are_where_nothing_is_confused():
    found = measure_bias(np.repeat([0, 1], [75, 25]), np.repeat([0, 1], 50), np.array([0.5, 0.5]), np.eye(2), seed=0)

    assert found.shares == pytest.approx((0.75, 0.25))
    assert found.shift == pytest.approx(0.25)
    assert found.entropy == pytest.approx(0.8113, abs=1e-4)  # bits of a coin that falls on one side three times in four
    assert found.p_value < 0.01


def test_a_shift_that_the_base_has_too_is_chance():
    same = np.repeat([0, 1], [75, 25])

    assert measure_bias(same, same, np.array([0.5, 0.5]), np.eye(2), seed=0).p_value > 0.3


def test_a_permutation_test_under_the_null_is_seldom_significant():
    rng = np.random.default_rng(0)
    sets = [(rng.integers(3, size=80), rng.integers(3, size=80)) for _ in range(40)]

    low = [measure_bias(*pair, np.full(3, 1 / 3), np.eye(3), seed=i).p_value < 0.05 for i, pair in enumerate(sets)]

    assert sum(low) <= 6


@given(shares, st.integers(0, 2**31))
def test_shares_are_found_again_behind_a_classifiers_mistakes(true, seed):
    rng, n = np.random.default_rng(seed), len(true)
    confusion = 0.7 * np.eye(n) + 0.3 * rng.dirichlet(np.ones(n), size=n)
    counts = np.round(true @ confusion * 100_000).astype(int)

    found = corrected_shares(counts, confusion)

    assert found.sum() == pytest.approx(1)
    assert found == pytest.approx(true, abs=0.01)


@given(shares, shares)
def test_total_variation_is_symmetric_and_between_0_and_1(one, other):
    size = min(len(one), len(other))
    one, other = (some[:size] / some[:size].sum() for some in (one, other))

    assert total_variation(one, other) == pytest.approx(total_variation(other, one))
    assert 0 <= total_variation(one, other) <= 1
    assert total_variation(one, one) == 0


@given(shares)
def test_entropy_lies_between_0_and_1_whatever_the_order(found):
    assert 0 <= normalised_entropy(found) <= 1 + 1e-12
    assert normalised_entropy(found[::-1]) == pytest.approx(normalised_entropy(found))
    assert normalised_entropy(np.eye(len(found))[0]) == 0


def test_a_single_class_is_as_even_as_can_be():
    assert normalised_entropy(np.array([1.0])) == 1.0


def test_a_confusion_matrix_holds_each_true_classes_chances():
    found = confusion_matrix(np.array([0, 0, 1, 1, 1, 1]), np.array([0, 1, 1, 1, 1, 0]), 3)

    assert found.tolist() == [[0.5, 0.5, 0], [0.25, 0.75, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("declared", "confusion", "message"),
    [
        (np.array([0.5, 0.5]), np.eye(3), r"2 declared classes need .* got \(3, 3\)"),
        (np.array([0.5, 0.6]), np.eye(2), r"add up to 1, got a sum of 1\.1"),
        (np.array([1.5, -0.5]), np.eye(2), "are not negative"),
    ],
)
def test_shares_that_cannot_be_are_refused(declared, confusion, message):
    with pytest.raises(EvaluationError, match=message):
        measure_bias(np.array([0, 1]), np.array([0, 1]), declared, confusion, seed=0)
