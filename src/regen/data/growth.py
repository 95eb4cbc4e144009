"""Data that grows: rows are only ever appended, and the manifest keeps how many there were at each earlier version.

A manifest's `ingested` lists, for each time that rows came in, the version before and its number of rows. It holds no
dates, so the same rows taken into the same data make the same version on any machine.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64, UInt8

from regen.core import files
from regen.core.errors import DataError
from regen.data import sources

CHUNK = 4096
"""Images that are copied together."""
BATCH = 65_536
"""Rows of a table that are copied together."""
TABLE, MANIFEST = "rows.parquet", "manifest.json"
HISTORY = "ingested"


def is_table(folder: Path) -> bool:
    """Whether a project's data are the rows of a table."""
    return (folder / TABLE).is_file()


def manifest_of(folder: Path) -> dict[str, Any]:
    """What a project's manifest says.

    Raises:
        DataError: it is missing or corrupt.
    """
    try:
        found: dict[str, Any] = files.read_json(folder / MANIFEST)
        return found
    except (OSError, ValueError):
        raise DataError(f"{folder / MANIFEST} is missing or corrupt; run 'regen data pull' to have it back") from None


def rows_at(manifest: Mapping[str, Any], version: str, now: str) -> int | None:
    """How many rows the data had at a version; None where that is neither the present one nor one it grew from.

    Args:
        now: the present version.

    Example:
        >>> rows_at({"count": 9, "ingested": [{"before": "a.dir", "rows": 7, "added": 2}]}, "a.dir", now="b.dir")
        7
    """
    if version == now:
        return int(manifest["count"])
    return next((int(e["rows"]) for e in manifest.get(HISTORY, ()) if e["before"] == version), None)


def grown(manifest: Mapping[str, Any], before: str, added: int, origin: str) -> dict[str, Any]:
    """The manifest with rows appended, all but the digests.

    Args:
        before: the version until now.
        origin: where the new rows come from.
    """
    rows = int(manifest["count"])
    entry = {"before": before, "rows": rows, "added": added, "origin": origin}
    return dict(manifest) | {"count": rows + added, HISTORY: [*manifest.get(HISTORY, ()), entry]}


def append_images(
    old: Path,
    into: Path,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int64[np.ndarray, " n"],
    manifest: dict[str, Any],
) -> None:
    """Writes the images of `old`, then these, with everything else that `old` holds, to the empty folder `into`."""
    _copy_others(old, into, {*sources.FILES})
    known = sources.read(old)
    shape = (len(known.images) + len(images), *known.images.shape[1:])
    written = np.lib.format.open_memmap(into / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    for part, start in ((known.images, 0), (images, len(known.images))):
        for at in range(0, len(part), CHUNK):
            some = part[at : at + CHUNK]
            written[start + at : start + at + len(some)] = some
    written.flush()
    del written
    np.save(into / "labels.npy", np.concatenate([known.labels, labels.astype(np.int64)]))
    digests = {name: files.sha256(into / name) for name in sources.FILES[:2]}
    files.write_json(into / MANIFEST, manifest | {"sha256": digests})


def batches(path: Path, size: int = BATCH) -> Iterator[pd.DataFrame]:
    """The rows of a Parquet file, a batch at a time."""
    with pq.ParquetFile(path) as file:
        for batch in record_batches(file, size):
            yield batch.to_pandas(integer_object_nulls=True)  # as a float, 1 would be another text


def record_batches(file: pq.ParquetFile, size: int) -> Iterator[pa.RecordBatch]:
    """The batches of one row group after another: over all groups at once, pyarrow keeps those it has read in memory."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(batch_size=size, row_groups=[group])


def append_rows(old: Path, into: Path, rows: pd.DataFrame, manifest: dict[str, Any]) -> None:
    """Writes the rows of `old`, then these as the same types, with everything else that `old` holds, to `into`.

    Raises:
        DataError: a value does not fit its column's type.
    """
    _copy_others(old, into, {TABLE, MANIFEST})
    with pq.ParquetFile(old / TABLE) as known:
        schema = known.schema_arrow
        with pq.ParquetWriter(into / TABLE, schema) as writer:
            for batch in record_batches(known, BATCH):
                writer.write_batch(batch)
            if len(rows):
                writer.write_table(as_arrow(rows, schema))
    digests = dict(manifest.get("sha256", {})) | {TABLE: files.sha256(into / TABLE)}
    files.write_json(into / MANIFEST, manifest | {"sha256": digests})


def as_arrow(rows: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Rows as columns of a file's types.

    Raises:
        DataError: a value does not fit its column's type.
    """
    columns = []
    for column in schema:
        values = rows[column.name]
        try:
            if pa.types.is_timestamp(column.type):
                dates = pd.to_datetime(values, format="ISO8601", utc=True).dt.tz_localize(None).astype("datetime64[us]")
                columns.append(pa.Array.from_pandas(dates).cast(column.type, safe=False))
            elif pa.types.is_boolean(column.type):
                words = values.astype("object").map(
                    lambda value: str(value).lower() in ("true", "1", "1.0"), na_action="ignore"
                )
                columns.append(pa.Array.from_pandas(words, type=column.type))
            elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
                columns.append(pa.Array.from_pandas(pd.to_numeric(values).astype("float64")).cast(column.type))
            else:
                texts = values.astype("object").map(str, na_action="ignore")
                columns.append(pa.Array.from_pandas(texts, type=pa.string()).cast(column.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"the column {column.name} cannot be stored as {column.type} ({reason}); mend its values"
            ) from None
    return pa.Table.from_arrays(columns, schema=schema)


def _copy_others(old: Path, into: Path, apart: set[str]) -> None:
    """Copies what a folder holds beside the named files."""
    for file in sorted(path for path in old.rglob("*") if path.is_file()):
        inside = file.relative_to(old)
        if str(inside) not in apart:
            (into / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, into / inside)
