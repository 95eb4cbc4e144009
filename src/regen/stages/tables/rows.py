"""Which rows of a table, and which of their columns, each model and each figure is given."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import polars as pl
from jaxtyping import Bool, Float64, Int64

from regen.core.config import Config
from regen.core.errors import EvaluationError
from regen.core.seeds import derive
from regen.data import table_splits, windows
from regen.data.columns import Column, TableSchema
from regen.data.raw import spread
from regen.data.table_splits import TableDataset

CONTROL_SHARE = 0.1
"""Share of the training rows that the GAN never sees, so that its rows can be held against unseen ones of the same time."""


@dataclass(frozen=True)
class TableRows:
    """A dataset's rows as frames, each made when it is asked for."""

    dataset: TableDataset
    config: Config
    most_test: int | None = None
    """How many test rows are used, evenly spaced; all when absent."""

    @property
    def schema(self) -> TableSchema:
        """Of rows with what is computed from their past."""
        return self.dataset.schema

    @property
    def raw_schema(self) -> TableSchema:
        """Of rows as they come in."""
        computed = {column.name for column in windows.columns(self.schema, self.config.tables)}
        return replace(self.schema, columns=tuple(c for c in self.schema.columns if c.name not in computed))

    def taken(self, split: str) -> Int64[np.ndarray, " n"]:
        """The numbers of the rows that are used of a split."""
        return spread(self.dataset.sizes[split], self.most_test if split == "test" else None)

    def whole(self, split: str) -> pl.DataFrame:
        """All columns of a split's rows."""
        return self.dataset.frame(split)[self.taken(split)]

    def frame(self, split: str) -> pd.DataFrame:
        """What models see of a split."""
        return self.dataset.frame(split, modelled_only=True)[self.taken(split)].to_pandas()

    def seconds(self, split: str) -> Float64[np.ndarray, " n"] | None:
        """When each row came to be, in seconds since 1970; None without a time."""
        return None if self.schema.time is None else self.dataset.times(split)[self.taken(split)] / 1e6

    def labels(self, split: str) -> Int64[np.ndarray, " n"]:
        """1 for an anomaly, 0 for others, −1 where nobody knows; all −1 without a label."""
        if self.schema.label is None:
            return np.full(len(self.taken(split)), table_splits.UNKNOWN)
        found: Int64[np.ndarray, " n"] = self.dataset.labels(split)[self.taken(split)]
        return found

    def known(self, split: str) -> Float64[np.ndarray, " n"]:
        """The same with NaN where nobody knows."""
        labels = self.labels(split)
        found: Float64[np.ndarray, " n"] = np.where(labels == table_splits.UNKNOWN, np.nan, labels)
        return found

    def require_judges(self) -> None:
        """Makes sure that detection can be measured on the test rows, if the schema names a label.

        Raises:
            EvaluationError: too few of them are known to be anomalies, or to be normal.
        """
        if self.schema.label is None:
            return
        labels = self.labels("test")
        anomalies, normal = int((labels == 1).sum()), int((labels == 0).sum())
        if min(anomalies, normal) < 2:
            raise EvaluationError(
                f"detection needs at least 2 anomalies and 2 normal rows among the test rows whose label is known, got "
                f"{anomalies} and {normal} of {len(labels):,} by {self.schema.label}; raise data.test_share, add rows, or "
                "take label out of the schema"
            )

    @cached_property
    def control(self) -> Bool[np.ndarray, " n"]:
        """Which training rows are kept from the GAN: a row's digest decides, so it stays so when the table grows."""
        digests = table_splits.row_digests(self.dataset.frame("train"), self.schema)
        mixed = digests ^ np.uint64(derive(0, "control"))
        found: np.ndarray = (mixed * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(11)).astype(np.float64) / 2**53
        return found < CONTROL_SHARE

    @property
    def synthesised(self) -> tuple[Column, ...]:
        """The columns that the GAN makes: what models see, and the label as a category."""
        return (*self.schema.modelled, *self._label)

    @property
    def _label(self) -> tuple[Column, ...]:
        if self.schema.label is None:
            return ()
        return (Column(self.schema.label, "categorical", categories=("0", "1")),)

    def labelled(self, split: str) -> pd.DataFrame:
        """The columns that the GAN makes, of a split's rows whose label is known."""
        frame = self.frame(split)
        if self.schema.label is None:
            return frame
        labels = self.labels(split)
        kept = labels != table_splits.UNKNOWN
        found: pd.DataFrame = frame[kept].assign(**{self.schema.label: labels[kept]}).reset_index(drop=True)
        return found

    @cached_property
    def for_gan(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The training rows that the GAN sees, and those that are kept from it."""
        frame = self.labelled("train")
        kept = self.control if self.schema.label is None else self.control[self.labels("train") != table_splits.UNKNOWN]
        return frame[~kept].reset_index(drop=True), frame[kept].reset_index(drop=True)
