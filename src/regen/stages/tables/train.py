"""Trains the models of a table: the VAE on rows that are not known to be anomalies, the GAN on all whose label is known."""

from pathlib import Path

import numpy as np
import polars as pl
import torch

from regen.core import files
from regen.core.config import Config
from regen.core.errors import DataError
from regen.data.codebook import Codebook
from regen.data.table_splits import SPLITS, TableDataset
from regen.models import storage
from regen.models.cells import Cells, Layout
from regen.models.networks import count_parameters
from regen.models.table_scorer import TableScorer, recent
from regen.stages.base import Context, Outcome, perform
from regen.stages.tables.models import DISCRIMINATOR, GENERATOR
from regen.stages.tables.rows import TableRows
from regen.training.runtime import Runtime
from regen.training.table_gan import fit_table_gan
from regen.training.table_vae import train_table_vae


def nothing_to_do(context: Context) -> Outcome:
    """The outcome of `train_extractor`, which has nothing to train in a project of a table, and says so."""

    def body(work: Path, out: Path) -> None:
        context.progress.say("  train extractor: nothing to do, since the figures of a table need no extractor")
        files.write_json(out / "nothing.json", {"reason": "the figures of a table need no extractor"})

    return perform(context, "train_extractor", body)


def train_vae(config: Config, dataset: TableDataset, runtime: Runtime, out: Path) -> list[dict[str, float]]:
    """Writes the VAE with all that scoring needs; known anomalies of the training time teach its head."""
    rows, rules = TableRows(dataset, config), config.tables.vae
    rows.require_judges()  # what could not be measured need not be trained
    frame, held_frame = rows.frame("train"), rows.frame("validation")
    book = Codebook.of([frame], rows.schema.modelled)
    table, labels = book.table(frame), rows.labels("train")
    cells, held_out = Cells.of(table), Cells.of(book.table(held_frame))
    normal, known = np.flatnonzero(labels != 1), np.flatnonzero(labels == 1)
    held_normal = np.flatnonzero(rows.labels("validation") != 1)
    done = train_table_vae(
        rules, Layout.of(table, rules.given), cells.take(torch.from_numpy(normal)),
        held_out.take(torch.from_numpy(held_normal)), config.seed, runtime,
        cells.take(torch.from_numpy(known)) if len(known) else None,
    )  # fmt: skip
    if runtime.rank == 0:
        raw = rows.raw_schema
        past = recent(pl.concat([dataset.frame(split) for split in SPLITS]), raw, config.tables)
        TableScorer(done.vae, book, raw, config.tables, past).save(out)
        files.write_json(
            out / "network.json", {"parameters": count_parameters(done.vae), "known_anomalies": len(known)}
        )
    return done.curve


def train_gan(config: Config, dataset: TableDataset, runtime: Runtime, out: Path) -> list[dict[str, float]]:
    """Writes the generator, which holds how its rows are encoded, and the discriminator."""
    rows, rules = TableRows(dataset, config), config.tables.gan
    rows.require_judges()
    frame, _ = rows.for_gan
    if frame.empty:
        raise DataError("no training row has a label that is known, and the GAN learns from those; add rows")
    done = fit_table_gan(rules, frame, rows.synthesised, config.seed, runtime, rows.schema.label)
    if runtime.rank == 0:
        storage.save(out, GENERATOR, done.generator, **done.generator.arguments)
        storage.save(out, DISCRIMINATOR, done.discriminator, **done.discriminator.arguments)
        files.write_json(out / "network.json", {"parameters": count_parameters(done.generator)})
    return done.curve


LOOPS = {"vae": train_vae, "gan": train_gan}
