"""A table from its source's rows to a dataset: checked, bad rows set aside, copies dropped, features computed, split.

Rows pass in chunks, from one Parquet file to the next. In memory at once are, of the whole table, the columns that the
windows look at, what they compute, and a digest a row.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from regen.core.config import Config
from regen.core.errors import DataError, ValidationError
from regen.data import table_checks, table_splits, windows
from regen.data.columns import TableSchema
from regen.data.table_checks import REASON, ROW, Report
from regen.data.table_sources import ParquetFile, read_file
from regen.data.table_splits import SPLITS, TableDataset

QUARANTINE = "quarantine.csv"


@dataclass(frozen=True)
class Sound:
    """What validation leaves: the rows that pass, in a file, and those among them that are copies."""

    path: Path
    dropped: np.ndarray  # (n,) bool: a repeated key, or a copy of an earlier row
    digests: np.ndarray  # (n,) uint64
    duplicates: int
    report: Report


def prepare(
    source: Path, schema: TableSchema, config: Config, work: Path, out: Path, schema_shown: str
) -> dict[str, Any]:
    """Writes a Parquet file a split, schema.yaml, dataset.json and quarantine.csv to `out`; returns what validation found.

    Args:
        source: the file of raw rows.
        work: a folder for what is needed on the way.
        schema_shown: what an error shall call the schema's file.

    Raises:
        ValidationError: columns are missing, or too many rows are bad or copies of others.
        ConfigError: the `tables` section does not fit the schema.
        DataError: the source has no rows, or a split would be empty.
    """
    windows.require_usable(schema, config.tables)
    sound = validate(source, schema, config, work, out, schema_shown)
    kept = ~sound.dropped
    needed = windows.needed(schema, config.tables) or [schema.columns[0].name]  # without a column there are no rows
    past = pl.read_parquet(sound.path, columns=needed).filter(pl.Series(kept))
    computed = windows.features(past, schema, config.tables)
    begins: dict[str, str] = {}
    if schema.time is None:
        chosen = table_splits.by_digest(sound.digests[kept], config.data)
    else:
        time = table_splits.microseconds(past[schema.time])
        chosen, bounds = table_splits.by_time(time, schema.label_delay_days, config.data)
        begins = table_splits.shown_begins(bounds)
    del past
    sizes = {name: int((chosen == number).sum()) for number, name in enumerate(SPLITS)}
    table_splits.require_rows(sizes, schema)
    _write(sound, computed, chosen, out)
    table_splits.describe(out, windows.extended(schema, config.tables), sizes, begins)
    sound.path.unlink()
    return sound.report.to_json() | {
        "duplicates_removed": sound.duplicates, "splits": sizes, "begins": begins, "features": computed.columns,
        **_anomalies(TableDataset.load(out)),
    }  # fmt: skip


def _anomalies(dataset: TableDataset) -> dict[str, Any]:
    if dataset.schema.label is None:
        return {}
    return {"anomalies": {name: int((dataset.labels(name) == 1).sum()) for name in SPLITS}}


def validate(source: Path, schema: TableSchema, config: Config, work: Path, out: Path, schema_shown: str) -> Sound:
    """Checks every row; those that pass lie in a file in `work`, the others in quarantine.csv with their reasons.

    Raises:
        ValidationError: columns are missing, or too many rows are bad or copies of others.
        DataError: there are no rows.
    """
    report, path, digests = Report(), work / "sound.parquet", []
    sound = ParquetFile(path)
    with Quarantine(out / QUARANTINE) as quarantine:
        for good, bad in table_checks.check(read_file(source), schema, report, source.name, schema_shown):
            sound.add(good)
            quarantine.add(bad)
            digests.append(table_splits.row_digests(good, schema))
        sound.close()
        if not report.rows:
            raise DataError(f"{source} holds no rows; add some, then run 'regen data add'")
        dropped = np.zeros(sound.rows, bool)
        if schema.key is not None:
            found = pl.read_parquet(path, columns=[ROW, schema.key])
            again = table_checks.repeated(found[schema.key], found[ROW], report)
            dropped |= again.to_numpy()
            quarantine.add_repeated(path, again, schema)
    report.require_sound(config.tables.max_bad_share, schema_shown)
    if sound.rows == 0:
        raise DataError(f"no row passes {schema_shown}; look the rows and the schema over, and mend whichever is wrong")
    every = np.concatenate(digests)
    copies = np.ones(len(every), bool)
    copies[np.unique(every, return_index=True)[1]] = False
    duplicates = int((copies & ~dropped).sum())
    most = config.data.max_duplicate_share
    if duplicates > most * report.rows:
        raise ValidationError(
            f"{duplicates} of {report.rows} rows are exact copies of earlier ones, over data.max_duplicate_share ({most:g}); "
            "look for a source that was read twice, or raise it if copies are natural in this table"
        )
    return Sound(path, dropped | copies, every, duplicates, report)


def _write(sound: Sound, computed: pl.DataFrame, chosen: np.ndarray, out: Path) -> None:
    """Writes the kept rows with their features, each to its split's file."""
    writers = {name: ParquetFile(out / f"{name}.parquet") for name in SPLITS}
    first = done = 0
    for chunk in read_file(sound.path):
        kept = ~sound.dropped[first : first + len(chunk)]
        first += len(chunk)
        rows = chunk.drop(ROW).filter(pl.Series(kept))
        if computed.width:
            rows = rows.hstack(computed[done : done + len(rows)])
        split = chosen[done : done + len(rows)]
        done += len(rows)
        for number, writer in enumerate(writers.values()):
            writer.add(rows.filter(pl.Series(split == number)))
    for writer in writers.values():
        writer.close()


class Quarantine:
    """A CSV file of bad rows: number, reasons, and the values as they came; there is none where none is bad."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None

    def __enter__(self) -> "Quarantine":
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, bad: pl.DataFrame) -> None:
        """Adds bad rows, which name their reason."""
        if len(bad):
            begins = self._file is None
            self._file = self._file or self.path.open("wb")
            shown = bad.select(
                pl.col(ROW).alias("row"),
                pl.col(REASON).alias("reason"),
                pl.exclude(ROW, REASON).name.prefix("value of "),
            )
            shown.write_csv(self._file, include_header=begins)

    def add_repeated(self, path: Path, again: pl.Series, schema: TableSchema) -> None:
        """Adds the rows of a file that repeat an earlier row's key."""
        for chunk in _repeating(path, again):
            texts = chunk.select(ROW, *(pl.col(column.name).cast(pl.String) for column in schema.columns))
            self.add(texts.with_columns(pl.lit(f"{schema.key}: wanted {table_checks.REPEATED_KEY}").alias(REASON)))


def _repeating(path: Path, again: pl.Series) -> Iterator[pl.DataFrame]:
    first = 0
    for chunk in read_file(path) if again.any() else ():
        yield chunk.filter(again[first : first + len(chunk)])
        first += len(chunk)
