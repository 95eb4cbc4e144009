"""Augmentation: shape-keeping, differentiable, and the identity at probability 0."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regen.training.augment import augment


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 8, shape: tuple[int, int, int] = (1, 8, 8)) -> torch.Tensor:
    return torch.rand(n, *shape, generator=rng(1))


@pytest.mark.parametrize("probability", [0.0, -1.0])
def test_at_probability_0_it_is_the_identity(probability: float) -> None:
    given_ = images()

    assert torch.equal(augment(given_, probability, rng()), given_)


@given(st.integers(0, 1000), st.sampled_from([(1, 8, 8), (3, 9, 7), (2, 1, 1), (1, 28, 28)]), st.floats(0, 0.999))
def test_the_shape_stays(seed: int, shape: tuple[int, int, int], probability: float) -> None:
    assert augment(images(3, shape), probability, rng(seed)).shape == (3, *shape)


def test_the_same_generator_gives_the_same_images() -> None:
    one, same, other = (augment(images(), 0.9, rng(seed)) for seed in (0, 0, 1))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_gradients_reach_the_images() -> None:
    given_ = images().requires_grad_(True)

    augment(given_, 0.9, rng()).sum().backward()

    assert (given_.grad.flatten(1).abs().sum(dim=1) > 0).all()
    assert torch.isfinite(given_.grad).all()


def test_it_is_linear_in_the_images() -> None:
    given_ = images()

    torch.testing.assert_close(augment(3 * given_, 0.9, rng()), 3 * augment(given_, 0.9, rng()))


def test_about_a_share_of_the_images_stays_as_it_is() -> None:
    given_ = images(4000, (1, 4, 4))

    same = (augment(given_, 0.3, rng()) == given_).flatten(1).all(dim=1).float().mean()

    # contrast leaves 0.7; a shift leaves another 0.7, and of the rest the ninth that is shifted by nothing
    assert same.item() == pytest.approx(0.7 * (0.7 + 0.3 / 9), abs=0.03)


def test_a_shift_brings_zeros_in_and_moves_by_an_eighth_of_the_height_at_most() -> None:
    dot = torch.zeros(500, 1, 16, 16)
    dot[:, 0, 8, 8] = 1.0

    moved = augment(dot, 0.999, rng()).squeeze(1).nonzero()

    assert len(moved) == 500
    assert set((moved[:, 1:] - 8).unique().tolist()) == {-2, -1, 0, 1, 2}


def test_an_image_shifted_to_the_border_loses_what_leaves_it() -> None:
    border = torch.zeros(500, 1, 8, 8)
    border[:, 0, 0, 0] = 1.0

    left = augment(border, 0.999, rng()).flatten(1).ne(0).sum(dim=1)

    assert set(left.tolist()) == {0, 1}
