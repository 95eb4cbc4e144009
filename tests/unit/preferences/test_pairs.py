"""The plan: half by disagreement, half at random, a tenth known, a twentieth twice, and no sample in two splits."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regen.core.errors import ConfigError
from regen.preferences.pairs import REPEAT_GAP, plan, plan_between, split_samples

GOLD = [(i, 60 + i, -1 if i % 2 else 1) for i in range(40)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def by_distance(pairs: np.ndarray) -> np.ndarray:
    return np.abs(pairs[:, 0] - pairs[:, 1]).astype(float)


def test_the_shares_are_as_said():
    pairs = plan(["train"] * 60, 200, rng(), by_distance, GOLD)

    first = Counter(pair.strategy for pair in pairs if pair.repeat_of is None)
    assert len(pairs) == 200
    assert first == {"disagreement": 85, "random": 85, "gold": 20}
    assert sum(pair.repeat_of is not None for pair in pairs) == 10


def test_the_half_by_disagreement_is_where_it_is_largest():
    pairs = plan(["train"] * 60, 100, rng(), by_distance)

    chosen = [abs(pair.a - pair.b) for pair in pairs if pair.strategy == "disagreement"]
    drawn = [abs(pair.a - pair.b) for pair in pairs if pair.strategy == "random"]
    assert min(chosen) > 40
    assert np.mean(drawn) < 30


def test_a_matrix_says_the_same_as_a_function():
    numbers = np.arange(60)
    matrix = np.abs(numbers[:, None] - numbers[None, :]).astype(float)

    assert plan(["train"] * 60, 100, rng(), matrix) == plan(["train"] * 60, 100, rng(), by_distance)


def test_without_disagreement_all_are_random():
    assert {pair.strategy for pair in plan(["train"] * 30, 40, rng())} == {"random"}


def test_the_random_half_shows_every_sample_alike():
    counts = Counter(
        side for seed in range(40) for pair in plan(["train"] * 20, 60, rng(seed)) for side in (pair.a, pair.b)
    )

    assert set(counts) == set(range(20))
    assert max(counts.values()) < 1.35 * min(counts.values())


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 60), st.integers(4, 80), st.integers(0, 5))
def test_a_plan_keeps_its_promises(n, n_pairs, seed):
    splits = split_samples(n, rng(seed), 0.5)

    pairs = plan(splits, n_pairs, rng(seed), by_distance)

    assert len(pairs) == n_pairs
    fresh = [frozenset((pair.a, pair.b)) for pair in pairs if pair.repeat_of is None]
    assert len(set(fresh)) == len(fresh)
    assert all(len(pair) == 2 for pair in fresh)
    assert all(splits[pair.a] == splits[pair.b] == pair.split for pair in pairs)
    for place, pair in enumerate(pairs):
        if pair.repeat_of is not None:
            assert pair.repeat_of < place
            first = pairs[pair.repeat_of]
            assert (first.a, first.b, first.repeat_of) == (pair.a, pair.b, None)


def test_the_same_seed_gives_the_same_plan():
    assert plan(["train"] * 30, 50, rng(3), by_distance, GOLD) == plan(["train"] * 30, 50, rng(3), by_distance, GOLD)


def test_a_repeat_comes_some_pairs_later():
    pairs = plan(["train"] * 80, 400, rng())

    gaps = [
        place - pair.repeat_of
        for place, pair in enumerate(pairs)
        if pair.repeat_of is not None and pair.repeat_of < 380
    ]
    assert min(gaps) > REPEAT_GAP


def test_known_pairs_keep_their_answers_and_are_never_repeated():
    pairs = plan(["train"] * 60, 100, rng(), gold=GOLD)

    known = {(pair.a, pair.b, pair.gold) for pair in pairs if pair.strategy == "gold"}
    assert known == set(GOLD[:10])
    assert all(pair.gold is None for pair in pairs if pair.repeat_of is not None)


def test_fewer_known_pairs_leave_more_to_taste():
    pairs = plan(["train"] * 60, 100, rng(), gold=GOLD[:3])

    assert Counter(pair.strategy for pair in pairs) == {"random": 97, "gold": 3}


def test_a_share_of_the_samples_is_held_out_and_has_its_share_of_the_pairs():
    splits = split_samples(100, rng())

    pairs = plan(splits, 200, rng())

    assert Counter(splits) == {"train": 80, "validation": 20}
    assert Counter(pair.split for pair in pairs if pair.repeat_of is None) == {"train": 152, "validation": 38}


def test_too_few_samples_for_the_pairs_are_refused():
    with pytest.raises(ConfigError, match="5 samples of the split train make 10 pairs, and 19 are wanted; draw more"):
        plan(["train"] * 5, 20, rng())


@pytest.mark.parametrize("wrong", [lambda pairs: np.zeros(3), lambda pairs: np.full(len(pairs), np.nan)])
def test_a_disagreement_that_is_no_number_a_pair_is_refused(wrong):
    with pytest.raises(ConfigError, match="a disagreement is one finite number a pair"):
        plan(["train"] * 30, 50, rng(), wrong)


def test_pairs_between_two_models_hold_one_sample_of_each_and_every_sample_once():
    pairs = plan_between(60, 60, rng(), [(0, 120, -1), (1, 121, 1)])

    fresh = [pair for pair in pairs if pair.strategy == "random" and pair.repeat_of is None]
    assert len(pairs) == 60
    assert Counter(pair.strategy for pair in pairs if pair.repeat_of is None) == {"random": 55, "gold": 2}
    assert all((pair.a < 60) != (pair.b < 60) for pair in fresh)
    assert max(Counter(side for pair in fresh for side in (pair.a, pair.b)).values()) == 1
    assert 15 < sum(pair.a < 60 for pair in fresh) < 40  # neither model always comes first


def test_pairs_between_two_models_need_samples_enough():
    with pytest.raises(
        ConfigError, match="10 samples of each model make 10 pairs, and 19 are wanted; draw more samples"
    ):
        plan_between(10, 20, rng())
