"""The GAN's losses: known values, directions, and a gradient from every term."""

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regen.training.losses import gradient_penalty, relativistic_discriminator_loss, relativistic_generator_loss

LOGITS = st.lists(st.floats(-20, 20), min_size=1, max_size=8)


def test_the_discriminators_loss_takes_a_known_value() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])

    expected = (log(1 + exp(-2)) + log(1 + exp(1))) / 2

    assert relativistic_discriminator_loss(real, fake).item() == pytest.approx(expected)


def test_the_generators_loss_takes_a_known_value() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])

    expected = (log(1 + exp(2)) + log(1 + exp(-1))) / 2

    assert relativistic_generator_loss(real, fake).item() == pytest.approx(expected)


@given(LOGITS)
def test_the_generators_loss_is_the_discriminators_with_sides_changed(values: list[float]) -> None:
    real, fake = torch.tensor(values), torch.tensor(values[::-1]) + 1

    assert relativistic_generator_loss(real, fake) == relativistic_discriminator_loss(fake, real)


@given(LOGITS, st.floats(-50, 50))
def test_only_differences_of_logits_count(values: list[float], shift: float) -> None:
    real, fake = torch.tensor(values), torch.tensor(values[::-1])

    torch.testing.assert_close(
        relativistic_discriminator_loss(real + shift, fake + shift),
        relativistic_discriminator_loss(real, fake),
        rtol=1e-3,
        atol=1e-4,
    )


@given(LOGITS)
def test_losses_are_positive_and_fall_as_the_right_side_wins(values: list[float]) -> None:
    real, fake = torch.tensor(values), torch.tensor(values[::-1])

    loss, better = relativistic_discriminator_loss(real, fake), relativistic_discriminator_loss(real + 1, fake)

    assert 0 < better < loss


def test_each_side_of_the_loss_has_a_gradient() -> None:
    real, fake = torch.randn(4, requires_grad=True), torch.randn(4, requires_grad=True)

    relativistic_discriminator_loss(real, fake).backward()

    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()


def test_the_penalty_of_a_linear_discriminator_is_its_squared_norm() -> None:
    weights = torch.tensor([[1.0, -2.0], [3.0, 0.5]], requires_grad=True)
    images = torch.rand(5, 1, 2, 2, requires_grad=True)

    penalty = gradient_penalty((images * weights).sum(dim=(1, 2, 3)), images)
    penalty.backward()

    assert penalty.item() == pytest.approx(1 + 4 + 9 + 0.25)
    torch.testing.assert_close(weights.grad, 2 * weights.detach())


def test_the_penalty_is_the_mean_over_images() -> None:
    images = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1, 1).requires_grad_(True)

    assert gradient_penalty(images.square().sum(dim=(1, 2, 3)), images).item() == pytest.approx((4 + 16 + 36) / 3)


def test_a_constant_discriminator_has_no_penalty() -> None:
    images = torch.rand(5, 1, 2, 2, requires_grad=True)

    assert gradient_penalty((0 * images).sum(dim=(1, 2, 3)), images).item() == 0
