"""A Gaussian mixture as part of a saved model: the prior refitted to the latents (Ghosh et al., *RAE*, 2020)."""

from math import log, pi
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

LEAST_VARIANCE = 1e-4
"""Added to the covariances."""
ROWS_A_COMPONENT = 25
"""Fewest rows that one Gaussian stands for."""
LARGEST_FIT = 20_000
"""Most draws it is fitted to; the rest are passed over evenly."""


class Gaussians(NamedTuple):
    """The components of a mixture; one whose weight is 0 is left out of its density."""

    weights: Float[Tensor, " k"]
    means: Float[Tensor, "k d"]
    factors: Float[Tensor, "k d d"]
    """The covariances' lower Cholesky factors."""

    @classmethod
    def fit(cls, draws: Float[np.ndarray, "m d"], most: int, seed: int) -> "Gaussians":
        """Fitted by expectation maximisation: `most` components, or one for every 25 draws if those are fewer."""
        from sklearn.mixture import GaussianMixture

        kept = draws[:: -(-len(draws) // LARGEST_FIT)]
        components = min(most, max(len(kept) // ROWS_A_COMPONENT, 1))
        found = GaussianMixture(components, reg_covar=LEAST_VARIANCE, random_state=seed % 2**32).fit(kept)
        parts = (found.weights_, found.means_, np.linalg.cholesky(found.covariances_))
        return cls(*map(torch.from_numpy, parts))

    def log_parts(self, leading: Float[Tensor, "n l"]) -> Float[Tensor, "k n"]:
        """Log density of the leading dimensions under each component that has a weight, weighted."""
        size, used = leading.shape[1], self.weights > 0
        means, factors = self.means[used, :size], self.factors[used, :size, :size]
        offsets = (leading[None] - means[:, None]).transpose(1, 2)  # (k, l, n)
        squared = torch.linalg.solve_triangular(factors, offsets, upper=False).square().sum(dim=1)
        volumes = factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        heights: Tensor = self.weights[used].log() - volumes - size * log(2 * pi) / 2
        found: Tensor = heights[:, None] - squared / 2
        return found


class Mixture(nn.Module):
    """Density and draws of a Gaussian mixture, of points that may depend on what is given; standard normal until fitted.

    It is fitted to both together. With what is given first, the lower Cholesky factor holds each component's
    distribution of the rest: its last rows are the regression on what is given and the factor of what that leaves.

    Args:
        dim: dimensions of the points.
        given: dimensions of what is given.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, dim: int, given: int = 0, components: int = 10) -> None:
        super().__init__()
        self.given = given
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, given + dim))
        self.register_buffer("factors", torch.eye(given + dim).repeat(components, 1, 1))

    def fit(self, draws: Float[Tensor, "m d"], given: Float[Tensor, "m g"], seed: int) -> None:
        """Fits it by expectation maximisation; with few draws some components stay empty."""
        found = Gaussians.fit(torch.cat([given, draws], dim=1).double().cpu().numpy(), len(self.weights), seed)
        components = len(found.weights)
        self.weights.zero_()
        self.weights[:components] = found.weights
        self.means[:components] = found.means
        self.factors[:components] = found.factors

    def log_density(self, points: Float[Tensor, "n d"], given: Float[Tensor, "n g"]) -> Float[Tensor, " n"]:
        """Log density of each point where the rest is as given, in nats."""
        joint = self._log_parts(torch.cat([given, points], dim=1)).logsumexp(dim=0)
        return joint - self._log_parts(given).logsumexp(dim=0)

    def _log_parts(self, leading: Float[Tensor, "n l"]) -> Float[Tensor, "k n"]:
        return Gaussians(self.weights, self.means, self.factors).log_parts(leading)

    def draw(self, given: Float[Tensor, "n g"], generator: torch.Generator) -> Float[Tensor, "n d"]:
        """A draw for each row of what is given, on the CPU; the same state gives the same ones."""
        shares = torch.zeros(len(given), len(self.weights))
        shares[:, (self.weights > 0).cpu()] = self._log_parts(given).softmax(dim=0).T.cpu()
        component = torch.multinomial(shares, 1, generator=generator)[:, 0]
        means, factors = self.means.cpu()[component], self.factors.cpu()[component]
        leading, g = (given.cpu() - means[:, : self.given])[..., None], self.given
        known = torch.linalg.solve_triangular(factors[:, :g, :g], leading, upper=False)
        noise = torch.randn(len(given), means.shape[1] - g, 1, generator=generator)
        return means[:, g:] + (factors[:, g:] @ torch.cat([known, noise], dim=1)).squeeze(-1)
