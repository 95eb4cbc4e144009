"""Rows of a table of mixed types as tensors, and how a network's inputs are laid out over them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from regen.core.errors import DataError
from regen.data.tables import Table

VIEWS = 3
"""How often a network sees each number (`normaliser.py`): as z-score, as normal score of its rank, as place in the range."""


@dataclass(frozen=True)
class Cells:
    """Rows: numbers, NaN where one is missing, and codes of categories; one outside its column's sizes is an unknown one."""

    numbers: Float64[Tensor, "n p"]
    codes: Int64[Tensor, "n q"]

    @classmethod
    def of(cls, table: Table) -> "Cells":
        """The rows of a table."""
        return cls(torch.from_numpy(table.numbers), torch.from_numpy(table.codes))

    @classmethod
    def of_numbers(cls, numbers: Float64[Tensor, "n p"]) -> "Cells":
        """Rows without categories."""
        return cls(numbers.double(), torch.zeros(len(numbers), 0, dtype=torch.int64, device=numbers.device))

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: Int64[Tensor, " m"]) -> "Cells":
        """The rows of these numbers."""
        return Cells(self.numbers[rows], self.codes[rows])

    def to(self, device: torch.device) -> "Cells":
        """The same rows on another device."""
        return Cells(self.numbers.to(device), self.codes.to(device))

    def chunks(self, size: int) -> Iterator["Cells"]:
        """All rows, in order, `size` at a time."""
        for numbers, codes in zip(self.numbers.split(size), self.codes.split(size), strict=True):
            yield Cells(numbers, codes)

    def thinned(self, most: int) -> "Cells":
        """These rows, or `most` of them spread evenly over all."""
        if len(self) <= most:
            return self
        return self.take(torch.linspace(0, len(self) - 1, most, device=self.numbers.device).long())


@dataclass(frozen=True)
class Layout:
    """What a table's columns are to a network; columns are counted with the numbers first, as a `Table` has them."""

    numeric: int
    """Columns of numbers."""
    sizes: tuple[int, ...] = ()
    """How many categories each of the other columns has."""
    nullable: tuple[int, ...] = ()
    """Columns of numbers in which a value may be missing; that it is missing is modelled."""
    given: tuple[int, ...] = ()
    """Columns that the model is conditional on."""

    @classmethod
    def of(cls, table: Table, given: tuple[str, ...] = ()) -> "Layout":
        """The layout of a table whose missing values are like those to come.

        Raises:
            DataError: a given column is not there, or none would be left to model.
        """
        if absent := [name for name in given if name not in table.columns]:
            raise DataError(
                f"the table has no column {', '.join(absent)} to be given; its columns are {', '.join(table.columns)}"
            )
        if len(set(given)) == len(table.columns):
            raise DataError("every column is given, so none is left to model; give fewer")
        nullable = torch.from_numpy(table.numbers).isnan().any(dim=0).nonzero().flatten().tolist()
        places = tuple(sorted({table.columns.index(name) for name in given}))
        return cls(len(table.names), table.sizes, tuple(nullable), places)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Layout":
        """The layout whose fields, as `asdict` gives them, went through a JSON file."""
        sizes, nullable, given = (tuple(values[name]) for name in ("sizes", "nullable", "given"))
        return cls(values["numeric"], sizes, nullable, given)

    @property
    def columns(self) -> int:
        """How many columns there are."""
        return self.numeric + len(self.sizes)

    @property
    def slots(self) -> int:
        """A network's inputs: three views of each number, flags of missing ones, and a unit for each category."""
        return VIEWS * self.numeric + len(self.nullable) + sum(self.sizes)

    @property
    def column_of_slot(self) -> list[int]:
        """The column that each slot belongs to."""
        numbers = list(range(self.numeric))
        categories = [self.numeric + place for place, size in enumerate(self.sizes) for _ in range(size)]
        return [*numbers * VIEWS, *self.nullable, *categories]

    def require(self, cells: Cells) -> None:
        """Checks that rows have as many columns of each kind.

        Raises:
            DataError: they do not.
        """
        met, wanted = (cells.numbers.shape[1], cells.codes.shape[1]), (self.numeric, len(self.sizes))
        if met != wanted:
            raise DataError(
                f"rows have {met[0]} numbers and {met[1]} categories, wanted {wanted[0]} and {wanted[1]}; "
                "encode them as the training table was"
            )
