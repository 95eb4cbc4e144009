"""The gate: it never promotes on what is missing or no number, and turns every metric the right way."""

import json
from math import inf, isfinite, nan
from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from regen.core.sections.evaluation import GateRules, Metric
from regen.evaluation.gate import HIGHER_IS_BETTER, Decision, judge
from regen.evaluation.intervals import Estimate

METRICS = get_args(Metric)
NAMES = st.sampled_from(METRICS)
LIMITS = st.floats(-5, 5)
VALUES = st.floats(-10, 10) | st.sampled_from([nan, inf, -inf])
ESTIMATES = st.builds(Estimate, VALUES, VALUES, VALUES)
FIGURES = st.dictionaries(NAMES, ESTIMATES)
RULES = st.builds(
    GateRules,
    primary=st.none() | NAMES,
    floors=st.dictionaries(NAMES, LIMITS, max_size=3),
    guards=st.dictionaries(NAMES, st.floats(0, 5), max_size=3),
)

RULE = GateRules(primary="anomaly_auc", floors={"anomaly_auc": 0.8}, guards={"reconstruction_mse": 0.01})
GOOD = {"anomaly_auc": Estimate(0.9, 0.85, 0.95), "reconstruction_mse": Estimate(0.02, 0.01, 0.03)}
BETTER = {"anomaly_auc": Estimate(0.05, 0.01, 0.09), "reconstruction_mse": Estimate(0.0, -0.005, 0.005)}


RANK = {Decision.REJECT: 0, Decision.HOLD: 1, Decision.PROMOTE: 2}


def is_number(estimate: Estimate | None) -> bool:
    return estimate is not None and all(map(isfinite, (estimate.value, estimate.low, estimate.high)))


def least_gain(name: str, difference: Estimate) -> float:
    return difference.low if HIGHER_IS_BETTER[name] else -difference.high


def deserves_promotion(rules: GateRules, candidate: dict, difference: dict | None) -> bool:
    """What the gate promises, said once more and in other words."""
    if not rules.floors or not all(is_number(candidate.get(name)) for name in rules.floors):
        return False
    signs = {name: 1 if HIGHER_IS_BETTER[name] else -1 for name in METRICS}
    if any(signs[name] * candidate[name].value < signs[name] * worst for name, worst in rules.floors.items()):
        return False
    if difference is None:
        return True
    guards = {n: margin for n, margin in rules.guards.items() if n in difference or n != "preference_win_rate"}
    if rules.primary is None or not all(is_number(difference.get(name)) for name in [rules.primary, *guards]):
        return False
    if any(least_gain(name, difference[name]) < -margin for name, margin in guards.items()):
        return False
    return least_gain(rules.primary, difference[rules.primary]) > 0


@example(GateRules(floors={"anomaly_auc": 0.8}), {"anomaly_auc": Estimate(0.9, 0.85, nan)}, None)
@settings(max_examples=200)
@given(RULES, FIGURES, st.none() | FIGURES)
def test_a_candidate_is_promoted_exactly_when_every_promise_is_kept(
    rules: GateRules, candidate: dict, difference: dict | None
) -> None:
    verdict = judge(rules, candidate, difference)

    assert (verdict.decision is Decision.PROMOTE) == deserves_promotion(rules, candidate, difference)


@given(st.sampled_from(["value", "low", "high"]), st.sampled_from([nan, inf, -inf]), st.booleans())
def test_a_floor_that_is_no_number_rejects(part: str, harm: float, first: bool) -> None:
    harmed = Estimate(**{"value": 0.9, "low": 0.85, "high": 0.95, part: harm})

    verdict = judge(RULE, GOOD | {"anomaly_auc": harmed}, None if first else BETTER)

    assert verdict.decision is Decision.REJECT


@given(RULES, FIGURES, st.none() | FIGURES)
def test_every_verdict_has_a_reason_and_a_ledger_that_bears_it_out(
    rules: GateRules, candidate: dict, difference: dict | None
) -> None:
    verdict = judge(rules, candidate, difference)

    assert verdict.reasons
    failed = [check for check in verdict.checks if not check.passed]
    if verdict.decision is Decision.PROMOTE:
        assert not failed
    if verdict.decision is Decision.REJECT:
        assert {check.kind for check in failed} & {"floor", "guard"}
    assert json.loads(json.dumps(verdict.to_json()))["decision"] == verdict.decision.value


@given(FIGURES, st.none() | FIGURES, st.none() | NAMES)
def test_without_floors_every_candidate_is_held(candidate: dict, difference: dict | None, primary: str | None) -> None:
    verdict = judge(GateRules(primary=primary), candidate, difference)

    assert verdict.decision is Decision.HOLD
    assert "no floors are configured" in verdict.reasons[0]


@settings(max_examples=200)
@given(RULES, FIGURES, st.none() | FIGURES, NAMES, st.tuples(*[st.floats(0, 5)] * 3))
def test_no_better_figure_costs_a_promotion(
    rules: GateRules, candidate: dict, difference: dict | None, name: str, steps: tuple[float, float, float]
) -> None:
    sign = 1 if HIGHER_IS_BETTER[name] else -1

    def improved(figures: dict) -> dict:
        if name not in figures:
            return figures
        met = figures[name]
        parts = zip((met.value, met.low, met.high), steps, strict=True)
        return figures | {name: Estimate(*(part + sign * step for part, step in parts))}

    before = judge(rules, candidate, difference).decision
    after = judge(rules, improved(candidate), None if difference is None else improved(difference)).decision

    assert RANK[after] >= RANK[before]


@given(RULES, FIGURES, FIGURES, FIGURES)
def test_of_two_models_at_most_one_replaces_the_other(
    rules: GateRules, candidate: dict, champion: dict, difference: dict
) -> None:
    forward = {name: Estimate(d.value, min(d.low, d.high), max(d.low, d.high)) for name, d in difference.items()}
    swapped = {name: Estimate(-d.value, -d.high, -d.low) for name, d in forward.items()}

    decisions = [judge(rules, candidate, forward).decision, judge(rules, champion, swapped).decision]

    assert decisions.count(Decision.PROMOTE) <= 1


@given(RULES, FIGURES, st.none() | FIGURES, st.integers(0, 400), st.integers(1, 400))
def test_too_few_rows_hold_whatever_the_figures_and_enough_change_nothing(
    rules: GateRules, candidate: dict, difference: dict | None, rows: int, least: int
) -> None:
    without, verdict = (
        judge(rules, candidate, difference),
        judge(rules, candidate, difference, rows=rows, least_rows=least),
    )

    if rows >= least:
        assert verdict == without
    else:
        assert verdict.decision is Decision.HOLD


def test_too_few_rows_say_so() -> None:
    verdict = judge(RULE, GOOD, BETTER, rows=120, least_rows=200)

    assert verdict.reasons == (
        "not enough samples: test rows: wanted at least 200, got 120; add rows or raise data.test_share",
    )
    assert [(check.kind, check.passed) for check in verdict.checks] == [("rows", False)]


def test_rows_that_nobody_counted_are_enough() -> None:
    assert judge(RULE, GOOD, BETTER, least_rows=200).decision is Decision.PROMOTE


def test_a_guard_by_votes_stands_only_when_there_are_votes() -> None:
    rules = RULE.model_copy(update={"guards": {"preference_win_rate": 0.1}})
    lost, won = (BETTER | {"preference_win_rate": Estimate(v, v - 0.05, v + 0.05)} for v in (-0.3, 0.1))

    assert judge(rules, GOOD, BETTER).decision is Decision.PROMOTE
    assert judge(rules, GOOD, won).decision is Decision.PROMOTE
    assert judge(rules, GOOD, lost).decision is Decision.REJECT
    assert judge(rules, GOOD, BETTER | {"preference_win_rate": Estimate(nan, nan, nan)}).decision is Decision.REJECT


def test_every_metric_has_a_direction() -> None:
    assert set(HIGHER_IS_BETTER) == set(METRICS)


def test_a_first_model_needs_its_floors_only() -> None:
    verdict = judge(RULE, {"anomaly_auc": GOOD["anomaly_auc"]}, None)

    assert verdict.decision is Decision.PROMOTE
    assert verdict.reasons == ("the first model, and every floor is met",)
    assert [check.kind for check in verdict.checks] == ["floor"]


def test_a_better_candidate_is_promoted_with_its_gain() -> None:
    verdict = judge(RULE, GOOD, BETTER)

    assert verdict.decision is Decision.PROMOTE
    assert verdict.reasons == ("better than the champion: anomaly_auc a gain of 0.050 [0.010, 0.090]",)
    assert [check.kind for check in verdict.checks] == ["floor", "guard", "primary"]


def test_a_floor_that_is_missed_rejects_with_what_was_wanted_and_met() -> None:
    verdict = judge(RULE, GOOD | {"anomaly_auc": Estimate(0.7, 0.6, 0.8)}, BETTER)

    assert verdict.decision is Decision.REJECT
    assert verdict.reasons == ("floor not met: anomaly_auc: wanted at least 0.8, got 0.700 [0.600, 0.800]",)


def test_a_floor_whose_metric_is_missing_rejects() -> None:
    verdict = judge(RULE, {}, None)

    assert verdict.decision is Decision.REJECT
    assert verdict.reasons == ("floor not met: anomaly_auc: wanted at least 0.8, got nothing",)


@pytest.mark.parametrize("difference", [Estimate(0.05, 0.0, 0.1), Estimate(0, 0, 0), Estimate(-0.05, -0.1, -0.01)])
def test_a_candidate_that_is_not_surely_better_is_held(difference: Estimate) -> None:
    verdict = judge(RULE, GOOD, BETTER | {"anomaly_auc": difference})

    assert verdict.decision is Decision.HOLD
    assert (
        "primary not met: anomaly_auc: wanted an interval of the gain over the champion above 0" in verdict.reasons[0]
    )


@pytest.mark.parametrize(
    "difference", [{}, {"anomaly_auc": Estimate(nan, nan, nan)}, {"anomaly_auc": Estimate(1, 1, inf)}]
)
def test_a_primary_that_cannot_be_compared_holds(difference: dict) -> None:
    rules = GateRules(primary="anomaly_auc", floors={"anomaly_auc": 0.8})

    assert judge(rules, GOOD, difference).decision is Decision.HOLD


def test_without_a_primary_no_champion_is_replaced() -> None:
    verdict = judge(GateRules(floors={"anomaly_auc": 0.8}), GOOD, BETTER)

    assert verdict.decision is Decision.HOLD
    assert verdict.reasons == ("no primary metric is configured to beat the champion by",)


def test_a_guard_that_is_violated_rejects_though_the_primary_wins() -> None:
    verdict = judge(RULE, GOOD, BETTER | {"reconstruction_mse": Estimate(0.02, 0.005, 0.03)})

    assert verdict.decision is Decision.REJECT
    assert "guard not met: reconstruction_mse: wanted no loss against the champion beyond 0.01" in verdict.reasons[0]


@pytest.mark.parametrize("met", [None, Estimate(nan, nan, nan), Estimate(0, -inf, 0)])
def test_a_guard_that_cannot_be_compared_rejects(met: Estimate | None) -> None:
    difference = {name: d for name, d in (BETTER | {"reconstruction_mse": met}).items() if d is not None}

    assert judge(RULE, GOOD, difference).decision is Decision.REJECT


def test_every_check_that_fails_is_named() -> None:
    bad = {"anomaly_auc": Estimate(0.1, 0, 0.2)}
    worse = {"anomaly_auc": Estimate(-0.5, -0.6, -0.4), "reconstruction_mse": Estimate(0.5, 0.4, 0.6)}

    verdict = judge(RULE, bad, worse)

    assert verdict.decision is Decision.REJECT
    assert [reason.split(" ")[0] for reason in verdict.reasons] == ["floor", "guard", "primary"]


@pytest.mark.parametrize("metric", METRICS)
def test_each_metric_is_turned_the_right_way(metric: str) -> None:
    up = HIGHER_IS_BETTER[metric]
    rules = GateRules(primary=metric, floors={metric: 1.0}, guards={metric: 0.1})
    high, low, rise, fall = (
        Estimate(2, 2, 2),
        Estimate(0.5, 0.5, 0.5),
        Estimate(0.5, 0.4, 0.6),
        Estimate(-0.5, -0.6, -0.4),
    )
    good, bad, gain, loss = (high, low, rise, fall) if up else (low, high, fall, rise)

    assert judge(rules, {metric: good}, None).decision is Decision.PROMOTE
    assert judge(rules, {metric: bad}, None).decision is Decision.REJECT
    assert judge(rules, {metric: good}, {metric: gain}).decision is Decision.PROMOTE
    assert judge(rules, {metric: good}, {metric: loss}).decision is Decision.REJECT


@pytest.mark.parametrize("metric", METRICS)
def test_a_floor_that_is_met_exactly_is_met(metric: str) -> None:
    assert judge(GateRules(floors={metric: 1.0}), {metric: Estimate(1, 1, 1)}, None).decision is Decision.PROMOTE


@pytest.mark.parametrize("metric", METRICS)
def test_a_loss_within_the_guards_margin_is_allowed(metric: str) -> None:
    rules = GateRules(primary="anomaly_auc", floors={"anomaly_auc": 0.8}, guards={metric: 0.5})
    loss = Estimate(-0.25, -0.5, 0.01) if HIGHER_IS_BETTER[metric] else Estimate(0.25, -0.01, 0.5)

    verdict = judge(rules, GOOD, {metric: loss} | {"anomaly_auc": Estimate(0.1, 0.1, 0.1)})

    assert verdict.decision is Decision.PROMOTE
