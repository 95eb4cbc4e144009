"""What is to be scored, a shard at a time: the rows of a Parquet or CSV file, or the images below a folder."""

import gzip
import warnings
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from regen.core import files
from regen.core.errors import DataError
from regen.data.folder import ENDINGS as IMAGES
from regen.data.folder import find
from regen.data.growth import BATCH, record_batches
from regen.data.tables import ENDINGS, FINITE, HELD, LARGEST, is_table

COUNTED = 1 << 22
"""Bytes that are looked at together when lines are counted."""


@dataclass(frozen=True)
class ImageFiles:
    """The images below a folder, in the order of their paths."""

    root: Path
    names: tuple[str, ...]

    @classmethod
    def of(cls, root: Path) -> "ImageFiles":
        """All image files below `root`.

        Raises:
            DataError: there are none.
        """
        found = find(root)
        names = tuple(sorted([*(name for name, _ in found.files), *found.strays]))
        if not names:
            raise DataError(
                f"{root} holds no images ({found.ignored} files of other kinds); wanted {', '.join(IMAGES)}"
            )
        return cls(root, names)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def identity(self) -> str:
        """A digest of names, sizes and times of change: the same folder, unchanged, has the same one.

        The second of the times, of the file's record, is one that no copy can bring along; reading all images a second time
        would take about as long as scoring them.
        """
        told = ((name, (self.root / name).stat()) for name in self.names)
        return files.digest(
            [
                (name.encode("utf-8", "backslashreplace").decode(), s.st_size, s.st_mtime_ns, s.st_ctime_ns)
                for name, s in told
            ]
        )

    def shards(self, size: int) -> Iterator[tuple[str, ...]]:
        """The paths, `size` at a time."""
        for at in range(0, len(self.names), size):
            yield self.names[at : at + size]


@dataclass(frozen=True)
class TableFile:
    """The rows of a Parquet or CSV file, in their order."""

    path: Path
    names: tuple[str, ...]
    count: int

    @classmethod
    def of(cls, path: Path) -> "TableFile":
        """The rows of a table.

        Raises:
            DataError: it cannot be read.
        """
        with _readable(path):
            if path.suffix.lower() == ".parquet":
                with pq.ParquetFile(path) as file:
                    return cls(path, tuple(file.schema_arrow.names), file.metadata.num_rows)
            names = tuple(pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0].fillna("").map(str))
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"two columns are called {twice[0] or 'nothing'}")
            return cls(path, names, max(_lines(path) - 1, 0))

    def __len__(self) -> int:
        return self.count

    @property
    def identity(self) -> str:
        """The digest of its bytes."""
        return files.sha256(self.path)

    def shards(self, size: int) -> Iterator[pd.DataFrame]:
        """The rows, `size` at a time; of a CSV file as text.

        Raises:
            DataError: the file is damaged further down.
        """
        with _readable(self.path):
            if self.path.suffix.lower() != ".parquet":
                with texts(self.path, chunksize=size) as chunks:
                    while (chunk := _next(chunks)) is not None:
                        yield chunk
                return
            with pq.ParquetFile(self.path) as file:
                for batch in _sized(file, size):
                    yield batch.to_pandas(integer_object_nulls=True)  # as a float, 1 would be another text


def texts(path: Path, **options: Any) -> Any:
    """What pandas reads of a CSV file: every value as it stands, so that NA is a text, and an empty one as missing."""
    return pd.read_csv(path, dtype=str, index_col=False, keep_default_na=False, na_values=[""], **options)


def _next(chunks: Any) -> pd.DataFrame | None:
    """The next rows; None at the end, and for a file with a header alone.

    Raises:
        ParserWarning: they have more values than there are columns.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        found: pd.DataFrame | None = next(chunks, None)
    return found if found is not None and len(found) else None


def _sized(file: pq.ParquetFile, size: int) -> Iterator[pa.Table]:
    """Tables of exactly `size` rows, but for the last, since a file's batches end with its row groups."""
    held: list[pa.Table] = []
    rows = 0
    for batch in record_batches(file, min(size, BATCH)):
        held.append(pa.Table.from_batches([batch]))
        rows += batch.num_rows
        while rows >= size:
            joined = pa.concat_tables(held)
            yield joined.slice(0, size)
            held, rows = [joined.slice(size)], rows - size
    if rows:
        yield pa.concat_tables(held)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what pandas and pyarrow complain with into one line."""
    try:
        yield
    except (ValueError, OSError, EOFError, pa.ArrowException, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as a table ({reason}); export it as UTF-8 CSV or Parquet") from None


def _lines(path: Path) -> int:
    """Lines of a text file, gzipped or not."""
    count, last = 0, b"\n"
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        while chunk := file.read(COUNTED):
            count, last = count + chunk.count(b"\n"), chunk[-1:]
    return count + (last != b"\n")


def open_input(path: Path) -> ImageFiles | TableFile:
    """What lies at a path.

    Raises:
        DataError: there is nothing, or something that is neither images nor a table.
    """
    if path.is_dir():
        return ImageFiles.of(path)
    if path.is_file() and is_table(path):
        return TableFile.of(path)
    met = "is neither a folder nor a table" if path.exists() else "does not exist"
    raise DataError(f"{path} {met}; name a folder of images, or a file that ends in {', '.join(ENDINGS)}")


def fitted(
    rows: pd.DataFrame, columns: Mapping[str, str], required: Set[str] = frozenset()
) -> tuple[pd.DataFrame, dict[int, str]]:
    """The columns that a model wants, each of its type, and why each row that does not fit them cannot be scored.

    Args:
        columns: name to text, number, integer, boolean or date.
        required: those in which no value may be absent; nor may one in an integer, a boolean or a date.
    """
    rows = rows.reset_index(drop=True)
    found, reasons = {}, dict[int, list[str]]()
    for name, kind in columns.items():
        given = rows[name]
        values, wanted = _as(given, kind)
        absent = given.isna()
        wrong = values.isna() & ~absent
        if kind in ("integer", "boolean", "date") or name in required:
            wrong = values.isna()
        for row in np.flatnonzero(wrong.to_numpy()):
            met = "nothing" if absent[row] else repr(str(given[row]))
            reasons.setdefault(int(row), []).append(f"{name}: wanted {wanted}, got {met}")
        found[name] = values
    bad = {row: "; ".join(told) for row, told in sorted(reasons.items())}
    table = pd.DataFrame(found).drop(index=list(bad))
    whole = {name: "int64" for name, kind in columns.items() if kind == "integer"}
    return table.astype(whole | {name: "bool" for name, kind in columns.items() if kind == "boolean"}), bad


def _as(values: "pd.Series[Any]", kind: str) -> tuple["pd.Series[Any]", str]:
    if kind in ("number", "integer") and (values.dtype.kind in "mM" or isinstance(values.dtype, pd.DatetimeTZDtype)):
        values = values.astype("object").map(str)  # a time is no number, whatever pandas makes of it
    match kind:
        case "number":
            numbers = pd.to_numeric(values, errors="coerce").astype("float64")
            return numbers.where(numbers.abs() <= LARGEST), FINITE
        case "integer":
            numbers = pd.to_numeric(values, errors="coerce").astype("float64")
            return numbers.where((numbers.mod(1) == 0) & (numbers.abs() < 2**63)), "a whole number"
        case "boolean":
            words = values.astype("object").map(lambda value: str(value).lower(), na_action="ignore")
            return words.map({"true": True, "false": False, "1": True, "0": False}), "true or false"
        case "date":
            times = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce").dt.tz_localize(None)
            return times.where(times.between(*HELD)), f"a date of {HELD[0]:%Y} to {HELD[1]:%Y} as ISO 8601 writes it"
    return values.astype("object").map(_text, na_action="ignore"), "text"


def _text(value: Any) -> str:
    """A category as text, as the training rows' are."""
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)
