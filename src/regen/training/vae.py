"""The VAE's loop (Kingma and Welling, 2014): σ-VAE likelihood (Rybkin et al., 2021), β warm-up, moving average.

After the loop the model is calibrated: σ, the prior, and the anomaly detector are fitted to rows, weights untouched.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regen.core.config import VaeConfig
from regen.core.errors import DataError
from regen.core.seeds import derive
from regen.models.vae import COMPONENTS, Vae, gaussian_kl, gaussian_nll
from regen.training import ema
from regen.training.engine import Runtime, State, draw, require_finite, show, spend
from regen.training.schedules import cosine, ramp

LEAST_LOG_SIGMA = -6.0
"""σ is soft-clipped here, so that a perfect fit does not blow the likelihood up."""
LARGEST_GRADIENT = 100.0
"""Gradients are scaled down to this norm."""
LEAST_VARIANCE = 1e-4
"""Added to the refitted prior's covariances."""


@dataclass(frozen=True)
class TrainedVae:
    """What a VAE's training gives."""

    vae: Vae
    """The moving average of the weights, calibrated."""
    curve: list[dict[str, float]]


def build(config: VaeConfig, shape: tuple[int, int, int], n_reference: int, seed: int) -> Vae:
    """An untrained VAE, its weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "vae", "weights"))
        return Vae(
            shape, config.network, config.width, config.latent_dim,
            n_reference, config.score_neighbours, config.score_draws,
        )  # fmt: skip


def optimal_log_sigma(images: Float[Tensor, "n c h w"], mean: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """½·log MSE, the log σ under which these images are likeliest, soft-clipped at −6 (Rybkin et al., 2021).

    Example:
        >>> optimal_log_sigma(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
        tensor(0.0025)
    """
    best = 0.5 * (images - mean).square().mean().log()
    return LEAST_LOG_SIGMA + F.softplus(best - LEAST_LOG_SIGMA)


def train_vae(
    config: VaeConfig,
    images: Float[Tensor, "n c h w"],
    held_out: Float[Tensor, "m c h w"],
    seed: int,
    runtime: Runtime,
) -> TrainedVae:
    """Trains on `images`, which lie in [0, 1], and calibrates on `held_out`, normal rows that training never saw.

    Raises:
        DataError: fewer than two rows to calibrate on.
        DivergenceError: a loss is not finite.
    """
    images, held_out = images.to(runtime.device), held_out.to(runtime.device)
    channels, height, width = images.shape[1:]
    vae = build(config, (channels, height, width), len(images), seed).to(runtime.device)
    average = ema.averaged_copy(vae)
    optimiser = torch.optim.AdamW(vae.parameters(), config.learning_rate, fused=True)
    rng = torch.Generator().manual_seed(derive(seed, "vae", "draws"))
    state = State({"vae": vae, "average": average}, {"vae": optimiser}, rng)

    def step(spent: float) -> dict[str, Tensor]:
        optimiser.param_groups[0]["lr"] = cosine(config.learning_rate, 0.0, spent)
        beta = ramp(1.0, config.warmup_share, spent)

        real = draw(images, config.batch_size, rng)
        mean, log_variance = vae.encode(real)
        noise = torch.randn(mean.shape, generator=rng).to(runtime.device)
        decoded = vae.decode(mean + (log_variance / 2).exp() * noise)
        nll = gaussian_nll(real, decoded, optimal_log_sigma(real, decoded)).mean()
        kl = gaussian_kl(mean, log_variance).mean()
        loss = nll + beta * kl
        require_finite(loss, state.images, "the VAE's")
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), LARGEST_GRADIENT)
        optimiser.step()

        ema.update(average, vae, config.batch_size, min(config.ema_half_life_images, 0.05 * state.images))
        return {"negative_elbo": nll + kl, "nll": nll, "kl": kl, "mse": (real - decoded).square().mean()}

    def preview() -> None:
        runtime.monitor.picture(
            state.images, "reconstructions", show(torch.cat([held_out[:32], average.reconstruct(held_out[:32])]))
        )

    spend(config.images, config.batch_size, state, step, runtime, preview)
    calibrate(average, images, held_out, config, seed)
    return TrainedVae(average.cpu(), state.curve)


@torch.no_grad()
def calibrate(
    vae: Vae, images: Float[Tensor, "n c h w"], held_out: Float[Tensor, "m c h w"], config: VaeConfig, seed: int
) -> None:
    """Fits what is not learned by gradient: σ and the score's scale to `held_out`, prior and reference to `images`.

    Raises:
        DataError: fewer than two rows are held out.
    """
    if len(held_out) < 2:
        raise DataError(
            f"the anomaly score is calibrated on 2 or more normal validation rows, got {len(held_out)}; "
            "raise data.validation_share or add rows"
        )
    vae.log_sigma.copy_(optimal_log_sigma(held_out, vae.reconstruct(held_out)))
    mean, log_variance = vae.encode(images)
    vae.reference.copy_(mean)
    vae.reference_images.copy_((images * 255).round().flatten(1))
    _refit_prior(vae, mean, log_variance, seed)
    for row, part in enumerate(vae.score_parts(held_out)):
        vae.calibration[row] = torch.stack([part.mean(), part.std().clamp_min(1e-6)])
    vae.threshold.copy_(torch.quantile(vae.anomaly_score(held_out), config.flag_quantile))


def _refit_prior(vae: Vae, mean: Float[Tensor, "n d"], log_variance: Float[Tensor, "n d"], seed: int) -> None:
    """A 10-component Gaussian mixture of the aggregate posterior, by draws from it (Ghosh et al., RAE, 2020)."""
    from sklearn.mixture import GaussianMixture

    rng = torch.Generator().manual_seed(derive(seed, "vae", "prior"))
    draws = mean.cpu() + (log_variance.cpu() / 2).exp() * torch.randn(mean.shape, generator=rng)
    components = min(COMPONENTS, max(len(draws) // 20, 1))
    mixture = GaussianMixture(components, reg_covar=LEAST_VARIANCE, random_state=derive(seed, "vae", "mixture") % 2**32)
    mixture.fit(draws.numpy().astype(np.float64))
    vae.mixture_weights.zero_()
    vae.mixture_weights[:components] = torch.from_numpy(mixture.weights_)
    vae.mixture_means[:components] = torch.from_numpy(mixture.means_)
    vae.mixture_factors[:components] = torch.from_numpy(np.linalg.cholesky(mixture.covariances_))
