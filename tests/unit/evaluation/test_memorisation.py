"""Memorisation: known values, copies found and models that generalise cleared, agreement with scipy's rank test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from regen.core.errors import EvaluationError
from regen.evaluation.memorisation import copying_statistic, measure_memorisation, measure_memorised

SEEDS = st.integers(0, 10_000)


def normal(n: int, seed: int, d: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_the_figures_take_known_values() -> None:
    found = measure_memorisation(samples=column(0, 4, 11, 5), training=column(0, 10), control=column(5, 6))

    # to training rows 0 4 1 5, to held-out rows 5 1 5 0
    assert found.nearer_to_training.value == 0.5
    assert found.copies == 1
    assert found.distances.tolist() == [0, 4, 1, 5]
    assert found.rows[:3].tolist() == [0, 0, 1]


def test_a_sample_midway_counts_half() -> None:
    assert measure_memorisation(column(1, 1), column(0), column(2)).nearer_to_training.value == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_fresh_rows_of_the_distribution_are_cleared(seed: int) -> None:
    found = measure_memorisation(normal(300, seed), normal(300, seed + 100), normal(300, seed + 200), confidence=0.999)

    assert not found.is_memorising
    assert found.nearer_to_training.low < 0.5 < found.nearer_to_training.high
    assert abs(found.copying) < 4
    assert found.copies == 0


@pytest.mark.parametrize("noise", [0.0, 1e-6, 0.02])
def test_copies_of_training_rows_are_found_out(noise: float) -> None:
    training = normal(200, 0)
    samples = training[:100] + noise * normal(100, 1)

    found = measure_memorisation(samples, training, normal(200, 2))

    assert found.is_memorising
    assert found.nearer_to_training.value > 0.9
    assert found.copying < -5
    assert found.copies == (100 if noise == 0 else 0)
    np.testing.assert_array_equal(found.rows, np.arange(100))


def test_the_negative_of_a_row_and_its_double_are_no_copies() -> None:
    training = normal(200, 0, d=8)

    negative = measure_memorisation(-training, training, normal(200, 1, d=8))
    doubled = measure_memorisation(2 * training, training, normal(200, 1, d=8))

    assert negative.copies == doubled.copies == 0
    assert not negative.is_memorising
    assert negative.copying > -2
    assert doubled.copying > 5  # farther from training rows than held-out rows are


def test_more_training_rows_than_held_out_ones_do_not_raise_the_share() -> None:
    found = measure_memorisation(normal(200, 0), normal(2000, 1), normal(200, 2), confidence=0.999)

    assert found.nearer_to_training.low < 0.5 < found.nearer_to_training.high


def test_copies_are_looked_for_among_all_training_rows() -> None:
    training = normal(50, 0)

    found = measure_memorisation(training[[1, 2, 48]], training, normal(5, 1))

    assert found.copies == 3
    assert found.rows.tolist() == [1, 2, 48]


@given(SEEDS, st.integers(1, 20))
def test_the_share_lies_in_its_interval_and_the_chunk_does_not_matter(seed: int, chunk: int) -> None:
    sets = normal(20, seed), normal(15, seed + 1), normal(12, seed + 2)

    found, whole = measure_memorisation(*sets, chunk=chunk), measure_memorisation(*sets)

    share = found.nearer_to_training
    assert 0 <= share.low <= share.value <= share.high <= 1
    assert share == whole.nearer_to_training
    assert found.copying == whole.copying
    np.testing.assert_array_equal(found.distances, whole.distances)


@given(SEEDS, st.floats(-1, 1))
def test_the_statistic_is_that_of_scipys_rank_test(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=30) + shift, rng.normal(size=20)

    u = mannwhitneyu(one, other, use_continuity=False, method="asymptotic")

    assert copying_statistic(one, other) == pytest.approx((u.statistic - 300) / np.sqrt(600 * 51 / 12))
    assert copying_statistic(other, one) == pytest.approx(-copying_statistic(one, other))


@pytest.mark.parametrize(
    ("empty", "words"), [(0, "got no samples; add some"), (1, "got no training rows"), (2, "got no held-out rows")]
)
def test_an_empty_set_is_refused_by_name(empty: int, words: str) -> None:
    sets = [normal(5, seed) for seed in range(3)]
    sets[empty] = sets[empty][:0]

    with pytest.raises(EvaluationError, match=words):
        measure_memorisation(*sets)


def test_sets_of_several_widths_are_refused() -> None:
    with pytest.raises(
        EvaluationError, match=r"3 \(samples\), 3 \(training rows\), 2 \(held-out rows\); use one extractor"
    ):
        measure_memorisation(normal(5, 0), normal(5, 1), normal(5, 2, d=2))


def test_features_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(EvaluationError, match="the training rows hold NaN or infinity"):
        measure_memorisation(normal(5, 0), np.full((5, 3), np.nan), normal(5, 2))


def test_the_resampled_share_holds_zero_for_a_model_that_copies_nothing_and_not_for_one_that_does() -> None:
    rng = np.random.default_rng(0)
    training, control, fresh = rng.normal(size=(3, 300, 6))
    near = training + 0.3 * rng.normal(size=training.shape)

    honest, copying = (measure_memorised(some, training, control, 100, 0) for some in (fresh, near))

    assert honest.estimate(0.95).low <= 0 <= honest.estimate(0.95).high
    assert copying.estimate(0.95).low > 0.1
    assert copying.point == pytest.approx(measure_memorisation(near, training, control).nearer_to_training.value - 0.5)
    assert copying.minus(honest).estimate(0.95).low > 0
