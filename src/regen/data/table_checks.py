"""Rows against their schema: brought to its types, checked by pandera chunk by chunk, bad ones set aside with the reason."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import polars as pl

from regen.core.errors import Failure, ValidationError
from regen.data.columns import Column, TableSchema
from regen.data.table_schema import TYPES, to_pandera
from regen.data.tables import FINITE, HELD, LARGEST

ROW = "__row__"
"""The column that numbers the source's rows, from 0."""
REASON = "__reason__"
"""The column of a bad row's reasons."""
SHOWN = 5
"""How many reasons, and how many rows of each, a message names."""
WANTED = {
    "numeric": FINITE, "integer": "a whole number", "boolean": "true or false",
    "datetime": f"a time such as 2026-01-31T12:00:00, of {HELD[0]:%Y} to {HELD[1]:%Y}", "categorical": "a text",
}  # fmt: skip
NO_GAP = "a value (the column is not nullable)"
REPEATED_KEY = "a key of its own"


@dataclass
class Reason:
    """One check of one column that rows failed."""

    column: str
    check: str
    """What was wanted."""
    rows: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)
    """The first rows that failed, with what they hold."""

    def add(self, rows: pl.Series, values: pl.Series) -> None:
        """Counts rows that failed."""
        self.rows += len(rows)
        room = max(SHOWN - len(self.first), 0)
        shown = (_shown(value) for value in values.head(room).to_list())
        self.first += list(zip(rows.head(room).to_list(), shown, strict=True))

    def __str__(self) -> str:
        row, value = self.first[0]
        others = ", ".join(str(other) for other, _ in self.first[1:])
        also = (
            "" if self.rows == 1 else f" (so did rows {others}{' …' if self.rows > SHOWN else ''}: {self.rows} in all)"
        )
        return f"column {self.column}: wanted {self.check}, got {value} in row {row}{also}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)


@dataclass
class Report:
    """What came of checking a table."""

    rows: int = 0
    bad_rows: int = 0
    reasons: dict[tuple[str, str], Reason] = field(default_factory=dict)

    def note(self, column: str, check: str, rows: pl.Series, values: pl.Series) -> None:
        """Counts rows that failed one check."""
        if len(rows):
            self.reasons.setdefault((column, check), Reason(column, check)).add(rows, values)

    @property
    def worst(self) -> list[Reason]:
        """The reasons, those of most rows first."""
        return sorted(self.reasons.values(), key=lambda reason: (-reason.rows, reason.column, reason.check))

    def to_json(self) -> dict[str, Any]:
        """Counts and reasons."""
        reasons = [
            {
                "column": reason.column, "wanted": reason.check, "rows": reason.rows,
                "first": [{"row": row, "value": value} for row, value in reason.first],
            }
            for reason in self.worst
        ]  # fmt: skip
        return {"rows": self.rows, "bad_rows": self.bad_rows, "reasons": reasons}

    def require_sound(self, most: float, schema_shown: str) -> None:
        """Makes sure that no more than this share of the rows is bad.

        Raises:
            ValidationError: more are.
        """
        if self.bad_rows <= most * self.rows:
            return
        worst = self.worst
        shown = "; ".join(map(str, worst[:SHOWN])) + (
            f"; and {len(worst) - SHOWN} more reasons" if worst[SHOWN:] else ""
        )
        failures = tuple(Failure(row, f"{r.column}: {r.check}", value) for r in worst for row, value in r.first)
        raise ValidationError(
            f"{self.bad_rows} of {self.rows} rows fail their schema, over tables.max_bad_share ({most:g}): {shown}; mend "
            f"these rows, or {schema_shown} if it is too narrow",
            failures,
        )


def require_columns(schema: TableSchema, names: list[str], called: str, schema_shown: str) -> None:
    """Makes sure that a table has the schema's columns.

    Raises:
        ValidationError: one is missing.
    """
    missing = [column.name for column in schema.columns if column.name not in names]
    if not missing:
        return
    near = get_close_matches(missing[0], [name for name in names if name not in schema_names(schema)], n=1, cutoff=0.5)
    there = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    raise ValidationError(
        f"{called} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}, which {schema_shown} names ({there}); "
        "name it as the table does, or delete its entry there",
        tuple(Failure(None, f"a column {name}", "none") for name in missing),
    )


def schema_names(schema: TableSchema) -> set[str]:
    """The names of all columns."""
    return {column.name for column in schema.columns}


def to_type(values: pl.Series, column: Column) -> pl.Series:
    """The values as the column's type; what cannot be told becomes a missing value."""
    kind, wanted = values.dtype, TYPES[column.kind]
    if kind.is_float():
        values = values.fill_nan(None)
    if kind in (pl.Categorical, pl.Enum):
        values, kind = values.cast(pl.String), pl.String()
    if column.kind == "datetime":
        times = values if kind == wanted else _to_time(values)
        held = times.is_between(HELD[0].to_pydatetime(), HELD[1].to_pydatetime())
        return times if held.all() else times.set(~held, None)
    if kind == wanted and column.kind != "numeric":
        return values
    if column.kind == "categorical":
        return values.cast(pl.String)
    if kind == pl.String:
        values = values.str.strip_chars()
        if column.kind == "boolean":
            texts = values.str.to_lowercase()
            return texts.replace_strict(
                {"true": True, "false": False, "1": True, "0": False}, default=None, return_dtype=pl.Boolean
            )
    if kind.is_temporal():
        return pl.Series(values.name, [None] * len(values), wanted)
    if column.kind == "boolean":
        numbers = values.cast(pl.Float64, strict=False)
        return (numbers == 1).set(~numbers.is_in([0, 1]), None)
    numbers = values.cast(pl.Float64, strict=False)
    if column.kind == "numeric":
        return numbers.set(~(numbers.abs() <= LARGEST), None)
    if kind.is_integer() or kind == pl.Boolean:
        return values.cast(pl.Int64, strict=False)
    whole = numbers.set(~(numbers.is_finite() & (numbers == numbers.floor()) & (numbers.abs() < 2**63)), None)
    exact = values.cast(pl.Int64, strict=False) if kind == pl.String else None  # a float has 53 bits
    return whole.cast(pl.Int64) if exact is None else exact.zip_with(exact.is_not_null(), whole.cast(pl.Int64))


def _to_time(values: pl.Series) -> pl.Series:
    """Times of UTC without a zone, in microseconds."""
    kind = values.dtype
    if isinstance(kind, pl.Datetime):
        moved = values if kind.time_zone is None else values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return moved.dt.cast_time_unit("us")
    if kind == pl.Date:
        return values.cast(pl.Datetime("us"))
    if kind == pl.String:
        import pandas as pd

        found = pd.to_datetime(values.to_pandas(), format="ISO8601", utc=True, errors="coerce").dt.tz_localize(None)
        return pl.from_pandas(found).alias(values.name).dt.cast_time_unit("us")
    return pl.Series(values.name, [None] * len(values), pl.Datetime("us"))


def check(
    chunks: Iterator[pl.DataFrame],
    schema: TableSchema,
    report: Report,
    called: str = "the table",
    schema_shown: str = "the schema",
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Each chunk's sound rows in the schema's types, and its bad rows as they came with the column `REASON`.

    Both have the source's row numbers in the column `ROW`. Keys are looked at by `repeated`, over all chunks.

    Raises:
        ValidationError: a column is missing.
    """
    judge = to_pandera(schema, unique=False)
    for raw in chunks:
        require_columns(schema, raw.columns, called, schema_shown)
        numbered = (
            raw.select(schema_names_in_order(schema))
            .with_row_index(ROW, report.rows)
            .with_columns(pl.col(ROW).cast(pl.Int64))
        )
        report.rows += len(raw)
        typed = numbered.select(ROW, *(to_type(numbered[column.name], column) for column in schema.columns))
        failed = pl.concat([*_of_type(numbered, typed, schema), _of_pandera(typed, judge)])
        if not len(failed):
            yield typed, _aside(numbered[:0], pl.DataFrame(schema={ROW: pl.Int64, REASON: pl.String}))
            continue
        failed = failed.unique(["row", "column"], keep="first", maintain_order=True)  # a type's failure says it all
        for (column, wanted), some in failed.group_by(["column", "check"], maintain_order=True):
            some = some.sort("row")
            report.note(str(column), str(wanted), some["row"], numbered[some["row"] - numbered[ROW][0]][str(column)])
        reasons = failed.select(
            pl.col("row").alias(ROW), pl.format("{}: wanted {}", "column", "check").alias(REASON)
        ).group_by(ROW, maintain_order=True).agg(pl.col(REASON).str.join("; "))  # fmt: skip
        bad = numbered.join(reasons, on=ROW, how="inner", maintain_order="left")
        report.bad_rows += len(bad)
        yield typed.join(reasons, on=ROW, how="anti", maintain_order="left"), _aside(bad.drop(REASON), reasons)


def schema_names_in_order(schema: TableSchema) -> list[str]:
    """The names of all columns, in their order."""
    return [column.name for column in schema.columns]


FAILED = {"row": pl.Int64, "column": pl.String, "check": pl.String}


def _of_type(raw: pl.DataFrame, typed: pl.DataFrame, schema: TableSchema) -> Iterator[pl.DataFrame]:
    """The rows whose values are not of the column's type."""
    yield pl.DataFrame(schema=FAILED)
    for column in schema.columns:
        before, after = raw[column.name], typed[column.name]
        lost = after.is_null() & before.is_not_null()
        if before.dtype.is_float():
            lost &= before.is_not_nan()
        if before.dtype == pl.String and column.kind != "categorical":
            lost &= before.str.strip_chars() != ""  # an empty text is no number, no time: a missing value
        if lost.any():
            rows = raw[ROW].filter(lost)
            yield pl.DataFrame(
                {"row": rows, "column": [column.name] * len(rows), "check": [WANTED[column.kind]] * len(rows)},
                schema=FAILED,
            )


def _of_pandera(typed: pl.DataFrame, judge: Any) -> pl.DataFrame:
    """The rows that fail the schema's checks."""
    from pandera.errors import SchemaErrors

    try:
        judge.validate(typed.drop(ROW), lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
    else:
        return pl.DataFrame(schema=FAILED)
    assert cases["index"].null_count() == 0, cases  # columns and types are right by now
    found: pl.DataFrame = cases.select(
        (pl.col("index").cast(pl.Int64) + typed[ROW][0]).alias("row"),
        pl.col("column").cast(pl.String),
        pl.when(pl.col("check") == "not_nullable").then(pl.lit(NO_GAP)).otherwise(pl.col("check")).alias("check"),
    )
    return found


def _aside(bad: pl.DataFrame, reasons: pl.DataFrame) -> pl.DataFrame:
    """Bad rows as texts, in one form whatever types the chunk has."""
    texts = bad.select(ROW, *(pl.col(name).cast(pl.String) for name in bad.columns if name != ROW))
    return texts.join(reasons, on=ROW, how="left", maintain_order="left")


def repeated(keys: pl.Series, rows: pl.Series, report: Report) -> pl.Series:
    """Whether a row's key is that of an earlier row; such rows are bad."""
    again = ~keys.is_first_distinct()
    report.note(keys.name, REPEATED_KEY, rows.filter(again), keys.filter(again))
    report.bad_rows += int(again.sum())
    return again
