"""What a table's VAE is used with: rows as they come in, what is known of their past, and scores that name columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from jaxtyping import Float64

from regen.core import files
from regen.core.errors import DataError
from regen.core.sections.tables import TablesConfig
from regen.data import table_schema, windows
from regen.data.codebook import Codebook, require
from regen.data.columns import Column, TableSchema
from regen.data.shards import texts
from regen.data.table_checks import to_type
from regen.data.table_schema import TYPES
from regen.data.table_sources import COMPLAINTS, scan_file
from regen.models import storage
from regen.models.cells import Cells
from regen.models.table_vae import TableVae

NETWORK = "table_vae"
CODEBOOK, SCHEMA, WINDOWS, HISTORY = "codebook.json", "rows.yaml", "windows.json", "history.parquet"
SCORE, FLAG, COLUMNS = "anomaly_score", "is_anomaly", "top_columns"
TOP = 3
"""Columns that are named for each row."""


@dataclass(frozen=True)
class TableScorer:
    """A trained VAE, how its columns are coded, and the recent past that windows of new rows look back on."""

    vae: TableVae
    book: Codebook
    schema: TableSchema
    """Of rows as they come in, without what is computed from their past."""
    rules: TablesConfig
    """Which windows are computed."""
    history: pl.DataFrame | None = None
    """The newest rows at the time of training, with the columns that windows look at; none where there are no windows."""

    def save(self, folder: Path) -> None:
        """Writes the network, the codebook, the schema, the windows and the past into an existing folder."""
        storage.save(folder, NETWORK, self.vae, **self.vae.arguments)
        files.write_json(folder / CODEBOOK, self.book.to_json())
        table_schema.save(self.schema, folder / SCHEMA)
        files.write_json(folder / WINDOWS, self.rules.model_dump(mode="json", exclude={"vae", "gan"}))
        if self.history is not None:
            with files.replacing(folder / HISTORY) as temporary:
                self.history.write_parquet(temporary)

    @classmethod
    def load(cls, folder: Path) -> "TableScorer":
        """What `save` wrote.

        Raises:
            DataError: a file is missing or damaged.
        """
        vae = storage.load(folder, NETWORK)
        try:
            book = Codebook.of_json(files.read_json(folder / CODEBOOK))
            rules = TablesConfig.model_validate(files.read_json(folder / WINDOWS))
            history = pl.read_parquet(folder / HISTORY) if (folder / HISTORY).is_file() else None
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(
                f"the model in {folder} cannot be loaded ({reason}); remove the folder and run again"
            ) from error
        return cls(vae, book, table_schema.load(folder / SCHEMA), rules, history)

    def cells(self, frame: pd.DataFrame) -> Cells:
        """Rows with their features as the VAE takes them."""
        return Cells.of(self.book.table(frame))

    def scores(self, frame: pd.DataFrame) -> Float64[np.ndarray, " n"]:
        """The anomaly score of rows with their features; higher is stranger."""
        found: np.ndarray = self.vae.anomaly_score(self.cells(frame)).double().numpy()
        return found

    @property
    def raw_columns(self) -> tuple[str, ...]:
        """The columns that rows must have as they come in: all but the label."""
        return tuple(column.name for column in self.schema.columns if column.name != self.schema.label)

    def featurise(
        self, rows: pd.DataFrame, history: pl.DataFrame | None = None, others: pl.DataFrame | None = None
    ) -> pd.DataFrame:
        """Rows as they come in, with what is computed from the past and from those before them in their batch.

        Args:
            history: rows that came before, in the place of those kept with the model; later ones do no harm.
            others: the other rows of the batch, wherever in it; they are treated as `rows` are.

        Raises:
            DataError: a column is not there, or a time that windows need is missing.
        """
        require(self.raw_columns, rows)
        typed = self._typed(pl.from_pandas(rows[list(self.raw_columns)]))
        if self.schema.time is None:
            return typed.to_pandas()
        if absent := typed[self.schema.time].null_count():
            raise DataError(f"{absent} of {len(typed)} rows lack {self.schema.time}, from which their past is told")
        looked_at = self._looked_at
        batch = typed.select(looked_at)
        if others is not None:
            batch = pl.concat([self._typed(others).select(looked_at), batch])
        together = self._together(self.history if history is None else self._typed(history), batch)
        if self.schema.groups and self.rules.windows_days:
            asked, time = typed[self.schema.time], pl.col(self.schema.time)
            reach = pl.duration(microseconds=reach_of(self.schema, self.rules))
            together = together.filter((time >= pl.lit(asked.min()) - reach) & (time <= pl.lit(asked.max())))
        computed = windows.features(together, self.schema, self.rules).tail(len(typed))
        return (typed.hstack(computed) if computed.width else typed).to_pandas()

    @property
    def _looked_at(self) -> list[str]:
        """The columns of a batch's rows that windows look at: never the label."""
        names = [*([self.schema.key] if self.schema.key else []), *windows.needed(self.schema, self.rules)]
        return [name for name in dict.fromkeys(names) if name != self.schema.label]

    def _together(self, past: pl.DataFrame | None, batch: pl.DataFrame) -> pl.DataFrame:
        """The past, then a batch's rows with the labels that the past knows; a row that both hold is the batch's."""
        key, label, needed = self.schema.key, self.schema.label, windows.needed(self.schema, self.rules)
        shared = past is not None and key is not None and key in past.columns
        if past is not None and shared:
            past = past.unique(key, keep="first", maintain_order=True)
            if label is not None:
                batch = batch.join(past.select(key, label), on=key, how="left", maintain_order="left")
            past = past.join(batch, on=key, how="anti")
        elif label is not None:
            kind = next(column.kind for column in self.schema.columns if column.name == label)
            batch = batch.with_columns(pl.lit(None, TYPES[kind]).alias(label))
        parts = [part.select(needed) for part in (past, batch) if part is not None]
        return pl.concat(parts, how="vertical_relaxed")

    def past_in(self, paths: Sequence[Path], *_: Any) -> pl.DataFrame | None:
        """What windows can look back on in the rows of Parquet or CSV files; None where there are no windows.

        Versions that were packaged before they knew of batches hand their rows over, too, which nothing needs any more.

        Raises:
            DataError: a file is not there, or cannot be read as a table.
        """
        kept = self.history
        if kept is None:
            return None
        found = []
        for path in paths:
            there = scan_file(path)
            names = there.collect_schema().names()
            part = self._typed(there.select(name for name in kept.columns if name in names).collect())
            absent = [pl.lit(None, kept.schema[name]).alias(name) for name in kept.columns if name not in names]
            found.append(part.with_columns(absent).select(kept.columns))
        return pl.concat(found, how="vertical_relaxed")

    def others_in(self, path: Path, rows: Sequence[int]) -> pl.DataFrame | None:
        """What windows look at in a batch's Parquet or CSV file, but for the rows of these numbers; None without windows.

        Raises:
            DataError: the file is not there, lacks a column or one of the rows, or cannot be read as a table.
        """
        if self.history is None:
            return None
        columns = tuple(column for column in self.schema.columns if column.name in self._looked_at)
        every = batch_of(path, columns, path.stat().st_mtime_ns if path.is_file() else 0)
        numbers = np.asarray(rows, np.int64)
        if beyond := numbers[(numbers < 0) | (numbers >= len(every))].tolist():
            raise DataError(
                f"{path} holds {len(every)} rows and none of number {beyond[0]}; name the file of this batch"
            )
        return every.filter(~pl.Series(np.isin(np.arange(len(every)), numbers)))

    def _typed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The schema's columns that are there, in its types."""
        return rows.select(
            to_type(rows[column.name], column) for column in self.schema.columns if column.name in rows.columns
        )

    def predict(
        self, rows: pd.DataFrame, history: pl.DataFrame | None = None, others: pl.DataFrame | None = None
    ) -> pd.DataFrame:
        """Score, flag and the columns that say so, of rows as they come in; what else is given, `featurise` tells."""
        cells = self.cells(self.featurise(rows, history, others))
        scores = self.vae.anomaly_score(cells)
        top = self.vae.explain(cells, TOP).top.tolist()
        return pd.DataFrame({
            SCORE: scores.double().numpy(), FLAG: self.vae.is_anomaly(scores).numpy(),
            COLUMNS: [", ".join(self.book.columns[place] for place in places) for places in top],
        })  # fmt: skip

    def explained(self, frame: pd.DataFrame) -> list[list[dict[str, Any]]]:
        """Of rows with their features: the columns that say so, with value, what was expected, and nats."""
        cells = self.cells(frame)
        found = self.vae.explain(cells, TOP)
        return [
            [
                self._told(int(place), row, cells, found.expected, float(found.contributions[row, place]))
                for place in top
            ]
            for row, top in enumerate(found.top.tolist())
        ]

    def _told(self, place: int, row: int, cells: Cells, expected: Cells, nats: float) -> dict[str, Any]:
        name, numbers = self.book.columns[place], len(self.book.numbers)

        def value(of: Cells) -> str:
            cell = of.numbers[row, place] if place < numbers else of.codes[row, place - numbers]
            return self.book.shown(name, float(cell))

        return {"name": name, "value": value(cells), "expected": value(expected), "nats": nats}


@lru_cache(maxsize=1)
def batch_of(path: Path, columns: tuple[Column, ...], changed: int) -> pl.DataFrame:
    """These columns, in their types, of a Parquet or CSV file; the rows of CSV are those that pandas counts.

    Args:
        changed: when the file was, so that it is read again once it is another.

    Raises:
        DataError: the file is not there, lacks a column, or cannot be read as a table.
    """
    scanned, names = scan_file(path), [column.name for column in columns]
    try:
        if path.suffix.lower() == ".parquet":
            rows = scanned.select(names).collect()
        else:
            rows = pl.from_pandas(texts(path, usecols=names))
        return rows.select(to_type(rows[column.name], column) for column in columns)
    except COMPLAINTS as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as a table ({reason}); export it as UTF-8 CSV or Parquet") from None


def recent(rows: pl.DataFrame, schema: TableSchema, rules: TablesConfig) -> pl.DataFrame | None:
    """Of all rows, those that windows of newer ones can look back on; None where there are no windows.

    Args:
        schema: of rows as they come in.
    """
    if schema.time is None or not schema.groups or not rules.windows_days:
        return None
    kept = list(dict.fromkeys([*([schema.key] if schema.key else []), *windows.needed(schema, rules)]))
    reach = pl.duration(microseconds=reach_of(schema, rules))
    return rows.select(kept).filter(pl.col(schema.time) >= pl.lit(rows[schema.time].max()) - reach)


def reach_of(schema: TableSchema, rules: TablesConfig) -> int:
    """How far back windows look, in microseconds: over the longest of them and, for labels, over their delay."""
    days = max(rules.windows_days) + (schema.label_delay_days if schema.label is not None else 0)
    return round(days * windows.DAY)
