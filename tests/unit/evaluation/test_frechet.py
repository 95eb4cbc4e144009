"""The Fréchet distance: known values, its properties as a distance, and agreement with the formula it stands for."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torchmetrics.image.fid import _compute_fid

from regen.core.errors import EvaluationError
from regen.evaluation import frechet
from regen.evaluation.frechet import (
    Gaussian,
    Thin,
    frechet_at_infinity,
    frechet_distance,
    measure_frechet,
    summarise,
)

SEEDS = st.integers(0, 2**32 - 1)
ROWS, DIMENSIONS = st.integers(2, 30), st.integers(1, 12)
SCALES = st.floats(1e-3, 1e3)


def features(n: int, d: int, seed: int, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return scale * (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d))


def by_singular_values(real: np.ndarray, fake: np.ndarray) -> float:
    """The distance from the rows themselves, without any product that squares them."""
    centred = [(rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1) for rows in (real, fake)]
    cross = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    apart = np.square(real.mean(axis=0) - fake.mean(axis=0)).sum()
    return float(apart + sum(np.square(rows).sum() for rows in centred) - 2 * cross)


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


@pytest.mark.parametrize(("n", "d"), [(300, 4), (500, 64), (40, 64), (3, 64), (64, 64), (65, 64)])
@pytest.mark.parametrize("seed", range(2))
def test_thin_and_whole_ways_agree_with_each_other_and_with_singular_values(n: int, d: int, seed: int) -> None:
    real, fake = features(n, d, seed), features(n, d, seed + 100, scale=1.5)
    expected = by_singular_values(real, fake)

    for one in (Gaussian.fit(real), Thin.fit(real)):
        for other in (Gaussian.fit(fake), Thin.fit(fake)):
            assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(300, 4), (300, 32), (500, 64)])
@pytest.mark.parametrize("seed", range(2))
def test_the_distance_agrees_with_torchmetrics(n: int, d: int, seed: int) -> None:
    real, fake = Gaussian.fit(features(n, d, seed)), Gaussian.fit(features(n, d, seed + 100, scale=1.5))

    expected = _compute_fid(*map(torch.from_numpy, (real.mean, real.covariance, fake.mean, fake.covariance)))

    assert frechet_distance(real, fake) == pytest.approx(float(expected), rel=1e-8)


def nearly_flat(n: int, d: int, seed: int) -> np.ndarray:
    """Rows whose spread falls by twelve orders of magnitude from the first direction to the last."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * 10.0 ** -np.linspace(0, 12, d) @ np.linalg.qr(rng.normal(size=(d, d)))[0]


DEGENERATE = {
    "constant features": lambda n, d, seed: np.concatenate(
        [features(n, d // 2, seed), np.ones((n, d - d // 2))], axis=1
    ),
    "nothing but constants": lambda n, d, seed: np.full((n, d), float(seed)),
    "repeated rows": lambda n, d, seed: np.repeat(features(3, d, seed), n // 3 + 1, axis=0)[:n],
    "repeated features": lambda n, d, seed: np.repeat(features(n, 2, seed), d // 2, axis=1),
    "far from zero": lambda n, d, seed: features(n, d, seed) + 1e4,
    "nearly flat": nearly_flat,
}


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("n", [20, 200])
def test_degenerate_sets_agree_with_singular_values_and_are_at_no_distance_from_themselves(kind: str, n: int) -> None:
    real, fake = (DEGENERATE[kind](n, 32, seed) for seed in (1, 2))
    scale = size(Gaussian.fit(real - real.mean(axis=0)), Gaussian.fit(fake - real.mean(axis=0)))

    for fit in (Gaussian.fit, Thin.fit):
        assert frechet_distance(fit(real), fit(fake)) == pytest.approx(by_singular_values(real, fake), abs=1e-8 * scale)
        assert frechet_distance(fit(real), fit(real)) == pytest.approx(0, abs=1e-8 * scale)


@given(ROWS, DIMENSIONS, SEEDS, SEEDS, st.floats(-100, 100))
def test_a_rotation_and_a_shift_of_both_sets_change_nothing(n: int, d: int, one: int, other: int, shift: float) -> None:
    real, fake = features(n, d, one), features(n, d, other)
    turn = np.linalg.qr(np.random.default_rng(one).normal(size=(d, d)))[0]

    before, after = (
        frechet_distance(Gaussian.fit(a), Gaussian.fit(b))
        for a, b in ((real, fake), (real @ turn + shift, fake @ turn + shift))
    )

    assert after == pytest.approx(before, rel=1e-6, abs=1e-6 * size(Gaussian.fit(real), Gaussian.fit(fake)))


def test_the_references_factor_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fakes = Gaussian.fit(features(50, 4, 0)), [Gaussian.fit(features(50, 4, seed)) for seed in (1, 2)]
    first = frechet_distance(real, fakes[0])
    monkeypatch.setattr(frechet, "_factor", None)

    assert frechet_distance(real, fakes[0]) == first
    assert frechet_distance(real, fakes[1]) > 0


def test_a_singular_covariances_factor_has_as_many_columns_as_its_rank() -> None:
    singular = Gaussian.fit(features(5, 20, 0))

    assert singular.factor.shape == (20, 4)
    np.testing.assert_allclose(singular.factor @ singular.factor.T, singular.covariance, atol=1e-10)


@pytest.mark.parametrize(("n", "kind"), [(7, Thin), (8, Gaussian), (9, Gaussian)])
def test_fewer_rows_than_features_are_summarised_thin(n: int, kind: type) -> None:
    rows = features(n, 8, 0)

    found = summarise(rows)

    assert type(found) is kind
    np.testing.assert_allclose(found.covariance, np.cov(rows, rowvar=False), atol=1e-12)


def test_32_bit_features_are_measured_in_64_bits() -> None:
    real, fake = (features(100, 6, seed).astype(np.float32) for seed in (0, 1))

    exact = frechet_distance(summarise(real.astype(np.float64)), summarise(fake.astype(np.float64)))

    assert frechet_distance(summarise(real), summarise(fake)) == exact


@pytest.mark.parametrize("scale", [1.0, 1.1])
def test_the_extrapolated_distance_is_much_nearer_the_truth_than_the_plain_one(scale: float) -> None:
    truth, plain, extrapolated = 24 * (scale - 1) ** 2, [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        real, fake = rng.normal(size=(800, 24)), scale * rng.normal(size=(800, 24))
        plain.append(frechet_distance(Gaussian.fit(real), Gaussian.fit(fake)))
        extrapolated.append(frechet_at_infinity(real, fake))

    assert np.mean(plain) > truth + 0.1
    assert abs(np.mean(extrapolated) - truth) < (np.mean(plain) - truth) / 5


def test_the_extrapolated_distance_follows_the_seed() -> None:
    real, fake = features(200, 3, 0), features(200, 3, 1)

    assert frechet_at_infinity(real, fake, seed=4) == frechet_at_infinity(real, fake, seed=4)
    assert frechet_at_infinity(real, fake, seed=4) != frechet_at_infinity(real, fake, seed=5)


@pytest.mark.parametrize(
    ("n", "m", "d", "sizes", "words"),
    [
        (30, 29, 2, 15, "needs as many fake rows as real ones, got 29 and 30; cut the larger set"),
        (29, 29, 10, 15, "FD∞ of 10 features needs at least 2 sizes and 30 rows, got 15 and 29; add rows"),
        (19, 19, 2, 15, "needs at least 2 sizes and 20 rows, got 15 and 19"),
        (30, 30, 2, 1, "needs at least 2 sizes and 20 rows, got 1 and 30"),
    ],
)
def test_what_gives_no_line_to_infinity_is_refused(n: int, m: int, d: int, sizes: int, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        frechet_at_infinity(features(n, d, 0), features(m, d, 1), sizes)


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
