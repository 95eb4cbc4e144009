"""The GAN's two networks: shapes, classes, and samples that follow their generator."""

from typing import get_args

import pytest
import torch

from regen.core.errors import ConfigError
from regen.core.sections.base import Network
from regen.models.gan import Discriminator, Generator, class_shares, draw_classes, position_of

SHAPES = [(1, 8, 8), (3, 9, 7), (1, 28, 28), (3, 32, 32), (1, 1, 1)]
CLASSES = ("shirt", "shoe", "bag")
every_network = pytest.mark.parametrize("network", get_args(Network))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every_network
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [(), CLASSES], ids=["unconditional", "conditional"])
def test_every_image_size_is_generated_and_judged(network: str, shape: tuple[int, int, int], classes: tuple) -> None:
    generator, discriminator = Generator(shape, network, 2, 5, classes), Discriminator(shape, network, 2, classes)

    images = generator.sample(3, torch.Generator())

    assert images.shape == (3, *shape)
    assert torch.isfinite(images).all()
    assert discriminator(images, torch.tensor([0, 2, 1])).shape == (3,)


@every_network
@pytest.mark.parametrize("shape", SHAPES)
def test_every_discriminator_can_be_penalised(network: str, shape: tuple[int, int, int]) -> None:
    discriminator, images = Discriminator(shape, network, 2), torch.rand(2, *shape, requires_grad=True)

    logits = discriminator(images, torch.zeros(2, dtype=torch.int64))
    (slopes,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    slopes.square().sum().backward()

    found = [p.grad for p in discriminator.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in found)
    assert any(gradient.abs().sum() > 0 for gradient in found)


def test_samples_follow_the_generator() -> None:
    model = Generator((1, 8, 8), "mlp", 2, 5, CLASSES)

    one, same, other = (model.sample(1100, rng(seed)) for seed in (0, 0, 1))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == (1100, 1, 8, 8)


def test_samples_leave_the_global_generator_alone() -> None:
    model, before = Generator((1, 8, 8), "mlp", 2, 5, CLASSES), torch.get_rng_state()

    model.sample(3, torch.Generator())

    assert torch.equal(torch.get_rng_state(), before)


def test_an_untrained_generator_makes_grey_images() -> None:
    torch.manual_seed(0)

    images = Generator((1, 8, 8), "conv", 4, 5).sample(64, torch.Generator())

    assert images.mean() == pytest.approx(0.5, abs=0.2)


def test_another_class_is_another_image_of_the_same_latents() -> None:
    model = Generator((1, 8, 8), "mlp", 2, 5, CLASSES)

    of = [model.sample(4, rng(), torch.full((4,), position)) for position in range(3)]

    assert not any(torch.equal(of[one], of[other]) for one, other in ((0, 1), (0, 2), (1, 2)))


def test_the_class_goes_in_one_hot_behind_the_latents() -> None:
    model, latents = Generator((1, 8, 8), "mlp", 2, 5, CLASSES), torch.randn(2, 5)

    expected = (model.stem(torch.cat([latents, torch.eye(3)[[2, 0]]], dim=1)) + 1) / 2

    assert torch.equal(model(latents, torch.tensor([2, 0])), expected)


def test_without_classes_none_counts() -> None:
    generator, discriminator = Generator((1, 8, 8), "mlp", 2, 5), Discriminator((1, 8, 8), "mlp", 2)
    latents, images = torch.randn(3, 5), torch.rand(3, 1, 8, 8)
    none, some = torch.zeros(3, dtype=torch.int64), torch.tensor([4, 5, 6])

    assert torch.equal(generator(latents, none), generator(latents, some))
    assert torch.equal(discriminator(images, none), discriminator(images, some))


def test_samples_without_a_class_are_drawn_by_the_classes_shares() -> None:
    model = Generator((1, 8, 8), "mlp", 2, 5, CLASSES)
    model.class_shares.copy_(torch.tensor([0.0, 1.0, 0.0]))

    assert torch.equal(model.sample(6, rng()), model.sample(6, rng(), torch.ones(6, dtype=torch.int64)))


def test_classes_are_drawn_by_their_shares() -> None:
    drawn = draw_classes(torch.tensor([0.1, 0.6, 0.3]), 20_000, rng())

    assert (drawn.bincount() / 20_000).tolist() == pytest.approx([0.1, 0.6, 0.3], abs=0.02)
    assert torch.equal(drawn, draw_classes(torch.tensor([0.1, 0.6, 0.3]), 20_000, rng()))
    assert draw_classes(torch.zeros(0), 4, rng()).tolist() == [0, 0, 0, 0]


def test_shares_are_counted_over_all_classes_there_are() -> None:
    assert class_shares(torch.tensor([0, 0, 2, 0]), 4).tolist() == [0.75, 0, 0.25, 0]
    assert class_shares(torch.tensor([0, 0]), 0).tolist() == []
    assert class_shares(torch.zeros(0, dtype=torch.int64), 2).tolist() == [0, 0]


def test_a_conditional_logit_is_the_images_own_and_its_agreement_with_the_class() -> None:
    discriminator, images = Discriminator((1, 8, 8), "mlp", 2, CLASSES), torch.rand(3, 1, 8, 8)
    found = discriminator.head(2 * images - 1)

    logits = discriminator(images, torch.tensor([2, 0, 1]))

    torch.testing.assert_close(logits, found[:, 0] + found[[0, 1, 2], [3, 1, 2]])


def test_only_the_asked_classs_projection_has_a_gradient() -> None:
    discriminator = Discriminator((1, 8, 8), "mlp", 2, CLASSES)

    discriminator(torch.rand(2, 1, 8, 8), torch.tensor([1, 1])).sum().backward()

    rows = discriminator.head.net[-1].weight.grad.abs().sum(dim=1) > 0
    assert rows.tolist() == [True, False, True, False]


def test_a_class_stands_where_it_is_named() -> None:
    assert [position_of(name, CLASSES, "fashion-gan") for name in CLASSES] == [0, 1, 2]


def test_a_class_that_is_not_there_is_refused_and_those_that_are_named() -> None:
    with pytest.raises(ConfigError, match=r"fashion-gan has no class 'hat'; its classes are shirt, shoe, bag"):
        position_of("hat", CLASSES, "fashion-gan")


def test_a_model_without_classes_says_how_to_get_them() -> None:
    with pytest.raises(ConfigError, match=r"digits-gan knows no classes; train it with gan\.conditional: true"):
        position_of("3", (), "digits-gan")
