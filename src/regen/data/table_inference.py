"""A first schema from the data alone: types, ranges with slack, categories, and guesses of the parts that columns play."""

import math
import re
import sys
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from regen.core.errors import DataError
from regen.core.sections.data import DataConfig
from regen.data import table_sources
from regen.data.columns import Column, TableSchema
from regen.data.raw import Place
from regen.data.tables import LARGEST

MOST_CATEGORIES = 1000
"""Distinct texts up to which they are listed; a column of more passes with any text."""
LONGEST = 200
"""Characters of a text beyond which it names no category, and none of its column are listed."""
LEAST_MEMBERS = 20
"""Distinct values from which on a column may say whom a row belongs to."""
SLACK = 0.5
"""How far beyond the smallest and the largest number a range reaches, as a share of the span between them."""
LABELS = re.compile(r"(^|_)(is_?)?(fraud|label|anomaly|outlier|class|target)($|_)", re.IGNORECASE)
GROUPS = re.compile(
    r"(^|_)(customer|client|terminal|account|card|user|merchant|device|patient|machine|sensor|store|shop)(_?(id|no|nr|number))?$",
    re.IGNORECASE,
)
KEYS = re.compile(r"(^|_)(id|key|uuid|transaction|payment|order|row)(_?(id|no|nr|number))?$", re.IGNORECASE)


def infer(rows: pl.LazyFrame, called: str) -> TableSchema:
    """The schema that all the rows meet, read a few columns' aggregates at a time.

    Args:
        called: what an error shall call the table.

    Raises:
        DataError: there are no rows, or a column is of a type that no kind fits.
    """
    types = rows.collect_schema()
    n = int(rows.select(pl.len()).collect(engine="streaming").item())
    if n == 0:
        raise DataError(f"{called} holds no rows; a schema is inferred from at least one")
    rows = rows.with_columns(pl.col(pl.Date).cast(pl.Datetime("us")))
    columns, distinct = [], dict[str, int]()
    for name, kind in types.items():
        column, distinct[name] = _column(rows, name, kind, n, called)
        columns.append(column)
    return _with_parts(TableSchema(tuple(columns)), distinct, n)


def _column(rows: pl.LazyFrame, name: str, kind: pl.DataType, n: int, called: str) -> tuple[Column, int]:
    """The column, and how many values it has."""
    one = pl.col(name)
    if kind.is_nested() or kind in (pl.Object, pl.Binary, pl.Duration, pl.Time):
        raise DataError(
            f"{called}: the column {name} holds {kind}, which no kind of column fits; leave it out of the table"
        )
    if kind.is_float():
        one = one.fill_nan(None)
    if kind == pl.String:
        return _text(rows, name, called)
    present = rows.select(one.drop_nulls().alias("value")).filter(_finite(kind))
    summed = present.select(
        pl.len().alias("n"), pl.col("value").min().alias("low"), pl.col("value").max().alias("high"),
        pl.col("value").n_unique().alias("distinct"),
    )  # fmt: skip
    found = summed.collect(engine="streaming").row(0, named=True)
    nullable, distinct, low, high = found["n"] < n, int(found["distinct"]), found["low"], found["high"]
    if kind == pl.Boolean:
        return Column(name, "boolean", nullable), distinct
    if kind in (pl.Categorical, pl.Enum):
        return _text(rows.with_columns(pl.col(name).cast(pl.String)), name, called)
    if kind.is_temporal():
        return Column(name, "datetime", nullable), distinct
    if found["n"] == 0 and kind.is_float() and rows.select(one.is_not_null().any()).collect(engine="streaming").item():
        raise DataError(
            f"{called}: the column {name} holds no number up to {LARGEST:g}, beyond which squares are infinite; write it in "
            "another unit, or leave it out of the table"
        )
    if found["n"] == 0:
        return Column(name, "numeric", nullable=True), 0
    low, high = float(low), float(high)
    whole = kind.is_integer()
    if not whole and LABELS.search(name) and distinct <= 2 and {low, high} <= {0.0, 1.0}:
        whole = True  # a label that is missing here and there is written as 0.0 and 1.0
    if whole and {low, high} <= {0.0, 1.0}:
        return Column(name, "integer", nullable, 0.0, 1.0), distinct
    bounds = with_slack(low, high, whole=whole)
    return Column(name, "integer" if whole else "numeric", nullable, *bounds), distinct


def _finite(kind: pl.DataType) -> pl.Expr:
    return pl.col("value").abs() <= LARGEST if kind.is_float() else pl.lit(value=True)


def _text(rows: pl.LazyFrame, name: str, called: str) -> tuple[Column, int]:
    counted = rows.select(pl.col(name).alias("value")).group_by("value").agg(pl.len()).collect(engine="streaming")
    values = counted["value"].drop_nulls()
    nullable = len(values) < len(counted)
    if len(values) and values.str.contains(r"^-?\d+,\d+$").all():
        raise DataError(
            f"{called}: the column {name} holds numbers with a comma, such as {values[0]}; write them with a point and "
            "nothing between thousands, or, if they are no numbers, with another mark"
        )
    if len(values) and values.len() > LEAST_MEMBERS and _are_times(values):
        return Column(name, "datetime", nullable), len(values)
    is_short = len(values) <= MOST_CATEGORIES and (values.str.len_chars() <= LONGEST).all()
    listed = tuple(sorted(values.to_list())) if is_short else ()
    return Column(name, "categorical", nullable, categories=listed), len(values)


def _are_times(values: pl.Series) -> bool:
    """Whether texts are times as ISO 8601 writes them; databases without a type for them give texts."""
    import pandas as pd

    some = values.head(200).to_list()
    if not all(re.match(r"\d{4}-\d\d-\d\d", text) for text in some):
        return False
    return bool(pd.to_datetime(pd.Series(some), format="ISO8601", utc=True, errors="coerce").notna().all())


def with_slack(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """A range with room on both sides, which does not cross 0 where no value does, of numbers that are short to write.

    Example:
        >>> with_slack(0.07, 100.0, whole=False)
        (0.0, 150.0)
    """
    room = SLACK * (high - low) or max(abs(high), 1.0)
    below, above = _outward(low - room, ROUND_FLOOR), _outward(high + room, ROUND_CEILING)
    if math.isinf(below) or math.isinf(above):  # there is no room beyond the largest number
        below, above = max(below, -sys.float_info.max), min(above, sys.float_info.max)
    if whole:
        below, above = math.floor(below), math.ceil(above)
    return (max(below, 0.0) if low >= 0 else float(below)), (min(above, 0.0) if high <= 0 else float(above))


def _outward(value: float, rounding: str) -> float:
    """The value rounded to two digits."""
    if math.isinf(value):
        return value
    exact = Decimal(value)
    return float(exact.quantize(Decimal((0, (1,), exact.adjusted() - 1)), rounding)) if value else 0.0


def _with_parts(schema: TableSchema, distinct: dict[str, int], n: int) -> TableSchema:
    """The schema with guesses of its key, time, label and groups; no range is kept of what names things."""
    names = [column.name for column in schema.columns]
    kinds = {column.name: column.kind for column in schema.columns}
    nullable = {column.name for column in schema.columns if column.nullable}
    naming = [name for name in names if kinds[name] in ("integer", "categorical") and name not in nullable]
    keys = [name for name in naming if distinct[name] == n and n > 1 and (KEYS.search(name) or name == names[0])]
    key = keys[0] if keys else None
    time = next((name for name in names if kinds[name] == "datetime" and name not in nullable), None)
    flags = [
        c.name for c in schema.columns if c.kind == "boolean" or (c.kind == "integer" and (c.low, c.high) == (0, 1))
    ]
    label = next((name for name in flags if LABELS.search(name)), None)
    groups = tuple(name for name in naming if name != key and GROUPS.search(name) and distinct[name] >= LEAST_MEMBERS)
    apart = {key, *groups}
    columns = tuple(
        replace(column, low=None, high=None, categories=()) if column.name in apart else column
        for column in schema.columns
    )
    return TableSchema(columns, key, time, label, 0.0, groups)


def of_source(config: DataConfig, place: Place) -> TableSchema:
    """The schema of what a project's source gives, whose rows are written to a scratch file first.

    Raises:
        DataError: the source cannot be read, or holds no rows.
    """
    with TemporaryDirectory() as folder:
        raw = table_sources.open_source(config, replace(place, scratch=Path(folder)))
        written = table_sources.ParquetFile(Path(folder) / table_sources.ROWS)
        for chunk in raw.chunks:
            written.add(chunk if raw.apart is None else chunk.drop(raw.apart))
        written.close()
        if not written.rows:
            raise DataError(f"{raw.origin} holds no rows; a schema is inferred from at least one")
        return infer(pl.scan_parquet(written.path, glob=False), raw.origin)
