"""Validates the data, drops duplicates, splits what remains."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regen.core import files
from regen.data import schemas, sources
from regen.data.splits import Dataset
from regen.stages.base import Context, Outcome, perform

if TYPE_CHECKING:
    from regen.data.table_splits import TableDataset


def prepare(context: Context) -> Outcome:
    """Writes dataset.json and validation.json, and of images images.npy and rows.csv, of a table what `table_splits` says.

    Raises:
        ConfigError: a table has no schema, or one that the project file does not fit.
        DataError: a file is damaged, or rows fail their schema.
        StaleDataError: data/ and data.dvc disagree.
    """
    return perform(context, "prepare", _table(context) if context.config.data.is_table else _images(context))


def _table(context: Context) -> Callable[[Path, Path], None]:
    from regen.data import table_prepare, table_schema, table_sources

    config, path = context.config, context.schema_path
    schema = table_schema.load(path)

    def body(work: Path, out: Path) -> None:
        folder = context.workspace.data(config.project)
        rows = table_sources.rows_file(folder)
        sources.require_fit(config.data, folder)
        shown = (
            str(path.relative_to(context.workspace.root)) if path.is_relative_to(context.workspace.root) else str(path)
        )
        found = table_prepare.prepare(rows, schema, config, work, out, shown)
        files.write_json(out / "validation.json", found)
        if found["bad_rows"]:
            context.progress.say(
                f"  prepare: {found['bad_rows']} of {found['rows']} rows were set aside; quarantine.csv says why"
            )

    return body


def _images(context: Context) -> Callable[[Path, Path], None]:
    config = context.config

    def body(work: Path, out: Path) -> None:
        folder = context.workspace.data(config.project)
        raw = sources.read(folder)
        sources.require_fit(config.data, folder)
        table = schemas.validate(raw, config.data)
        names = dict(zip(raw.classes, raw.class_names, strict=True))
        dataset = Dataset.build(
            raw.images, raw.labels, table, config.data, config.data.split_seed, names=names, into=out / "images.npy"
        )
        dataset.save(out)
        labels, counts = np.unique(dataset.labels, return_counts=True)
        files.write_json(
            out / "validation.json",
            {
                "rows": len(table),
                "duplicates_removed": int(table["duplicate"].sum()),
                "per_class": {str(label): int(count) for label, count in zip(labels, counts, strict=True)},
            },
        )

    return body


def dataset(context: Context) -> Dataset:
    """What `prepare` wrote of images."""
    return Dataset.load(context.results("prepare"))


def table(context: Context) -> "TableDataset":
    """What `prepare` wrote of a table."""
    from regen.data.table_splits import TableDataset

    return TableDataset.load(context.results("prepare"))
