"""The GAN's losses: known values, directions, and a gradient from every term."""

from math import exp, log
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regen.core.sections.models import GanLoss
from regen.training.losses import LOSSES, gradient_norms, hinge, non_saturating, relativistic, wasserstein

LOGITS = st.lists(st.floats(-20, 20), min_size=1, max_size=8)
every_loss = pytest.mark.parametrize("name", LOSSES)


def softplus(value: float) -> float:
    return log(1 + exp(value))


def sides(values: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(values), torch.tensor(values[::-1])


@pytest.mark.parametrize(
    ("adversarial", "discriminator", "generator"),
    [
        (relativistic, (softplus(-2) + softplus(1)) / 2, (softplus(2) + softplus(-1)) / 2),
        (non_saturating, (softplus(-2) + 2 * softplus(0) + softplus(1)) / 2, (softplus(0) + softplus(-1)) / 2),
        (hinge, (0 + 1 + 1 + 2) / 2, -0.5),
        (wasserstein, (0 - 2 + 1 - 0) / 2, -0.5),
    ],
)
def test_each_loss_takes_known_values(adversarial, discriminator: float, generator: float) -> None:
    pair = adversarial(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0]))

    assert pair.discriminator.item() == pytest.approx(discriminator)
    assert pair.generator.item() == pytest.approx(generator)


def test_every_word_of_the_project_file_has_its_loss_and_its_published_penalty() -> None:
    assert set(LOSSES) == set(get_args(GanLoss))
    assert {name: (loss.adversarial, loss.penalised) for name, loss in LOSSES.items()} == {
        "r3": (relativistic, "both"),
        "ns": (non_saturating, "none"),
        "ns-r1": (non_saturating, "real"),
        "hinge": (hinge, "none"),
        "wgan-gp": (wasserstein, "between"),
    }


def test_only_the_relativistic_generator_looks_at_real_logits() -> None:
    for name, loss in LOSSES.items():
        real, fake = torch.tensor([0.3, -0.2], requires_grad=True), torch.zeros(2)
        generator = loss.adversarial(real, fake).generator
        assert generator.requires_grad == loss.pairs == (name == "r3")


@every_loss
def test_the_discriminator_is_drawn_to_raise_real_logits_and_to_lower_fake_ones(name: str) -> None:
    real, fake = torch.linspace(-0.9, 0.9, 4).requires_grad_(True), torch.linspace(0.9, -0.9, 4).requires_grad_(True)

    LOSSES[name].adversarial(real, fake).discriminator.backward()

    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()


@every_loss
def test_the_generator_is_drawn_to_raise_fake_logits(name: str) -> None:
    fake = torch.linspace(-2, 2, 5).requires_grad_(True)

    LOSSES[name].adversarial(torch.zeros(5), fake).generator.backward()

    assert (fake.grad < 0).all()


@every_loss
@given(LOGITS)
def test_the_discriminators_loss_never_rises_as_the_right_side_wins(name: str, values: list[float]) -> None:
    real, fake = sides(values)
    adversarial = LOSSES[name].adversarial

    loss = adversarial(real, fake).discriminator

    assert adversarial(real + 1, fake).discriminator <= loss
    assert adversarial(real, fake - 1).discriminator <= loss


@every_loss
@given(LOGITS)
def test_losses_are_means_so_the_batchs_size_does_not_count(name: str, values: list[float]) -> None:
    real, fake = sides(values)

    once, twice = (LOSSES[name].adversarial(real.repeat(k), fake.repeat(k)) for k in (1, 2))

    torch.testing.assert_close(twice.discriminator, once.discriminator)
    torch.testing.assert_close(twice.generator, once.generator)


@given(LOGITS)
def test_the_relativistic_generators_loss_is_the_discriminators_with_sides_changed(values: list[float]) -> None:
    real, fake = sides(values)

    assert relativistic(real, fake + 1).generator == relativistic(fake + 1, real).discriminator


@given(LOGITS, st.floats(-50, 50))
def test_only_differences_of_logits_count_where_pairs_are_compared(values: list[float], shift: float) -> None:
    real, fake = sides(values)

    for adversarial in (relativistic, wasserstein):
        torch.testing.assert_close(
            adversarial(real + shift, fake + shift).discriminator,
            adversarial(real, fake).discriminator,
            rtol=1e-3,
            atol=1e-4,
        )


@given(LOGITS)
def test_cross_entropies_are_positive(values: list[float]) -> None:
    real, fake = sides(values)

    assert all(loss > 0 for adversarial in (relativistic, non_saturating) for loss in adversarial(real, fake))


def test_hinge_is_indifferent_beyond_its_margins() -> None:
    real, fake = torch.tensor([1.0, 5.0], requires_grad=True), torch.tensor([-1.0, -7.0], requires_grad=True)

    loss = hinge(real, fake).discriminator
    loss.backward()

    assert loss.item() == 0
    assert real.grad.abs().sum() == fake.grad.abs().sum() == 0


def test_each_image_has_a_norm_of_its_own_its_squares_summed_over_pixels() -> None:
    slopes = torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.0, 0.0, 0.0, 0.0]]).reshape(2, 1, 2, 2)

    assert gradient_norms(slopes).tolist() == [1 + 4 + 9 + 0.25, 0]


def test_a_norm_has_a_gradient() -> None:
    slopes = torch.rand(3, 2, 2, 2, requires_grad=True)

    gradient_norms(slopes).sum().backward()

    torch.testing.assert_close(slopes.grad, 2 * slopes.detach())
