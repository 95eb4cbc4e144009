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

from regen.core.errors import DataError
from regen.core.sections.models import VaeConfig
from regen.core.seeds import derive
from regen.models import neighbours
from regen.models.gan import class_shares
from regen.models.networks import Shape, to_pixels
from regen.models.vae import COMPONENTS, LOCAL, Vae, gaussian_kl_terms
from regen.training import ema
from regen.training.engine import Budget, Guard, State, spend
from regen.training.rows import Feed, Rows
from regen.training.runtime import Runtime
from regen.training.schedules import cosine, ramp

LEAST_LOG_SIGMA = -6.0
"""σ is soft-clipped here, so that a perfect fit does not blow the likelihood up."""
LARGEST_GRADIENT = 100.0
"""Gradients are scaled down to this norm."""
LEAST_VARIANCE = 1e-4
"""Added to the refitted prior's covariances."""
ROWS_A_COMPONENT = 25
"""Fewest rows that a Gaussian of the refitted prior stands for."""
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
    vae = build(config, rows.shape, 0, seed, classes).to(runtime.device)
    average = ema.averaged_copy(vae)
    optimiser = torch.optim.AdamW(vae.parameters(), config.learning_rate, fused=True)
    state = State(
        {"vae": vae, "average": average}, {"vae": optimiser}, {"free_nats": torch.zeros((), device=runtime.device)}
    )
    guard, n, budget = Guard(runtime), runtime.share(config.batch_size), Budget(config.images, config.seconds)
    draws, feed = runtime.draws(seed, "vae"), Feed(rows, n, runtime.draws(seed, "vae"))
    shown = next(held_out.thinned(INSPECTED).chunks(runtime.device, INSPECTED)).images

    def step(spent: float) -> dict[str, Tensor]:
        draws.start(state.steps)
        optimiser.param_groups[0]["lr"] = state.rate * cosine(config.learning_rate, 0.0, spent)
        beta = ramp(1.0, config.warmup_share, spent)

        real = feed.at(state.steps).images
        with runtime.autocast():
            mean, log_variance = vae.encode(real)
            raw = vae.raw(mean + (log_variance / 2).exp() * draws.normal(n, config.latent_dim)).float()
        mean, log_variance = mean.float(), log_variance.float()
        mse = (real - vae.expect(raw)).square().mean()
        sigma = log_sigma_of(runtime.mean(mse))  # at its best value no gradient passes through it
        nll = vae.mean_nll(real, raw, mse, sigma)
        kl = gaussian_kl_terms(mean, log_variance).mean(dim=0)
        paid = kl.clamp_min(state.values["free_nats"]).sum()
        guard.step("the VAE's", nll + beta * paid, vae, optimiser, clip=LARGEST_GRADIENT)

        ema.update(average, vae, config.batch_size, min(config.ema_half_life_images, 0.05 * state.images))
        return {"negative_elbo": nll + kl.sum(), "nll": nll, "kl": kl.sum(), "mse": mse}

    def inspect() -> None:
        with torch.no_grad():
            mean, log_variance = average.encode(shown)
            active = float((mean.var(dim=0) > ACTIVE_VARIANCE).float().mean())
            per_dimension = gaussian_kl_terms(mean, log_variance).mean(dim=0)
            sigma = float(optimal_log_sigma(shown, average.decode(mean)).exp())
        kl = {f"kl_{place:02d}": float(nats) for place, nats in enumerate(per_dimension)}
        runtime.monitor.measure(state.images, {"active_units": active, "sigma": sigma, **kl})
        runtime.monitor.picture(
            state.images, "reconstructions", to_pixels(torch.cat([shown[:32], average.reconstruct(shown[:32])]))
        )
        spent = runtime.agree(budget.spent(state.images, state.seconds))
        collapsed = active < LEAST_ACTIVE and spent > config.warmup_share
        state.values["free_nats"].fill_(config.free_bits if collapsed else 0.0)
        if collapsed:
            runtime.monitor.warn(
                f"{active:.0%} of the VAE's latent dimensions are active after {state.images:,} images, which is posterior "
                f"collapse; each now holds {config.free_bits:g} nats for free (vae.free_bits)"
            )

    try:
        spend(budget, config.batch_size, state, step, runtime, guard, inspect)
    finally:
        feed.close()
    reference = rows.thinned(config.score_reference)
    final = build(config, rows.shape, len(reference), seed, classes).to(runtime.device).requires_grad_(False).eval()
    final.load_state_dict(dict(average.named_parameters()), strict=False)  # whose buffers are sized for no reference
    calibrate(final, reference, held_out, config, seed)
    return TrainedVae(final.cpu(), state.curve)


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
    vae.log_sigma.copy_(optimal_log_sigma(normal, vae.reconstruct(normal)))
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
            fit_mixture(vae, part, mine, derive(seed, "vae", "mixture", part) % 2**32)


def fit_mixture(vae: Vae, part: int, draws: Float[np.ndarray, "m d"], seed: int) -> None:
    """Makes a Gaussian mixture fitted to the draws the prior of one class."""
    from sklearn.mixture import GaussianMixture

    components = min(COMPONENTS, max(len(draws) // ROWS_A_COMPONENT, 1))
    mixture = GaussianMixture(components, reg_covar=LEAST_VARIANCE, random_state=seed).fit(draws)
    vae.mixture_weights[part] = 0
    vae.mixture_weights[part, :components] = torch.from_numpy(mixture.weights_)
    vae.mixture_means[part, :components] = torch.from_numpy(mixture.means_)
    vae.mixture_factors[part, :components] = torch.from_numpy(np.linalg.cholesky(mixture.covariances_))
