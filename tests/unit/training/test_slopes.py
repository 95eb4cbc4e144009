"""Logits with their slopes: written out where that is quicker, and the same as autograd's double backward."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regen.models.gan import Discriminator
from regen.training import slopes
from regen.training.slopes import logits_and_slopes


def case(network: str, shape: tuple[int, int, int], classes: tuple[str, ...]) -> tuple[Discriminator, Tensor, Tensor]:
    torch.manual_seed(0)
    discriminator = Discriminator(shape, network, 3, classes)
    return discriminator, torch.rand(5, *shape), torch.arange(5) % 3


def by_autograd(discriminator: Discriminator, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    images = images.clone().requires_grad_(True)
    logits = discriminator(images, classes)
    (found,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return logits, found


def gradients(discriminator: Discriminator, logits: Tensor, found: Tensor) -> list[Tensor | None]:
    uneven = torch.arange(1.0, 6.0)
    loss = F.softplus(-logits).mean() + (uneven * found.square().flatten(1).sum(dim=1)).mean()
    return list(torch.autograd.grad(loss, list(discriminator.parameters()), allow_unused=True))


@pytest.mark.parametrize("classes", [(), ("a", "b", "c")], ids=["unconditional", "conditional"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 7), (1, 28, 28), (2, 1, 1)])
@pytest.mark.parametrize("network", ["conv", "mlp", "transformer"])
def test_values_and_every_gradient_are_autograds(network: str, shape: tuple[int, int, int], classes: tuple) -> None:
    discriminator, images, of = case(network, shape, classes)

    found, wanted = logits_and_slopes(discriminator, images, of), by_autograd(discriminator, images, of)

    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    for one, other in zip(gradients(discriminator, *found), gradients(discriminator, *wanted), strict=True):
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("network", "times"), [("conv", 1), ("mlp", 1), ("transformer", 0)])
def test_networks_of_affine_layers_and_leaky_relus_are_written_out(
    network: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    discriminator, images, of = case(network, (1, 8, 8), ())
    called = []
    apply = slopes._Linearised.apply
    monkeypatch.setattr(slopes._Linearised, "apply", lambda *given: called.append(1) or apply(*given))

    logits_and_slopes(discriminator, images, of)

    assert len(called) == times


def test_another_nonlinearity_is_left_to_autograd() -> None:
    discriminator, images, of = case("mlp", (1, 4, 4), ())
    discriminator.head.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1))

    found, wanted = logits_and_slopes(discriminator, images, of), by_autograd(discriminator, images, of)

    for one, other in zip(gradients(discriminator, *found), gradients(discriminator, *wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_the_images_are_left_as_they_were() -> None:
    discriminator, images, of = case("conv", (1, 8, 8), ())
    before = images.clone()

    logits, found = logits_and_slopes(discriminator, images, of)
    (logits.sum() + found.sum()).backward()

    assert torch.equal(images, before)
    assert images.grad is None


@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_in_bfloat16_all_is_the_same_up_to_its_rounding(network: str) -> None:
    discriminator, images, of = case(network, (1, 8, 8), ("a", "b", "c"))
    wanted = logits_and_slopes(discriminator, images, of)

    with torch.autocast("cpu", torch.bfloat16):
        found = logits_and_slopes(discriminator, images, of)

    assert [one.dtype for one in found] == [torch.float32, torch.float32]
    pairs = zip([*found, *gradients(discriminator, *found)], [*wanted, *gradients(discriminator, *wanted)], strict=True)
    for one, other in pairs:
        if one is not None and other is not None:
            assert float((one - other).detach().norm()) <= 0.05 * float(other.detach().norm()) + 1e-6
