"""Tunes a trained generator toward a reward and keeps it near where it was, so that it does not learn to please a mistake.

The GAN goes on with its adversarial loss and adds three terms: how far the reward, taken pessimistically (Coste et al., 2024,
https://arxiv.org/abs/2310.02743), falls short of a cap; the squared distance from what the untuned generator makes of the
same latents; and how far the mean features have moved. The VAE's prior is refitted to its own draws weighted by
exp(reward/β), the optimum of reward under a KL penalty (Korbak et al., 2022, https://arxiv.org/abs/2205.11275); then its
decoder gets the reward and the squared distance.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from regen.core.sections.alignment import AlignConfig
from regen.core.sections.models import GanConfig
from regen.core.seeds import derive
from regen.models.gan import Classes, Discriminator, Generator, draw_classes
from regen.models.networks import to_pixels
from regen.models.vae import Vae
from regen.training import ema
from regen.training.augment import augment
from regen.training.draws import Draws
from regen.training.engine import Budget, Guard, State, spend
from regen.training.gan import WASSERSTEIN_FACTOR
from regen.training.losses import LOSSES, Loss, gradient_norms
from regen.training.rows import Feed, Rows
from regen.training.runtime import Runtime
from regen.training.schedules import cosine
from regen.training.slopes import logits_and_slopes
from regen.training.vae import fit_mixture
from regen.training.witnesses import Witnesses

BETAS = (0.0, 0.99)
"""Adam's, as they were when the GAN's training ended."""
POOL = 16_384
"""Latents of the refitted prior that the decoder is tuned on."""
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
    settings, loss, n = config.gan, LOSSES[gan.loss], runtime.share(gan.batch_size)
    base = deepcopy(generator).to(runtime.device).requires_grad_(False)
    tuned = deepcopy(base).requires_grad_(True)
    critic = deepcopy(discriminator).to(runtime.device).requires_grad_(True)
    average = ema.averaged_copy(tuned)
    g_optimiser, d_optimiser = (
        torch.optim.Adam(net.parameters(), settings.learning_rate, betas=BETAS, fused=True) for net in (tuned, critic)
    )
    state = State(
        {"generator": tuned, "discriminator": critic, "average": average},
        {"generator": g_optimiser, "discriminator": d_optimiser},
    )
    guard, draws = Guard(runtime), runtime.draws(seed, "align gan")
    seen_by = None if witnesses is None else witnesses.to(runtime.device)
    feeds = [Feed(rows, n, runtime.draws(seed, f"align gan {net}")) for net in ("discriminator", "generator")]
    probability = gan.augment_probability

    def step(spent: float) -> dict[str, Tensor]:
        draws.start(state.steps)
        for optimiser in (g_optimiser, d_optimiser):
            optimiser.param_groups[0]["lr"] = state.rate * cosine(
                settings.learning_rate, settings.final_learning_rate, spent
            )

        critic.requires_grad_(True)
        batch = feeds[0].at(state.steps)
        with runtime.autocast():
            with torch.no_grad():
                fake = tuned(draws.normal(n, tuned.latent_dim), batch.classes).float()
            adversarial, slope = _critic_losses(loss, critic, batch.images, fake, batch.classes, probability, draws)
        weight = (WASSERSTEIN_FACTOR if loss.penalised == "between" else 0.1 / 2) * gan.penalty_weight
        guard.step("the discriminator's", adversarial + weight * slope, critic, d_optimiser)

        critic.requires_grad_(False)
        batch = feeds[1].at(state.steps)
        latents = draws.normal(n, tuned.latent_dim)
        with runtime.autocast():
            with torch.no_grad():
                real_logits = critic(augment(batch.images, probability, draws), batch.classes).float()
                before = base(latents, batch.classes).float()
            made = tuned(latents, batch.classes).float()
            logits = critic(augment(made, probability, draws), batch.classes).float()
            short = shortfall(reward(made.clamp(0, 1)).float(), config.reward_cap, config.pessimism)
            told = made.new_zeros(()) if seen_by is None else seen_by.shift(made.clamp(0, 1), before.clamp(0, 1))
        fooling, away = loss.adversarial(real_logits, logits).generator, drift(made, before)
        pull = settings.reward_weight * short + settings.anchor_weight * away + settings.feature_weight * told
        total = settings.adversarial_weight * fooling + pull
        guard.step("the generator's", total, tuned, g_optimiser)

        ema.update(average, tuned, gan.batch_size, config.ema_half_life_images)
        return {
            "discriminator_loss": adversarial, "gradient_penalty": slope, "generator_loss": fooling,
            "reward_shortfall": short, "drift": away, "feature_shift": told,
        }  # fmt: skip

    first = Look(0.0) if watch is None else watch(base)
    try:
        done = _watched(config, settings.images, gan.batch_size, state, step, runtime, guard, average, watch, first)
        return replace(done, discriminator=critic.requires_grad_(False).eval().cpu())
    finally:
        for feed in feeds:
            feed.close()


def _critic_losses(
    loss: Loss, critic: Discriminator, real: Tensor, fake: Tensor, classes: Classes, probability: float, draws: Draws
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The discriminator's adversarial loss, and its gradient penalty before it is weighted."""
    n, both = len(real), classes.repeat(2)
    images = torch.cat([real, fake]).requires_grad_(True)
    seen = augment(images, probability, draws)
    if loss.penalised in ("real", "both"):
        logits, slopes = logits_and_slopes(critic, seen, both)
        (slopes,) = torch.autograd.grad(seen, images, slopes, create_graph=True)  # of the un-augmented images
        norms = gradient_norms(slopes)
        slope = norms[:n].mean() + (norms[n:].mean() if loss.penalised == "both" else 0)
    else:
        logits, slope = critic(seen.detach(), both).float(), torch.zeros((), device=real.device)
    if loss.penalised == "between":
        share = draws.uniform(n, 1, 1, 1)
        norms = gradient_norms(logits_and_slopes(critic, share * real + (1 - share) * fake, classes)[1])
        slope = ((norms + 1e-12).sqrt() - 1).square().mean()
    return loss.adversarial(*logits.chunk(2)).discriminator, slope


@torch.no_grad()
def refit_prior(config: AlignConfig, vae: Vae, reward: Reward, seed: int, device: torch.device | None = None) -> Vae:
    """A VAE with the same networks whose prior has moved toward draws that are liked; each class keeps its share.

    Draws of each class are kept with a chance in proportion to exp(reward/β), reward counting up to the cap, as many as the
    weighted draws are worth (their effective number, Kish, 1965), and the class's mixture is fitted to these.
    """
    device = device or vae.log_sigma.device
    refitted, source = deepcopy(vae), deepcopy(vae).to(device).eval()
    rng = torch.Generator().manual_seed(derive(seed, "align", "prior"))
    for part in vae.class_shares.nonzero().flatten().tolist():
        latents = vae.draw_latents(torch.full((config.vae.prior_draws,), part), rng)
        made = (source.decode(batch).clamp(0, 1) for batch in latents.to(device).split(1024))
        rewards = torch.cat([pessimistic(reward(images), config.pessimism) for images in made]).double().cpu()
        weights = (rewards.clamp_max(config.reward_cap) / config.vae.prior_temperature).softmax(dim=0)
        worth = max(int(1 / float(weights.square().sum())), 2)
        kept = latents[torch.multinomial(weights, worth, replacement=True, generator=rng)]
        fit_mixture(refitted, part, kept.double().numpy().astype(np.float64), derive(seed, "align", part) % 2**32)
    return refitted


def tune_decoder(
    config: AlignConfig,
    vae: Vae,
    reward: Reward,
    seed: int,
    runtime: Runtime,
    watch: Watch[Vae] | None = None,
    refitted_from: Vae | None = None,
) -> Tuned[Vae]:
    """Trains the decoder toward the reward on latents of the VAE's prior, held near what it made of them before.

    Encoder and prior stay. σ and the anomaly score are the old decoder's: `calibrate` anew, without refitting the prior.

    Args:
        refitted_from: the VAE before its prior was refitted, whose distance looks are held against; `vae` if left out.

    Raises:
        DivergenceError: a loss is not finite, again and again.
    """
    settings, n = config.vae, runtime.share(config.vae.batch_size)
    base = deepcopy(vae).to(runtime.device).requires_grad_(False)
    tuned = deepcopy(base)
    tuned.decoder.requires_grad_(True)
    average = ema.averaged_copy(tuned)
    optimiser = torch.optim.Adam(tuned.decoder.parameters(), settings.learning_rate, fused=True)
    state, guard = State({"vae": tuned, "average": average}, {"decoder": optimiser}), Guard(runtime)
    draws, rng = runtime.draws(seed, "align vae"), torch.Generator().manual_seed(derive(seed, "align", "pool"))
    pool = vae.draw_latents(draw_classes(vae.class_shares, POOL, rng), rng).to(runtime.device)

    def step(spent: float) -> dict[str, Tensor]:
        draws.start(state.steps)
        optimiser.param_groups[0]["lr"] = state.rate * settings.learning_rate
        latents = pool[draws.integers(len(pool), n)]
        with runtime.autocast():
            with torch.no_grad():
                before = base.decode(latents).float()
            made = tuned.decode(latents).float()
            short = shortfall(reward(made.clamp(0, 1)).float(), config.reward_cap, config.pessimism)
        away = drift(made, before)
        guard.step(
            "the decoder's", settings.reward_weight * short + settings.anchor_weight * away, tuned.decoder, optimiser
        )
        ema.update(average.decoder, tuned.decoder, settings.batch_size, config.ema_half_life_images)
        return {"reward_shortfall": short, "drift": away}

    first = Look(0.0) if watch is None else watch(deepcopy(refitted_from or vae).to(runtime.device))
    return _watched(config, settings.images, settings.batch_size, state, step, runtime, guard, average, watch, first)


class _TrippedError(Exception):
    """The samples have left the data; tuning ends with what was kept."""


def _watched(
    config: AlignConfig,
    images: int,
    batch_size: int,
    state: State,
    step: Callable[[float], dict[str, Tensor]],
    runtime: Runtime,
    guard: Guard,
    average: M,
    watch: Watch[M] | None,
    first: Look,
) -> Tuned[M]:
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
