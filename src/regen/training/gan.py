"""R3GAN's loop: a relativistic pairing loss with two zero-centred gradient penalties (Huang et al., NeurIPS 2024).

https://arxiv.org/abs/2501.05441
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from regen.core.config import GanConfig
from regen.core.seeds import derive
from regen.models.gan import Discriminator, Generator
from regen.training import ema
from regen.training.augment import augment
from regen.training.engine import Runtime, State, draw, require_finite, show, spend
from regen.training.losses import gradient_penalty, relativistic_discriminator_loss, relativistic_generator_loss
from regen.training.schedules import cosine, ramp

BETA2 = (0.9, 0.99)
"""Adam's β₂ at the start and at the end."""
AUGMENT_RAMP = 0.3
"""Share of the budget over which augmentation rises to its probability."""


@dataclass(frozen=True)
class TrainedGan:
    """What a GAN's training gives."""

    generator: Generator
    """The moving average of the generator's weights, which is what is sampled from."""
    discriminator: Discriminator
    curve: list[dict[str, float]]


def build(config: GanConfig, shape: tuple[int, int, int], seed: int) -> tuple[Generator, Discriminator]:
    """Untrained networks, their weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "gan", "weights"))
        return (
            Generator(shape, config.network, config.width, config.latent_dim),
            Discriminator(shape, config.network, config.width),
        )


def train_gan(config: GanConfig, images: Float[Tensor, "n c h w"], seed: int, runtime: Runtime) -> TrainedGan:
    """Trains a generator of images like `images`, which lie in [0, 1].

    Raises:
        DivergenceError: a loss is not finite.
    """
    images = images.to(runtime.device)
    channels, height, width = images.shape[1:]
    generator, discriminator = build(config, (channels, height, width), seed)
    generator.to(runtime.device)
    discriminator.to(runtime.device)
    average = ema.averaged_copy(generator)
    g_optimiser, d_optimiser = (
        torch.optim.Adam(net.parameters(), config.learning_rate, betas=(0.0, BETA2[0]), fused=True)
        for net in (generator, discriminator)
    )
    rng = torch.Generator().manual_seed(derive(seed, "gan", "draws"))
    state = State(
        {"generator": generator, "discriminator": discriminator, "average": average},
        {"generator": g_optimiser, "discriminator": d_optimiser},
        rng,
    )

    def latents() -> Float[Tensor, "n d"]:
        return torch.randn(config.batch_size, config.latent_dim, generator=rng).to(runtime.device)

    def step(spent: float) -> dict[str, Tensor]:
        for optimiser in (g_optimiser, d_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = cosine(config.learning_rate, config.final_learning_rate, spent)
                group["betas"] = (0.0, cosine(*BETA2, spent))
        gamma = cosine(config.penalty_weight, config.penalty_weight / 10, spent)
        probability = ramp(config.augment_probability, AUGMENT_RAMP, spent)

        discriminator.requires_grad_(True)
        real = draw(images, config.batch_size, rng)
        with torch.no_grad():
            fake = generator(latents())
        both = torch.cat([real, fake]).requires_grad_(True)
        logits = discriminator(augment(both, probability, rng))
        adversarial = relativistic_discriminator_loss(*logits.chunk(2))
        penalty = 2 * gradient_penalty(logits, both)  # R1 + R2: twice the mean over both halves
        d_loss = adversarial + gamma / 2 * penalty
        require_finite(d_loss, state.images, "the discriminator's")
        d_optimiser.zero_grad()
        d_loss.backward()
        d_optimiser.step()

        discriminator.requires_grad_(False)
        with torch.no_grad():
            real_logits = discriminator(augment(draw(images, config.batch_size, rng), probability, rng))
        fake_logits = discriminator(augment(generator(latents()), probability, rng))
        g_loss = relativistic_generator_loss(real_logits, fake_logits)
        require_finite(g_loss, state.images, "the generator's")
        g_optimiser.zero_grad()
        g_loss.backward()
        g_optimiser.step()

        ema.update(average, generator, config.batch_size, config.ema_half_life_share * state.images)
        return {"discriminator_loss": adversarial, "gradient_penalty": penalty, "generator_loss": g_loss}

    def preview() -> None:
        fixed = torch.Generator().manual_seed(derive(seed, "gan", "preview"))
        runtime.monitor.picture(state.images, "samples", show(average.sample(64, fixed)))

    spend(config.images, config.batch_size, state, step, runtime, preview)
    return TrainedGan(average.cpu(), discriminator.cpu().requires_grad_(True), state.curve)
