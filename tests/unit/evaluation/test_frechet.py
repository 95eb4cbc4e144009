"""The Fréchet distance: known values, its properties as a distance, and agreement with the formula it stands for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from regen.core.errors import EvaluationError
from regen.evaluation.frechet import Gaussian, frechet_distance, measure_frechet

SEEDS = st.integers(0, 2**32 - 1)
ROWS, DIMENSIONS = st.integers(2, 30), st.integers(1, 12)
SCALES = st.floats(1e-3, 1e3)


def features(n: int, d: int, seed: int, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return scale * (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d))


def size(*gaussians: Gaussian) -> float:
    """What a distance between these can be compared with."""
    return sum(float(np.trace(g.covariance) + np.square(g.mean).sum()) for g in gaussians)


def test_a_gaussian_is_the_sample_mean_and_the_unbiased_covariance() -> None:
    fitted = Gaussian.fit(np.array([[0.0, 0.0], [2.0, 4.0]]))

    np.testing.assert_allclose(fitted.mean, [1, 2])
    np.testing.assert_allclose(fitted.covariance, [[2, 4], [4, 8]])


@given(ROWS, DIMENSIONS, SEEDS)
def test_a_gaussian_is_numpys(n: int, d: int, seed: int) -> None:
    rows = features(n, d, seed)

    fitted = Gaussian.fit(rows)

    np.testing.assert_allclose(fitted.covariance, np.cov(rows, rowvar=False).reshape(d, d), atol=1e-12)


@pytest.mark.parametrize(
    ("real", "fake", "distance"),
    [
        (([0.0], [[1.0]]), ([3.0], [[4.0]]), 9 + (2 - 1) ** 2),
        (([0.0, 0.0], [[1.0, 0], [0, 9.0]]), ([1.0, 1.0], [[4.0, 0], [0, 1.0]]), 2 + 1 + 4),
        (([0.0, 0.0], [[1.0, 0], [0, 0]]), ([0.0, 0.0], [[0.0, 0], [0, 1.0]]), 2),
        (([1.0, 2.0], [[0.0, 0], [0, 0]]), ([1.0, 5.0], [[0.0, 0], [0, 0]]), 9),
    ],
)
def test_the_distance_takes_known_values(real: tuple, fake: tuple, distance: float) -> None:
    one, other = (Gaussian(np.array(mean), np.array(covariance)) for mean, covariance in (real, fake))

    assert frechet_distance(one, other) == pytest.approx(distance)


@given(ROWS, DIMENSIONS, SEEDS, SCALES)
def test_a_set_is_at_distance_zero_from_itself(n: int, d: int, seed: int, scale: float) -> None:
    fitted = Gaussian.fit(features(n, d, seed, scale))

    assert frechet_distance(fitted, fitted) == pytest.approx(0, abs=1e-6 * size(fitted))


@given(ROWS, ROWS, DIMENSIONS, SEEDS, SEEDS, SCALES)
def test_the_distance_is_the_same_both_ways(n: int, m: int, d: int, one: int, other: int, scale: float) -> None:
    real, fake = Gaussian.fit(features(n, d, one)), Gaussian.fit(features(m, d, other, scale))

    assert frechet_distance(real, fake) == pytest.approx(
        frechet_distance(fake, real), rel=1e-6, abs=1e-6 * size(real, fake)
    )


@given(ROWS, DIMENSIONS, SEEDS, SEEDS, st.sampled_from([0.0, 1e-6, 1.0]))
def test_the_distance_is_never_below_zero(n: int, d: int, one: int, other: int, apart: float) -> None:
    real = features(n, d, one)
    fake = real + apart * features(n, d, other)

    assert frechet_distance(Gaussian.fit(real), Gaussian.fit(fake)) >= 0


@given(ROWS, DIMENSIONS, SEEDS, SEEDS)
def test_the_order_of_rows_does_not_matter(n: int, d: int, one: int, other: int) -> None:
    real, fake = features(n, d, one), features(n, d, other)
    shuffled = np.random.default_rng(one).permutation(fake)

    assert frechet_distance(Gaussian.fit(real), Gaussian.fit(shuffled)) == pytest.approx(
        frechet_distance(Gaussian.fit(real), Gaussian.fit(fake)),
        abs=1e-6 * size(Gaussian.fit(real), Gaussian.fit(fake)),
    )


@given(DIMENSIONS, SEEDS, SEEDS)
def test_a_shift_adds_its_square_and_nothing_else(d: int, one: int, other: int) -> None:
    real, shift = features(30, d, one), features(2, d, other)[0]

    assert frechet_distance(Gaussian.fit(real), Gaussian.fit(real + shift)) == pytest.approx(
        np.square(shift).sum(), rel=1e-5, abs=1e-5
    )


@pytest.mark.parametrize(("n", "d"), [(200, 1), (200, 8), (100, 32)])
@pytest.mark.parametrize("seed", range(3))
def test_the_distance_agrees_with_the_matrix_square_root(n: int, d: int, seed: int) -> None:
    real, fake = Gaussian.fit(features(n, d, seed)), Gaussian.fit(features(n, d, seed + 100, scale=1.5))

    cross = np.trace(sqrtm(real.covariance @ fake.covariance).real)
    expected = np.square(real.mean - fake.mean).sum() + np.trace(real.covariance + fake.covariance) - 2 * cross

    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(2, 5), (8, 20), (20, 64)])
@pytest.mark.parametrize("seed", range(3))
def test_singular_covariances_agree_with_the_matrix_square_root_next_to_them(n: int, d: int, seed: int) -> None:
    real, fake = Gaussian.fit(features(n, d, seed)), Gaussian.fit(features(n, d, seed + 100, scale=1.5))

    nudge = 1e-8 * np.eye(d)
    cross = np.trace(sqrtm((real.covariance + nudge) @ (fake.covariance + nudge)).real)
    expected = np.square(real.mean - fake.mean).sum() + np.trace(real.covariance + fake.covariance) - 2 * cross

    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("n", [0, 1])
def test_a_covariance_needs_two_rows(n: int) -> None:
    with pytest.raises(EvaluationError, match=f"needs at least 2 rows of features, got {n}; add rows"):
        Gaussian.fit(np.ones((n, 3)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_are_refused(value: float) -> None:
    rows = features(5, 3, 0)
    rows[2, 1] = value

    with pytest.raises(EvaluationError, match="the features hold NaN or infinity; look at the images"):
        Gaussian.fit(rows)


def test_sets_from_two_extractors_are_refused() -> None:
    real, fake = Gaussian.fit(features(5, 3, 0)), Gaussian.fit(features(5, 4, 0))

    with pytest.raises(EvaluationError, match="the sets have 3 and 4 features; use one extractor for both"):
        frechet_distance(real, fake)


@pytest.mark.parametrize(("sizes", "met"), [([9], "9 and 10"), ([10, 11], "10, 11 and 10"), ([2, 10], "2, 10 and 10")])
def test_sets_of_other_sizes_than_the_real_one_are_refused(sizes: list[int], met: str) -> None:
    fakes = [features(n, 3, n) for n in sizes]

    with pytest.raises(EvaluationError, match=f"needs as many fake rows as real ones, got {met}"):
        measure_frechet(features(10, 3, 0), fakes, draws=5, seed=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_measured_set_that_holds_no_numbers_is_refused(broken: int, value: float) -> None:
    sets = [features(10, 3, seed) for seed in range(3)]
    sets[broken][4, 1] = value

    with pytest.raises(EvaluationError, match="the features hold NaN or infinity"):
        measure_frechet(sets[0], sets[1:], draws=5, seed=0)


def test_measured_sets_from_two_extractors_are_refused() -> None:
    with pytest.raises(EvaluationError, match="the sets have 3 and 4 features; use one extractor for both"):
        measure_frechet(features(10, 3, 0), [features(10, 4, 1)], draws=5, seed=0)


@pytest.mark.parametrize("n", [5, 40])
def test_the_figure_is_the_mean_distance_of_the_sets(n: int) -> None:
    real, fakes = features(n, 8, 0), [features(n, 8, seed) for seed in (1, 2, 3)]

    found = measure_frechet(real, fakes, draws=5, seed=0)

    distances = [frechet_distance(Gaussian.fit(real), Gaussian.fit(fake)) for fake in fakes]
    assert found.point == pytest.approx(np.mean(distances))
    assert found.replicates.shape == (5,)


def test_the_figure_and_its_resamples_follow_the_seed() -> None:
    real, fakes = features(40, 3, 0), [features(40, 3, 1)]

    one, same, other = (measure_frechet(real, fakes, draws=5, seed=seed) for seed in (0, 0, 1))

    assert one.point == same.point == other.point
    np.testing.assert_array_equal(one.replicates, same.replicates)
    assert not np.array_equal(one.replicates, other.replicates)


@pytest.mark.parametrize("seed", range(5))
def test_the_corrected_interval_of_two_samples_of_one_gaussian_reaches_zero(seed: int) -> None:
    rng = np.random.default_rng(seed)
    real, fakes = rng.normal(size=(300, 6)), [rng.normal(size=(300, 6)) for _ in range(2)]

    measured = measure_frechet(real, fakes, draws=100, seed=0)
    found = measured.estimate(0.95)

    assert measured.point > 0.02
    assert 0 <= found.low <= 0.01
    assert abs(found.value) < 0.5 * measured.point


def test_the_corrected_interval_of_two_gaussians_holds_their_distance() -> None:
    rng = np.random.default_rng(0)
    real, fakes = rng.normal(size=(400, 4)), [1 + 2 * rng.normal(size=(400, 4)) for _ in range(2)]

    found = measure_frechet(real, fakes, draws=100, seed=0).estimate(0.95)

    assert found.low < 4 * (1 + (2 - 1) ** 2) < found.high
