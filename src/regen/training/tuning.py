"""Tunes a trained generator toward a reward and keeps it near where it was, so that it does not learn to please a mistake.

The GAN goes on with its adversarial loss and adds three terms: how far the reward, taken pessimistically (Coste et al., 2024,
https://arxiv.org/abs/2310.02743), falls short of a cap; the squared distance from what the untuned generator makes of the
same latents; and how far the mean features have moved. The VAE's prior gets the same three terms: its Gaussians are moved by
the gradient through the decoder, which stays. Draws that are chosen by their reward instead come to look alike, and that costs
distance; a decoder that is tuned no longer reconstructs.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.optim import Optimizer

from regen.core.sections.alignment import AlignConfig
from regen.core.sections.models import GanConfig
from regen.models.gan import Discriminator, Generator
from regen.models.networks import to_pixels
from regen.models.vae import Vae
from regen.training import ema
from regen.training.augment import augment
from regen.training.critic import critic_losses
from regen.training.draws import Draws
from regen.training.engine import Budget, Guard, State, Step, spend
from regen.training.gan import WASSERSTEIN_FACTOR
from regen.training.losses import LOSSES
from regen.training.rows import Feed, Rows
from regen.training.runtime import Runtime
from regen.training.schedules import cosine
from regen.training.witnesses import Witnesses

BETAS = (0.0, 0.99)
"""Adam's, as they were when the GAN's training ended."""
PREVIEWED = 64


class Reward(Protocol):
    """What people would rather see."""

    def __call__(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "k n"]:
        """Each of k members' reward of images in [0, 1], of mean 0 and sd 1 over the base's samples; differentiable."""


M = TypeVar("M", Generator, Vae)


@dataclass(frozen=True)
class Look:
    """What is seen of a model as it is tuned."""

    distance: float
    """Fréchet distance of its samples to real rows; lower is better."""
    win_rate: float | None = None
    """Share of fresh votes, or of an independent judge's, that prefer it to the base; None where nobody was asked."""


Watch = Callable[[M], Look]
"""Looks at a model. A reward that was held out is no judge: it may rise while people turn away."""


@dataclass(frozen=True)
class Tuned(Generic[M]):
    """What tuning gives."""

    model: M
    """The moving average of the weights at the best look, or the last one where nobody judged; the base if none was good."""
    curve: list[dict[str, float]]
    looks: list[dict[str, float]] = field(default_factory=list)
    """Images, distance and, where somebody judged, win rate at each look; the first is the base's."""
    stopped: str = ""
    """Why it ended before its budget, if it did."""
    discriminator: Discriminator | None = None
    """The GAN's, as it was when the tuning ended: whoever tunes the model further goes on with it."""


def pessimistic(rewards: Float[Tensor, "k n"], pessimism: float) -> Float[Tensor, " n"]:
    """The members' mean less `pessimism` times their sd: high only where all of them agree.

    Example:
        >>> pessimistic(torch.tensor([[1.0], [3.0]]), 0.5)
        tensor([1.5000])
    """
    spread = (rewards.var(dim=0, correction=0) + 1e-12).sqrt()  # whose slope would be infinite at 0
    return rewards.mean(dim=0) - pessimism * spread


def shortfall(rewards: Float[Tensor, "k n"], cap: float, pessimism: float) -> Float[Tensor, ""]:
    """How far the pessimistic reward stays below the cap, on average; 0 is best, more than the cap gains nothing."""
    return torch.relu(cap - pessimistic(rewards, pessimism)).mean()


def drift(images: Float[Tensor, "n c h w"], base: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """Squared distance between images and the base's, summed over pixels, on average."""
    return (images - base).square().flatten(1).sum(dim=1).mean()


def tune_gan(
    config: AlignConfig,
    gan: GanConfig,
    generator: Generator,
    discriminator: Discriminator,
    rows: Rows,
    reward: Reward,
    seed: int,
    runtime: Runtime,
    watch: Watch[Generator] | None = None,
    witnesses: Witnesses | None = None,
) -> Tuned[Generator]:
    """Goes on training both networks, the generator toward the reward and held near the given one.

    Args:
        gan: what both were trained with; loss, batch, penalty at its last value, and augmentation stay.
        rows: what they were trained on.
        reward: on the runtime's device, its own weights frozen.
        witnesses: by whose features the samples shall look as before on average; nobody's if left out.

    Raises:
        DivergenceError: a loss is not finite, again and again.
    """
    game = _Game.of(config, gan, generator, discriminator, rows, reward, seed, runtime, witnesses)
    first, state = Look(0.0) if watch is None else watch(game.base), game.state
    try:
        done = _watched(
            config, config.gan.images, gan.batch_size, state, game.step, runtime, game.guard, game.average, watch, first
        )
        return replace(done, discriminator=game.critic.requires_grad_(False).eval().cpu())
    finally:
        for feed in game.feeds:
            feed.close()


@dataclass(frozen=True)
class _Game:
    """Both networks, what holds the generator, and a turn of each."""

    config: AlignConfig
    gan: GanConfig
    reward: Reward
    runtime: Runtime
    base: Generator
    tuned: Generator
    critic: Discriminator
    average: Generator
    """Of the tuned weights."""
    g_optimiser: Optimizer
    d_optimiser: Optimizer
    state: State
    guard: Guard
    draws: Draws
    feeds: tuple[Feed, Feed]
    """Real rows for the discriminator's turns and for the generator's."""
    witnesses: Witnesses | None

    @classmethod
    def of(
        cls, config: AlignConfig, gan: GanConfig, generator: Generator, discriminator: Discriminator, rows: Rows,
        reward: Reward, seed: int, runtime: Runtime, witnesses: Witnesses | None,
    ) -> "_Game":  # fmt: skip
        """The game before its first turn."""
        n = runtime.share(gan.batch_size)
        base = deepcopy(generator).to(runtime.device).requires_grad_(False)
        tuned = deepcopy(base).requires_grad_(True)
        critic = deepcopy(discriminator).to(runtime.device).requires_grad_(True)
        average = ema.averaged_copy(tuned)
        g_optimiser, d_optimiser = (
            torch.optim.Adam(net.parameters(), config.gan.learning_rate, betas=BETAS, fused=True)
            for net in (tuned, critic)
        )
        state = State(
            {"generator": tuned, "discriminator": critic, "average": average},
            {"generator": g_optimiser, "discriminator": d_optimiser},
        )
        first, second = (
            Feed(rows, n, runtime.draws(seed, f"align gan {net}")) for net in ("discriminator", "generator")
        )
        return cls(
            config, gan, reward, runtime, base, tuned, critic, average, g_optimiser, d_optimiser, state, Guard(runtime),
            runtime.draws(seed, "align gan"), (first, second),
            None if witnesses is None else witnesses.to(runtime.device),
        )  # fmt: skip

    def step(self, spent: float) -> dict[str, Tensor]:
        """A turn of the discriminator, then one of the generator."""
        settings, state = self.config.gan, self.state
        self.draws.start(state.steps)
        for optimiser in (self.g_optimiser, self.d_optimiser):
            rate = cosine(settings.learning_rate, settings.final_learning_rate, spent)
            optimiser.param_groups[0]["lr"] = state.rate * rate
        terms = self._discriminate() | self._generate()
        ema.update(self.average, self.tuned, self.gan.batch_size, self.config.ema_half_life_images)
        return terms

    def _discriminate(self) -> dict[str, Tensor]:
        loss = LOSSES[self.gan.loss]
        self.critic.requires_grad_(True)
        batch = self.feeds[0].at(self.state.steps)
        with self.runtime.autocast():
            with torch.no_grad():
                latents = self.draws.normal(len(batch.images), self.tuned.latent_dim)
                fake = self.tuned(latents, batch.classes).float()
            found = critic_losses(loss, self.critic, batch, fake, self.gan.augment_probability, self.draws)
        weight = (WASSERSTEIN_FACTOR if loss.penalised == "between" else 0.1 / 2) * self.gan.penalty_weight
        total = found.adversarial + weight * found.slope
        self.guard.step("the discriminator's", total, self.critic, self.d_optimiser)
        return {"discriminator_loss": found.adversarial, "gradient_penalty": found.slope}

    def _generate(self) -> dict[str, Tensor]:
        config, settings, probability = self.config, self.config.gan, self.gan.augment_probability
        self.critic.requires_grad_(False)
        batch = self.feeds[1].at(self.state.steps)
        latents = self.draws.normal(len(batch.images), self.tuned.latent_dim)
        with self.runtime.autocast():
            with torch.no_grad():
                real_logits = self.critic(augment(batch.images, probability, self.draws), batch.classes).float()
                before = self.base(latents, batch.classes).float()
            made = self.tuned(latents, batch.classes).float()
            logits = self.critic(augment(made, probability, self.draws), batch.classes).float()
            short = shortfall(self.reward(made.clamp(0, 1)).float(), config.reward_cap, config.pessimism)
            told = made.new_zeros(())
            if self.witnesses is not None:
                told = self.witnesses.shift(made.clamp(0, 1), before.clamp(0, 1))
        fooling, away = LOSSES[self.gan.loss].adversarial(real_logits, logits).generator, drift(made, before)
        pull = settings.reward_weight * short + settings.anchor_weight * away + settings.feature_weight * told
        total = settings.adversarial_weight * fooling + pull
        self.guard.step("the generator's", total, self.tuned, self.g_optimiser)
        return {"generator_loss": fooling, "reward_shortfall": short, "drift": away, "feature_shift": told}


class Prior(nn.Module):
    """The Gaussians of a VAE's prior as parameters: means, and lower Cholesky factors whose diagonals stay positive."""

    def __init__(self, vae: Vae) -> None:
        super().__init__()
        factors = vae.mixture_factors.flatten(0, 1)
        self.means = nn.Parameter(vae.mixture_means.flatten(0, 1).clone())
        self.below = nn.Parameter(factors.tril(-1))
        self.log_diagonal = nn.Parameter(factors.diagonal(dim1=1, dim2=2).log())

    @property
    def factors(self) -> Float[Tensor, "g d d"]:
        """The lower Cholesky factors of the covariances."""
        factors: Tensor = self.below.tril(-1) + torch.diag_embed(self.log_diagonal.exp())
        return factors

    def forward(self, place: Int64[Tensor, " n"], noise: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Latents of the Gaussians at these places, from standard normal noise."""
        latents: Tensor = self.means[place] + (self.factors[place] @ noise.unsqueeze(-1)).squeeze(-1)
        return latents

    @torch.no_grad()
    def pour(self, vae: Vae) -> None:
        """Makes them the prior of a VAE; what each Gaussian and each class is drawn with stays the VAE's."""
        vae.mixture_means.copy_(self.means.view_as(vae.mixture_means))
        vae.mixture_factors.copy_(self.factors.view_as(vae.mixture_factors))


def tune_vae(
    config: AlignConfig,
    vae: Vae,
    reward: Reward,
    seed: int,
    runtime: Runtime,
    watch: Watch[Vae] | None = None,
    witnesses: Witnesses | None = None,
) -> Tuned[Vae]:
    """Moves the prior's Gaussians toward the reward, held near what the decoder makes of the same noise by the given ones.

    Encoder and decoder stay, and so do reconstructions and the bound on the likelihood; so do the chances of classes and
    Gaussians. The anomaly score knows the prior: `calibrate` anew, without refitting it.

    Args:
        reward: on the runtime's device, its own weights frozen.
        witnesses: by whose features the samples shall look as before on average; nobody's if left out.

    Raises:
        DivergenceError: a loss is not finite, again and again.
    """
    settings, n = config.vae, runtime.share(config.vae.batch_size)
    base = deepcopy(vae).to(runtime.device).requires_grad_(False).eval()
    shown, prior = deepcopy(base), Prior(base)
    start, average = ema.averaged_copy(prior), ema.averaged_copy(prior)
    optimiser = torch.optim.Adam(prior.parameters(), settings.learning_rate, fused=True)
    state = State({"prior": prior, "average": average, "vae": shown}, {"prior": optimiser})
    guard, draws = Guard(runtime), runtime.draws(seed, "align vae")
    seen_by = None if witnesses is None else witnesses.to(runtime.device)
    chances = (base.class_shares[:, None] * base.mixture_weights).flatten().cumsum(dim=0)

    def step(spent: float) -> dict[str, Tensor]:
        draws.start(state.steps)
        optimiser.param_groups[0]["lr"] = state.rate * cosine(settings.learning_rate, 0.0, spent)
        place = torch.searchsorted(chances / chances[-1], draws.uniform(n), right=True)  # none that is never drawn
        noise = draws.normal(n, base.latent_dim)
        latents = prior(place, noise)
        with runtime.autocast():
            with torch.no_grad():
                before = base.decode(start(place, noise)).float()
            made = base.decode(latents).float()
            short = shortfall(reward(made.clamp(0, 1)).float(), config.reward_cap, config.pessimism)
            told = made.new_zeros(()) if seen_by is None else seen_by.shift(made.clamp(0, 1), before.clamp(0, 1))
        away = drift(made, before)
        pull = settings.reward_weight * short + settings.anchor_weight * away + settings.feature_weight * told
        guard.step("the prior's", pull, prior, optimiser)
        ema.update(average, prior, settings.batch_size, config.ema_half_life_images)
        average.pour(shown)
        return {"reward_shortfall": short, "drift": away, "feature_shift": told}

    first = Look(0.0) if watch is None else watch(base)
    return _watched(config, settings.images, settings.batch_size, state, step, runtime, guard, shown, watch, first)


class _TrippedError(Exception):
    """The samples have left the data; tuning ends with what was kept."""


def _watched(
    config: AlignConfig, images: int, batch_size: int, state: State, step: Step, runtime: Runtime, guard: Guard,
    average: M, watch: Watch[M] | None, first: Look,
) -> Tuned[M]:  # fmt: skip
    """Steps until the budget is spent or a look shows that the samples have left the data; keeps the best average.

    Of the looks within the distance that a model is promoted with (`frechet_factor`) the one with the highest win rate is
    kept, or the last one without a judge; of those beyond it only where none lies within.
    """
    kept: M = deepcopy(average).requires_grad_(False).eval()  # no step has been made
    state.modules["kept"] = kept
    state.values |= {"best": torch.tensor(-torch.inf), "looks": torch.tensor([_row(0, first)])}
    most = config.tripwire_factor * first.distance

    def inspect() -> None:
        fixed = torch.Generator().manual_seed(0)
        runtime.monitor.picture(state.images, "samples", to_pixels(average.sample(PREVIEWED, fixed)))
        look = Look(0.0) if watch is None else watch(average)
        row = torch.tensor([_row(state.images, look)])
        state.values["looks"] = torch.cat([state.values["looks"], row])
        told = {"frechet_distance": look.distance} | ({} if look.win_rate is None else {"win_rate": look.win_rate})
        runtime.monitor.measure(state.images, told)
        if look.distance > most:
            raise _TrippedError(
                f"the Fréchet distance is {look.distance:.3g} after {state.images:,} images, over {config.tripwire_factor:g} "
                f"times the base's {first.distance:.3g} (align.tripwire_factor); what was there before is kept"
            )
        within = look.distance <= config.frechet_factor * first.distance
        worth = float(within) + (0.0 if look.win_rate is None else look.win_rate / 2)
        if worth >= float(state.values["best"]):
            state.values["best"].fill_(worth)
            kept.load_state_dict(average.state_dict())

    stopped, watched = "", replace(runtime, checkpoint_every_images=config.inspect_every_images)
    try:
        spend(Budget(images), batch_size, state, step, watched, guard, inspect)
    except _TrippedError as tripped:
        stopped = str(tripped)
        runtime.monitor.warn(stopped)
    looks = [
        {"images": seen, "frechet_distance": distance} | ({} if np.isnan(rate) else {"win_rate": rate})
        for seen, distance, rate in state.values["looks"].tolist()
    ]
    final: M = kept.cpu()
    return Tuned(final, state.curve, looks, stopped)


def _row(images: int, look: Look) -> list[float]:
    return [float(images), look.distance, float("nan") if look.win_rate is None else look.win_rate]
