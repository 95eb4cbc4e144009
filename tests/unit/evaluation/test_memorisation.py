"""Memorisation: known values, copies found and models that generalise cleared."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.errors import EvaluationError
from regen.evaluation.memorisation import measure_memorised, nearer_to_training

SEEDS = st.integers(0, 10_000)


def normal(n: int, seed: int, d: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_the_share_takes_known_values() -> None:
    found = nearer_to_training(samples=column(0, 4, 11, 5), training=column(0, 10), control=column(5, 6))

    assert found.value == 0.5  # to training rows 0 4 1 5, to held-out rows 5 1 5 0


def test_a_sample_midway_counts_half() -> None:
    assert nearer_to_training(column(1, 1), column(0), column(2)).value == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_fresh_rows_of_the_distribution_are_cleared(seed: int) -> None:
    found = nearer_to_training(normal(300, seed), normal(300, seed + 100), normal(300, seed + 200), confidence=0.999)

    assert found.low < 0.5 < found.high


@pytest.mark.parametrize("noise", [0.0, 1e-6, 0.02])
def test_copies_of_training_rows_are_found_out(noise: float) -> None:
    training = normal(200, 0)
    samples = training[:100] + noise * normal(100, 1)

    found = nearer_to_training(samples, training, normal(200, 2))

    assert found.value > 0.9
    assert found.low > 0.5


def test_the_negative_of_a_row_is_no_copy() -> None:
    training, control = normal(200, 0, d=8), normal(200, 1, d=8)

    assert nearer_to_training(-training, training, control).low < 0.5


def test_more_training_rows_than_held_out_ones_do_not_raise_the_share() -> None:
    found = nearer_to_training(normal(200, 0), normal(2000, 1), normal(200, 2), confidence=0.999)

    assert found.low < 0.5 < found.high


@given(SEEDS, st.integers(1, 20))
def test_the_share_lies_in_its_interval_and_the_chunk_does_not_matter(seed: int, chunk: int) -> None:
    sets = normal(20, seed), normal(15, seed + 1), normal(12, seed + 2)

    share = nearer_to_training(*sets, chunk=chunk)

    assert 0 <= share.low <= share.value <= share.high <= 1
    assert share == nearer_to_training(*sets)


@pytest.mark.parametrize(
    ("empty", "words"), [(0, "got no samples; add some"), (1, "got no training rows"), (2, "got no held-out rows")]
)
def test_an_empty_set_is_refused_by_name(empty: int, words: str) -> None:
    sets = [normal(5, seed) for seed in range(3)]
    sets[empty] = sets[empty][:0]

    with pytest.raises(EvaluationError, match=words):
        nearer_to_training(*sets)


def test_sets_of_several_widths_are_refused() -> None:
    with pytest.raises(
        EvaluationError, match=r"3 \(samples\), 3 \(training rows\), 2 \(held-out rows\); use one extractor"
    ):
        nearer_to_training(normal(5, 0), normal(5, 1), normal(5, 2, d=2))


def test_features_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(EvaluationError, match="the training rows hold NaN or infinity"):
        nearer_to_training(normal(5, 0), np.full((5, 3), np.nan), normal(5, 2))


def test_the_resampled_share_holds_zero_for_a_model_that_copies_nothing_and_not_for_one_that_does() -> None:
    rng = np.random.default_rng(0)
    training, control, fresh = rng.normal(size=(3, 300, 6))
    near = training + 0.3 * rng.normal(size=training.shape)

    honest, copying = (measure_memorised(some, training, control, 100, 0) for some in (fresh, near))

    assert honest.estimate(0.95).low <= 0 <= honest.estimate(0.95).high
    assert copying.estimate(0.95).low > 0.1
    assert copying.point == pytest.approx(nearer_to_training(near, training, control).value - 0.5)
    assert copying.minus(honest).estimate(0.95).low > 0
