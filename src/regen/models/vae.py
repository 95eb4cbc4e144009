"""The VAE (Kingma and Welling, 2014) with one calibrated σ (Rybkin et al., *σ-VAE*, 2021) and a refitted prior.

Once trained it holds all that its use needs: σ, for each class a Gaussian mixture refitted on its latents for sampling,
and the anomaly detector's reference rows and calibration. The networks know nothing of classes, since a row to be
judged comes without one.
"""

from collections.abc import Iterator, Sequence
from math import log, pi, prod

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from regen.core.sections.base import Network
from regen.core.sections.models import Likelihood
from regen.models import neighbours
from regen.models.gan import Classes, draw_classes
from regen.models.mixture import Gaussians
from regen.models.networks import HEADS, STEMS, Shape

LOG_VARIANCE_RANGE = (-8.0, 6.0)
COMPONENTS = 10
"""Gaussians of the refitted prior, or of each class's part of it."""
PARTS = 6
"""Most parts of the anomaly score."""
LOCAL = 10
"""Nearest training rows that make an image's surroundings."""
SCORE_SEED = 20_140_401
"""The anomaly score's draws are fixed, so that one image has one score."""


class Vae(nn.Module):
    """Encoder to a diagonal Gaussian over latents, decoder to the mean of a Gaussian over pixels in [0, 1].

    Args:
        n_reference: training rows that the anomaly score measures the distance to.
        neighbours: how many of the nearest ones it averages over; 0 leaves them out of the score.
        draws: latent draws the score averages over.
        likelihood: gaussian, or bernoulli for binary images.
        classes: names of the classes that samples can be asked of.
    """

    class_shares: Tensor
    log_sigma: Tensor
    mixture_weights: Tensor
    mixture_means: Tensor
    mixture_factors: Tensor
    reference_images: Tensor
    reference: Tensor
    reference_spread: Tensor
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
        likelihood: Likelihood = "gaussian",
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.likelihood, self.classes, parts = likelihood, tuple(classes), max(len(classes), 1)
        self.latent_dim, self.neighbours, self.draws = latent_dim, min(neighbours, n_reference), draws
        self.encoder = HEADS[network](shape, width, 2 * latent_dim)
        self.decoder = STEMS[network](shape, width, latent_dim)
        self.register_buffer("log_sigma", torch.zeros(()))
        self.register_buffer("class_shares", torch.full((parts,), 1 / parts))
        self.register_buffer("mixture_weights", torch.full((parts, COMPONENTS), 1 / COMPONENTS))
        self.register_buffer("mixture_means", torch.zeros(parts, COMPONENTS, latent_dim))
        self.register_buffer("mixture_factors", torch.eye(latent_dim).repeat(parts, COMPONENTS, 1, 1))
        self.register_buffer("reference_images", torch.zeros(n_reference, prod(shape), dtype=torch.uint8))
        self.register_buffer("reference", torch.zeros(n_reference, latent_dim))
        self.register_buffer("reference_spread", torch.ones(2, n_reference))
        self.register_buffer("calibration", torch.tensor([[0.0, 1.0]] * PARTS))
        self.register_buffer("threshold", torch.tensor(float("inf")))

    def encode(self, images: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Mean and log-variance of each image's latents; the latter clamped to [−8, 6]."""
        encoded: Tensor = self.encoder(2 * images - 1)
        mean, log_variance = encoded.chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)

    def decode(self, latents: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        """The mean image of each latent, about [0, 1]."""
        return self.expect(self.raw(latents))

    def raw(self, latents: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        """The decoder's output, which `expect` makes mean images of."""
        decoded: Tensor = self.decoder(latents)
        return decoded

    def expect(self, raw: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The mean images that the decoder's output stands for."""
        return torch.sigmoid(raw) if self.likelihood == "bernoulli" else (raw + 1) / 2

    def nll(
        self,
        images: Float[Tensor, "n c h w"],
        decoded: Float[Tensor, "n c h w"],
        log_sigma: Float[Tensor, ""] | None = None,
    ) -> Float[Tensor, " n"]:
        """−log p(images | decoded), in nats, summed over pixels; σ is the calibrated one unless given."""
        if self.likelihood == "bernoulli":
            return bernoulli_nll(images, decoded)
        return gaussian_nll(images, decoded, self.log_sigma if log_sigma is None else log_sigma)

    def mean_nll(
        self,
        images: Float[Tensor, "n c h w"],
        raw: Float[Tensor, "n c h w"],
        mse: Float[Tensor, ""],
        log_sigma: Float[Tensor, ""],
    ) -> Float[Tensor, ""]:
        """The mean of `nll`, from the decoder's output or, where it says it all, from the mean squared error alone."""
        if self.likelihood == "bernoulli":
            return F.binary_cross_entropy_with_logits(raw, images, reduction="sum") / len(images)
        return images[0].numel() * (0.5 * mse / (2 * log_sigma).exp() + log_sigma + 0.5 * log(2 * pi))

    @torch.no_grad()
    def reconstruct(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Each image decoded from the mean of its latents, clipped to [0, 1]."""
        return torch.cat([self.decode(self.encode(batch)[0]).clamp(0, 1) for batch in images.split(1024)])

    @torch.no_grad()
    def sample(
        self, n: int, generator: torch.Generator, classes: Classes | None = None, *, refitted: bool = True
    ) -> Float[Tensor, "n c h w"]:
        """`n` images of the given classes, else of classes drawn by their shares; the same state gives the same ones.

        Args:
            refitted: whether latents come from the refitted prior, else from N(0, I).
        """
        if classes is None:
            classes = draw_classes(self.class_shares, n, generator)
        latents = self.draw_latents(classes, generator, refitted=refitted)
        return torch.cat([self.decode(batch).cpu() for batch in latents.to(self.log_sigma.device).split(1024)])

    def draw_latents(
        self, classes: Classes, generator: torch.Generator, *, refitted: bool = True
    ) -> Float[Tensor, "n d"]:
        """Latents of the given classes from the refitted prior, else from N(0, I); on the CPU."""
        of = classes.cpu()
        component = torch.multinomial(self.mixture_weights.cpu()[of], 1, generator=generator).squeeze(1)
        latents = torch.randn(len(of), self.latent_dim, 1, generator=generator)
        if refitted:
            latents = self.mixture_factors.cpu()[of, component] @ latents
            latents += self.mixture_means.cpu()[of, component].unsqueeze(-1)
        return latents.squeeze(-1)

    @torch.no_grad()
    def negative_elbo(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """−ELBO under the calibrated decoder, in nats an image; lower is more normal, and one image has one value."""
        totals = []
        for batch in images.split(1024):
            mean, log_variance = self.encode(batch)
            total = gaussian_kl(mean, log_variance)
            for decoded in self.decoded(mean, log_variance):
                total = total + self.nll(batch, decoded) / self.draws
            totals.append(total)
        return torch.cat(totals)

    def decoded(
        self, mean: Float[Tensor, "n d"], log_variance: Float[Tensor, "n d"]
    ) -> Iterator[Float[Tensor, "n c h w"]]:
        """The mean images of each posterior's draws, one draw after another; the same ones at each call."""
        generator = torch.Generator().manual_seed(SCORE_SEED)
        for _ in range(self.draws):
            noise = torch.randn(self.latent_dim, generator=generator).to(mean)
            yield self.decode(mean + (log_variance / 2).exp() * noise)

    @torch.no_grad()
    def squared_error(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
        """Mean squared error of what `negative_elbo` decodes, of draws and unclipped: all of the images it needs to know."""
        total = torch.zeros((), device=images.device)
        for batch in images.split(1024):
            for decoded in self.decoded(*self.encode(batch)):
                total += (batch - decoded).square().sum() / self.draws
        return total / images.numel()

    @torch.no_grad()
    def score_parts(self, images: Float[Tensor, "n c h w"]) -> list[Float[Tensor, " n"]]:
        """−ELBO; then, with neighbours, five that compare with the training rows; higher is stranger in each.

        −log density of the latents under the refitted prior; mean distance to the nearest rows, in latents and in pixels;
        and how isolated the image is for its surroundings, in latents and in pixels of unit norm.
        """
        parts = [self.negative_elbo(images)]
        if not self.neighbours:
            return parts
        found = []
        for batch in images.split(256):
            latents, pixels = self.encode(batch)[0], batch.flatten(1)
            near = [
                neighbours.nearest(latents, self.reference, LOCAL),
                neighbours.nearest(pixels, self.reference_pixels, self.neighbours),
                neighbours.nearest(F.normalize(pixels), F.normalize(self.reference_pixels), LOCAL),
            ]
            found.append(
                torch.stack([
                    -self.log_prior(latents),
                    near[0].distances[:, : self.neighbours].mean(dim=1),
                    near[1].distances.mean(dim=1),
                    neighbours.isolation(near[0], self.reference_spread[0]),
                    neighbours.isolation(near[2], self.reference_spread[1]),
                ])
            )  # fmt: skip
        return [*parts, *torch.cat(found, dim=1)]

    @property
    def reference_pixels(self) -> Float[Tensor, "m p"]:
        """The reference rows' pixels, in [0, 1]."""
        return self.reference_images.float() / 255

    def log_prior(self, latents: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Log density of latents under the refitted prior, classes weighted by their shares."""
        weights = (self.class_shares[:, None] * self.mixture_weights).flatten()
        parts = Gaussians(weights, self.mixture_means.flatten(0, 1), self.mixture_factors.flatten(0, 1))
        return parts.log_parts(latents).logsumexp(dim=0)

    def fit_prior(self, part: int, draws: Float[np.ndarray, "m d"], seed: int) -> None:
        """Makes a Gaussian mixture fitted to the draws the prior of one class."""
        found = Gaussians.fit(draws, COMPONENTS, seed)
        components = len(found.weights)
        self.mixture_weights[part] = 0
        self.mixture_weights[part, :components] = found.weights
        self.mixture_means[part, :components] = found.means
        self.mixture_factors[part, :components] = found.factors

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
    return gaussian_kl_terms(mean, log_variance).sum(dim=1)


def gaussian_kl_terms(mean: Float[Tensor, "n d"], log_variance: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """KL divergence from N(mean, exp(log_variance)) to N(0, 1) of each dimension, in nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def gaussian_nll(
    images: Float[Tensor, "n c h w"], mean: Float[Tensor, "n c h w"], log_sigma: Float[Tensor, ""]
) -> Float[Tensor, " n"]:
    """−log N(images; mean, σ²), in nats, summed over pixels."""
    squared = ((images - mean) / log_sigma.exp()).square()
    return (0.5 * squared + log_sigma + 0.5 * log(2 * pi)).flatten(1).sum(dim=1)


def bernoulli_nll(images: Float[Tensor, "n c h w"], mean: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """−log p of binary pixels that are 1 with probability `mean`, in nats, summed over pixels.

    Example:
        >>> bernoulli_nll(torch.ones(1, 1, 1, 2), torch.full((1, 1, 1, 2), 0.5))
        tensor([1.3863])
    """
    return F.binary_cross_entropy(mean.clamp(1e-6, 1 - 1e-6), images, reduction="none").flatten(1).sum(dim=1)
