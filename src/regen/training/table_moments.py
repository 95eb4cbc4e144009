"""The first and second moments of encoded rows: means, shares, and how any two columns go together.

To match them is the information loss of Table-GAN (Park et al., VLDB 2018, https://arxiv.org/abs/1806.03384), taken on the
rows themselves: of one-hot codes the products are the two-way tables of every two columns of categories.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from regen.models.table_gan import Layout, Rows

CHUNK = 8192
"""Rows that are summed at once."""
LEAST_DEVIATION = 0.02
"""Rarer categories count as if they deviated so much, lest a handful of rows outweigh all others."""


@dataclass(frozen=True)
class Moments:
    """What all the real rows say."""

    mean: Float[Tensor, " d"]
    deviation: Float[Tensor, " d"]
    products: Float[Tensor, "d d"]
    """Means of the products of each two positions, centred and in units of their deviations."""

    @classmethod
    def of(cls, layout: Layout, numbers: Float[Tensor, "m p"], codes: Int64[Tensor, "m q"]) -> "Moments":
        """The moments of these rows, summed in 64 bits."""
        total = torch.zeros(layout.size, dtype=torch.float64, device=numbers.device)
        squares = torch.zeros(layout.size, layout.size, dtype=torch.float64, device=numbers.device)
        for some, others in zip(numbers.split(CHUNK), codes.split(CHUNK), strict=True):
            rows = layout.join(some, others).double()
            total += rows.sum(dim=0)
            squares += rows.t() @ rows
        mean = total / len(numbers)
        covariance = squares / len(numbers) - torch.outer(mean, mean)
        deviation = covariance.diagonal().clamp_min(0).sqrt().clamp_min(LEAST_DEVIATION)
        products = covariance / torch.outer(deviation, deviation)
        return cls(mean.float(), deviation.float(), products.float())

    def sums(self, rows: Rows) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
        """What a distance needs of the rows and what adds up over parts of them: their sum, and that of their products."""
        centred = (rows - self.mean) / self.deviation
        products = centred.t() @ centred
        return centred.sum(dim=0), products

    def distance_of(self, total: Float[Tensor, " d"], products: Float[Tensor, "d d"], n: int) -> Float[Tensor, ""]:
        """Mean squared difference of the means, and of the products summed over one side, of `n` rows; 0 is best.

        Of a batch of real rows it is about the number of positions over that of the rows.
        """
        apart = products / n - self.products
        return (total / n).square().mean() + apart.square().sum() / len(self.mean)
