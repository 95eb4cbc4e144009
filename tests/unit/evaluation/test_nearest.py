"""Nearest rows in blocks: what exact distances give, in any blocks, with ties and far from zero."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from regen.evaluation import nearest as module
from regen.evaluation.nearest import blocks, nearest, within

SEEDS = st.integers(0, 10_000)


def normal(n: int, seed: int, d: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def test_the_nearest_rows_take_known_values() -> None:
    queries, reference = np.array([[0.0], [5.0]]), np.array([[4.0], [1.0], [9.0]])

    found, second = nearest(queries, reference), nearest(queries, reference, k=2)

    assert (found.squares.tolist(), found.rows.tolist()) == ([1, 1], [1, 0])
    assert (second.squares.tolist(), second.rows[0]) == ([16, 16], 0)


@given(SEEDS, st.integers(1, 20), st.integers(1, 12), st.sampled_from([0.0, 1e6]))
def test_the_nearest_rows_are_those_of_exact_distances(seed: int, k: int, chunk: int, far: float) -> None:
    queries, reference = normal(15, seed) + far, normal(40, seed + 1) + far
    squares = cdist(queries, reference, "sqeuclidean")

    found = nearest(queries, reference, k, chunk)

    np.testing.assert_allclose(found.squares, np.sort(squares, axis=1)[:, k - 1], rtol=1e-12)
    np.testing.assert_allclose(squares[np.arange(15), found.rows], found.squares, rtol=1e-12)


@pytest.mark.parametrize("k", [1, 5, 30])
@pytest.mark.parametrize("kind", [[0.0], [0.0, 0.3], [0.1, 0.2, 0.3, 0.7]])
def test_more_ties_than_candidates_are_looked_at_one_by_one(k: int, kind: list[float]) -> None:
    rng = np.random.default_rng(0)
    queries, reference = rng.choice(kind, (20, 2)), rng.choice(kind, (200, 2)) + 0.1

    found = nearest(queries, reference, k, chunk=4)

    exact = np.square(queries[:, None] - reference).sum(axis=2)
    np.testing.assert_array_equal(found.squares, np.sort(exact, axis=1)[:, k - 1])
    np.testing.assert_array_equal(exact[np.arange(20), found.rows], found.squares)


def test_rows_that_come_ever_nearer_are_found() -> None:
    queries, reference = np.zeros((3, 2)), np.linspace(9, 0.5, 500)[:, None] * np.ones(2)

    assert nearest(queries, reference, 2, chunk=2).rows.tolist() == [498] * 3


def test_identical_rows_are_at_distance_zero() -> None:
    rows = normal(60, 0, d=50) * 1e3 + 1e5

    found = nearest(rows, rows, chunk=8)

    np.testing.assert_array_equal(found.squares, 0)
    np.testing.assert_array_equal(found.rows, np.arange(60))


@given(SEEDS, st.integers(1, 9))
def test_every_pair_comes_in_one_block_and_is_as_near_as_its_slack_says(seed: int, chunk: int) -> None:
    rows, columns = normal(17, seed), normal(23, seed + 1) + 5
    exact = cdist(rows, columns, "sqeuclidean")
    seen = np.zeros(exact.shape, int)

    for block in blocks(rows, columns, chunk):
        seen[block.rows, block.columns] += 1
        assert block.squares.shape[0] <= chunk
        assert block.squares.shape[1] <= module.WIDTH * chunk
        assert np.abs(block.squares - exact[block.rows, block.columns]).max() <= block.slack < 1e-9

    assert (seen == 1).all()


def test_pairs_at_their_very_limit_are_within_it() -> None:
    rows, columns = np.array([[0.1], [0.2]]), np.array([[0.3], [0.7]])
    limits = np.square(rows - columns.T)

    for block in blocks(rows, columns):
        i, j = within(block, limits, rows, columns)
        k, _ = within(block, np.nextafter(limits, 0), rows, columns)

    assert sorted(zip(i.tolist(), j.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len(k) == 0
