"""Scores of different units on one scale."""

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regen.models.surprise import TAIL, Surprise


def fitted(parts: torch.Tensor) -> Surprise:
    surprise = Surprise(len(parts))
    surprise.fit(parts)
    return surprise


def test_surprise_is_minus_log_of_the_share_of_rows_as_high() -> None:
    scores = torch.arange(1001.0)[None]

    found = fitted(scores)(torch.tensor([[0.0, 500.0, 900.0]]))[0]

    assert found.tolist() == pytest.approx([0, log(2), log(10)], abs=1e-6)


def test_an_exponential_score_is_its_own_surprise() -> None:
    scores = torch.empty(1, 50_000).exponential_(generator=torch.Generator().manual_seed(0))

    found = fitted(scores)(torch.tensor([[0.5, 2.0, 5.0, 9.0]]))[0]

    assert found.tolist() == pytest.approx([0.5, 2.0, 5.0, 9.0], rel=0.05)


@given(st.integers(0, 1000), st.integers(2, 200), st.floats(1e-3, 1e3))
def test_the_order_is_kept_and_units_do_not_matter(seed: int, n: int, unit: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    normal, asked = torch.randn(2, n, generator=rng), torch.randn(2, 50, generator=rng).sort(dim=1).values

    found = fitted(normal)(3 * asked)

    assert (found.diff(dim=1) >= 0).all()
    assert found.isfinite().all()
    torch.testing.assert_close(fitted(unit * normal)(unit * 3 * asked), found, rtol=1e-4, atol=1e-4)


def test_the_strangest_rows_stay_apart() -> None:
    surprise = fitted(torch.rand(1, 100, generator=torch.Generator().manual_seed(0)))

    assert (surprise(torch.tensor([[2.0, 3.0, 4.0]])).diff() > 1).all()


def test_a_part_that_never_differs_is_finite() -> None:
    found = fitted(torch.ones(1, 20))(torch.tensor([[0.0, 1.0, 2.0]]))[0]

    assert found.isfinite().all()
    assert found[2] > -log(TAIL)


def test_the_first_parts_can_be_asked_alone() -> None:
    parts = torch.rand(3, 40, generator=torch.Generator().manual_seed(0))
    surprise = fitted(parts)

    torch.testing.assert_close(surprise(parts[:2]), surprise(parts)[:2])
