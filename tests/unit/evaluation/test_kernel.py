"""The kernel distance: known values, its properties, agreement with torchmetrics, and its interval."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.image.kid import poly_mmd

from regen.core.errors import EvaluationError
from regen.evaluation.kernel import LARGEST, measure_kernel

SEEDS = st.integers(0, 10_000)


def normal(n: int, seed: int, d: int = 4, shift: float = 0.0) -> np.ndarray:
    return shift + np.random.default_rng(seed).normal(size=(n, d))


def distance(real: np.ndarray, fake: np.ndarray) -> float:
    return measure_kernel(real, [fake], draws=1, seed=0, scaled=False).point


def test_the_distance_takes_known_values() -> None:
    real, fake = np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[1.0, 1.0], [1.0, -1.0]])

    # kernels: of the real pair 1, of the fake pair 1, across 1 1 8 8
    assert distance(real, fake) == pytest.approx(1 + 1 - 2 * 18 / 4)


@pytest.mark.parametrize(("n", "d"), [(2, 1), (30, 4), (50, 64), (10, 200)])
@pytest.mark.parametrize("seed", range(2))
def test_the_distance_agrees_with_torchmetrics(n: int, d: int, seed: int) -> None:
    real, fake = normal(n, seed, d), normal(n, seed + 10, d, 0.5)

    expected = float(poly_mmd(torch.from_numpy(real), torch.from_numpy(fake)))

    assert distance(real, fake) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(SEEDS, st.floats(-2, 2))
def test_the_order_of_rows_does_not_matter(seed: int, shift: float) -> None:
    real, fake, rng = normal(23, seed), normal(23, seed + 1, shift=shift), np.random.default_rng(seed)

    whole = distance(real, fake)

    assert distance(rng.permutation(real), rng.permutation(fake)) == pytest.approx(whole, rel=1e-9, abs=1e-9)


@given(SEEDS)
def test_the_distance_is_the_same_both_ways_and_under_rotation(seed: int) -> None:
    real, fake = normal(20, seed), normal(20, seed + 1, shift=1.0)
    turn = np.linalg.qr(normal(4, seed))[0]

    found = distance(real, fake)

    assert distance(fake, real) == pytest.approx(found, rel=1e-9)
    assert distance(real @ turn, fake @ turn) == pytest.approx(found, rel=1e-9)


@given(SEEDS, st.integers(2, 30))
def test_a_set_against_itself_is_at_most_zero(seed: int, n: int) -> None:
    rows = normal(n, seed)

    assert distance(rows, rows) <= 1e-9  # without bias, the rows' kernel with themselves counts on one side only


def test_constant_features_are_at_no_distance_from_themselves() -> None:
    assert distance(np.ones((5, 3)), np.ones((5, 3))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n", [20, 200])
def test_the_estimate_has_no_bias_at_any_number_of_rows(n: int) -> None:
    found = [distance(normal(n, seed), normal(n, seed + 1000)) for seed in range(200)]

    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200)


def test_32_bit_features_are_summed_in_64_bits() -> None:
    real, fake = normal(30, 0).astype(np.float32), normal(30, 1).astype(np.float32)

    assert distance(real, fake) == distance(real.astype(np.float64), fake.astype(np.float64))


def test_of_many_rows_some_are_taken_evenly() -> None:
    real, fake = (normal(2 * LARGEST, seed, d=2) for seed in (0, 1))

    found = measure_kernel(real, [fake], draws=1, seed=0)

    assert found.rows == LARGEST


@pytest.mark.parametrize(
    ("real", "fake", "words"),
    [
        (normal(1, 0), normal(1, 0), "needs at least 2 rows of each set, got 1 real and 1 fake ones; add rows"),
        (normal(5, 0), normal(5, 0, d=3), "have 4 and 3 features; use one extractor for both"),
        (normal(5, 0), np.full((5, 4), np.inf), "NaN or infinity; look at the images"),
    ],
)
def test_what_cannot_be_compared_is_refused(real: np.ndarray, fake: np.ndarray, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        distance(real, fake)


def test_the_measured_figure_is_the_mean_over_the_sets_and_pairs_with_another_models() -> None:
    rng = np.random.default_rng(0)
    real, *fakes = rng.normal(size=(4, 60, 5))

    found = measure_kernel(real, fakes, draws=30, seed=0, scaled=False)
    worse = measure_kernel(real, [fake + 1 for fake in fakes], draws=30, seed=0, scaled=False)

    assert found.point == pytest.approx(np.mean([distance(real, fake) for fake in fakes]))
    assert worse.minus(found).estimate(0.95).low > 0


def test_the_measured_interval_holds_zero_for_equal_distributions_and_not_for_others() -> None:
    rng = np.random.default_rng(1)
    real, same = rng.normal(size=(2, 400, 8))

    near, far = (measure_kernel(real, [fake], draws=200, seed=0).estimate(0.95) for fake in (same, same + 0.7))

    assert near.low <= 0 <= near.high
    assert far.low > 0


def test_a_measured_kernel_distance_needs_sets_of_one_size() -> None:
    with pytest.raises(EvaluationError, match="as many fake rows as real ones, got 3 and 4"):
        measure_kernel(np.zeros((4, 2)), [np.zeros((3, 2))], draws=10, seed=0)


def test_scaled_the_figure_does_not_hang_on_the_size_of_the_features() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 50, 4))

    small, large = (measure_kernel(k * real, [k * (fake + 0.5)], draws=20, seed=0) for k in (0.01, 100.0))

    assert small.point == pytest.approx(large.point)
    np.testing.assert_allclose(small.replicates, large.replicates)
