"""Krippendorff's α as its author computes it; bias, consistency and reliability as counted by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regen.core.errors import EvaluationError
from regen.preferences.agreement import Share, krippendorff_alpha, measure, value_counts

COUNTS = arrays(np.int64, st.tuples(st.integers(2, 12), st.just(3)), elements=st.integers(0, 4))


def vote(task, annotator, choice, **more):
    given = {"both_bad": False, "skipped": False, "ms": 1000, "fast": False, "flipped": False, "gold": False}
    known = {"gold_choice": pd.NA, "repeat": False, "repeat_of": pd.NA}
    return {"task": task, "annotator": annotator, "choice": choice, **given, **known, **more}


def frame(*votes):
    return pd.DataFrame(list(votes)).astype({"gold_choice": "Int8", "repeat_of": "Int64"})


def test_alpha_of_krippendorffs_own_example():
    """Four observers, twelve units, values 1 to 5; Krippendorff (2011) gives .815 for ordinal data."""
    observers = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
            [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
        ]
    )
    counts = np.stack([(observers == value).sum(axis=0) for value in range(1, 6)], axis=1)

    assert krippendorff_alpha(counts) == pytest.approx(0.815, abs=5e-4)


def test_alpha_computed_by_hand():
    """Pairs (−1, −1), (−1, 0), (1, 1): n = 3, 1, 2; δ² = 4 (−1, 0), 12.25 (−1, 1), 2.25 (0, 1).

    Observed: one pair (−1, 0), counted both ways, 2 · 4 = 8. Expected: 2 · (3·1·4 + 3·2·12.25 + 1·2·2.25) = 180.
    α = 1 − 5 · 8 / 180 = 7/9.
    """
    assert krippendorff_alpha(np.array([[2, 0, 0], [1, 1, 0], [0, 0, 2]])) == pytest.approx(7 / 9)


def test_full_agreement_is_one_and_full_disagreement_below_zero():
    assert krippendorff_alpha(np.diag([2, 2, 2])) == 1.0
    assert krippendorff_alpha(np.array([[1, 0, 1]] * 6)) < 0


def test_votes_by_chance_have_no_agreement():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(3, [1 / 3] * 3, size=4000)

    assert krippendorff_alpha(counts) == pytest.approx(0, abs=0.03)


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_alpha_is_at_most_one_and_blind_to_the_order_of_pairs_and_to_a_mirror(counts):
    alpha = _alpha_or_none(counts)
    if alpha is None:
        return

    assert alpha <= 1 + 1e-12
    assert krippendorff_alpha(counts[::-1]) == pytest.approx(alpha)
    assert krippendorff_alpha(counts[:, ::-1]) == pytest.approx(alpha)


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_pairs_judged_once_do_not_change_alpha(counts):
    alpha = _alpha_or_none(counts)
    if alpha is None:
        return

    assert krippendorff_alpha(np.concatenate([counts, np.eye(3, dtype=np.int64)])) == pytest.approx(alpha)


def _alpha_or_none(counts):
    try:
        return krippendorff_alpha(counts)
    except EvaluationError:
        return None


def test_alpha_needs_two_pairs_that_two_people_judged():
    with pytest.raises(
        EvaluationError, match="2 or more pairs that 2 or more people judged, got 1; collect more votes"
    ):
        krippendorff_alpha(np.array([[1, 1, 0], [1, 0, 0]]))


def test_alpha_is_not_defined_where_all_say_the_same():
    with pytest.raises(EvaluationError, match="not defined where all votes say the same"):
        krippendorff_alpha(np.array([[2, 0, 0], [2, 0, 0]]))


def test_only_pairs_that_two_people_judged_are_counted():
    votes = frame(vote(1, "ada", -1), vote(1, "bob", 1), vote(2, "ada", 0))

    assert value_counts(votes).tolist() == [[1, 0, 1]]


def test_sides_are_counted_as_they_were_seen():
    votes = frame(
        vote(1, "ada", -1), vote(2, "ada", -1, flipped=True), vote(3, "ada", 1), vote(4, "ada", 1, flipped=True), vote(5, "ada", 0),
        vote(6, "ada", 1, flipped=True),
    )  # fmt: skip

    assert measure(votes).left == Share(3, 5)


def test_a_strong_side_bias_is_noted():
    found = measure(frame(*(vote(i, "ada", -1) for i in range(30))))

    assert "30 of 30 votes for a side went left: people favour a side" in found.notes


def test_repeats_are_held_against_the_same_persons_first_vote():
    again = {"repeat": True, "flipped": True}
    votes = frame(
        vote(1, "ada", -1), vote(1, "bob", 1), vote(2, "ada", 0), vote(3, "ada", -1, repeat_of=1, **again),
        vote(3, "bob", -1, repeat_of=1, **again), vote(4, "ada", 0, repeat_of=2, **again),
        vote(5, "eve", 0, repeat_of=2, **again),
    )  # fmt: skip

    found = measure(votes)

    assert found.repeats == Share(2, 3)
    assert {one.annotator: one.repeats for one in found.each} == {
        "ada": Share(2, 2),
        "bob": Share(0, 1),
        "eve": Share(0, 0),
    }


def test_known_pairs_tell_who_is_right():
    votes = frame(
        *(vote(i, "ada", -1, gold=True, gold_choice=-1) for i in range(4)),
        *(vote(i, "bob", 1, gold=True, gold_choice=-1) for i in range(4)),
    )

    found = measure(votes)

    assert found.gold == Share(4, 8)
    assert [one.gold.hits for one in found.each] == [4, 0]
    assert found.shared == 0  # known pairs would flatter the agreement


def test_reliability_is_agreement_with_others_on_the_same_pairs():
    votes = frame(
        *(vote(i, name, -1) for i in range(4) for name in ("ada", "bob")), *(vote(i, "eve", 1) for i in range(4)),
        vote(9, "eve", 1),
    )  # fmt: skip

    found = {one.annotator: one.agrees for one in measure(votes).each}

    assert found == {"ada": Share(4, 8), "bob": Share(4, 8), "eve": Share(0, 8)}


def test_skipped_votes_say_nothing_and_hasty_ones_are_counted():
    votes = frame(vote(1, "ada", 0, skipped=True), vote(2, "ada", 1, fast=True, ms=100), vote(3, "ada", 1, ms=2900))

    found = measure(votes)

    assert found.fast == Share(1, 3)
    assert found.each[0].skips == Share(1, 3)
    assert found.each[0].ties == Share(0, 2)
    assert found.each[0].median_seconds == 1.0


def test_too_few_votes_are_told_and_leave_the_figures_empty():
    found = measure(frame(vote(1, "ada", 1)))

    assert not found.alpha.is_finite
    assert any("no agreement among people" in note for note in found.notes)
    assert "no self-consistency: nobody judged a pair twice" in found.notes
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["alpha"]["value"] is None
    assert plain["repeats"] == {"value": None, "low": None, "high": None, "of": 0}


def test_no_vote_at_all_is_told_too():
    found = measure(frame(vote(1, "ada", 1)).iloc[:0])

    assert (found.votes, found.people, found.each) == (0, 0, ())


def test_a_share_has_wilsons_interval():
    """8 of 10: (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n), with z = 1.96, is .490 to .943."""
    estimate = Share(8, 10).estimate

    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.8, 0.490, 0.943), abs=1e-3)


def test_alpha_stands_where_some_resamples_hold_one_value_alone():
    votes = [vote(task, who, -1) for task in range(24) for who in ("ada", "bob")]
    found = measure(frame(*votes, vote(24, "ada", 1), vote(24, "bob", 1)))

    assert found.alpha.value == pytest.approx(1.0)
    assert any("rests on few unlike votes" in note for note in found.notes)
