"""Numbers brought to views of them, and back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from regen.models.normaliser import FAR, KNOTS, Normaliser, tame


def fitted(numbers: Tensor) -> Normaliser:
    normaliser = Normaliser(numbers.shape[1])
    normaliser.fit(numbers)
    return normaliser


def skewed(n: int = 150, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, generator=rng, dtype=torch.float64).exp() * torch.tensor([1.0, 1e6])


@given(st.integers(0, 1000), st.integers(2, KNOTS))
def test_numbers_come_back_from_their_normal_scores(seed: int, n: int) -> None:
    numbers = skewed(n, seed)
    normaliser = fitted(numbers)

    torch.testing.assert_close(normaliser.numbers_of(normaliser.normal_scores(numbers)), numbers, rtol=1e-9, atol=1e-9)


@given(st.integers(0, 1000))
def test_every_view_keeps_the_order(seed: int) -> None:
    normaliser = fitted(skewed(300, seed))
    line = torch.linspace(-1e8, 1e8, 999, dtype=torch.float64)[:, None].expand(-1, 2)

    for view in (normaliser.z_scores, normaliser.normal_scores, normaliser.places):
        assert (view(line).diff(dim=0) > 0).all()


def test_z_scores_are_scikit_learns() -> None:
    numbers = skewed()

    expected = StandardScaler().fit_transform(numbers.numpy())

    np.testing.assert_allclose(fitted(numbers).z_scores(numbers), expected, rtol=1e-9)


def test_normal_scores_of_many_numbers_are_standard_normal() -> None:
    numbers = skewed(5000)

    scores = fitted(numbers).normal_scores(numbers)

    torch.testing.assert_close(scores.mean(dim=0), torch.zeros(2).double(), atol=0.02, rtol=0)
    torch.testing.assert_close(scores.std(dim=0), torch.ones(2).double(), atol=0.03, rtol=0)


def test_equal_numbers_have_the_score_of_their_middle_rank() -> None:
    normaliser = fitted(torch.tensor([[0.0], [0.0], [0.0], [7.0]], dtype=torch.float64))

    scores = normaliser.normal_scores(torch.tensor([[0.0], [7.0]], dtype=torch.float64))

    expected = torch.special.ndtri(torch.tensor([1.5 / 4, 3.5 / 4], dtype=torch.float64))
    torch.testing.assert_close(scores.flatten(), expected)


def test_outside_the_range_normal_scores_go_on_by_standard_deviations() -> None:
    numbers = skewed()
    normaliser = fitted(numbers)
    ends = torch.stack([numbers.min(dim=0).values, numbers.max(dim=0).values])

    beyond = normaliser.normal_scores(ends + torch.tensor([[-2.0], [2.0]]) * normaliser.scale)

    torch.testing.assert_close(beyond, normaliser.normal_scores(ends) + torch.tensor([[-2.0], [2.0]]))


def test_places_are_0_at_the_least_and_1_at_the_largest() -> None:
    numbers = skewed()

    places = fitted(numbers).places(numbers)

    assert places.min(dim=0).values.tolist() == [0, 0]
    assert places.max(dim=0).values.tolist() == [1, 1]


def test_whole_numbers_come_back_whole_and_none_leaves_the_range() -> None:
    normaliser = fitted(torch.arange(10.0, dtype=torch.float64)[:, None])

    back = normaliser.numbers_of(torch.linspace(-9, 9, 77, dtype=torch.float64)[:, None])

    assert torch.equal(back, back.round())
    assert (back.min(), back.max()) == (0, 9)


def test_missing_numbers_are_left_out_and_stay_missing() -> None:
    numbers = torch.tensor([[1.0], [torch.nan], [3.0]], dtype=torch.float64)
    normaliser = fitted(numbers)

    assert normaliser.mean.item() == 2
    for view in (normaliser.z_scores, normaliser.normal_scores, normaliser.places):
        assert view(numbers).isnan().flatten().tolist() == [False, True, False]


@pytest.mark.parametrize("value", [4.0, torch.nan])
def test_a_column_of_one_value_or_of_none_is_finite_everywhere(value: float) -> None:
    normaliser = fitted(torch.full((5, 1), value, dtype=torch.float64))
    asked = torch.tensor([[4.0], [-1e150], [1e150]], dtype=torch.float64)

    for view in (normaliser.z_scores, normaliser.normal_scores, normaliser.places):
        assert view(asked).isfinite().all()
        assert view(asked).abs().max() < 500


def test_dates_keep_their_seconds() -> None:
    seconds = 1.7e9 + torch.arange(100.0, dtype=torch.float64)[:, None]
    normaliser = fitted(seconds)

    assert torch.equal(normaliser.numbers_of(normaliser.normal_scores(seconds)), seconds)


def test_what_is_near_is_not_tamed() -> None:
    values = torch.linspace(-FAR, FAR, 50, dtype=torch.float64)[:, None]

    assert torch.equal(tame(values), values)
