"""The VAE's loop (Kingma and Welling, 2014): σ-VAE likelihood (Rybkin et al., 2021), β warm-up, moving average.

After the loop the model is calibrated: σ, the prior, and the anomaly detector are fitted to rows, weights untouched.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from regen.core.errors import DataError
from regen.core.sections.models import VaeConfig
from regen.core.seeds import derive
from regen.models import neighbours
from regen.models.gan import class_shares
from regen.models.networks import Shape, to_pixels
from regen.models.vae import LOCAL, Vae, gaussian_kl_terms
from regen.training import ema
from regen.training.draws import Draws
from regen.training.engine import Budget, Guard, State, spend
from regen.training.rows import Feed, Rows
from regen.training.runtime import Runtime
from regen.training.schedules import cosine, ramp

LEAST_LOG_SIGMA = -6.0
"""σ is soft-clipped here, so that a perfect fit does not blow the likelihood up."""
LARGEST_GRADIENT = 100.0
"""Gradients are scaled down to this norm."""
INSPECTED = 1024
"""Held-out rows whose posteriors are looked at."""
ACTIVE_VARIANCE = 0.01
"""A latent dimension is active when its mean varies more than this over rows (Burda et al., 2016)."""
LEAST_ACTIVE = 0.1
"""A smaller share of active dimensions counts as posterior collapse."""


@dataclass(frozen=True)
class TrainedVae:
    """What a VAE's training gives."""

    vae: Vae
    """The moving average of the weights, calibrated."""
    curve: list[dict[str, float]]


def build(config: VaeConfig, shape: Shape, n_reference: int, seed: int, classes: Sequence[str] = ()) -> Vae:
    """An untrained VAE, its weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "vae", "weights"))
        return Vae(
            shape, config.network, config.width, config.latent_dim,
            n_reference, config.score_neighbours, config.score_draws, config.likelihood, classes,
        )  # fmt: skip


def optimal_log_sigma(images: Float[Tensor, "n c h w"], mean: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """½·log MSE, the log σ under which these images are likeliest, soft-clipped at −6 (Rybkin et al., 2021).

    Example:
        >>> optimal_log_sigma(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
        tensor(0.0025)
    """
    return log_sigma_of((images - mean).square().mean())


def log_sigma_of(mse: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The same from the mean squared error."""
    return LEAST_LOG_SIGMA + F.softplus(0.5 * mse.log() - LEAST_LOG_SIGMA)


def train_vae(
    config: VaeConfig, rows: Rows, held_out: Rows, seed: int, runtime: Runtime, classes: Sequence[str] = ()
) -> TrainedVae:
    """Trains on `rows` and calibrates on `held_out`, normal rows that training never saw.

    Raises:
        DataError: fewer than two rows to calibrate on.
        DivergenceError: a loss is not finite, again and again.
    """
    _require_two(held_out)
    loop = _Loop.of(config, rows, held_out, seed, runtime, classes)
    try:
        spend(loop.budget, config.batch_size, loop.state, loop.step, runtime, loop.guard, loop.inspect)
    finally:
        loop.feed.close()
    reference = rows.thinned(config.score_reference)
    final = build(config, rows.shape, len(reference), seed, classes).to(runtime.device).requires_grad_(False).eval()
    final.load_state_dict(
        dict(loop.average.named_parameters()), strict=False
    )  # whose buffers are sized for no reference
    calibrate(final, reference, held_out, config, seed)
    return TrainedVae(final.cpu(), loop.state.curve)


@dataclass(frozen=True)
class _Loop:
    """The network, what it learns from, and a step of it."""

    config: VaeConfig
    runtime: Runtime
    vae: Vae
    average: Vae
    """Of its weights."""
    optimiser: Optimizer
    state: State
    budget: Budget
    guard: Guard
    draws: Draws
    feed: Feed
    shown: Float[Tensor, "n c h w"]
    """Held-out rows to look at."""

    @classmethod
    def of(
        cls, config: VaeConfig, rows: Rows, held_out: Rows, seed: int, runtime: Runtime, classes: Sequence[str]
    ) -> "_Loop":
        """The loop before its first step."""
        vae = build(config, rows.shape, 0, seed, classes).to(runtime.device)
        average = ema.averaged_copy(vae)
        optimiser = torch.optim.AdamW(vae.parameters(), config.learning_rate, fused=True)
        state = State(
            {"vae": vae, "average": average}, {"vae": optimiser}, {"free_nats": torch.zeros((), device=runtime.device)}
        )
        feed = Feed(rows, runtime.share(config.batch_size), runtime.draws(seed, "vae"))
        shown = next(held_out.thinned(INSPECTED).chunks(runtime.device, INSPECTED)).images
        return cls(
            config, runtime, vae, average, optimiser, state, Budget(config.images, config.seconds), Guard(runtime),
            runtime.draws(seed, "vae"), feed, shown,
        )  # fmt: skip

    def step(self, spent: float) -> dict[str, Tensor]:
        """Lowers −ELBO, σ being at its best value for the batch."""
        config, state, vae = self.config, self.state, self.vae
        self.draws.start(state.steps)
        self.optimiser.param_groups[0]["lr"] = state.rate * cosine(config.learning_rate, 0.0, spent)
        beta = ramp(1.0, config.warmup_share, spent)

        real = self.feed.at(state.steps).images
        with self.runtime.autocast():
            mean, log_variance = vae.encode(real)
            noise = self.draws.normal(len(real), config.latent_dim)
            raw = vae.raw(mean + (log_variance / 2).exp() * noise).float()
        mean, log_variance = mean.float(), log_variance.float()
        mse = (real - vae.expect(raw)).square().mean()
        sigma = log_sigma_of(self.runtime.mean(mse))  # at its best value no gradient passes through it
        nll = vae.mean_nll(real, raw, mse, sigma)
        kl = gaussian_kl_terms(mean, log_variance).mean(dim=0)
        paid = kl.clamp_min(state.values["free_nats"]).sum()
        self.guard.step("the VAE's", nll + beta * paid, vae, self.optimiser, clip=LARGEST_GRADIENT)

        half_life = min(config.ema_half_life_images, 0.05 * state.images)
        ema.update(self.average, vae, config.batch_size, half_life)
        return {"negative_elbo": nll + kl.sum(), "nll": nll, "kl": kl.sum(), "mse": mse}

    def inspect(self) -> None:
        """Tells of the posterior, and gives free nats while it is collapsed."""
        state, shown, monitor = self.state, self.shown, self.runtime.monitor
        with torch.no_grad():
            mean, log_variance = self.average.encode(shown)
            active = float((mean.var(dim=0) > ACTIVE_VARIANCE).float().mean())
            per_dimension = gaussian_kl_terms(mean, log_variance).mean(dim=0)
            sigma = float(optimal_log_sigma(shown, self.average.decode(mean)).exp())
        kl = {f"kl_{place:02d}": float(nats) for place, nats in enumerate(per_dimension)}
        monitor.measure(state.images, {"active_units": active, "sigma": sigma, **kl})
        beside = torch.cat([shown[:32], self.average.reconstruct(shown[:32])])
        monitor.picture(state.images, "reconstructions", to_pixels(beside))
        spent = self.runtime.agree(self.budget.spent(state.images, state.seconds))
        if grant_free_nats(state, active, self.config.free_bits, after_warm_up=spent > self.config.warmup_share):
            monitor.warn(
                f"{active:.0%} of the VAE's latent dimensions are active after {state.images:,} images, which is posterior "
                f"collapse; each now holds {self.config.free_bits:g} nats for free (vae.free_bits)"
            )


def grant_free_nats(state: State, active: float, free_nats: float, *, after_warm_up: bool) -> bool:
    """Whether the posterior is collapsed, hence each latent dimension now holds so many nats for free; else none."""
    collapsed = active < LEAST_ACTIVE and after_warm_up
    state.values["free_nats"].fill_(free_nats if collapsed else 0.0)
    return collapsed


def _require_two(held_out: Rows) -> None:
    if len(held_out) < 2:
        raise DataError(
            f"the anomaly score is calibrated on 2 or more normal validation rows, got {len(held_out)}; "
            "raise data.validation_share or add rows"
        )


@torch.no_grad()
def calibrate(
    vae: Vae, reference: Rows, held_out: Rows, config: VaeConfig, seed: int, *, refits_prior: bool = True
) -> None:
    """Fits what is not learned by gradient: σ and the score's scale to `held_out`, prior and reference rows to `reference`.

    Args:
        refits_prior: whether the prior is fitted anew; not where it has been moved on purpose.

    Raises:
        DataError: fewer than two rows are held out.
    """
    _require_two(held_out)
    device = vae.log_sigma.device
    normal = torch.cat([batch.images for batch in held_out.chunks(device)])
    vae.log_sigma.copy_((0.5 * vae.squared_error(normal).log()).clamp_min(LEAST_LOG_SIGMA))  # where −ELBO is lowest
    posteriors, start = [], 0
    for batch in reference.chunks(device):
        posteriors.append(vae.encode(batch.images))
        end = start + len(batch.images)
        vae.reference_images[start:end] = (batch.images * 255).round().flatten(1)
        start = end
    mean, log_variance = (torch.cat(parts) for parts in zip(*posteriors, strict=True))
    vae.reference.copy_(mean)
    vae.reference_spread[0] = neighbours.spread(mean, LOCAL)
    vae.reference_spread[1] = neighbours.spread(F.normalize(vae.reference_pixels), LOCAL)
    if refits_prior:
        _refit_prior(vae, mean.cpu(), log_variance.cpu(), reference.classes.cpu(), seed)
    for row, part in enumerate(vae.score_parts(normal)):
        vae.calibration[row] = torch.stack([part.mean(), part.std().clamp_min(1e-6)])
    vae.threshold.copy_(torch.quantile(vae.anomaly_score(normal), config.flag_quantile))


def _refit_prior(
    vae: Vae, mean: Float[Tensor, "m d"], log_variance: Float[Tensor, "m d"], classes: Tensor, seed: int
) -> None:
    """Each class's part of the aggregate posterior as a Gaussian mixture, by draws from it (Ghosh et al., RAE, 2020)."""
    rng = torch.Generator().manual_seed(derive(seed, "vae", "prior"))
    draws = (mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=rng)).numpy().astype(np.float64)
    classes = classes if vae.classes else torch.zeros_like(classes)
    vae.class_shares.copy_(class_shares(classes, len(vae.class_shares)))
    for part in range(len(vae.class_shares)):
        mine = draws[(classes == part).numpy()]
        if len(mine) > 1:
            vae.fit_prior(part, mine, derive(seed, "vae", "mixture", part))
