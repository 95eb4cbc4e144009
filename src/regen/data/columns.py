"""What a table's columns are, and the parts they play: the contract between schema, encoding, models and scoring."""

from dataclasses import dataclass, field
from typing import Literal

ColumnKind = Literal["numeric", "integer", "categorical", "boolean", "datetime"]


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    kind: ColumnKind
    nullable: bool = False
    low: float | None = None
    """Least value of a number (seconds since 1970 of a date); none when absent."""
    high: float | None = None
    """Largest value of a number (seconds since 1970 of a date); none when absent."""
    categories: tuple[str, ...] = ()
    """Values of a categorical column as text, in the order of their codes."""


@dataclass(frozen=True)
class TableSchema:
    """A table's columns, and which of them play a part of their own."""

    columns: tuple[Column, ...]
    key: str | None = None
    """The column that names a row; models never see it."""
    time: str | None = None
    """The column that says when a row came to be, by which splits are made."""
    label: str | None = None
    """The column that is 1 for an anomaly and 0 for others."""
    label_delay_days: float = 0.0
    """Days until a row's label is known."""
    groups: tuple[str, ...] = field(default=())
    """The columns that name whom a row belongs to, such as a customer; windows are counted within each."""

    @property
    def modelled(self) -> tuple[Column, ...]:
        """The columns that models see: all but the key, the time, the label and the groups."""
        apart = {self.key, self.time, self.label, *self.groups}
        return tuple(column for column in self.columns if column.name not in apart)
