"""Tables from CSV or Parquet files as arrays: numbers in one, codes of categories in the other, missing values in both.

The types are inferred: numbers, dates and durations are numbers (dates in seconds since 1970), everything else is a
category, true and false too.
"""

import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet
from jaxtyping import Float64, Int64

from regen.core.errors import DataError

ENDINGS = (".csv", ".csv.gz", ".parquet")
EPOCH = pd.Timestamp(0, tz="UTC")
HELD = (pd.Timestamp(1678, 1, 1), pd.Timestamp(2261, 12, 31, 23, 59, 59, 999999))
"""The first and the last time that nanoseconds, in which models are handed times, hold in whole years."""
LARGEST = 1e150
"""The largest number whose square is one, too."""
FINITE = "a finite number up to 1e150"
LOOKED_AT = 50
"""Texts that are tried as dates before the whole column is."""
Kind = Literal["numbers", "categories", "nothing"]


@dataclass(frozen=True)
class Table:
    """Rows of columns whose types are known."""

    names: tuple[str, ...]
    """The columns of numbers."""
    numbers: Float64[np.ndarray, "n p"]
    """Their values; NaN where one is missing."""
    category_names: tuple[str, ...]
    """The columns of categories."""
    codes: Int64[np.ndarray, "n q"]
    """Which category each value is; a missing value is one of its own."""
    sizes: tuple[int, ...]
    """How many categories each of these columns has in all the tables that were encoded together."""

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column, the numbers first."""
        return self.names + self.category_names

    def take(self, rows: Int64[np.ndarray, " m"]) -> "Table":
        """The rows of these numbers."""
        return replace(self, numbers=self.numbers[rows], codes=self.codes[rows])

    def column(self, name: str) -> Float64[np.ndarray, " n"] | Int64[np.ndarray, " n"]:
        """One column's values, or its codes."""
        if name in self.names:
            return self.numbers[:, self.names.index(name)]
        return self.codes[:, self.category_names.index(name)]

    def without(self, name: str) -> "Table":
        """All columns but one."""
        numbers = [i for i, one in enumerate(self.names) if one != name]
        codes = [i for i, one in enumerate(self.category_names) if one != name]
        return Table(
            tuple(self.names[i] for i in numbers), self.numbers[:, numbers],
            tuple(self.category_names[i] for i in codes), self.codes[:, codes], tuple(self.sizes[i] for i in codes),
        )  # fmt: skip


def is_table(path: Path) -> bool:
    """Whether the name is that of a table.

    Example:
        >>> is_table(Path("rows.csv.gz")), is_table(Path("rows.xlsx"))
        (True, False)
    """
    return path.name.lower().endswith(ENDINGS)


def read_table(path: Path) -> pd.DataFrame:
    """The rows of a CSV or Parquet file: float64 where a column holds numbers, text where it holds categories.

    A first column without a name is taken for row numbers, as pandas writes them, and left out.

    Raises:
        DataError: the file is no such table, is damaged, or holds no rows or an infinite number.
    """
    if not is_table(path):
        raise DataError(f"{path} is no table by its name; wanted one that ends in {', '.join(ENDINGS)}")
    with reading(path):
        frame = _frame(path)
    frame.columns = [str(name) for name in frame.columns]
    if len(frame.columns) and frame.columns[0] == "Unnamed: 0":
        frame = frame.iloc[:, 1:]
    if frame.empty:
        raise DataError(f"{path} holds {len(frame)} rows of {len(frame.columns)} columns; add rows")
    found = pd.DataFrame({name: _typed(frame[name]) for name in frame.columns})
    for name in found.select_dtypes("float64"):
        if (found[name].abs() > LARGEST).any():
            raise DataError(
                f"{path}: the column {name} holds infinity, or a number beyond {LARGEST:g} whose square would be; write a "
                "smaller number, or an empty cell if there is none"
            )
    return found


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever pandas, pyarrow and gzip complain of while a table is read, in one line.

    Raises:
        DataError: the file is no table, or is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are longer than the header
            yield
    except (
        ValueError,
        OSError,
        EOFError,
        RuntimeError,
        pd.errors.ParserWarning,
        zlib.error,
    ) as error:  # what pandas, pyarrow and gzip complain with
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as a table ({reason}); export it as UTF-8 CSV or Parquet") from None


def _frame(path: Path) -> pd.DataFrame:
    if path.suffix.lower() == ".parquet":
        names = pyarrow.parquet.read_schema(path).names
    else:
        names = [str(name) for name in pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0].dropna()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two columns are called {', '.join(twice)}")
    if path.suffix.lower() == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path, low_memory=False, index_col=False)  # the first column is data, whatever ends a line


def _typed(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """The column as float64 or as text; a date becomes seconds since 1970."""
    if pd.api.types.is_bool_dtype(column) or isinstance(column.dtype, pd.CategoricalDtype):
        return _text(column)
    if pd.api.types.is_numeric_dtype(column):
        return pd.Series(column.to_numpy(np.float64, na_value=np.nan), column.index)
    if pd.api.types.is_datetime64_any_dtype(column):
        return _seconds(pd.to_datetime(column, utc=True) - EPOCH)
    if pd.api.types.is_timedelta64_dtype(column):
        return _seconds(column)
    present = column.dropna()
    if len(present) and present.map(lambda value: isinstance(value, Decimal)).all():
        return column.astype("float64")
    if _are_dates(present.head(LOOKED_AT)) and _are_dates(present):
        dates = pd.to_datetime(present, format="ISO8601", utc=True)
        return _seconds(dates - EPOCH).reindex(column.index)
    return _text(column)


def _are_dates(values: "pd.Series[Any]") -> bool:
    """Whether there are values, all of them texts that are dates as ISO 8601 writes them."""
    if not len(values) or not all(isinstance(value, str) for value in values):
        return False
    return bool(pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce").notna().all())


def _seconds(spans: "pd.Series[Any]") -> "pd.Series[Any]":
    seconds: pd.Series[Any] = spans.dt.total_seconds().astype("float64")
    return seconds


def _text(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.astype("object").map(str, na_action="ignore").astype("str")


def encode(frames: Sequence[pd.DataFrame], called: Sequence[str]) -> list[Table]:
    """Tables with the first one's columns, whose categories have the same codes in all of them.

    Args:
        called: what an error shall call each table.

    Raises:
        DataError: the columns differ, or one holds numbers in one table and categories in another.
    """
    columns = [str(name) for name in frames[0].columns]
    for frame, name in zip(frames[1:], called[1:], strict=True):
        absent, surplus = [c for c in columns if c not in frame], [str(c) for c in frame if c not in columns]
        if absent or surplus:
            lacks = f"lacks the columns {', '.join(absent)}" if absent else ""
            more = f"has the columns {', '.join(surplus)} beside them" if surplus else ""
            raise DataError(
                f"{name} {' and '.join(filter(None, [lacks, more]))}; wanted those of {called[0]}: {', '.join(columns)}"
            )
    kinds = {column: _common_kind(column, frames, called) for column in columns}
    names = tuple(column for column in columns if kinds[column] == "numbers")
    category_names = tuple(column for column in columns if kinds[column] != "numbers")
    ends = np.cumsum([len(frame) for frame in frames])[:-1]
    joined = pd.concat(frames, ignore_index=True)
    numbers = joined[list(names)].to_numpy(np.float64) + 0.0  # a negative zero is a zero
    factors = [pd.factorize(joined[column], use_na_sentinel=False) for column in category_names]
    codes = np.stack([one for one, _ in factors], axis=1) if factors else np.zeros((len(joined), 0), np.int64)
    sizes = tuple(len(known) for _, known in factors)
    parts = zip(np.split(numbers, ends), np.split(codes.astype(np.int64), ends), strict=True)
    return [Table(names, some, category_names, others, sizes) for some, others in parts]


def _common_kind(column: str, frames: Sequence[pd.DataFrame], called: Sequence[str]) -> Kind:
    kinds = [_kind(frame[column]) for frame in frames]
    met = {kind: name for kind, name in zip(reversed(kinds), reversed(called), strict=True) if kind != "nothing"}
    if len(met) > 1:
        texts = next(frame[column] for frame, kind in zip(frames, kinds, strict=True) if kind == "categories")
        raise DataError(
            f"the column {column} holds numbers in {met['numbers']} and categories in {met['categories']}, such as "
            f"{texts.dropna().iloc[0]!r}; write them alike, and missing values as empty cells"
        )
    return next(iter(met), "nothing")


def _kind(column: "pd.Series[Any]") -> Kind:
    if column.isna().all():
        return "nothing"
    return "numbers" if pd.api.types.is_float_dtype(column) else "categories"
