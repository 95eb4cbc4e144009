"""Neighbours: the nearest reference rows, how close they lie to each other, and who is alone among them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regen.models.neighbours import isolation, nearest, spread


def rows(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 30), st.integers(1, 12))
def test_the_nearest_are_the_nearest(m: int, k: int) -> None:
    queries, reference = rows(5, 1), rows(m)

    found = nearest(queries, reference, k)

    distances = (queries[:, None] - reference[None]).norm(dim=2).sort(dim=1)
    torch.testing.assert_close(found.distances, distances.values[:, :k], rtol=1e-4, atol=1e-4)
    assert torch.equal(found.rows, distances.indices[:, :k])


def test_a_spread_is_the_mean_distance_to_the_nearest_others() -> None:
    line = torch.tensor([[0.0], [1.0], [3.0], [10.0]])

    assert spread(line, 2).tolist() == pytest.approx([2, 1.5, 2.5, 8])
    assert spread(line, 2, chunk=1).tolist() == pytest.approx([2, 1.5, 2.5, 8])
    assert spread(line, 99).tolist() == pytest.approx([14 / 3, 4, 4, 26 / 3])


def test_a_single_row_has_spread_1() -> None:
    assert spread(rows(1), 5).tolist() == [1]
    assert spread(rows(0), 5).tolist() == []


@given(st.floats(0.1, 10))
def test_isolation_does_not_depend_on_the_scale(scale: float) -> None:
    queries, reference = rows(5, 1), rows(20)

    plain = isolation(nearest(queries, reference, 4), spread(reference, 4))
    scaled = isolation(nearest(scale * queries, scale * reference, 4), spread(scale * reference, 4))

    torch.testing.assert_close(scaled, plain, rtol=1e-3, atol=1e-3)


def test_a_stranger_is_more_isolated_than_one_of_the_rows() -> None:
    reference = rows(50)
    found = isolation(nearest(torch.cat([rows(1, 3), torch.full((1, 3), 9.0)]), reference, 5), spread(reference, 5))

    assert found[1] > found[0] + 1


def test_rows_that_are_all_alike_leave_isolation_finite() -> None:
    same = torch.ones(6, 3)

    assert torch.isfinite(isolation(nearest(same, same, 3), spread(same, 3))).all()
