"""What becomes of a tuned model: the stricter of the guards' word and the gate's, and who says how far it is preferred."""

from dataclasses import replace

import numpy as np
import pytest

from regen.core.errors import ConfigError
from regen.data.splits import Dataset
from regen.evaluation.gate import Check, Decision, Verdict
from regen.evaluation.intervals import Estimate
from regen.stages import conclude, prove
from regen.stages.alignment import Alignment
from regen.stages.conclude import both
from tests.unit.evaluation.test_alignment_report import estimate, proof
from tests.unit.stages.test_alignment import BASED_ON, voted

GATE = {"gate.gan.floors": "{frechet_distance: 60}", "gate.gan.guards": "{recall: 0.05}", "gate.least_rows": "100"}
PASSED, FAILED = Check("guard", "a", "b", "c", passed=True), Check("guard", "a", "b", "c", passed=False)
RATE = Estimate(0.9, 0.88, 0.92)


@pytest.mark.parametrize(
    ("one", "other", "decision", "reasons"),
    [
        (Decision.PROMOTE, Decision.PROMOTE, Decision.PROMOTE, ("one", "other")),
        (Decision.PROMOTE, Decision.HOLD, Decision.HOLD, ("other",)),
        (Decision.REJECT, Decision.HOLD, Decision.REJECT, ("one",)),
        (Decision.REJECT, Decision.REJECT, Decision.REJECT, ("one", "other")),
    ],
)
def test_the_stricter_of_two_verdicts_stands_with_its_reasons_and_all_checks(one, other, decision, reasons):
    found = both(Verdict(one, ("one",), (PASSED,)), Verdict(other, ("other",), (FAILED,)))

    assert (found.decision, found.reasons, found.checks) == (decision, reasons, (PASSED, FAILED))


def test_a_champion_that_would_not_become_one_now_names_the_way_back():
    kept = conclude._as_champion(BASED_ON, Verdict(Decision.PROMOTE, ("fine",), (PASSED,)))
    lost = conclude._as_champion(BASED_ON, Verdict(Decision.HOLD, ("win rate .4",), (FAILED,)))

    assert (kept.decision, kept.reasons) == (Decision.HOLD, ("it is the champion already",))
    assert lost.reasons == ("it is the champion already", "win rate .4", "'regen rollback digits-gan' goes back")


@pytest.fixture
def opened(open_project):
    return Alignment(open_project(GATE), BASED_ON, voted())


@pytest.fixture
def fresh_votes(monkeypatch):
    """Says how many fresh votes there are, and what they come to."""

    def say(n, rate):
        monkeypatch.setattr(conclude.fresh, "count", lambda store, version, base: n)
        monkeypatch.setattr(conclude.fresh, "by_people", lambda store, version, base, config: rate)

    return say


@pytest.mark.parametrize("aliases", [(), ("champion",)])
@pytest.mark.parametrize("rate", [RATE, None])
def test_the_ledger_holds_the_gates_rows_whoever_says_the_win_rate_and_of_a_champion_too(
    opened, fresh_votes, aliases, rate
):
    fresh_votes(40, rate)

    found = conclude._judge(opened, None, proof(), replace(BASED_ON, number=2, aliases=aliases))

    assert found["decision"] == ("HOLD" if aliases else "PROMOTE")
    wanted = {(check["kind"], check["metric"]): check["wanted"] for check in found["checks"]}
    assert len(wanted) == len(found["checks"]) == 9
    assert wanted["floor", "frechet_distance"] == "at most 60 (gate.gan.floors)"
    assert wanted["floor", "frechet_distance_against_base"] == "at most 8, 1.6 times the base's (align.frechet_factor)"
    assert wanted["guard", "recall"] == "no loss against the champion beyond 0.05 (gate.gan.guards)"
    assert (found["counted_votes"], found["fresh_votes"]) == (40 if rate else 0, 40)


def test_without_a_gate_a_champion_is_held_against_the_guards_alone(opened, open_project, fresh_votes):
    fresh_votes(40, RATE)
    without = replace(opened, context=open_project(GATE | {"gate.mode": "off"}))

    kept, other = (
        conclude._judge(without, None, proof(), replace(BASED_ON, number=2, aliases=aliases))
        for aliases in (("champion",), ())
    )

    assert {check["metric"] for check in kept["checks"]} >= {"win_rate", "best_of_n"}
    assert "preference_win_rate" not in {check["metric"] for check in kept["checks"]}
    assert other["reasons"] == ["gate.mode is off, so nothing is judged"]


def test_a_verdict_on_a_champion_holds_until_it_is_none(opened, monkeypatch, fresh_votes):
    fresh_votes(40, RATE)
    monkeypatch.setattr(conclude.prove, "champion_of", lambda alignment: 1)
    now = {"aliases": ("champion",)}
    monkeypatch.setattr(conclude, "registered", lambda alignment: replace(BASED_ON, number=2, **now))
    verdict = {"version": 2, "fresh_votes": 40, "against": 1}

    assert conclude._holds(opened, None, verdict | {"as_champion": True})
    assert not conclude._holds(opened, None, verdict | {"as_champion": True, "fresh_votes": 39})
    now["aliases"] = ()
    assert not conclude._holds(opened, None, verdict | {"as_champion": True})
    assert conclude._holds(opened, None, verdict | {"as_champion": False})


def test_fresh_votes_that_are_too_few_are_said(opened, fresh_votes):
    fresh_votes(12, None)

    found = conclude._judge(opened, None, proof(), replace(BASED_ON, number=2, aliases=()))

    assert found["by"] == (
        "as the judge expects it, learned from held-out votes; of fresh votes there are 12, which count instead from 20 on"
    )


TUNED = replace(
    BASED_ON, number=2, run_id="tuning",
    tags={**BASED_ON.tags, "regen.base": "digits-gan/1", "regen.votes": voted().digest, "regen.verdict": "PROMOTE"},
)  # fmt: skip


def test_a_base_that_was_tuned_toward_these_very_votes_is_told_as_its_run_recorded_it(opened, monkeypatch):
    recorded = {"evaluation/proof.json": proof(), "gate/verdict.json": {
        "decision": "HOLD", "reasons": ["it is the champion already"], "win_rate": estimate(0.9), "by": "40 votes",
    }}  # fmt: skip
    monkeypatch.setattr(conclude.tracking.Run, "read_json", lambda run, path: recorded[path])
    monkeypatch.setattr(conclude.fresh, "uncounted", lambda alignment, store: ("12 votes do not count",))
    monkeypatch.setattr(conclude.versions, "all_versions", lambda model: [TUNED, BASED_ON])

    found = conclude.made_of(replace(opened, base=TUNED), None)

    assert (found.model, found.version, found.base, found.reused) == ("digits-gan", 2, "digits-gan/1", True)
    assert (found.decision, found.promoted, found.by) == ("HOLD", True, "40 votes")
    assert found.arms == proof()["arms"]
    assert found.win_rate == estimate(0.9)
    assert found.report == "evaluation/report.html of the MLflow run tuning"
    assert found.notes[0].startswith("'regen align --model digits-gan/1' tunes digits-gan/1 anew")
    assert found.notes[1] == "12 votes do not count"
    assert not found.is_current
    told = conclude.markdown(found)
    assert "Win rate: 0.900" in told
    assert "- 12 votes do not count" in told


def test_of_a_base_whose_run_lost_its_files_the_tags_are_told(opened, monkeypatch):
    monkeypatch.setattr(conclude.tracking.Run, "read_json", lambda run, path: None)
    monkeypatch.setattr(conclude.fresh, "uncounted", lambda alignment, store: ())
    monkeypatch.setattr(conclude.versions, "all_versions", lambda model: [TUNED])

    found = conclude.made_of(replace(opened, base=TUNED), None)

    assert (found.decision, found.arms, found.win_rate) == ("PROMOTE", {}, {})
    assert found.notes == ("digits-gan/1 was deleted, so it cannot be tuned anew",)
    assert conclude.made_of(opened, None) is None


def judged(opened, rate=RATE, **changes):
    found = proof() | changes
    return conclude._by_the_gate(opened, found, rate)


def test_where_the_base_is_the_champion_the_win_rate_is_what_it_must_be_better_in(opened):
    found = judged(opened)

    assert found.decision == Decision.PROMOTE
    assert found.reasons == ("better than the champion: preference_win_rate a gain of 0.400 [0.380, 0.420]",)
    assert {check.metric for check in found.checks} == {"frechet_distance", "recall", "preference_win_rate"}


def test_a_win_rate_that_may_be_chance_holds_and_one_under_a_half_rejects(opened):
    assert judged(opened, Estimate(0.52, 0.5, 0.54)).decision == Decision.HOLD
    assert judged(opened, Estimate(0.51, 0.37, 0.62)).decision == Decision.HOLD
    assert judged(opened, Estimate(0.4, 0.38, 0.42)).decision == Decision.REJECT


def test_the_projects_own_floors_and_guards_stand(opened, open_project):
    figures = proof()["figures"]
    worse = {
        **figures,
        "base": {**figures["base"], "difference": {**figures["base"]["difference"], "recall": estimate(-0.4)}},
    }

    assert judged(opened, figures=worse).decision == Decision.REJECT
    strict = replace(opened, context=open_project(GATE | {"gate.gan.floors": "{frechet_distance: 2}"}))
    assert judged(strict).decision == Decision.REJECT


def test_another_champion_must_be_beaten_as_by_any_candidate(opened):
    figures = proof()["figures"]
    other = {**figures, "champion": {"difference": {"frechet_distance": estimate(-4.0), "recall": estimate(0.1)}}}

    found = judged(opened, against=7, figures=other)

    assert found.decision == Decision.PROMOTE
    assert "frechet_distance" in found.reasons[0]
    assert "preference_win_rate" not in {check.metric for check in found.checks}


def test_peoples_win_rate_counts_before_the_judges():
    found = prove.evidence(proof(), Estimate(0.6, 0.5, 0.7))

    assert found.win_rate == Estimate(0.6, 0.5, 0.7)
    assert found.tuned == prove.Point(0.6, 8.0)
    assert prove.evidence(proof()).tuned == prove.Point(0.9, 8.0)
    assert found.best_of == {4: prove.Point(0.78, 46.0), 16: prove.Point(0.84, 160.0)}
    assert (found.base_safety.unacceptable, found.safety.unacceptable) == (9, 0)


class Rows(Alignment):
    """An alignment over rows of its own."""

    @property
    def dataset(self):
        labels = np.array([0, 0, 0, 1, 5, 5])
        return Dataset(np.zeros((6, 2, 2, 1), np.uint8), labels, np.array(["train"] * 6), 5, {0: "zero", 1: "one"})


@pytest.mark.parametrize(("kind", "shares"), [("gan", [1 / 2, 1 / 6, 1 / 3]), ("vae", [3 / 4, 1 / 4, 0])])
def test_classes_shall_be_as_frequent_as_in_the_rows_that_the_model_learned_from(open_project, kind, shares):
    based_on = replace(BASED_ON, tags=BASED_ON.tags | {"regen.kind": kind})

    np.testing.assert_allclose(prove.declared_shares(Rows(open_project(), based_on, voted())), shares)


def test_declared_shares_go_before_and_must_name_every_class(open_project):
    declared = open_project({"align.class_shares": "{zero: 0.2, one: 0.3, '5': 0.5}"})
    np.testing.assert_allclose(prove.declared_shares(Rows(declared, BASED_ON, voted())), [0.2, 0.3, 0.5])

    wrong = open_project({"align.class_shares": "{zero: 0.5, two: 0.5}"})
    with pytest.raises(ConfigError, match="declares two, zero, and the data's classes are zero, one, 5; declare each"):
        prove.declared_shares(Rows(wrong, BASED_ON, voted()))
