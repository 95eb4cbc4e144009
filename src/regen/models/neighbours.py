"""Nearest training rows, and how far they are for the place they are in (Breunig et al., *LOF*, 2000, made simple)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Nearest(NamedTuple):
    """Nearest reference rows of each query, the nearest first."""

    distances: Float[Tensor, "n k"]
    rows: Int64[Tensor, "n k"]


def nearest(queries: Float[Tensor, "n d"], reference: Float[Tensor, "m d"], k: int) -> Nearest:
    """The `k` nearest reference rows of each query, or all of them if there are fewer."""
    return Nearest(*torch.cdist(queries, reference).topk(min(k, len(reference)), largest=False))


def spread(reference: Float[Tensor, "m d"], k: int, chunk: int = 512) -> Float[Tensor, " m"]:
    """Each reference row's mean distance to its `k` nearest others; 1 for a single row."""
    if len(reference) < 2:
        return torch.ones(len(reference), device=reference.device)
    found = [nearest(some, reference, k + 1).distances[:, 1:].mean(dim=1) for some in reference.split(chunk)]
    return torch.cat(found)


def isolation(found: Nearest, spreads: Float[Tensor, " m"]) -> Float[Tensor, " n"]:
    """Log of how much farther the neighbours are than they are from theirs; above 0 is a place with less company.

    A tight class and a diffuse one can so be compared.

    Example:
        >>> one = Nearest(torch.tensor([[2.0, 4.0]]), torch.tensor([[0, 1]]))
        >>> isolation(one, torch.tensor([3.0, 3.0, 9.0]))
        tensor([0.])
    """
    return (found.distances.mean(dim=1).clamp_min(1e-6) / spreads[found.rows].mean(dim=1).clamp_min(1e-6)).log()
