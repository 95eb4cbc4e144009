"""The VAE (Kingma and Welling, 2014) with one calibrated σ (Rybkin et al., *σ-VAE*, 2021) and a refitted prior.

Once trained it holds all that its use needs: σ, a Gaussian mixture refitted on the latents for sampling, and the
anomaly detector's reference rows and calibration.
"""

from math import log, pi, prod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from regen.core.config import Network
from regen.models.networks import HEADS, STEMS, Shape

LOG_VARIANCE_RANGE = (-8.0, 6.0)
COMPONENTS = 10
"""Gaussians of the refitted prior."""
SCORE_SEED = 20_140_401
"""The anomaly score's draws are fixed, so that one image has one score."""


class Vae(nn.Module):
    """Encoder to a diagonal Gaussian over latents, decoder to the mean of a Gaussian over pixels in [0, 1].

    Args:
        n_reference: training rows that the anomaly score measures the distance to.
        neighbours: how many of the nearest ones it averages over; 0 leaves them out of the score.
        draws: latent draws the score averages over.
    """

    log_sigma: Tensor
    mixture_weights: Tensor
    mixture_means: Tensor
    mixture_factors: Tensor
    reference_images: Tensor
    reference: Tensor
    calibration: Tensor
    threshold: Tensor

    def __init__(
        self,
        shape: Shape,
        network: Network,
        width: int,
        latent_dim: int,
        n_reference: int = 0,
        neighbours: int = 0,
        draws: int = 16,
    ) -> None:
        super().__init__()
        self.latent_dim, self.neighbours, self.draws = latent_dim, min(neighbours, n_reference), draws
        self.encoder = HEADS[network](shape, width, 2 * latent_dim)
        self.decoder = STEMS[network](shape, width, latent_dim)
        self.register_buffer("log_sigma", torch.zeros(()))
        self.register_buffer("mixture_weights", torch.full((COMPONENTS,), 1 / COMPONENTS))
        self.register_buffer("mixture_means", torch.zeros(COMPONENTS, latent_dim))
        self.register_buffer("mixture_factors", torch.eye(latent_dim).repeat(COMPONENTS, 1, 1))
        self.register_buffer("reference_images", torch.zeros(n_reference, prod(shape), dtype=torch.uint8))
        self.register_buffer("reference", torch.zeros(n_reference, latent_dim))
        self.register_buffer("calibration", torch.tensor([[0.0, 1.0]] * 3))
        self.register_buffer("threshold", torch.tensor(float("inf")))

    def encode(self, images: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Mean and log-variance of each image's latents; the latter clamped to [−8, 6]."""
        encoded: Tensor = self.encoder(2 * images - 1)
        mean, log_variance = encoded.chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)

    def decode(self, latents: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        """The mean image of each latent, about [0, 1]."""
        images: Tensor = self.decoder(latents)
        return (images + 1) / 2

    @torch.no_grad()
    def reconstruct(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Each image decoded from the mean of its latents, clipped to [0, 1]."""
        return torch.cat([self.decode(self.encode(batch)[0]).clamp(0, 1) for batch in images.split(1024)])

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """`n` images from the refitted prior; the same generator state gives the same ones."""
        component = torch.multinomial(self.mixture_weights.cpu(), n, replacement=True, generator=generator)
        noise = torch.randn(n, self.latent_dim, 1, generator=generator)
        latents = self.mixture_means.cpu()[component] + (self.mixture_factors.cpu()[component] @ noise).squeeze(-1)
        batches = [self.decode(batch).cpu() for batch in latents.to(self.log_sigma.device).split(1024)]
        return torch.cat(batches)

    @torch.no_grad()
    def negative_elbo(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """−ELBO under the calibrated decoder, in nats an image; lower is more normal, and one image has one value."""
        totals = []
        for batch in images.split(1024):
            mean, log_variance = self.encode(batch)
            generator = torch.Generator().manual_seed(SCORE_SEED)
            total = gaussian_kl(mean, log_variance)
            for _ in range(self.draws):
                noise = torch.randn(self.latent_dim, generator=generator).to(mean)
                decoded = self.decode(mean + (log_variance / 2).exp() * noise)
                total = total + gaussian_nll(batch, decoded, self.log_sigma) / self.draws
            totals.append(total)
        return torch.cat(totals)

    @torch.no_grad()
    def score_parts(self, images: Float[Tensor, "n c h w"]) -> list[Float[Tensor, " n"]]:
        """−ELBO, then the mean distance to the nearest training rows, in the latent space and in pixels."""
        parts = [self.negative_elbo(images)]
        if self.neighbours:
            reference_pixels = self.reference_images.float() / 255
            batches = images.split(256)
            parts.append(torch.cat([self._nearest(self.encode(batch)[0], self.reference) for batch in batches]))
            parts.append(torch.cat([self._nearest(batch.flatten(1), reference_pixels) for batch in batches]))
        return parts

    def _nearest(self, queries: Float[Tensor, "n d"], reference: Float[Tensor, "m d"]) -> Float[Tensor, " n"]:
        return torch.cdist(queries, reference).topk(self.neighbours, largest=False).values.mean(dim=1)

    @torch.no_grad()
    def anomaly_score(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """How unlike the training rows each image is; higher is stranger, 0 is an average validation row.

        The mean of its parts, each in standard deviations of the validation rows.
        """
        parts = zip(self.score_parts(images), self.calibration, strict=False)
        standardised = [(part - mean) / sd for part, (mean, sd) in parts]
        return torch.stack(standardised).mean(dim=0)

    def is_anomaly(self, scores: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Whether each score lies above the calibrated threshold."""
        return scores > self.threshold


def gaussian_kl(mean: Float[Tensor, "n d"], log_variance: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """KL divergence from N(mean, exp(log_variance)) to N(0, I), in nats, summed over dimensions.

    Example:
        >>> gaussian_kl(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
        tensor([0.5000])
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


def gaussian_nll(
    images: Float[Tensor, "n c h w"], mean: Float[Tensor, "n c h w"], log_sigma: Float[Tensor, ""]
) -> Float[Tensor, " n"]:
    """−log N(images; mean, σ²), in nats, summed over pixels."""
    squared = ((images - mean) / log_sigma.exp()).square()
    return (0.5 * squared + log_sigma + 0.5 * log(2 * pi)).flatten(1).sum(dim=1)
