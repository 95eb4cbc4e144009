"""Validates the data, drops duplicates, splits what remains."""

from pathlib import Path

import numpy as np

from regen.core import files
from regen.data import schemas, sources
from regen.data.splits import Dataset
from regen.stages.base import Context, Outcome, perform


def prepare(context: Context) -> Outcome:
    """Writes images.npy, rows.csv, dataset.json and validation.json.

    Raises:
        DataError: a file is damaged, or rows fail their schema.
        StaleDataError: data/ and data.dvc disagree.
    """
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

    return perform(context, "prepare", body)


def dataset(context: Context) -> Dataset:
    """What `prepare` wrote."""
    return Dataset.load(context.results("prepare"))
