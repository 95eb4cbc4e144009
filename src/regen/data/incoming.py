"""New images and rows, sorted: sound ones, copies of what is there, and bad ones with every reason (pandera, lazily)."""

from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64, UInt64

from regen.core.errors import DataError
from regen.data.columns import Column, TableSchema
from regen.data.raw import RawImages
from regen.data.schemas import describe


@dataclass(frozen=True)
class Sorting:
    """What became of each new image or row."""

    good: Int64[np.ndarray, " n"]
    """Numbers of those to take in."""
    duplicates: int
    """How many repeat what is there already, or one another."""
    bad: dict[int, str]
    """Why each of the others is not taken in, by its number."""


def sort_images(raw: RawImages, class_names: tuple[str, ...], known: Set[str]) -> Sorting:
    """Sorts images by class, pixels and digest.

    Args:
        class_names: the classes that there may be, by name.
        known: sha256 of the pixels of each image that is there already.
    """
    import pandera.pandas as pa

    table = describe(raw)
    table["class"] = [raw.class_names[label] for label in raw.labels]
    wanted = f"a class of the project ({', '.join(class_names)})"
    reasons = failing(
        table,
        pa.DataFrameSchema({
            "class": pa.Column(str, pa.Check.isin(class_names, error=wanted)),
            "maximum": pa.Column(float, pa.Check.gt(0, error="a pixel above 0 (an image that is not blank)")),
        }),
    )  # fmt: skip
    sound = table.drop(index=list(reasons))
    repeats = sound["sha256"].isin(known) | sound["sha256"].duplicated()
    return Sorting(sound.index[~repeats].to_numpy(np.int64), int(repeats.sum()), reasons)


def failing(table: pd.DataFrame, schema: Any) -> dict[int, str]:
    """Each failing row's number, with what was wanted and what was met in all checks that it fails."""
    from pandera.errors import SchemaErrors

    try:
        schema.validate(table, lazy=True)
        return {}
    except SchemaErrors as error:
        cases = error.failure_cases.drop_duplicates(subset=["column", "check", "index"])
    reasons: dict[int, list[str]] = {}
    for case in cases.itertuples():
        wanted = "a value" if case.check == "not_nullable" else str(case.check)
        met = "none" if pd.isna(case.failure_case) else str(case.failure_case)
        reasons.setdefault(int(case.index), []).append(f"{case.column}: wanted {wanted}, got {met}")
    return {row: "; ".join(told) for row, told in sorted(reasons.items())}


def typed(frame: pd.DataFrame, schema: TableSchema, called: str) -> pd.DataFrame:
    """The schema's columns in its order, each of the type its kind says; what cannot be read as that is missing.

    Numbers and dates are float64 (dates in seconds since 1970), all else is text, and so is the key: long numbers that
    differ in their last digit would be one float.

    Raises:
        DataError: a column is missing, or there is one that the schema does not know.
    """
    names = [column.name for column in schema.columns]
    absent, surplus = [name for name in names if name not in frame], [str(n) for n in frame if str(n) not in names]
    if absent or surplus:
        lacks = f"lacks the columns {', '.join(absent)}" if absent else ""
        more = f"has the columns {', '.join(surplus)} beside them" if surplus else ""
        raise DataError(
            f"{called} {' and '.join(filter(None, [lacks, more]))}; wanted those of the project's schema: {', '.join(names)}"
        )
    return pd.DataFrame(
        {
            column.name: _texts(frame[column.name]) if column.name == schema.key else _read(frame[column.name], column)
            for column in schema.columns
        },
        frame.index,
    )


def _read(values: "pd.Series[Any]", column: Column) -> "pd.Series[Any]":
    match column.kind:
        case "numeric" | "integer":
            return pd.to_numeric(values, errors="coerce").astype("float64")
        case "datetime":
            if pd.api.types.is_numeric_dtype(values):
                return values.astype("float64")
            dates = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce")
            return (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
        case "boolean":
            words = values.astype("object").map(lambda value: str(value).lower(), na_action="ignore")
            return words.map(
                {"true": "true", "false": "false", "1": "true", "0": "false", "1.0": "true", "0.0": "false"}
            )
        case "categorical":
            return _texts(values)


def _texts(values: "pd.Series[Any]") -> "pd.Series[Any]":
    return values.astype("object").map(_word, na_action="ignore")


def _word(value: Any) -> str:
    """A category as text, whole numbers without their point, since a missing value makes floats of integers."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def sort_rows(
    frame: pd.DataFrame, schema: TableSchema, known: UInt64[np.ndarray, " m"], keys: Set[str], called: str
) -> Sorting:
    """Sorts rows by the schema's kinds, ranges and categories, by key and by content.

    Args:
        known: `row_digests` of the rows that are there already.
        keys: keys that are there already, as text.
        called: what an error shall call the rows.

    Raises:
        DataError: the columns are not the schema's.
    """
    import pandera.pandas as pa

    frame = frame.reset_index(drop=True)
    read = typed(frame, schema, called)
    digests = row_digests(read)
    repeats = np.isin(digests, known) | pd.Series(digests).duplicated().to_numpy()
    shown = frame[list(read.columns)].astype("object").where(frame[list(read.columns)].notna(), None)
    columns = {
        column.name: pa.Column(None, _checks(column, read[column.name], shown[column.name]), nullable=column.nullable)
        for column in schema.columns
    }
    if schema.key is not None:
        taken = read[schema.key].isin(keys) | read[schema.key].where(~repeats).duplicated()
        fresh = ~(taken & ~repeats)
        check = pa.Check(lambda values: fresh.loc[values.index], error="a key that no other row has")
        columns[schema.key].checks.append(check)
    reasons = failing(shown, pa.DataFrameSchema(columns))
    sound = np.ones(len(read), bool)
    sound[list(reasons)] = False
    return Sorting(np.flatnonzero(sound & ~repeats), int((sound & repeats).sum()), reasons)


def _checks(column: Column, read: "pd.Series[Any]", shown: "pd.Series[Any]") -> list[Any]:
    """What the values of one column must be; each check says it in the words that people read."""
    import pandera.pandas as pa

    kinds = {"numeric": "a number", "integer": "a whole number", "datetime": "a date as ISO 8601 writes it",
             "boolean": "true or false", "categorical": "a category"}  # fmt: skip
    if column.kind in ("numeric", "integer") and read.dtype != "float64":  # the key is read as text
        read = pd.to_numeric(read, errors="coerce").astype("float64")
    readable = read.notna() & (np.isfinite(read) if read.dtype == "float64" else True)
    if column.kind == "integer":
        readable &= read.mod(1) == 0
    tests = [(readable | shown.isna(), kinds[column.kind])]
    if column.low is not None and read.dtype == "float64":
        tests.append((~(read < column.low), f"at least {column.low:g}"))
    if column.high is not None and read.dtype == "float64":
        tests.append((~(read > column.high), f"at most {column.high:g}"))
    if column.categories:
        tests.append((read.isin(column.categories) | shown.isna(), f"one of {_listed(column.categories)}"))
    return [pa.Check(_passing(passed), error=wanted) for passed, wanted in tests]


def _passing(passed: "pd.Series[bool]") -> Any:
    return lambda values: passed.loc[values.index]


def _listed(words: Iterable[str], most: int = 8) -> str:
    known = list(words)
    return ", ".join(known[:most]) + (", …" if len(known) > most else "")


def row_digests(read: pd.DataFrame) -> UInt64[np.ndarray, " n"]:
    """A number for each row, equal where all values are; of rows that `typed` has read."""
    found: np.ndarray = pd.util.hash_pandas_object(read, index=False).to_numpy(np.uint64)
    return found
