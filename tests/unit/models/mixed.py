"""Rows of mixed types that any table model learns in seconds."""

import torch

from regen.models.cells import Cells, Layout

LAYOUT = Layout(numeric=3, sizes=(2, 4), nullable=(2,))
"""Two correlated numbers, a whole one that may be missing, the first one's sign, and a category of four."""


def mixed(n: int = 300, seed: int = 0) -> Cells:
    """Normal rows: the second number is twice the first one, the first category tells its sign."""
    rng = torch.Generator().manual_seed(seed)
    first = torch.randn(n, generator=rng, dtype=torch.float64)
    noise = torch.randn(n, generator=rng, dtype=torch.float64)
    third = torch.randint(0, 10, (n,), generator=rng).double()
    third[torch.rand(n, generator=rng) < 0.3] = torch.nan
    codes = torch.stack([(first > 0).long(), torch.randint(0, 4, (n,), generator=rng)], dim=1)
    return Cells(torch.stack([1000 + 50 * first, 2 * first + 0.1 * noise, third], dim=1), codes)


def strange(n: int = 60, seed: int = 5) -> Cells:
    """Rows whose second number contradicts the first one."""
    rows = mixed(n, seed)
    numbers = rows.numbers.clone()
    numbers[:, 1] = -numbers[:, 1] + 1.0
    return Cells(numbers, rows.codes)
