"""A frame's rows as numbers and codes that mean the same in every table, by what was seen when the codebook was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from regen.core.errors import DataError
from regen.data.columns import Column, ColumnKind
from regen.data.tables import EPOCH, Table

UNKNOWN = -1
"""The code of a category that the codebook does not hold."""
MISSING = "(missing)"
"""What a missing category is called where it is shown."""
TRUE, FALSE = "true", "false"


@dataclass(frozen=True)
class Codebook:
    """Which columns hold numbers, and which codes the categories of the others have."""

    numbers: Mapping[str, ColumnKind]
    """Each column of numbers, and what kind of number it holds."""
    categories: Mapping[str, tuple[str, ...]]
    """Each other column's values as text, in the order of their codes."""
    missing: frozenset[str] = frozenset()
    """The columns of categories in which one may be missing; it has the code after the last."""

    @classmethod
    def of(cls, frames: Sequence[pd.DataFrame], columns: Sequence[Column]) -> "Codebook":
        """The codes of all categories that a schema lists or these frames hold.

        Raises:
            DataError: a frame lacks a column.
        """
        numbers: dict[str, ColumnKind] = {}
        categories: dict[str, tuple[str, ...]] = {}
        missing = set()
        for column in columns:
            for frame in frames:
                require([column.name], frame)
            if column.kind not in ("categorical", "boolean"):
                numbers[column.name] = column.kind
                continue
            texts = [_texts(frame[column.name]) for frame in frames]
            met = {text for some in texts for text in some.dropna().unique()}
            listed = (FALSE, TRUE) if column.kind == "boolean" else column.categories
            categories[column.name] = (*listed, *sorted(met - set(listed)))
            if column.nullable or any(some.isna().any() for some in texts):
                missing.add(column.name)
        return cls(numbers, categories, frozenset(missing))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column, the numbers first."""
        return (*self.numbers, *self.categories)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each column of categories has."""
        return tuple(len(known) + (name in self.missing) for name, known in self.categories.items())

    def table(self, frame: pd.DataFrame) -> Table:
        """The rows; a category that was not seen has the code −1.

        Raises:
            DataError: a column is not there, or holds what is no number.
        """
        require(self.columns, frame)
        numbers = [_numbers(frame[name], kind) for name, kind in self.numbers.items()]
        codes = [self._codes(frame[name]) for name in self.categories]
        return Table(
            tuple(self.numbers), _stacked(numbers, len(frame), np.float64) + 0.0,  # a negative zero is a zero
            tuple(self.categories), _stacked(codes, len(frame), np.int64), self.sizes,
        )  # fmt: skip

    def frame(self, table: Table) -> pd.DataFrame:
        """The rows of a table as people write them; what is missing or unknown is missing.

        Example:
            >>> book = Codebook({"amount": "numeric"}, {"trade": ("fuel", "travel")})
            >>> book.frame(Table(("amount",), np.ones((1, 1)), ("trade",), np.ones((1, 1), np.int64), (2,))).to_dict(
            ...     "list"
            ... )
            {'amount': [1.0], 'trade': ['travel']}
        """
        found: dict[str, pd.Series[Any]] = {}
        for (name, kind), values in zip(self.numbers.items(), table.numbers.T, strict=True):
            if kind == "datetime":
                found[name] = pd.to_datetime(pd.Series(values), unit="s")
            elif kind == "integer":
                whole = pd.Series(values).round()
                found[name] = whole.astype("Int64" if whole.isna().any() else "int64")
            else:
                found[name] = pd.Series(values)
        for (name, known), codes in zip(self.categories.items(), table.codes.T, strict=True):
            texts = np.array([*known, None], dtype=object)
            kept = np.where((codes >= 0) & (codes < len(known)), codes, len(known))
            column = pd.Series(texts[kept])
            found[name] = column.map({TRUE: True, FALSE: False}) if set(known) == {TRUE, FALSE} else column
        return pd.DataFrame(found)

    def _codes(self, values: "pd.Series[Any]") -> Int64[np.ndarray, " n"]:
        known = self.categories[str(values.name)]
        codes = pd.Index(known, dtype=object).get_indexer(pd.Index(_texts(values))).astype(np.int64)
        codes[values.isna().to_numpy()] = len(known) if values.name in self.missing else UNKNOWN
        return codes

    def shown(self, column: str, value: float) -> str:
        """A number or a code as people read it.

        Example:
            >>> Codebook({"amount": "numeric"}, {"trade": ("fuel", "travel")}).shown("trade", 1)
            'travel'
        """
        if column in self.categories:
            known = self.categories[column]
            return known[int(value)] if 0 <= value < len(known) else MISSING if value >= len(known) else "(unknown)"
        if np.isnan(value):
            return MISSING
        if self.numbers[column] == "datetime":
            return str(pd.Timestamp(value, unit="s"))
        return f"{value:.0f}" if self.numbers[column] == "integer" else f"{value:.4g}"

    def to_json(self) -> dict[str, Any]:
        """As plain values, which `of_json` reads."""
        return {  # lists, since the order of columns counts and that of a JSON object's keys does not
            "numbers": [[name, kind] for name, kind in self.numbers.items()], "missing": sorted(self.missing),
            "categories": [[name, list(known)] for name, known in self.categories.items()],
        }  # fmt: skip

    @classmethod
    def of_json(cls, raw: Mapping[str, Any]) -> "Codebook":
        """The codebook that `to_json` wrote down."""
        categories = {name: tuple(known) for name, known in raw["categories"]}
        return cls(dict(raw["numbers"]), categories, frozenset(raw["missing"]))


def require(names: Sequence[str], frame: pd.DataFrame) -> None:
    """Makes sure that a frame has these columns.

    Raises:
        DataError: it lacks one.
    """
    if absent := [name for name in names if name not in frame]:
        raise DataError(
            f"the rows lack the columns {', '.join(absent)}; they have {', '.join(map(str, frame.columns))}"
        )


def _texts(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Each value as text; what is missing stays so."""
    if pd.api.types.is_bool_dtype(values):
        return values.astype("object").map({True: TRUE, False: FALSE}, na_action="ignore")
    return values.astype("object").map(str, na_action="ignore")


def _numbers(values: "pd.Series[Any]", kind: ColumnKind) -> Float64[np.ndarray, " n"]:
    try:
        if kind == "datetime" and not pd.api.types.is_numeric_dtype(values):
            return (pd.to_datetime(values, utc=True) - EPOCH).dt.total_seconds().to_numpy(np.float64, na_value=np.nan)
        found: np.ndarray = pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"the column {values.name} is {kind} by its schema, but {reason}; mend the rows") from None
    return found


def _stacked(columns: list[np.ndarray], n: int, dtype: type) -> np.ndarray:
    return np.stack(columns, axis=1).astype(dtype) if columns else np.zeros((n, 0), dtype)
