"""Scores of different units on one scale: how rare each is among normal rows, in nats (after Fisher's way to join tests).

A score's surprise is −log of the share of normal rows with a score as high. Beyond the highest tenth, where rows are
few, the tail is taken to be exponential, so that the strangest rows stay apart.
"""

from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn

TAIL = 0.1
"""Share of the normal rows that make the tail."""
LEVELS = 50
"""Quantiles below the tail."""


class Surprise(nn.Module):
    """Parts of a score, each brought to nats of surprise among the rows it was fitted to."""

    quantiles: Tensor
    excess: Tensor

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.register_buffer("quantiles", torch.zeros(parts, LEVELS, dtype=torch.float64))
        self.register_buffer("excess", torch.ones(parts, dtype=torch.float64))

    def fit(self, parts: Float[Tensor, "k m"]) -> None:
        """Learns the distribution of each part from normal rows."""
        levels = torch.linspace(0, 1 - TAIL, LEVELS, dtype=torch.float64, device=parts.device)
        self.quantiles.copy_(torch.quantile(parts.double(), levels, dim=1).T)
        edge = self.quantiles[:, -1:]
        beyond = (parts.double() - edge).clamp_min(0)
        mean = beyond.sum(dim=1) / (beyond > 0).sum(dim=1).clamp_min(1)
        spread = parts.double().std(dim=1).clamp_min(1e-9)
        self.excess.copy_(torch.where(mean > 0, mean, spread))

    def forward(self, parts: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
        """Nats of surprise of each part, or of the first ones; 0 is the lowest score seen, 2.3 the edge of the tail."""
        quantiles, values = self.quantiles[: len(parts)], parts.double().contiguous()
        edge, excess = quantiles[:, -1:], self.excess[: len(parts), None]
        upper = torch.searchsorted(quantiles, values).clamp(1, LEVELS - 1)
        left, right = quantiles.gather(1, upper - 1), quantiles.gather(1, upper)
        share = torch.where(right > left, (values - left) / (right - left), 0.0).clamp(0, 1)
        below = (upper - 1 + share) * ((1 - TAIL) / (LEVELS - 1))
        return torch.where(values > edge, -log(TAIL) + (values - edge) / excess, -(-below).log1p())
