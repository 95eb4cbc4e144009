"""The GAN's loop: its samples come nearer to the data, and every term of its loss moves the result."""

import pytest
import torch
from torch import Tensor

from regen.core.config import GanConfig
from regen.training.engine import Runtime
from regen.training.gan import TrainedGan, build, train_gan

CONFIG = GanConfig(network="mlp", width=2, latent_dim=4, images=500 * 16, batch_size=16)
SHORT = CONFIG.model_copy(update={"images": 20 * 16})


def halves(n: int) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    images = 0.2 * torch.rand(n, 1, 8, 8, generator=rng)
    images[0::2, :, :, :4] += 0.7
    images[1::2, :, :, 4:] += 0.7
    return images


@pytest.fixture(scope="module")
def trained() -> TrainedGan:
    return train_gan(CONFIG, halves(200), 0, Runtime(log_every_images=50 * 16))


def weights(config: GanConfig) -> Tensor:
    done = train_gan(config, halves(64), 0, Runtime())
    return torch.cat([p.detach().flatten() for net in (done.generator, done.discriminator) for p in net.parameters()])


def distance(samples: Tensor, real: Tensor) -> float:
    """Mean distance of each sample to the nearest real image."""
    return torch.cdist(samples.flatten(1), real.flatten(1)).min(dim=1).values.mean().item()


def test_a_few_hundred_steps_bring_samples_nearer_to_the_data(trained: TrainedGan) -> None:
    real, latents = halves(200), 400
    untrained = build(CONFIG, (1, 8, 8), seed=0)[0]

    before = distance(untrained.sample(latents, torch.Generator().manual_seed(0)), real)
    after = distance(trained.generator.sample(latents, torch.Generator().manual_seed(0)), real)

    assert after < 0.6 * before


def test_samples_show_both_kinds_of_image(trained: TrainedGan) -> None:
    samples = trained.generator.sample(400, torch.Generator().manual_seed(0))

    left = (samples[..., :4].mean(dim=(1, 2, 3)) > samples[..., 4:].mean(dim=(1, 2, 3))).float().mean()

    assert 0.1 < left < 0.9


def test_the_curve_tells_of_each_term(trained: TrainedGan) -> None:
    assert set(trained.curve[0]) == {"images", "discriminator_loss", "gradient_penalty", "generator_loss"}


@pytest.mark.parametrize(
    "change",
    [
        {"penalty_weight": 5.0}, {"augment_probability": 0.0}, {"ema_half_life_share": 0.5}, {"learning_rate": 2e-3},
        {"final_learning_rate": 5e-4}, {"batch_size": 8}, {"latent_dim": 5}, {"width": 1},
    ],
    ids=str,
)  # fmt: skip
def test_every_setting_moves_the_result(change: dict) -> None:
    one, other = weights(SHORT), weights(SHORT.model_copy(update=change))

    assert one.shape != other.shape or not torch.equal(one, other)


def test_the_generator_is_an_average_and_frozen_while_the_discriminator_is_free(trained: TrainedGan) -> None:
    assert not any(parameter.requires_grad for parameter in trained.generator.parameters())
    assert all(parameter.requires_grad for parameter in trained.discriminator.parameters())


def test_untrained_weights_follow_the_seed() -> None:
    one, same, other = (build(CONFIG, (1, 8, 8), seed)[0].stem.net[0].weight for seed in (0, 0, 1))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_convolutions_train_too() -> None:
    done = train_gan(SHORT.model_copy(update={"network": "conv", "width": 1}), halves(64), 0, Runtime())

    assert done.generator.sample(3, torch.Generator()).shape == (3, 1, 8, 8)
