"""Streaming moments: known values, and the same result however rows are split over batches and processes."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.errors import EvaluationError
from regen.evaluation.frechet import Gaussian
from regen.evaluation.moments import Moments, gathered, merged
from tests.conftest import REPOSITORY
from tests.unit.evaluation import processes

SEEDS = st.integers(0, 10_000)
CUTS = st.lists(st.integers(0, 60), max_size=8).map(sorted)


def rows(n: int, seed: int, offset: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 5)) * np.arange(1, 6) + offset


def test_moments_take_known_values() -> None:
    found = Moments.of(np.array([[0.0, 1.0]])).update(np.array([[2.0, 1.0], [4.0, 4.0]]))

    assert found.n == 3
    np.testing.assert_allclose(found.mean, [2, 2])
    np.testing.assert_allclose(found.scatter, [[8, 6], [6, 6]])


@given(SEEDS, CUTS, st.sampled_from([0.0, 1e3, -1e6]))
def test_any_split_gives_what_all_rows_at_once_give(seed: int, cuts: list[int], offset: float) -> None:
    whole = rows(60, seed, offset)
    expected = Moments.of(whole)

    found = Moments.empty(5)
    for part in np.split(whole, cuts):
        found = found.update(part)

    assert found.n == 60
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12, atol=1e-12)
    scale = np.abs(expected.scatter).max()  # beside it, rows far from zero have lost digits before they come
    np.testing.assert_allclose(found.scatter, expected.scatter, atol=scale * max(1e-12, 1e-15 * abs(offset)))


@given(SEEDS, CUTS)
def test_merging_is_the_same_in_any_order_and_grouping(seed: int, cuts: list[int]) -> None:
    parts = [Moments.of(part) for part in np.split(rows(60, seed), cuts)]

    forwards, backwards = merged(parts), merged(parts[::-1])
    pairs = merged([merged(parts[i : i + 2]) for i in range(0, len(parts), 2)])

    for other in (backwards, pairs):
        np.testing.assert_allclose(other.mean, forwards.mean, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(other.scatter, forwards.scatter, rtol=1e-12, atol=1e-10)


def test_a_mean_far_from_zero_costs_no_digits_that_sums_of_squares_lose() -> None:
    whole = rows(200, 0, offset=1e6)
    exact = np.cov((whole - 1e6).T)

    streamed = merged(Moments.of(part) for part in np.split(whole, 20)).gaussian().covariance
    by_sums = (whole.T @ whole - 200 * np.outer(whole.mean(axis=0), whole.mean(axis=0))) / 199

    assert np.abs(streamed - exact).max() < 1e-8
    assert np.abs(by_sums - exact).max() > 1e-5


def test_the_gaussian_is_the_one_that_is_fitted_at_once() -> None:
    whole = rows(60, 3)
    fitted = Gaussian.fit(whole)

    found = Moments.of(whole[:7]).merge(Moments.of(whole[7:])).gaussian()

    np.testing.assert_allclose(found.mean, fitted.mean, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, fitted.covariance, rtol=1e-12, atol=1e-12)


def test_32_bit_rows_are_summed_in_64_bits() -> None:
    whole = rows(500, 0).astype(np.float32)

    np.testing.assert_array_equal(Moments.of(whole).scatter, Moments.of(whole.astype(np.float64)).scatter)


def test_moments_come_back_from_the_arrays_they_are_saved_as(tmp_path: Path) -> None:
    saved = Moments.of(rows(9, 0))
    np.savez(tmp_path / "moments.npz", **saved.arrays())

    with np.load(tmp_path / "moments.npz") as arrays:
        found = Moments.from_arrays(dict(arrays))

    assert found.n == 9
    np.testing.assert_array_equal(found.mean, saved.mean)
    np.testing.assert_array_equal(found.scatter, saved.scatter)


@pytest.mark.parametrize("n", [0, 1])
def test_a_covariance_needs_two_rows(n: int) -> None:
    with pytest.raises(EvaluationError, match=f"needs at least 2 rows of features, got {n}; add rows"):
        Moments.of(np.ones((n, 3))).gaussian()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(EvaluationError, match="NaN or infinity; look at the images"):
        Moments.empty(2).update(np.array([[1.0, value]]))


def test_parts_of_two_widths_are_refused() -> None:
    with pytest.raises(EvaluationError, match="the parts have 2 and 3 features; use one extractor for both"):
        Moments.empty(2).update(np.ones((4, 3)))


def test_one_process_gathers_its_own_value_alone() -> None:
    assert gathered("value") == ["value"]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of two processes came to."""
    folder = tmp_path_factory.mktemp("processes")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])}
    running = [
        subprocess.Popen([sys.executable, "-m", processes.__name__, str(folder), str(rank)], env=environment)
        for rank in range(2)
    ]
    assert [process.wait(timeout=100) for process in running] == [0, 0]
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]


@pytest.mark.slow
def test_two_processes_come_to_the_same_bits_and_to_what_one_process_comes_to(together: list[dict]) -> None:
    alone = Moments.of(processes.ROWS)

    for found in together:
        assert found["moments"]["n"] == len(processes.ROWS)
        np.testing.assert_array_equal(found["moments"]["scatter"], together[0]["moments"]["scatter"])
        np.testing.assert_allclose(found["moments"]["mean"], alone.mean, rtol=1e-12)
        np.testing.assert_allclose(found["moments"]["scatter"], alone.scatter, rtol=1e-12, atol=1e-10)


@pytest.mark.slow
def test_two_processes_come_to_the_set_of_features_that_one_comes_to(together: list[dict]) -> None:
    alone = processes.feature_set(processes.ROWS)

    for found in together:
        assert found["digest"] == alone.digest
        np.testing.assert_array_equal(found["scatter"], alone.moments.scatter)
