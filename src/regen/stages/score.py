"""Scores what is larger than memory with a registered model, shard by shard; a run that was killed goes on where it stopped.

Each shard's scores are a file of their own, written whole, with its digest beside it, until all are there and become the
one output. A shard is done again only if its file is missing or damaged.
"""

import os
import shutil
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from regen.core import files
from regen.core.errors import ConfigError, DataError, EvaluationError
from regen.core.workspace import Workspace
from regen.data.folder import read_image
from regen.data.raw import spread
from regen.data.shards import ImageFiles, TableFile, fitted, open_input
from regen.data.table_sources import ROWS
from regen.registry import scorers, tracking, versions
from regen.registry.scorers import COLUMNS, FLAG, SCORE, Scorer
from regen.registry.versions import Version
from regen.stages.progress import Watch

SUFFIXES = (".parquet", ".csv")
BATCH_MIB = 16
"""Pixels that are in memory at once, in MiB."""
LOOKED_AT = 200
"""Rows of a shard whose scores are drawn."""
HEIGHTS = "▁▂▃▄▅▆▇█"
FORMAT = 2
"""Of the shards' files; another one begins anew."""


@dataclass(frozen=True)
class Scored:
    """What scoring came to."""

    input: str
    output: str
    model: str
    version: int
    rows: int
    flagged: int
    failed: int
    """Rows that could not be scored; the output says why in the column `error`."""
    shards: int
    found: int
    """Shards that an earlier run had done."""
    sha256: str
    """Of the output."""
    seconds: float
    spread: str
    """How often scores from the lowest to the highest are met, as a line of bars; of some rows of each shard."""
    reason: str = ""
    """Why the first row that could not be scored could not."""


def score(workspace: Workspace, source: Path, reference: str, output: Path, shard_rows: int, watch: Watch) -> Scored:
    """Scores every row of a table, or every image below a folder, into one Parquet or CSV file.

    Args:
        reference: NAME, NAME@ALIAS or NAME/NUMBER of a registered model that gives anomaly scores.
        shard_rows: rows or images of one shard.
        watch: told of how many rows are done.

    Raises:
        ConfigError: the output's name ends as another kind of file, or is the input's.
        RegistryError: there is no such model, or it gives no scores.
        DataError: the input cannot be read, lacks columns, or holds no row that can be scored.
        EvaluationError: the input is not what the model takes.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--output {output} ends in {output.suffix or 'nothing'}; wanted {' or '.join(SUFFIXES)}")
    if output.resolve() == source.resolve():
        raise ConfigError(f"--output {output} is the input, which would be lost; name another file")
    tracking.open_store(workspace)
    version = versions.resolve(reference)
    given = open_input(source)
    batch = given.path.resolve() if isinstance(given, TableFile) else None
    scorer = scorers.open_scorer(version, _past(workspace, version, given), batch)
    require_fit(scorer, given, source, f"{version.model} {version.number}")
    plan = {
        "model": version.model, "version": version.number, "key": version.key, "input": given.identity,
        "history": [files.sha256(Path(name)) for name in scorer.history], "shard_rows": shard_rows, "format": FORMAT,
    }  # fmt: skip
    with workspace.lock(f"score-{files.digest(str(output.resolve()))[:16]}"):
        found = run(given, scorer, plan, source, output, watch)
    require_scores(found)
    return found


def _past(workspace: Workspace, version: Version, given: ImageFiles | TableFile) -> list[Path]:
    """The file on whose rows those of a table look back beside the input's own: the project's data, if it is here.

    Later rows do no harm, and the input's own labels are never looked at, so a score does not depend on a shard's size.
    """
    if isinstance(given, ImageFiles):
        return []
    known = workspace.data(version.tags.get("regen.project", "")) / ROWS
    return [known] if known.is_file() else []


def require_scores(found: Scored) -> None:
    """Makes sure that something could be scored.

    Raises:
        DataError: nothing could.
    """
    if found.failed == found.rows:
        raise DataError(
            f"none of the {found.rows:,} in {found.input} could be scored, the first because of {found.reason}; mend them, "
            f"the column error in {found.output} says what is wrong with each"
        )


def require_fit(scorer: Scorer, given: ImageFiles | TableFile, source: Path, called: str) -> None:
    """Makes sure that a model can score what is given.

    Raises:
        EvaluationError: it takes images and these are rows, or the other way about, or its images are not square.
        DataError: columns are missing.
    """
    if isinstance(given, ImageFiles):
        if scorer.shape is None:
            raise EvaluationError(
                f"{called} scores rows of a table, and {source} holds images; name a Parquet or CSV file"
            )
        if scorer.shape[0] != scorer.shape[1]:
            raise EvaluationError(
                f"{called} takes images of {scorer.shape[0]}×{scorer.shape[1]}, and only squares are cut"
            )
        return
    if scorer.shape is not None:
        raise EvaluationError(f"{called} scores images, and {source} is a table; name a folder of images")
    if absent := [name for name in scorer.columns if name not in given.names]:
        raise DataError(
            f"{source} lacks the columns {', '.join(absent)}, which {called} reads; it has {', '.join(given.names)}"
        )


def run(
    given: ImageFiles | TableFile, scorer: Scorer, plan: dict[str, Any], source: Path, output: Path, watch: Watch
) -> Scored:
    """Scores by a plan: what an earlier run with the same one has done is taken over."""
    start, record = time.monotonic(), output.with_name(f"{output.name}.json")
    if (earlier := _finished(record, output, plan)) is not None:
        return earlier
    parts = output.with_name(f".{output.name}.parts")
    if _read(parts / "plan.json") != plan:
        shutil.rmtree(parts, ignore_errors=True)
        files.write_json(parts / "plan.json", plan)
    told, found, rows = list[dict[str, Any]](), 0, 0
    shards: Iterator[Any] = given.shards(plan["shard_rows"])
    for number, shard in enumerate(shards):
        path = parts / f"{number:06d}.parquet"
        done = _read(path.with_suffix(".json"))
        if done is not None and path.is_file() and files.sha256(path) == done["sha256"]:
            found += 1
        else:
            table = pa.Table.from_pydict(
                _scores(shard, rows, given, scorer)
                | {"model": [plan["model"]] * len(shard), "version": [plan["version"]] * len(shard)},
                schema=_schema(scorer),
            )
            with files.replacing(path) as temporary:
                pq.write_table(table, temporary)
            done = {"sha256": files.sha256(path), "rows": len(table), **_counts(table)}
            files.write_json(path.with_suffix(".json"), done)
        told.append(done)
        rows += done["rows"]
        watch("scored", rows, max(len(given), rows))
    if not told:
        raise DataError(f"{source} holds no rows; name a file that does")
    written = [parts / f"{number:06d}.parquet" for number in range(len(told))]
    join(written, output)
    scored = Scored(
        str(source), str(output), plan["model"], plan["version"], rows, sum(one["flagged"] for one in told),
        sum(one["failed"] for one in told), len(told), found, files.sha256(output), round(time.monotonic() - start, 3),
        bars(np.concatenate([_some_scores(part) for part in written])),
        next((one["reason"] for one in told if one["reason"]), ""),
    )  # fmt: skip
    files.write_json(record, asdict(scored) | {"plan": plan})
    shutil.rmtree(parts, ignore_errors=True)
    return scored


def _read(path: Path) -> Any:
    """A JSON file's value; None where there is none, or one that was cut short."""
    try:
        return files.read_json(path)
    except (OSError, ValueError):
        return None


def _finished(record: Path, output: Path, plan: dict[str, Any]) -> Scored | None:
    """What an earlier run with this plan came to, if its output is still what it wrote."""
    told = _read(record)
    if not isinstance(told, dict) or told.pop("plan", None) != plan or not output.is_file():
        return None
    if files.sha256(output) != told["sha256"]:
        return None
    return Scored(**told | {"found": told["shards"]})


def _schema(scorer: Scorer) -> pa.Schema:
    first = [("row", pa.int64())] if scorer.shape is None else [("path", pa.string())]
    columns = [(COLUMNS, pa.string())] if scorer.tells_columns else []
    scores = [(SCORE, pa.float64()), (FLAG, pa.bool_())]
    return pa.schema(
        [*first, *scores, *columns, ("error", pa.string()), ("model", pa.string()), ("version", pa.int64())]
    )


def _counts(table: pa.Table) -> dict[str, Any]:
    flags, reasons = table[FLAG], table["error"].drop_null()
    return {
        "flagged": sum(bool(flag) for flag in flags.to_pylist()), "failed": flags.null_count,
        "reason": reasons[0].as_py() if len(reasons) else "",
    }  # fmt: skip


def _scores(shard: Any, first: int, given: ImageFiles | TableFile, scorer: Scorer) -> dict[str, list[Any]]:
    """The columns of one shard's output, in its order; what could not be scored has no score but an error."""
    if isinstance(given, ImageFiles):
        assert scorer.shape is not None  # `require_fit` has looked
        names = [name.encode("utf-8", "backslashreplace").decode() for name in shard]
        return {"path": names} | score_images([given.root / name for name in shard], scorer)
    return {"row": list(range(first, first + len(shard)))} | score_rows(shard, scorer, first)


def score_rows(rows: pd.DataFrame, scorer: Scorer, first: int = 0) -> dict[str, list[Any]]:
    """Score, flag, top columns and error of each row.

    Args:
        first: the number of the first of them in the input.
    """
    table, errors = fitted(rows, scorer.columns, scorer.required)
    found = _empty(len(rows), scorer)
    for row, reason in errors.items():
        found["error"][row] = reason
    if len(table):
        _fill(found, table.index.tolist(), scorer.predict(table.set_axis(table.index + first)))
    return found


def score_images(paths: list[Path], scorer: Scorer) -> dict[str, list[Any]]:
    """Score, flag and error of each image file, a few at a time."""
    assert scorer.shape is not None
    side, _, channels = scorer.shape
    at_once = max(1, BATCH_MIB * 2**20 // (side * side * channels * 4))
    found, row = _empty(len(paths), scorer), 0
    for batch in _batched(paths, at_once):
        images = list(_read_images(batch, side, channels))
        sound = [row + i for i, image in enumerate(images) if not isinstance(image, str)]
        for i, image in enumerate(images):
            if isinstance(image, str):
                found["error"][row + i] = image
        if sound:
            _fill(found, sound, scorer.predict(np.stack([image for image in images if not isinstance(image, str)])))
        row += len(batch)
    return found


def _batched(paths: list[Path], size: int) -> Iterator[list[Path]]:
    for at in range(0, len(paths), size):
        yield paths[at : at + size]


def _read_images(paths: list[Path], side: int, channels: int) -> Iterator[np.ndarray | str]:
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        warnings.simplefilter("ignore")  # of odd palettes and EXIF
        yield from pool.map(lambda path: read_image(path, side, channels), paths)


def _empty(n: int, scorer: Scorer) -> dict[str, list[Any]]:
    names = (SCORE, FLAG, *([COLUMNS] if scorer.tells_columns else []), "error")
    return {name: [None] * n for name in names}


def _fill(found: dict[str, list[Any]], rows: list[int], given: Any) -> None:
    scores, flags = np.asarray(given[SCORE], float), np.asarray(given[FLAG], bool)
    for row, one, flag in zip(rows, scores.tolist(), flags.tolist(), strict=True):
        found[SCORE][row], found[FLAG][row] = one, flag
    if COLUMNS in found:
        for row, columns in zip(rows, given[COLUMNS], strict=True):
            found[COLUMNS][row] = columns if isinstance(columns, str) else ", ".join(map(str, columns))


def _some_scores(part: Path) -> np.ndarray:
    """Scores of at most `LOOKED_AT` rows of a shard, spread evenly over it; those that there are."""
    scores = pq.read_table(part, columns=[SCORE])[SCORE].to_numpy()
    some = scores[spread(len(scores), LOOKED_AT)]
    found: np.ndarray = some[np.isfinite(some)]
    return found


def bars(values: np.ndarray, parts: int = 32) -> str:
    """A histogram as a line of letters, between the lowest and the highest value; empty without values.

    Example:
        >>> bars(np.array([0, 1, 1, 3]), parts=4)
        '0 ▅█▁▅ 3'
    """
    if not len(values):
        return ""
    low, span = values.min(), np.ptp(values)
    counts, _ = np.histogram((values - low) / span if span else values - low, parts)  # large ones that differ little
    heights = np.ceil(counts * (len(HEIGHTS) - 1) / counts.max()).astype(int)
    return f"{values.min():.3g} {''.join(HEIGHTS[height] for height in heights)} {values.max():.3g}"


def join(parts: list[Path], output: Path) -> None:
    """Writes the rows of all parts to one file, a part at a time, as its name ends."""
    with files.replacing(output) as temporary:
        schema = pq.read_schema(parts[0])
        writer = (
            pq.ParquetWriter(temporary, schema)
            if output.suffix.lower() == ".parquet"
            else pa.csv.CSVWriter(temporary, schema)
        )
        with writer:
            for part in parts:
                writer.write_table(pq.read_table(part))


def markdown(found: Scored) -> str:
    """What scoring came to, as Prefect's page shows it."""
    rate = found.rows / max(found.seconds, 1e-9)
    return "\n".join([
        f"# {found.flagged:,} of {found.rows:,} flagged", "",
        f"`{found.input}` scored by **{found.model}, version {found.version}** into `{found.output}`.", "",
        "| | |", "|---|---:|", f"| rows | {found.rows:,} |", f"| flagged | {found.flagged:,} |",
        f"| not to be scored | {found.failed:,} |", f"| shards | {found.shards:,}, {found.found:,} of them done before |",
        f"| scores | {found.spread} |", f"| rows a second | {rate:,.0f} |", f"| sha256 | `{found.sha256[:16]}` |", "",
    ])  # fmt: skip
