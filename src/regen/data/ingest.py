"""New images or rows into a project's data: sorted, the bad ones set aside with their reasons, the rest appended, versioned.

All of it happens under one lock, so that two at once come one after the other, and all of it or nothing: the new version
takes the old one's place in one step (`exchange.py`).
"""

import csv
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import pandas as pd

from regen.core import files
from regen.core.config import Config
from regen.core.errors import DataError, ValidationError, writes_to
from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import growth, sources, versions
from regen.data.columns import TableSchema
from regen.data.folder import folder as image_folder
from regen.data.incoming import row_digests, sort_images, sort_rows, typed
from regen.data.raw import Place, RawImages, tell
from regen.data.schemas import describe
from regen.data.shards import texts
from regen.data.tables import ENDINGS, is_table, reading

QUARANTINE, REASONS = "quarantine", "reasons.csv"
SHOWN = 3
"""How many reasons a message names."""
Incoming = Literal["folder", "table", "mnist", "fashion-mnist", "cifar10"]


@dataclass(frozen=True)
class Ingested:
    """What taking in came to."""

    project: str
    origin: str
    """The path that was read."""
    total: int
    """Images or rows that were met."""
    added: int
    duplicates: int
    """Copies of what was there, or of one another; not taken in."""
    bad: int
    quarantine: str | None
    """Where the bad ones lie with their reasons, from the project's root; none when there are none."""
    reasons: dict[str, int]
    """How many failed for each reason, the most frequent first."""
    rows: int
    """Images or rows that there are now."""
    before: str
    """The version until then."""
    version: str
    """The version now; the same where nothing was added."""
    pushed: bool = False


def ingest(
    workspace: Workspace,
    config: Config,
    path: Path,
    source: Incoming | None = None,
    schema: TableSchema | None = None,
    say: Callable[[str], None] = tell,
) -> Ingested:
    """Takes the images or rows at `path` into data/PROJECT and records the new version.

    Args:
        source: how `path` is read; by default a folder as images with a subfolder a class, a file as a table.
        schema: what the columns of a table are; only images come without.
        say: told of long work.

    Raises:
        ValidationError: more than `ingest.max_bad_share` of them are bad; nothing was taken in.
        DataError: they cannot be read, or are of another kind than the project's.
        StaleDataError: data/PROJECT differs from data.dvc.
    """
    kind = kind_of(path, source)
    with workspace.lock("data"):
        if versions.recover(workspace, config.project):
            say("  data: an ingest that was killed is taken back first")
        before = versions.require_clean(workspace, config.project)
        folder = workspace.data(config.project)
        if growth.is_table(folder) != (kind == "table"):
            have, got = ("a table", "images") if growth.is_table(folder) else ("images", "a table")
            raise DataError(f"{config.project} is a project of {have}, and {path} holds {got}; name what fits")
        if kind == "table":
            assert schema is not None  # whoever has a table has its schema
            found = _take_rows(workspace, config, path, schema, before, say)
        else:
            found = _take_images(workspace, config, path, kind, before, say)
    if config.ingest.push:
        return _pushed(workspace, found)
    return found


def kind_of(path: Path, source: Incoming | None) -> Incoming:
    """How a path is read.

    Raises:
        DataError: there is nothing, or a file of an unknown kind.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; name a folder of images, or a file that ends in {', '.join(ENDINGS)}")
    if source is not None:
        return source
    if path.is_dir():
        return "folder"
    if is_table(path):
        return "table"
    raise DataError(
        f"{path} is neither a folder of images nor a file that ends in {', '.join(ENDINGS)}; name one of these"
    )


def _take_images(
    workspace: Workspace, config: Config, path: Path, kind: Incoming, before: str, say: Callable[[str], None]
) -> Ingested:
    folder = workspace.data(config.project)
    known = sources.read(folder)
    with writes_to(workspace.state), TemporaryDirectory(dir=workspace.state) as scratch:
        raw = read_images(path, kind, known.shape, Place(workspace.root, Path(scratch), say))
        say(
            f"  ingest: {len(raw.images):,} images read, looking for copies of the {len(known.images):,} that are there"
        )
        sorting = sort_images(raw, known.class_names, frozenset(describe(known)["sha256"]))
        names = raw.paths or tuple(map(str, range(len(raw.images))))
        bad = [*raw.quarantined, *((names[row], why) for row, why in sorting.bad.items())]
        aside = _Aside(
            workspace, config.project, path, ("path", "reason"), sorted(bad), path if path.is_dir() else None
        )
        total = len(raw.images) + len(raw.quarantined)
        where = _set_aside(config, aside, total)
        version = before
        if len(sorting.good):
            of = dict(zip(known.class_names, known.classes, strict=True))
            labels = np.array([of[raw.class_names[label]] for label in raw.labels[sorting.good]], np.int64)
            manifest = growth.grown(growth.manifest_of(folder), before, len(labels), path.name)
            with versions.replacing(workspace, config.project) as fresh:
                growth.append_images(folder, fresh, raw.images[sorting.good], labels, manifest)
            version = versions.require_clean(workspace, config.project)
        return Ingested(
            config.project, str(path), total, len(sorting.good), sorting.duplicates, len(bad), where, aside.reasons,
            len(known.images) + len(sorting.good), before, version,
        )  # fmt: skip


def read_images(path: Path, kind: Incoming, shape: tuple[int, int, int], place: Place) -> RawImages:
    """New images of the project's shape; a folder's are brought to it.

    Raises:
        DataError: there are none, or they are of another shape and are no files that could be brought to it.
    """
    height, width, channels = shape
    if kind == "folder":
        if height != width:
            raise DataError(
                f"the project's images are {height}×{width}, and only squares are cut from files; use data/ itself"
            )
        config = DataConfig(source=f"folder:{path.resolve()}", resolution=height, channels=1 if channels == 1 else 3)
        return image_folder(config, place)
    raw = sources.load(DataConfig(source=kind, file=str(path.resolve())), place)
    if raw.shape != shape:
        raise DataError(
            f"the images of {path} are {'×'.join(map(str, raw.shape))}, the project's {'×'.join(map(str, shape))}; save them "
            "as files in a folder with a subfolder a class, which are brought to size"
        )
    return raw


def _take_rows(
    workspace: Workspace, config: Config, path: Path, schema: TableSchema, before: str, say: Callable[[str], None]
) -> Ingested:
    folder = workspace.data(config.project)
    manifest = growth.manifest_of(folder)
    frame = read_rows(path)
    say(f"  ingest: {len(frame):,} rows read, looking for copies of the {manifest['count']:,} that are there")
    known, keys = list[np.ndarray](), set[str]()
    for batch in growth.batches(folder / growth.TABLE):
        read = typed(batch, schema, growth.TABLE)
        known.append(row_digests(read))
        if schema.key is not None:
            keys.update(read[schema.key])
    sorting = sort_rows(frame, schema, np.concatenate(known or [np.zeros(0, np.uint64)]), keys, path.name)
    held = frame.astype("object").where(frame.notna(), "")
    bad = [(row, why, *held.iloc[row]) for row, why in sorting.bad.items()]
    aside = _Aside(workspace, config.project, path, ("row", "reason", *map(str, frame.columns)), bad)
    where = _set_aside(config, aside, len(frame))
    version = before
    if len(sorting.good):
        with versions.replacing(workspace, config.project) as fresh:
            rows = frame.iloc[sorting.good].reset_index(drop=True)
            growth.append_rows(folder, fresh, rows, growth.grown(manifest, before, len(rows), path.name))
        version = versions.require_clean(workspace, config.project)
    return Ingested(
        config.project, str(path), len(frame), len(sorting.good), sorting.duplicates, len(bad), where, aside.reasons,
        int(manifest["count"]) + len(sorting.good), before, version,
    )  # fmt: skip


def read_rows(path: Path) -> pd.DataFrame:
    """A table's rows as they stand in the file, numbers and dates not yet read.

    Raises:
        DataError: the file is no table, or is damaged.
    """
    with reading(path):
        frame = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else texts(path)
    if frame.empty:
        raise DataError(f"{path} holds no rows; name a file that does")
    return frame


@dataclass(frozen=True)
class _Aside:
    """What is set aside, and where; written only by `keep`."""

    workspace: Workspace
    project: str
    path: Path
    head: tuple[str, ...]
    rows: list[tuple[object, ...]] | list[tuple[str, str]]
    files_of: Path | None = None
    """The folder that the first column's paths lie in, from which they are copied."""

    @property
    def reasons(self) -> dict[str, int]:
        """How many failed for each reason, the most frequent first."""
        return dict(Counter(str(row[1]) for row in self.rows).most_common())

    @property
    def folder(self) -> Path:
        """Named by what lies in it, so that the same bad ones are set aside once."""
        name = f"{self.path.stem}-{files.digest([list(map(str, row)) for row in self.rows])[:8]}"
        return self.workspace.root / QUARANTINE / self.project / name

    def keep(self, *, copies: bool) -> str | None:
        """Writes the reasons and, if asked for, copies of the files; gives back where, from the root."""
        if not self.rows:
            return None
        with files.replacing_folder(self.folder) as temporary:
            with (temporary / REASONS).open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([self.head, *self.rows])
            if copies and self.files_of is not None:
                _copy_files(self.files_of, (str(row[0]) for row in self.rows), temporary / "files")
        return self.folder.relative_to(self.workspace.root).as_posix()


def _copy_files(source: Path, names: Iterable[str], target: Path) -> None:
    for name in names:
        if (source / name).is_file():  # a pipe, or a name that is no text, is told of in the reasons alone
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)


def _set_aside(config: Config, aside: _Aside, total: int) -> str | None:
    """Keeps the bad ones, if they are few enough, and says where."""
    most = config.ingest.max_bad_share
    if len(aside.rows) <= most * total:
        return aside.keep(copies=True)
    where = aside.keep(copies=False)
    shown = "; ".join(f"{n} times: {reason}" for reason, n in list(aside.reasons.items())[:SHOWN])
    raise ValidationError(
        f"{len(aside.rows)} of {total} in {aside.path} are bad, more than ingest.max_bad_share ({most:.0%}), so none was "
        f"taken in ({shown}); {where}/{REASONS} lists them all; mend them, or raise the share"
    )


def _pushed(workspace: Workspace, found: Ingested) -> Ingested:
    try:
        versions.push(workspace)
    except DataError as error:
        raise DataError(
            f"version {found.version} of {found.project} is recorded here, but was not sent to the remote: {error}; run "
            "'dvc push' once it answers"
        ) from error
    return replace(found, pushed=True)


def counts(found: Ingested) -> Mapping[str, int]:
    """The figures of a summary, in words."""
    return {
        "met": found.total, "added": found.added, "copies of what is there": found.duplicates,
        "bad, set aside": found.bad, "there now": found.rows,
    }  # fmt: skip
