"""The GAN's loop; its default is R3GAN's relativistic loss with two zero-centred penalties (Huang et al., NeurIPS 2024).

https://arxiv.org/abs/2501.05441
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from regen.core.errors import CollapseError
from regen.core.sections.models import GanConfig
from regen.core.seeds import derive
from regen.models.gan import Discriminator, Generator, class_shares
from regen.models.networks import Shape, to_pixels
from regen.training import ema
from regen.training.augment import adapt, augment
from regen.training.critic import CriticLosses, confidence_of, critic_losses
from regen.training.draws import Draws
from regen.training.engine import Budget, Guard, State, spend
from regen.training.losses import LOSSES, Loss
from regen.training.rows import Feed, Rows
from regen.training.runtime import Runtime
from regen.training.schedules import cosine

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
    game = _Game.of(config, rows, seed, runtime, classes)
    budget = Budget(config.images, config.seconds)
    try:
        spend(budget, config.batch_size, game.state, game.step, runtime, game.guard, game.inspect)
    finally:
        for feed in game.feeds:
            feed.close()
    return TrainedGan(game.average.cpu(), game.discriminator.cpu().requires_grad_(True), game.state.curve)


@dataclass(frozen=True)
class _Game:
    """Both networks, what they learn from, and a turn of each."""

    config: GanConfig
    seed: int
    runtime: Runtime
    generator: Generator
    discriminator: Discriminator
    average: Generator
    """Of the generator's weights."""
    g_optimiser: Optimizer
    d_optimiser: Optimizer
    state: State
    guard: Guard
    draws: Draws
    feeds: tuple[Feed, Feed]
    """Real rows for the discriminator's turns and for the generator's."""

    @classmethod
    def of(cls, config: GanConfig, rows: Rows, seed: int, runtime: Runtime, classes: Sequence[str]) -> "_Game":
        """The game before its first turn."""
        generator, discriminator = build(config, rows.shape, seed, classes)
        generator.to(runtime.device)
        discriminator.to(runtime.device)
        generator.class_shares.copy_(class_shares(rows.classes, len(classes)))
        average, n = ema.averaged_copy(generator), runtime.share(config.batch_size)
        g_optimiser, d_optimiser = (
            torch.optim.Adam(net.parameters(), config.learning_rate, betas=(0.0, BETA2[0]), fused=True)
            for net in (generator, discriminator)
        )
        state = State(
            {"generator": generator, "discriminator": discriminator, "average": average},
            {"generator": g_optimiser, "discriminator": d_optimiser},
            {"augment": torch.zeros((), device=runtime.device), "spent": torch.zeros((), dtype=torch.float64)},
        )
        first, second = (Feed(rows, n, runtime.draws(seed, f"gan {net}")) for net in ("discriminator", "generator"))
        return cls(
            config, seed, runtime, generator, discriminator, average, g_optimiser, d_optimiser, state, Guard(runtime),
            runtime.draws(seed, "gan"), (first, second),
        )  # fmt: skip

    def step(self, spent: float) -> dict[str, Tensor]:
        """A turn of the discriminator, then one of the generator."""
        config, state, loss = self.config, self.state, LOSSES[self.config.loss]
        self.draws.start(state.steps)
        anneal(
            (self.g_optimiser, self.d_optimiser), config.learning_rate, config.final_learning_rate, state.rate, spent
        )
        gamma = cosine(config.penalty_weight, config.penalty_weight / 10, spent)
        weight = WASSERSTEIN_FACTOR * config.penalty_weight if loss.penalised == "between" else gamma / 2
        held = state.values["augment"]
        probability = held if config.augment_probability else 0.0

        adversarial, slope, logits = self._discriminate(loss, weight, probability)
        generator_loss = self._generate(loss, probability)

        ema.update(self.average, self.generator, config.batch_size, config.ema_half_life_share * state.images)
        confidence = self.runtime.mean(confidence_of(loss, logits))
        state.values["augment"] = adapt(
            held, confidence, config.augment_target, config.augment_probability,
            spent - float(state.values["spent"]), AUGMENT_RAMP,
        )  # fmt: skip
        state.values["spent"].fill_(spent)
        return {
            "discriminator_loss": adversarial, "gradient_penalty": slope, "generator_loss": generator_loss,
            "confidence": confidence, "augment_probability": held,
        }  # fmt: skip

    def _latents(self) -> Float[Tensor, "n d"]:
        return self.draws.normal(self.runtime.share(self.config.batch_size), self.config.latent_dim)

    def _discriminate(self, loss: Loss, weight: float, probability: Tensor | float) -> CriticLosses:
        self.discriminator.requires_grad_(True)
        batch = self.feeds[0].at(self.state.steps)
        with self.runtime.autocast():
            with torch.no_grad():
                fake = self.generator(self._latents(), batch.classes).float()
            found = critic_losses(loss, self.discriminator, batch, fake, probability, self.draws)
        total = found.adversarial + weight * found.slope
        self.guard.step("the discriminator's", total, self.discriminator, self.d_optimiser)
        return found

    def _generate(self, loss: Loss, probability: Tensor | float) -> Float[Tensor, ""]:
        self.discriminator.requires_grad_(False)
        batch = self.feeds[1].at(self.state.steps)
        with self.runtime.autocast():
            real_logits = torch.zeros(len(batch.images), device=self.runtime.device)
            if loss.pairs:
                with torch.no_grad():
                    seen = augment(batch.images, probability, self.draws)
                    real_logits = self.discriminator(seen, batch.classes).float()
            fake = augment(self.generator(self._latents(), batch.classes), probability, self.draws)
            found = loss.adversarial(real_logits, self.discriminator(fake, batch.classes).float()).generator
        self.guard.step("the generator's", found, self.generator, self.g_optimiser)
        return found

    def inspect(self) -> None:
        """Tells of the samples, and of a collapse of their diversity.

        Raises:
            CollapseError: there is one, and `stop_on_collapse` is set.
        """
        state, monitor, feed = self.state, self.runtime.monitor, self.feeds[0]
        fixed = torch.Generator().manual_seed(derive(self.seed, "gan", "preview"))
        samples = self.average.sample(INSPECTED, fixed)
        numbers = torch.randint(len(feed.rows), (INSPECTED,), generator=fixed)
        share = diversity(samples, feed.rows.take(numbers.to(self.runtime.device)).images.cpu())
        monitor.measure(state.images, {"diversity": share})
        monitor.picture(state.images, "samples", to_pixels(samples[:64]))
        if share < LEAST_DIVERSITY and float(state.values["spent"]) > 0.2:
            text = f"the GAN's samples differ {share:.2f} times as much as real rows, which is mode collapse"
            if self.config.stop_on_collapse:
                raise CollapseError(f"{text}; raise gan.penalty_weight or gan.augment_probability, or take gan.loss r3")
            monitor.warn(f"{text} (after {state.images:,} images)")


def anneal(optimisers: Iterable[Optimizer], first: float, last: float, rate: float, spent: float) -> None:
    """Leads the learning rates from `first` to `last`, both times `rate`, and Adam's β₂ to its end."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate * cosine(first, last, spent)
            group["betas"] = (group["betas"][0], cosine(*BETA2, spent))


def diversity(samples: Float[Tensor, "n c h w"], real: Float[Tensor, "m c h w"]) -> float:
    """Mean distance between two samples over that between two real rows: about 1, and 0 where all are alike."""
    among = [torch.pdist(images.flatten(1)).mean() for images in (samples, real)]
    return float(among[0] / among[1].clamp_min(1e-12))
