"""Rows of mixed types as numbers and codes that a network takes, and back again.

A column of numbers, whole numbers or dates becomes one value: by its own distribution function and the normal one's
inverse, so that whatever the column's shape the network meets N(0, 1); or within the modes of a Gaussian mixture, whose
number becomes a code (Xu et al., CTGAN, NeurIPS 2019, https://arxiv.org/abs/1907.00503). Categories and truth values are
codes, and so is whether a value is missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64, Int64
from pandas.api.types import pandas_dtype

from regen.core import files
from regen.core.errors import DataError
from regen.data.columns import Column, ColumnKind
from regen.data.scales import Modes, Quantiles, Scale, step_of, to_step

Method = Literal["quantile", "modes"]
EPOCH = pd.Timestamp(0, tz="UTC")
SHOWN = 8
"""Most categories that an error lists."""
MISSING = " is missing"
"""What the code of a column's missing values is called, after the column."""
MODE = " mode"
"""What the code of a column's modes is called, after the column."""


@dataclass(frozen=True)
class Encoded:
    """Rows as a network takes them."""

    numbers: Float32[np.ndarray, "n p"]
    """One for each column of numbers or dates, on a scale about 1; 0 where it is missing."""
    codes: Int64[np.ndarray, "n q"]
    """Which category, truth value or mode each is, and whether one is missing."""

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: Int64[np.ndarray, " m"]) -> "Encoded":
        """The rows of these numbers."""
        return Encoded(self.numbers[rows], self.codes[rows])


@dataclass(frozen=True)
class NumberColumn:
    """How one column of numbers, whole numbers or dates is encoded."""

    name: str
    kind: ColumnKind
    dtype: str
    """The type that the column has in a frame."""
    masked: bool
    """Whether a code says that a value is missing."""
    step: float
    """What every value is a multiple of; 0 where nothing is."""
    low: float
    high: float
    scale: Scale

    @classmethod
    def fit(cls, values: "pd.Series[Any]", column: Column, method: Method, seed: int) -> "NumberColumn":
        """What the training rows' values say."""
        numbers = _numbers(values, column)
        present = numbers[~np.isnan(numbers)]
        stepped = column.kind != "numeric"
        scale = Modes.fit(present, seed) if method == "modes" else Quantiles.fit(present, exact=stepped)
        low, high = (float(present.min()), float(present.max())) if len(present) else (0.0, 0.0)
        masked = column.nullable or len(present) < len(numbers)
        step = step_of(present, dates=column.kind == "datetime", whole=column.kind == "integer")
        return cls(column.name, column.kind, str(values.dtype), masked, step, low, high, scale)

    @property
    def codes(self) -> dict[str, int]:
        """The codes' names and sizes."""
        modes = {self.name + MODE: len(self.scale.means)} if isinstance(self.scale, Modes) else {}
        return modes | ({self.name + MISSING: 2} if self.masked else {})

    def encode(self, values: "pd.Series[Any]", rng: np.random.Generator | None) -> tuple[np.ndarray, list[np.ndarray]]:
        """The value of each row, and its codes.

        Raises:
            DataError: a value is missing though none was among the training rows, or is no number.
        """
        numbers = _numbers(values, Column(self.name, self.kind))
        missing = np.isnan(numbers)
        if missing.any() and not self.masked:
            raise DataError(
                f"the column {self.name} lacks {missing.sum()} of {len(missing)} values, and none was missing when it was "
                "fitted; fill them in, or fit with a schema that says nullable"
            )
        found, codes = self.scale.encode(np.where(missing, self.low, numbers), rng)
        codes = [np.where(missing, 0, code) for code in codes]
        return np.where(missing, 0.0, found), [*codes, *([missing.astype(np.int64)] if self.masked else [])]

    def read(self, value: Any) -> Any:
        """One value, which may be written as text, in the column's type.

        Raises:
            DataError: it is none that lies between those that were observed.
        """
        text = pd.Series([str(value)])
        is_date = self.kind == "datetime" and not pd.api.types.is_numeric_dtype(self.dtype)
        if is_date:
            time = pd.to_datetime(text, utc=True, format="ISO8601", errors="coerce").iloc[0]
            number = time.timestamp() if pd.notna(time) else float("nan")
        else:
            number = float(pd.to_numeric(text, errors="coerce").iloc[0])
        if not self.low <= number <= self.high or (self.kind == "integer" and number % 1):  # which NaN is not
            ends = pd.Series([self.low, self.high])
            low, high = (
                (str(end) for end in _dates(ends.to_numpy(), self.dtype)) if is_date else map("{:g}".format, ends)
            )
            what = {"integer": "a whole number", "datetime": "a time"}.get(self.kind, "a number")
            raise DataError(f"{self.name}={value}: wanted {what} of {low} to {high}, as in the training rows")
        return (
            _dates(np.array([number]), self.dtype).iloc[0]
            if is_date
            else (int(number) if self.kind == "integer" else number)
        )

    def decode(self, values: Float64[np.ndarray, " n"], codes: list[np.ndarray]) -> "pd.Series[Any]":
        """The column in its own type, within the range that was observed."""
        modes = codes[: len(codes) - self.masked]
        numbers = np.clip(to_step(self.scale.decode(values, modes), self.step), self.low, self.high)
        if self.masked:
            numbers = np.where(codes[-1] == 1, np.nan, numbers)
        if self.kind == "datetime" and not pd.api.types.is_numeric_dtype(self.dtype):
            return _dates(numbers, self.dtype).rename(self.name)
        found = pd.Series(numbers, name=self.name)
        if pd.api.types.is_integer_dtype(self.dtype) and np.isnan(numbers).any():
            return found.astype("Int64")
        return found.astype(pandas_dtype(self.dtype)) if pd.api.types.is_numeric_dtype(self.dtype) else found


@dataclass(frozen=True)
class CategoryColumn:
    """How one column of categories or truth values is encoded."""

    name: str
    kind: ColumnKind
    dtype: str
    masked: bool
    """Whether the last code means a missing value."""
    categories: tuple[str, ...]
    """Values as text, in the order of their codes."""

    @classmethod
    def fit(cls, values: "pd.Series[Any]", column: Column) -> "CategoryColumn":
        """The schema's categories, and those it lacks as the training rows have them."""
        codes, known = _factorised(values)
        more = sorted(set(known) - set(column.categories))
        masked = column.nullable or bool((codes < 0).any())
        return cls(column.name, column.kind, str(values.dtype), masked, (*column.categories, *more))

    @property
    def codes(self) -> dict[str, int]:
        """The code's name and size; a column without any value has one code for all the same."""
        return {self.name: max(len(self.categories) + self.masked, 1)}

    def encode(self, values: "pd.Series[Any]") -> Int64[np.ndarray, " n"]:
        """Each row's code.

        Raises:
            DataError: a value was not known when the column was fitted, or is missing and none was then.
        """
        codes, known = _factorised(values)
        places = {category: place for place, category in enumerate(self.categories)}
        if unknown := [text for text in known if text not in places]:
            more = f" and {len(self.categories) - SHOWN} more" if len(self.categories) > SHOWN else ""
            raise DataError(
                f"the column {self.name} holds {unknown[0]!r}, which it did not when it was fitted; wanted one of "
                f"{', '.join(self.categories[:SHOWN])}{more}; validate the rows first, or fit with a schema that has it"
            )
        if (codes < 0).any() and not self.masked:
            raise DataError(
                f"the column {self.name} lacks {(codes < 0).sum()} of {len(codes)} values, and none was missing when it was "
                "fitted; fill them in, or fit with a schema that says nullable"
            )
        table = np.array([*(places[text] for text in known), len(self.categories)], np.int64)
        found: np.ndarray = table[codes]
        return found

    def decode(self, codes: Int64[np.ndarray, " n"]) -> "pd.Series[Any]":
        """The column in its own type."""
        known: list[Any] = [*self.categories, None]
        if self.kind == "boolean" and set(self.categories) <= {"True", "False"}:
            known = [*(text == "True" for text in self.categories), None]
        texts = pd.Series(np.array(known, object)[codes], name=self.name, dtype=object)
        if pd.api.types.is_bool_dtype(self.dtype):
            return texts.astype(pandas_dtype("boolean" if texts.isna().any() else self.dtype))
        if pd.api.types.is_numeric_dtype(self.dtype):
            numbers = pd.to_numeric(texts)
            whole = pd.api.types.is_integer_dtype(self.dtype) and bool(numbers.isna().any())
            return numbers.astype(pandas_dtype("Int64" if whole else self.dtype))
        return texts if self.dtype == "object" else texts.astype(pandas_dtype(self.dtype))


@dataclass(frozen=True)
class TableEncoder:
    """How a table's rows are encoded, fitted on training rows; it holds none of them."""

    columns: tuple[NumberColumn | CategoryColumn, ...]

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, columns: Sequence[Column], method: Method = "quantile", seed: int = 0
    ) -> "TableEncoder":
        """Learns each column's range, distribution and categories from training rows.

        Args:
            columns: what the columns are, such as a schema's `modelled`; other columns of the frame are left out.
            method: quantile takes numbers to a normal distribution, modes into those of a Gaussian mixture.
            seed: of the mixtures.

        Raises:
            DataError: there are no rows, a column is not there, or one that should hold numbers holds none.
        """
        if frame.empty or not columns:
            raise DataError(
                f"an encoding is learnt from rows and columns, got {len(frame)} and {len(columns)}; add rows"
            )
        _require(frame, [column.name for column in columns])
        return cls(
            tuple(
                CategoryColumn.fit(frame[column.name], column)
                if column.kind in ("categorical", "boolean")
                else NumberColumn.fit(frame[column.name], column, method, seed)
                for column in columns
            )
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in the frame's order."""
        return tuple(column.name for column in self.columns)

    @property
    def code_sizes(self) -> dict[str, int]:
        """Every code's name and how many it can be, in the order of `Encoded.codes`."""
        return {name: size for column in self.columns for name, size in column.codes.items()}

    def transform(self, frame: pd.DataFrame, rng: np.random.Generator | None = None) -> Encoded:
        """The rows encoded.

        Args:
            rng: spreads rows of one value over the part of the normal distribution that they take, and draws modes by
                their probabilities; without it each takes the middle, or the likeliest.

        Raises:
            DataError: a column is not there, or holds what it did not when it was fitted.
        """
        _require(frame, self.names)
        values, codes = [], []
        for column in self.columns:
            if isinstance(column, NumberColumn):
                found, more = column.encode(frame[column.name], rng)
                values.append(found.astype(np.float32))
                codes += more
            else:
                codes.append(column.encode(frame[column.name]))
        return Encoded(_stacked(values, len(frame), np.float32), _stacked(codes, len(frame), np.int64))

    def inverse(self, rows: Encoded) -> pd.DataFrame:
        """The rows in the types they came in; numbers stay within the range that was observed."""
        frame, value, code = {}, 0, 0
        for column in self.columns:
            mine = [rows.codes[:, place] for place in range(code, code + len(column.codes))]
            code += len(mine)
            if isinstance(column, NumberColumn):
                frame[column.name] = column.decode(rows.numbers[:, value].astype(np.float64), mine)
                value += 1
            else:
                frame[column.name] = column.decode(mine[0])
        return pd.DataFrame(frame)

    def to_json(self) -> list[dict[str, Any]]:
        """Everything as plain values, from which `of_json` makes an equal one."""
        found = []
        for column in self.columns:
            line = dict(vars(column))
            if isinstance(column, NumberColumn):
                line["scale"] = {"method": column.scale.method, **vars(column.scale)}
            found.append(line)
        return found

    @classmethod
    def of_json(cls, lines: list[dict[str, Any]]) -> "TableEncoder":
        """The encoder that `to_json` wrote down."""
        columns: list[NumberColumn | CategoryColumn] = []
        for line in lines:
            if "scale" not in line:
                columns.append(CategoryColumn(**{**line, "categories": tuple(line["categories"])}))
                continue
            parts: dict[str, Any] = {
                name: tuple(part) if isinstance(part, list) else part for name, part in line["scale"].items()
            }
            kind = {Quantiles.method: Quantiles, Modes.method: Modes}[parts.pop("method")]
            columns.append(NumberColumn(**{**line, "scale": kind(**parts)}))
        return cls(tuple(columns))

    def save(self, path: Path) -> None:
        """Writes a JSON file."""
        files.write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> "TableEncoder":
        """The encoder that `save` wrote.

        Raises:
            DataError: the file is missing or damaged.
        """
        try:
            return cls.of_json(files.read_json(path))
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(f"the encoding {path} cannot be loaded ({reason}); remove it and run again") from error


def _require(frame: pd.DataFrame, names: Sequence[str]) -> None:
    if absent := [name for name in names if name not in frame]:
        raise DataError(
            f"the rows lack the columns {', '.join(absent)}; they have {', '.join(map(str, frame.columns))}"
        )


def _numbers(values: "pd.Series[Any]", column: Column) -> Float64[np.ndarray, " n"]:
    """The column as 64-bit numbers, dates in seconds since 1970; NaN where one is missing."""
    try:
        if column.kind == "datetime" and not pd.api.types.is_numeric_dtype(values):
            spans = pd.to_datetime(values, utc=True) - EPOCH
            return spans.dt.total_seconds().to_numpy(np.float64, na_value=np.nan)
        numbers: np.ndarray = pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"the column {column.name} is {column.kind} by its schema, but {' '.join(str(error).split())}; mend the rows or "
            "the schema"
        ) from None
    if np.isinf(numbers).any():
        raise DataError(f"the column {column.name} holds infinity; write a number, or leave it empty if there is none")
    return numbers


def _dates(seconds: Float64[np.ndarray, " n"], dtype: str) -> "pd.Series[Any]":
    """Dates of a datetime type; those that were text become datetime64[us]."""
    missing = np.isnan(seconds)
    micros = (np.where(missing, 0, seconds) * 1e6).round().astype("int64").astype("datetime64[us]")
    found = pd.Series(micros).mask(missing)
    if not dtype.startswith("datetime64"):
        return found
    return (
        found.dt.tz_localize("UTC").astype(pandas_dtype(dtype)) if "," in dtype else found.astype(pandas_dtype(dtype))
    )


def _factorised(values: "pd.Series[Any]") -> tuple[Int64[np.ndarray, " n"], list[str]]:
    """Each row's place among the values as text, −1 where it is missing."""
    codes, known = pd.factorize(values)
    return codes.astype(np.int64), [str(value) for value in known]


def _stacked(columns: list[np.ndarray], n: int, dtype: type) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.zeros((n, 0), dtype)
