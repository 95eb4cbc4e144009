"""The importance-weighted bound on a VAE's log-likelihood (Burda et al., 2016, https://arxiv.org/abs/1509.00519)."""

from math import log
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from regen.core.errors import EvaluationError

DRAWS = 500
"""Latents per image, from where on the bound is taken for the likelihood itself."""
LEAST, LARGEST, PIXELS = 64, 512, 131_072
"""Images that the bound is measured on: so many pixels in all within these bounds, since each takes `DRAWS` decodings."""


class Decodes(Protocol):
    """A model of latents under N(0, I) with a Gaussian posterior."""

    def encode(self, images: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Mean and log-variance of the posterior."""

    def decode(self, latents: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        """Mean image of each latent."""

    def nll(self, images: Float[Tensor, "n c h w"], decoded: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """−log p(image | latent), in nats, summed over pixels."""


@torch.no_grad()
def iwae_bound(
    vae: Decodes, images: Float[Tensor, "n c h w"], draws: int, generator: torch.Generator, chunk: int = 512
) -> Float64[np.ndarray, " n"]:
    """A lower bound on log p(x) of each image, in nats; higher is better, and it tightens as draws grow.

    log ¹⁄ₖ Σ p(x|z) p(z) / q(z|x) over k draws z from q(z|x), of which one draw is an estimate of the ELBO. The prior is
    N(0, I), as in training, not the refitted mixture.

    Args:
        draws: k, latents per image.
        chunk: images decoded at once.

    Raises:
        EvaluationError: no draws, or a weight is not a number.
    """
    if draws < 1:
        raise EvaluationError(f"the bound needs at least 1 draw, got {draws}; raise the draws")
    encoded = [vae.encode(batch) for batch in images.split(chunk)]
    mean, log_variance = (torch.cat(parts) for parts in zip(*encoded, strict=True))
    total = torch.full((len(images),), -float("inf"), dtype=torch.float64)
    for _ in range(draws):  # draw by draw over all images, so that the result does not hang on the chunk
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        latents = mean + (log_variance / 2).exp() * noise
        pairs = zip(images.split(chunk), latents.split(chunk), strict=True)
        log_likelihood = torch.cat([-vae.nll(batch, vae.decode(z)) for batch, z in pairs]).double()
        log_ratio = 0.5 * (noise.square() + log_variance - latents.square()).double().sum(dim=1)
        total = torch.logaddexp(total, (log_likelihood + log_ratio).cpu())
    bound: np.ndarray = (total - log(draws)).numpy()
    if np.isnan(bound).any():
        raise EvaluationError("the likelihood holds NaN; look at the VAE's training")
    return bound


def most_images(dimensions: int) -> int:
    """How many images of so many pixels and channels the bound is measured on at most.

    Example:
        >>> [most_images(d) for d in (64, 784, 3072)]
        [512, 167, 64]
    """
    return min(LARGEST, max(LEAST, PIXELS // dimensions))


def bits_per_dimension(nats: Float64[np.ndarray, " n"], dimensions: int) -> Float64[np.ndarray, " n"]:
    """Negative log-likelihoods in nats an image as bits per pixel and channel; lower is better.

    Of a Gaussian likelihood these are bits of a density over pixels in [0, 1], below 0 where it is sharp; add 8 to compare
    with figures for 256 grey levels.

    Example:
        >>> bits_per_dimension(np.array([64 * np.log(2)]), 64)
        array([1.])
    """
    bits: np.ndarray = nats / (log(2) * dimensions)
    return bits
