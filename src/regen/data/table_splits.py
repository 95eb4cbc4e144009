"""A table's rows in splits: by time, with a gap in which labels are not known yet; by the rows' digests without a time.

With a time column the test rows are the newest ones and the validation rows those before them. Before each of the two lies
a gap as long as the label's delay: its rows feed the windows of later ones, but a model that is trained or calibrated when
the next split begins cannot know their labels (evaluation as in Le Borgne et al., 2022, chapter 5). Without a time column
a row's digest decides, as it does for images, so a row keeps its split when the table grows.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64, UInt64

from regen.core import files
from regen.core.errors import DataError
from regen.core.sections.data import DataConfig
from regen.core.seeds import derive
from regen.data import table_schema
from regen.data.columns import TableSchema
from regen.data.windows import DAY

SPLITS = ("train", "validation", "test", "gap")
UNKNOWN = -1
"""The label of a row whose label is missing, or not known yet."""
LEAST_DAYS = 20
"""A table that spans so many days is split at midnight."""


def row_digests(rows: pl.DataFrame, schema: TableSchema) -> UInt64[np.ndarray, " n"]:
    """A number for what each row says, its key left out; equal rows have equal ones, on every machine."""
    texts = [
        pl.col(column.name).cast(pl.String).fill_null("\x00") for column in schema.columns if column.name != schema.key
    ]
    joined = rows.select(pl.concat_str(texts, separator="\x1f")).to_series().to_list()
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in joined)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def by_digest(digests: UInt64[np.ndarray, " n"], config: DataConfig) -> Int64[np.ndarray, " n"]:
    """The number in `SPLITS` of each row, from its digest and `data.split_seed` alone; equal digests share a split."""
    mixed = (digests ^ np.uint64(derive(config.split_seed, "table split"))) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(
        0xD6E8FEB86659FD93
    )  # digests are random; a seed's bits are spread
    share: Float64[np.ndarray, " n"] = (mixed >> np.uint64(11)).astype(np.float64) / 2**53
    bounds = [config.validation_share, config.validation_share + config.test_share]
    return np.array([1, 2, 0])[np.searchsorted(bounds, share, side="right")]


def by_time(
    time: Int64[np.ndarray, " n"], delay_days: float, config: DataConfig
) -> tuple[Int64[np.ndarray, " n"], tuple[int, int]]:
    """The number in `SPLITS` of each row, and when validation and test begin; rows of one moment share a split.

    Args:
        time: in microseconds since 1970.
    """
    ordered = np.sort(time)
    wanted = np.array([1 - config.validation_share - config.test_share, 1 - config.test_share])
    begins = ordered[np.minimum((wanted * len(ordered)).astype(np.int64), len(ordered) - 1)]
    if ordered[-1] - ordered[0] >= LEAST_DAYS * DAY:
        begins = begins // DAY * DAY
    validation, test = (int(begin) for begin in begins)
    delay = round(delay_days * DAY)
    chosen = np.full(len(time), SPLITS.index("gap"))
    chosen[time < validation - delay] = 0
    chosen[(time >= validation) & (time < test - delay)] = 1
    chosen[time >= test] = 2
    return chosen, (validation, test)


def require_rows(sizes: Mapping[str, int], schema: TableSchema) -> None:
    """Makes sure that training, validation and test have rows.

    Raises:
        DataError: one has none.
    """
    if empty := [name for name in SPLITS[:3] if not sizes.get(name)]:
        way = "add rows, or change data.validation_share and data.test_share"
        if schema.time is not None and sizes.get("gap"):
            way += f"; {sizes['gap']} rows lie in the gaps of label_delay_days ({schema.label_delay_days:g})"
        raise DataError(f"no rows fall to {', '.join(empty)}; {way}")


@dataclass(frozen=True)
class TableDataset:
    """Distinct, sound rows of a table with their features and splits; rows are read as they are asked for."""

    schema: TableSchema
    """Of the rows with their features."""
    parts: Mapping[str, pl.LazyFrame]
    """The rows of each split, in the order of the source."""
    sizes: Mapping[str, int]
    """How many rows each split has."""
    begins: Mapping[str, str] = field(default_factory=dict)
    """When validation and test begin, in ISO 8601; empty without a time column."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """The sha256 of each split's file; empty of rows that were never written."""

    @classmethod
    def of(cls, rows: pl.DataFrame, schema: TableSchema, config: DataConfig) -> "TableDataset":
        """Splits rows that are in memory, are sound and have their features, if any; equal ones are kept once.

        Raises:
            DataError: a split would be empty.
        """
        digests = row_digests(rows, schema)
        kept = np.sort(np.unique(digests, return_index=True)[1])
        rows = rows[kept]
        begins: dict[str, str] = {}
        if schema.time is None:
            chosen = by_digest(digests[kept], config)
        else:
            chosen, bounds = by_time(microseconds(rows[schema.time]), schema.label_delay_days, config)
            begins = shown_begins(bounds)
        parts = {name: rows.filter(pl.Series(chosen == number)) for number, name in enumerate(SPLITS)}
        sizes = {name: len(part) for name, part in parts.items()}
        require_rows(sizes, schema)
        return cls(schema, {name: part.lazy() for name, part in parts.items()}, sizes, begins)

    @property
    def digest(self) -> str:
        """The digest of all rows and their schema, in hex; of rows that were written."""
        return files.digest([table_schema.to_yaml(self.schema), dict(self.digests)])

    def frame(self, split: str, *, modelled_only: bool = False) -> pl.DataFrame:
        """A split's rows with all columns of the schema, or with those alone that models see."""
        columns = self.schema.modelled if modelled_only else self.schema.columns
        return self.parts[split].select(column.name for column in columns).collect()

    def labels(self, split: str) -> Int64[np.ndarray, " n"]:
        """1 for an anomaly, 0 for others, −1 where the label is missing.

        Raises:
            DataError: the schema names no label.
        """
        if self.schema.label is None:
            raise DataError("the schema names no label; set label in its file to the column that is 1 for an anomaly")
        column = pl.col(self.schema.label).cast(pl.Int64).fill_null(UNKNOWN)
        return self.parts[split].select(column).collect().to_series().to_numpy()

    def times(self, split: str) -> Int64[np.ndarray, " n"]:
        """When each row came to be, in microseconds since 1970.

        Raises:
            DataError: the schema names no time.
        """
        if self.schema.time is None:
            raise DataError(
                "the schema names no time; set time in its file to the column that says when a row came to be"
            )
        return microseconds(self.parts[split].select(self.schema.time).collect().to_series())

    def days(self, split: str) -> Int64[np.ndarray, " n"]:
        """The day of each row, in days since 1970."""
        return self.times(split) // DAY

    def save(self, folder: Path) -> "TableDataset":
        """Writes a Parquet file a split, schema.yaml and dataset.json into an existing folder; gives what `load` does."""
        for name, part in self.parts.items():
            with files.replacing(folder / f"{name}.parquet") as temporary:
                part.collect().write_parquet(temporary)
        describe(folder, self.schema, self.sizes, self.begins)
        return TableDataset.load(folder)

    @classmethod
    def load(cls, folder: Path) -> "TableDataset":
        """Reads what `save` or `prepare` wrote; the rows stay on disk.

        Raises:
            DataError: a file is missing.
        """
        try:
            meta = files.read_json(folder / "dataset.json")
        except FileNotFoundError:
            raise DataError(f"{folder / 'dataset.json'} is missing; run 'regen stage prepare'") from None
        schema = table_schema.load(folder / "schema.yaml")
        parts = {name: pl.scan_parquet(folder / f"{name}.parquet", glob=False) for name in SPLITS}
        return cls(schema, parts, meta["rows"], meta["begins"], meta["sha256"])


def describe(folder: Path, schema: TableSchema, sizes: Mapping[str, int], begins: Mapping[str, str]) -> None:
    """Writes schema.yaml and dataset.json beside a dataset's Parquet files."""
    table_schema.save(schema, folder / "schema.yaml")
    digests = {name: files.sha256(folder / f"{name}.parquet") for name in SPLITS}
    files.write_json(folder / "dataset.json", {"rows": dict(sizes), "begins": dict(begins), "sha256": digests})


def microseconds(times: pl.Series) -> Int64[np.ndarray, " n"]:
    """Times as microseconds since 1970."""
    return times.dt.cast_time_unit("us").cast(pl.Int64).to_numpy()


def shown_begins(bounds: tuple[int, int]) -> dict[str, str]:
    """When validation and test begin, in ISO 8601."""
    return {name: table_schema.shown_time(at / 1e6) for name, at in zip(SPLITS[1:3], bounds, strict=True)}
