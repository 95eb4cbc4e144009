"""Augmentation: shape-keeping, differentiable, and the identity at probability 0."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regen.training.augment import adapt, augment
from regen.training.draws import Draws


def draws(seed: int = 0) -> Draws:
    return Draws(seed, "augment")


def images(n: int = 8, shape: tuple[int, int, int] = (1, 8, 8)) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("probability", [0, 0.0, -1.0, torch.tensor(0.0)])
def test_at_probability_0_it_is_the_identity(probability: float | torch.Tensor) -> None:
    given_ = images()

    assert torch.equal(augment(given_, probability, draws()), given_)


@given(st.integers(0, 1000), st.sampled_from([(1, 8, 8), (3, 9, 7), (2, 1, 1), (1, 28, 28)]), st.floats(0, 0.999))
def test_the_shape_stays(seed: int, shape: tuple[int, int, int], probability: float) -> None:
    assert augment(images(3, shape), probability, draws(seed)).shape == (3, *shape)


def test_the_same_draws_give_the_same_images() -> None:
    one, same, other = (augment(images(), 0.9, draws(seed)) for seed in (0, 0, 1))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_gradients_reach_the_images() -> None:
    given_ = images().requires_grad_(True)

    augment(given_, 0.9, draws()).sum().backward()

    assert (given_.grad.flatten(1).abs().sum(dim=1) > 0).all()
    assert torch.isfinite(given_.grad).all()


def test_it_is_linear_in_the_images() -> None:
    given_ = images()

    torch.testing.assert_close(augment(3 * given_, 0.9, draws()), 3 * augment(given_, 0.9, draws()))


def test_about_a_share_of_the_images_stays_as_it_is() -> None:
    given_ = images(4000, (1, 4, 4))

    same = (augment(given_, 0.3, draws()) == given_).flatten(1).all(dim=1).float().mean()

    # contrast leaves 0.7; a shift leaves another 0.7, and of the rest the ninth that is shifted by nothing
    assert same.item() == pytest.approx(0.7 * (0.7 + 0.3 / 9), abs=0.03)


def test_a_shift_brings_zeros_in_and_moves_by_an_eighth_of_the_height_at_most() -> None:
    dot = torch.zeros(500, 1, 16, 16)
    dot[:, 0, 8, 8] = 1.0

    moved = augment(dot, 0.999, draws()).squeeze(1).nonzero()

    assert len(moved) == 500
    assert set((moved[:, 1:] - 8).unique().tolist()) == {-2, -1, 0, 1, 2}


def test_an_image_shifted_to_the_border_loses_what_leaves_it() -> None:
    border = torch.zeros(500, 1, 8, 8)
    border[:, 0, 0, 0] = 1.0

    left = augment(border, 0.999, draws()).flatten(1).ne(0).sum(dim=1)

    assert set(left.tolist()) == {0, 1}


def test_a_probability_in_a_tensor_is_as_good_as_a_number() -> None:
    assert torch.equal(augment(images(), torch.tensor(0.4), draws()), augment(images(), 0.4, draws()))


@pytest.mark.parametrize("probability", [0.0, 0.3])
def test_two_processes_augment_their_shares_as_one_would_the_whole(probability: float) -> None:
    whole = augment(images(8), torch.tensor(probability), draws())

    parts = [
        augment(images(8)[4 * rank : 4 * rank + 4], torch.tensor(probability), Draws(0, "augment", rank=rank, world=2))
        for rank in (0, 1)
    ]

    assert torch.equal(torch.cat(parts), whole)


def adapted(probability: float, confidence: float, target: float = 0.6, spent: float = 0.01) -> float:
    return adapt(torch.tensor(probability), torch.tensor(confidence), target, 0.3, spent, ramp_share=0.3).item()


def test_the_probability_grows_while_the_discriminator_is_too_sure_and_falls_else() -> None:
    assert adapted(0.1, 0.9) == pytest.approx(0.11)
    assert adapted(0.1, 0.2) == pytest.approx(0.09)
    assert adapted(0.1, 0.6) == pytest.approx(0.1)


def test_the_probability_stays_between_0_and_its_most() -> None:
    assert adapted(0.295, 0.9) == pytest.approx(0.3)
    assert adapted(0.005, -1.0) == 0


def test_an_overfitting_discriminator_brings_the_probability_to_its_most_over_the_ramp() -> None:
    probability = 0.0
    for _ in range(29):
        probability = adapted(probability, 1.0)

    assert probability == pytest.approx(0.29, abs=1e-5)
    assert adapted(adapted(probability, 1.0), 1.0) == pytest.approx(0.3)


@given(st.floats(-1, 1))
def test_without_a_target_it_grows_whatever_the_discriminator_does(confidence: float) -> None:
    assert adapted(0.1, confidence, target=0.0) == pytest.approx(0.11)


@given(st.floats(0, 0.3), st.floats(-1, 1), st.floats(0, 0.99), st.floats(0, 1))
def test_the_probability_never_leaves_its_range(
    probability: float, confidence: float, target: float, spent: float
) -> None:
    assert 0 <= adapted(probability, confidence, target, spent) <= 0.3 + 1e-6
