"""Nearest training rows, and how isolated a row is for the place it is in."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from regen.models.neighbours import isolation, nearest, spread


def rows(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


def test_the_nearest_rows_are_those_of_a_reference_implementation() -> None:
    reference, queries = rows(50), rows(7, seed=1)

    found = nearest(queries, reference, 4)

    distances, positions = NearestNeighbors(n_neighbors=4).fit(reference.numpy()).kneighbors(queries.numpy())
    np.testing.assert_allclose(found.distances.numpy(), distances, rtol=1e-4, atol=1e-5)
    assert (found.rows.numpy() == positions).all()


def test_more_neighbours_than_rows_are_all_rows() -> None:
    assert nearest(rows(2), rows(3, seed=1), 10).rows.shape == (2, 3)


def test_a_rows_spread_leaves_the_row_itself_out() -> None:
    line = torch.tensor([[0.0], [1.0], [3.0]])

    assert spread(line, 2).tolist() == pytest.approx([2.0, 1.5, 2.5])
    torch.testing.assert_close(spread(line, 2, chunk=1), spread(line, 2))


@pytest.mark.parametrize("n", [0, 1])
def test_rows_without_company_have_a_spread_of_1(n: int) -> None:
    assert spread(rows(n), 10).tolist() == [1.0] * n


def test_a_place_of_a_tight_group_and_of_a_wide_one_compare() -> None:
    tight, wide = 0.01 * rows(200), 5 + rows(200, seed=1)
    reference = torch.cat([tight, wide])
    spreads = spread(reference, 10)

    inside, beside = 0.01 * rows(40, seed=2), torch.tensor([0.1, 0.0, 0.0]) + 0.01 * rows(40, seed=2)
    among_wide = 5 + rows(40, seed=3)

    of = [isolation(nearest(some, reference, 10), spreads).mean().item() for some in (inside, beside, among_wide)]
    assert abs(of[0]) < 0.3
    assert abs(of[2]) < 0.3
    assert of[1] > 1, "it is far for where it is, though nearer than the wide group's rows are to each other"
