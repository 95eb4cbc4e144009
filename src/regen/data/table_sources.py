"""Sources of tables: each gives rows in chunks, which become one Parquet file, the same bytes every time.

The folder holds `rows.parquet` and `manifest.json`; of simulated payments also `scenarios.parquet`, which says how each
fraud came to be and is kept apart, so that no model sees it. What is read is never in memory as a whole.
"""

import gzip
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from regen.core import files
from regen.core.errors import DataError
from regen.core.sections.data import DataConfig, without_password
from regen.data.raw import Place

ROWS, SCENARIOS = "rows.parquet", "scenarios.parquet"
ENDINGS = (".parquet", ".csv", ".csv.gz")
CHUNK = 1 << 17
"""Rows that are read, checked and written together: a Parquet row group."""
LOOKED_AT = 1000
"""Rows whose texts say what a column of a CSV file may be, before all are asked."""
DRIVERS = {
    "postgresql": "psycopg (pip install 'psycopg[binary]', and a URL that begins with postgresql+psycopg://)",
    "mysql": "PyMySQL (pip install pymysql, and a URL that begins with mysql+pymysql://)",
    "mssql": "pyodbc (pip install pyodbc, and a URL that begins with mssql+pyodbc://)",
    "oracle": "oracledb (pip install oracledb, and a URL that begins with oracle+oracledb://)",
}
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What stands between columns where no comma does."""
READING_ALONE = {
    "sqlite": "PRAGMA query_only = ON", "postgresql": "SET TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY", "mariadb": "SET SESSION TRANSACTION READ ONLY",
}  # fmt: skip
"""What makes a database refuse a query that would change it."""
COMPLAINTS = (pl.exceptions.PolarsError, OSError, ValueError, RuntimeError)
"""What polars and pyarrow complain with about a file."""


@dataclass(frozen=True)
class RawTable:
    """A table's rows as a source hands them out."""

    chunks: Iterator[pl.DataFrame]
    origin: str
    """Where they come from, for the manifest and the model card."""
    apart: str | None = None
    """A column that is written to a file of its own."""


def open_source(config: DataConfig, place: Place) -> RawTable:
    """The rows that `data.source` names, at most `data.max_rows` of them.

    Raises:
        DataError: the source cannot be read, or holds no rows.
    """
    name, _, where = config.source.partition(":")
    if name == "transactions":
        from regen.data import transactions

        found = RawTable(
            transactions.simulate(config.simulator, CHUNK), "simulated card payments", transactions.SCENARIO
        )
    elif name == "table":
        path = place.resolve(where)
        found = RawTable(read_file(path), f"the file {path.name}")
    else:
        found = RawTable(read_sql(where, config.query or "", place), f"the database {without_password(where)}")
    chunks = found.chunks if config.max_rows is None else _first(found.chunks, config.max_rows)
    return RawTable(chunks, found.origin, found.apart)


def _first(chunks: Iterator[pl.DataFrame], most: int) -> Iterator[pl.DataFrame]:
    for chunk in chunks:
        yield chunk.head(most)
        most -= len(chunk)
        if most <= 0:
            return


def scan_file(path: Path) -> pl.LazyFrame:
    """The table in a Parquet or CSV file, of which nothing but the column names has been read.

    Raises:
        DataError: the file is not there, or no such table by its name or its first bytes.
    """
    if not path.is_file():
        raise DataError(f"there is no table {path}; name a file that ends in {', '.join(ENDINGS)}")
    if not path.name.lower().endswith(ENDINGS):
        raise DataError(f"{path} is no table by its name; wanted one that ends in {', '.join(ENDINGS)}")
    try:
        if path.suffix.lower() == ".parquet":
            found = pl.scan_parquet(path, glob=False)
        else:
            _require_text(path)
            found = pl.scan_csv(path, glob=False, infer_schema=False)
        kinds = found.collect_schema()
        names = kinds.names()
    except pl.exceptions.NoDataError:
        raise DataError(f"{path} is empty; wanted a line of column names and rows below it") from None
    except COMPLAINTS as error:
        raise _unreadable(path, error) from None
    if path.suffix.lower() != ".parquet" and len(names) == 1:
        _require_commas(path, names[0])
    if odd := [
        at for at, name in enumerate(names, 1) if not (name.strip() and name.isprintable() and len(name) <= 120)
    ]:
        raise DataError(
            f"{path}: column {odd[0]} wants a name of 1 to 120 printable characters, got "
            f"{names[odd[0] - 1][:40]!r}; rename it"
        )
    if wide := [name for name, kind in kinds.items() if "Int128" in str(kind)]:
        raise DataError(
            f"{path}: {wide[0]} holds integers of 128 bits; cast it to 64 bits, or to text if it names things"
        )
    if twice := [name for name in names if "_duplicated_" in name and name.rpartition("_duplicated_")[0] in names]:
        raise DataError(f"{path}: two columns are called {twice[0].rpartition('_duplicated_')[0]}; rename one")
    try:
        return found if path.suffix.lower() == ".parquet" else typed(found, names)
    except COMPLAINTS as error:
        raise _unreadable(path, error) from None


def _require_text(path: Path) -> None:
    """Looks at the line of column names.

    Raises:
        DataError: it is not text in UTF-8.
    """
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        first = file.readline(1 << 20)
    try:
        is_text = "\0" not in first.decode()
    except UnicodeDecodeError:
        is_text = False
    if not is_text:
        raise DataError(f"{path}: its column names are not text in UTF-8; export it as UTF-8 CSV or Parquet")


def _require_commas(path: Path, only: str) -> None:
    """Looks at the name of the one column that there is.

    Raises:
        DataError: it is several names with another mark between them.
    """
    for mark, called in SEPARATORS.items():
        if mark in only:
            raise DataError(
                f"{path}: its columns are separated by {called}; export it with commas between columns and points in numbers, "
                "or as Parquet"
            )


def typed(texts: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame:
    """Columns of texts as whole numbers, numbers, flags or times, where every text of the column is one.

    The first rows say what a column may be, one more pass whether all the others are that too. (polars' own inference
    from all rows takes ten times as long, and from some of them fails at the first that differs.)
    """
    some = texts.head(LOOKED_AT).collect()
    wanted = dict.fromkeys(names, 0)
    for rows in (some.lazy(), texts):
        while True:
            lost = [
                (pl.col(name).is_not_null() & READINGS[at](name).is_null()).any().alias(name)
                for name, at in wanted.items()
            ]
            failed = [
                name for name, any_ in rows.select(lost).collect(engine="streaming").row(0, named=True).items() if any_
            ]
            if not failed:
                break
            wanted |= {name: wanted[name] + 1 for name in failed}
    return texts.with_columns(READINGS[at](name).alias(name) for name, at in wanted.items())


def _whole(name: str) -> pl.Expr:
    text = pl.col(name)
    return pl.when(~text.str.contains(r"^-?0\d")).then(
        text.cast(pl.Int64, strict=False)
    )  # a code such as 007 stays a text


def _number(name: str) -> pl.Expr:
    text = pl.col(name)
    return pl.when(~text.str.contains(r"^-?0\d")).then(text.cast(pl.Float64, strict=False))


def _flag(name: str) -> pl.Expr:
    flags = {"true": True, "false": False}
    return pl.col(name).str.to_lowercase().replace_strict(flags, default=None, return_dtype=pl.Boolean)


def _time(pattern: str) -> Callable[[str], pl.Expr]:
    return lambda name: pl.col(name).str.to_datetime(pattern, strict=False, time_unit="us")


READINGS: tuple[Callable[[str], pl.Expr], ...] = (
    _whole, _number, _flag, _time("%Y-%m-%dT%H:%M:%S%.f"), _time("%Y-%m-%d %H:%M:%S%.f"), _time("%Y-%m-%d"), pl.col,
)  # fmt: skip
"""What a text may be, the narrowest first; the last is the text itself."""


def read_file(path: Path) -> Iterator[pl.DataFrame]:
    """The rows of a Parquet or CSV file, chunk by chunk.

    Raises:
        DataError: it cannot be read.
    """
    found = scan_file(path)
    try:
        yield from found.collect_batches(chunk_size=CHUNK, maintain_order=True)
    except COMPLAINTS as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(f"{path} cannot be read as a table ({reason}); export it as UTF-8 CSV or Parquet")


def read_sql(url: str, query: str, place: Place) -> Iterator[pl.DataFrame]:
    """What a query selects, chunk by chunk; `$NAME` and `${NAME}` in the URL are variables of the environment.

    The chunks are first written to scratch files, as a column's type is known only when all of it has been seen.

    Raises:
        DataError: the URL, its driver, the connection or the query does not work.
    """
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    shown = without_password(url)
    if missing := sorted({name for name in re.findall(r"\$\{?(\w+)\}?", url) if name not in os.environ}):
        raise DataError(f"{shown} names {', '.join(missing)}, which the environment does not hold; export it first")
    dialect = re.split(r"[+:]", url)[0]
    folder = place.scratch or place.root
    parts: list[Path] = []
    try:
        engine = create_engine(os.path.expandvars(url))
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
        reason = without_password(" ".join(str(error).split()))
        known = DRIVERS.get(dialect, "that of your database; sqlite:///PATH needs none")
        raise DataError(f"{shown}: no driver for it ({reason}); install {known}") from None
    if (
        dialect == "sqlite"
        and (file := engine.url.database)
        and not file.startswith((":", "file:"))
        and not Path(file).exists()
    ):
        raise DataError(
            f"{shown}: there is no such file; write sqlite:///PATH from where you are, or sqlite:////PATH from the root"
        )
    try:
        with engine.connect().execution_options(stream_results=True, yield_per=CHUNK // 4) as connection:
            if (alone := READING_ALONE.get(engine.dialect.name)) is not None:
                connection.execute(text(alone))
            result = connection.execute(text(query))
            names = list(result.keys())
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise DataError(
                    f"data.query selects {', '.join(twice)} twice; give each column a name of its own by AS"
                )
            for rows in result.partitions():
                part = pl.DataFrame([tuple(row) for row in rows], schema=names, orient="row", infer_schema_length=None)
                parts.append(folder / f"part-{len(parts):06d}.parquet")
                part.with_columns(pl.col(pl.Decimal).cast(pl.Float64)).write_parquet(parts[-1])
    except SQLAlchemyError as error:
        reason = without_password(" ".join(str(getattr(error, "orig", None) or error).split()))[:200]
        raise DataError(
            f"{shown} does not answer data.query ({reason}); mend the query, or the address and rights of its user"
        ) from None
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{shown}: a column holds values of several types ({error}); CAST it in data.query") from None
    finally:
        engine.dispose()
    if parts:
        yield from _joined(parts, shown)
    for part_file in parts:
        part_file.unlink()


def _joined(parts: list[Path], shown: str) -> Iterator[pl.DataFrame]:
    try:
        together = pl.concat([pl.scan_parquet(part, glob=False) for part in parts], how="vertical_relaxed")
        yield from together.collect_batches(chunk_size=CHUNK, maintain_order=True)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{shown}: a column holds values of several types ({error}); CAST it in data.query") from None


class ParquetFile:
    """A Parquet file that chunks are added to; its row groups are of one size, whatever the chunks' is."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self._kept: list[pl.DataFrame] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, chunk: pl.DataFrame) -> None:
        """Adds some rows."""
        self.rows += len(chunk)
        self._kept.append(chunk)
        if sum(map(len, self._kept)) >= CHUNK:
            together = pl.concat(self._kept)
            whole = len(together) // CHUNK * CHUNK
            for at in range(0, whole, CHUNK):
                self._write(together[at : at + CHUNK])
            self._kept = [together[whole:]]

    def close(self) -> None:
        """Writes what is left, and the file's end."""
        if self._kept and (len(last := pl.concat(self._kept)) or self._writer is None):
            self._write(last)
        self._kept = []
        if self._writer is not None:
            self._writer.close()

    def _write(self, rows: pl.DataFrame) -> None:
        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, table.schema, compression="zstd")
        self._writer.write_table(table, row_group_size=CHUNK)


def materialise(config: DataConfig, folder: Path, place: Place, made_with: dict[str, Any]) -> None:
    """Writes the rows, and the manifest, to an existing folder.

    Args:
        made_with: the settings that the manifest shall name.

    Raises:
        DataError: the source cannot be read, or holds no rows.
    """
    raw = open_source(config, place)
    rows, apart = ParquetFile(folder / ROWS), ParquetFile(folder / SCENARIOS)
    key: str | None = None
    columns: dict[str, str] = {}
    for chunk in raw.chunks:
        if raw.apart is not None:
            key = chunk.columns[0]
            apart.add(chunk.select(key, raw.apart))
            chunk = chunk.drop(raw.apart)
        columns = columns or {name: str(kind) for name, kind in chunk.schema.items()}
        rows.add(chunk)
    if not rows.rows:
        raise DataError(f"{raw.origin} holds no rows; add some, or select others")
    rows.close()
    names = [ROWS]
    if key is not None:
        apart.close()
        names.append(SCENARIOS)
    manifest = {
        **made_with, "origin": raw.origin, "count": rows.rows, "columns": columns,
        "sha256": {name: files.sha256(folder / name) for name in names},
    }  # fmt: skip
    files.write_json(folder / "manifest.json", manifest)


def rows_file(folder: Path) -> Path:
    """The Parquet file in data/PROJECT, checked against its manifest.

    Raises:
        DataError: a file is missing, damaged, or not what the manifest says.
    """
    back = "run 'regen data pull' to have it back"
    for name in (ROWS, "manifest.json"):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} is missing; {back}")
    try:
        wanted = str(files.read_json(folder / "manifest.json")["sha256"][ROWS])
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{folder / 'manifest.json'} is corrupt; remove it, then {back}") from None
    if files.sha256(folder / ROWS) != wanted:
        raise DataError(
            f"{folder / ROWS} is corrupt or cut short, it is not the file its manifest describes; remove it, then {back}"
        )
    return folder / ROWS
