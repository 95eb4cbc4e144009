"""The GAN's two networks: shapes, and samples that follow their generator."""

import pytest
import torch

from regen.models.gan import Discriminator, Generator


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 9, 7)])
@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_every_image_size_is_generated_and_judged(network: str, shape: tuple[int, int, int]) -> None:
    generator, discriminator = Generator(shape, network, 2, 5), Discriminator(shape, network, 2)

    images = generator.sample(3, torch.Generator())

    assert images.shape == (3, *shape)
    assert discriminator(images).shape == (3,)


def test_samples_follow_the_generator() -> None:
    model = Generator((1, 8, 8), "mlp", 2, 5)

    one, same, other = (model.sample(1100, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == (1100, 1, 8, 8)


def test_samples_leave_the_global_generator_alone() -> None:
    model, before = Generator((1, 8, 8), "mlp", 2, 5), torch.get_rng_state()

    model.sample(3, torch.Generator())

    assert torch.equal(torch.get_rng_state(), before)


def test_an_untrained_generator_makes_grey_images() -> None:
    torch.manual_seed(0)

    images = Generator((1, 8, 8), "conv", 4, 5).sample(64, torch.Generator())

    assert images.mean() == pytest.approx(0.5, abs=0.2)
