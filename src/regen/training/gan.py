"""The GAN's loop; its default is R3GAN's relativistic loss with two zero-centred penalties (Huang et al., NeurIPS 2024).

https://arxiv.org/abs/2501.05441
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from regen.core.errors import CollapseError
from regen.core.sections.models import GanConfig
from regen.core.seeds import derive
from regen.models.gan import Classes, Discriminator, Generator, class_shares
from regen.models.networks import Shape, to_pixels
from regen.training import ema
from regen.training.augment import adapt, augment
from regen.training.engine import Budget, Guard, State, spend
from regen.training.losses import LOSSES, gradient_norms
from regen.training.rows import Feed, Rows
from regen.training.runtime import Runtime
from regen.training.schedules import cosine
from regen.training.slopes import logits_and_slopes

BETA2 = (0.9, 0.99)
"""Adam's β₂ at the start and at the end."""
AUGMENT_RAMP = 0.3
"""Share of the budget over which augmentation can rise to its probability."""
WASSERSTEIN_FACTOR = 20.0
"""λ of wgan-gp as a multiple of γ: 10, as published, at the default of 0.5."""
INSPECTED = 256
"""Samples whose diversity is measured."""
LEAST_DIVERSITY = 0.5
"""Below this share of the real rows' mean distance the samples count as collapsed."""


@dataclass(frozen=True)
class TrainedGan:
    """What a GAN's training gives."""

    generator: Generator
    """The moving average of the generator's weights, which is what is sampled from."""
    discriminator: Discriminator
    curve: list[dict[str, float]]


def build(config: GanConfig, shape: Shape, seed: int, classes: Sequence[str] = ()) -> tuple[Generator, Discriminator]:
    """Untrained networks, their weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "gan", "weights"))
        return (
            Generator(shape, config.network, config.width, config.latent_dim, classes),
            Discriminator(shape, config.network, config.width, classes),
        )


def train_gan(config: GanConfig, rows: Rows, seed: int, runtime: Runtime, classes: Sequence[str] = ()) -> TrainedGan:
    """Trains a generator of images like `rows`; a conditional one if there are `classes`.

    Raises:
        CollapseError: the samples have lost their diversity, and `stop_on_collapse` is set.
        DivergenceError: a loss is not finite, again and again.
    """
    generator, discriminator = build(config, rows.shape, seed, classes)
    generator.to(runtime.device)
    discriminator.to(runtime.device)
    generator.class_shares.copy_(class_shares(rows.classes, len(classes)))
    average = ema.averaged_copy(generator)
    g_optimiser, d_optimiser = (
        torch.optim.Adam(net.parameters(), config.learning_rate, betas=(0.0, BETA2[0]), fused=True)
        for net in (generator, discriminator)
    )
    state = State(
        {"generator": generator, "discriminator": discriminator, "average": average},
        {"generator": g_optimiser, "discriminator": d_optimiser},
        {"augment": torch.zeros((), device=runtime.device), "spent": torch.zeros((), dtype=torch.float64)},
    )
    loss, guard, n = LOSSES[config.loss], Guard(runtime), runtime.share(config.batch_size)
    draws = runtime.draws(seed, "gan")
    feeds = [Feed(rows, n, runtime.draws(seed, f"gan {net}")) for net in ("discriminator", "generator")]

    def latents() -> Float[Tensor, "n d"]:
        return draws.normal(n, config.latent_dim)

    def slopes_between(real: Tensor, fake: Tensor, of: Classes) -> Tensor:
        share = draws.uniform(n, 1, 1, 1)
        return logits_and_slopes(discriminator, share * real + (1 - share) * fake, of)[1]

    def step(spent: float) -> dict[str, Tensor]:
        draws.start(state.steps)
        for optimiser in (g_optimiser, d_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = state.rate * cosine(config.learning_rate, config.final_learning_rate, spent)
                group["betas"] = (0.0, cosine(*BETA2, spent))
        gamma = cosine(config.penalty_weight, config.penalty_weight / 10, spent)
        weight = WASSERSTEIN_FACTOR * config.penalty_weight if loss.penalised == "between" else gamma / 2
        held = state.values["augment"]
        probability = held if config.augment_probability else 0.0

        discriminator.requires_grad_(True)
        batch = feeds[0].at(state.steps)
        both, slope = batch.classes.repeat(2), torch.zeros((), device=runtime.device)
        with runtime.autocast():
            with torch.no_grad():
                fake = generator(latents(), batch.classes).float()
            images = torch.cat([batch.images, fake]).requires_grad_(True)
            seen = augment(images, probability, draws)
            if loss.penalised in ("real", "both"):
                logits, slopes = logits_and_slopes(discriminator, seen, both)
                (slopes,) = torch.autograd.grad(seen, images, slopes, create_graph=True)  # of the un-augmented images
                norms = gradient_norms(slopes)
                slope = norms[:n].mean() + (norms[n:].mean() if loss.penalised == "both" else 0)
            else:
                logits = discriminator(seen.detach(), both).float()
            if loss.penalised == "between":
                norms = gradient_norms(slopes_between(batch.images, fake, batch.classes))
                slope = ((norms + 1e-12).sqrt() - 1).square().mean()
            adversarial = loss.adversarial(*logits.chunk(2)).discriminator
        guard.step("the discriminator's", adversarial + weight * slope, discriminator, d_optimiser)

        discriminator.requires_grad_(False)
        batch = feeds[1].at(state.steps)
        with runtime.autocast():
            real_logits = torch.zeros(n, device=runtime.device)
            if loss.pairs:
                with torch.no_grad():
                    real_logits = discriminator(augment(batch.images, probability, draws), batch.classes).float()
            fake = augment(generator(latents(), batch.classes), probability, draws)
            generator_loss = loss.adversarial(real_logits, discriminator(fake, batch.classes).float()).generator
        guard.step("the generator's", generator_loss, generator, g_optimiser)

        ema.update(average, generator, config.batch_size, config.ema_half_life_share * state.images)
        real_side, fake_side = logits.detach().chunk(2)
        confidence = runtime.mean(torch.sign(real_side if loss.has_zero else real_side - fake_side).mean())
        state.values["augment"] = adapt(
            held, confidence, config.augment_target, config.augment_probability,
            spent - float(state.values["spent"]), AUGMENT_RAMP,
        )  # fmt: skip
        state.values["spent"].fill_(spent)
        return {
            "discriminator_loss": adversarial, "gradient_penalty": slope, "generator_loss": generator_loss,
            "confidence": confidence, "augment_probability": held,
        }  # fmt: skip

    def inspect() -> None:
        fixed = torch.Generator().manual_seed(derive(seed, "gan", "preview"))
        samples = average.sample(INSPECTED, fixed)
        numbers = torch.randint(len(rows), (INSPECTED,), generator=fixed)
        share = diversity(samples, feeds[0].rows.take(numbers.to(runtime.device)).images.cpu())
        runtime.monitor.measure(state.images, {"diversity": share})
        runtime.monitor.picture(state.images, "samples", to_pixels(samples[:64]))
        if share < LEAST_DIVERSITY and float(state.values["spent"]) > 0.2:
            text = f"the GAN's samples differ {share:.2f} times as much as real rows, which is mode collapse"
            if config.stop_on_collapse:
                raise CollapseError(f"{text}; raise gan.penalty_weight or gan.augment_probability, or take gan.loss r3")
            runtime.monitor.warn(f"{text} (after {state.images:,} images)")

    try:
        spend(Budget(config.images, config.seconds), config.batch_size, state, step, runtime, guard, inspect)
    finally:
        for feed in feeds:
            feed.close()
    return TrainedGan(average.cpu(), discriminator.cpu().requires_grad_(True), state.curve)


def diversity(samples: Float[Tensor, "n c h w"], real: Float[Tensor, "m c h w"]) -> float:
    """Mean distance between two samples over that between two real rows: about 1, and 0 where all are alike."""
    among = [torch.pdist(images.flatten(1)).mean() for images in (samples, real)]
    return float(among[0] / among[1].clamp_min(1e-12))
