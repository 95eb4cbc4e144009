"""Rows of mixed types as a network's inputs, and as points whose distances tell how unlike they are."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from regen.core.errors import DataError
from regen.models.cells import VIEWS, Cells, Layout
from regen.models.normaliser import Normaliser


class Inputs(NamedTuple):
    """Rows as a network sees them."""

    slots: Float[Tensor, "n s"]
    """Views of the numbers (0 where missing), flags of missing ones, and a unit for each category."""
    absent: Bool[Tensor, "n p"]
    """Where a number is missing."""
    unknown: Bool[Tensor, "n q"]
    """Where a category is none of the known."""


def inputs_of(cells: Cells, layout: Layout, normaliser: Normaliser) -> Inputs:
    """Raw rows as a network sees them.

    Raises:
        DataError: rows of other columns, or an infinite number.
    """
    layout.require(cells)
    absent = cells.numbers.isnan()
    if cells.numbers.isinf().any():
        raise DataError("a number is infinite; leave the cell empty where there is none")
    views = [view.masked_fill(absent, 0.0) for view in normaliser.views(cells.numbers)]
    flags = absent[:, list(layout.nullable)]
    units, unknown = [], torch.zeros_like(cells.codes, dtype=torch.bool)
    for place, size in enumerate(layout.sizes):
        codes = cells.codes[:, place]
        unknown[:, place] = (codes < 0) | (codes >= size)
        units.append(F.one_hot(codes.masked_fill(unknown[:, place], size), size + 1)[:, :size])
    return Inputs(torch.cat([*views, flags, *units], dim=1).float(), absent, unknown)


def split_slots(slots: Float[Tensor, "n s"], layout: Layout) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Slots, or what was decoded for them: views of the numbers, flags, and each category's units."""
    numbers, flags = VIEWS * layout.numeric, len(layout.nullable)
    views, missing, units = slots.split([numbers, flags, sum(layout.sizes)], dim=1)
    return views, missing, units.split(layout.sizes, dim=1) if layout.sizes else ()


def spaces_of(cells: Cells, layout: Layout, normaliser: Normaliser) -> list[Float64[Tensor, "n e"]]:
    """Rows in the three views, as points.

    Two categories that differ are as far apart as two typical numbers; between places, as the ends of the range
    (Gower, 1971). A missing number lies in the middle and has a unit of its own.
    """
    absent, inputs = cells.numbers.isnan(), inputs_of(cells, layout, normaliser)
    others = inputs.slots[:, VIEWS * layout.numeric :].double()
    views, middles = normaliser.views(cells.numbers), normaliser.views(normaliser.mean[None])
    return [
        torch.cat([torch.where(absent, middle, view), scale * others], dim=1)
        for view, middle, scale in zip(views, middles, (1.0, 1.0, 0.5**0.5), strict=True)
    ]
