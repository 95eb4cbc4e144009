"""The two sides that a monitor compares: rows that the champion was trained on, and new ones.

Their anomaly scores are compared with those of rows held out of the champion's training, since a model finds its own
training rows more normal than any others.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64, UInt8

from regen.core.config import Config
from regen.core.errors import DataError
from regen.data import growth, sources, splits, table_schema
from regen.data.columns import TableSchema
from regen.data.folder import read_image
from regen.data.incoming import typed
from regen.data.raw import spread
from regen.data.schemas import describe
from regen.data.shards import ImageFiles, TableFile, fitted
from regen.evaluation.appearance import appearance
from regen.evaluation.drift_report import Gallery
from regen.registry import packaging, scorers
from regen.registry import versions as registered
from regen.registry.scorers import FLAG, SCORE, Scorer
from regen.registry.versions import CHAMPION, Version
from regen.stages.base import Context
from regen.stages.train import train_from

SCORED_AT_ONCE = 256
"""Images."""
ROWS_AT_ONCE = 10_000
SHOWN = 24
"""Images of each side in the report."""
MOST_ROWS = 100_000
"""Rows of a table whose columns are compared, spread evenly over all."""
MOST_WORDS = 20
"""Categories of a column that become features of their own."""
Scores = tuple[Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]
Features = Float64[np.ndarray, "n d"]


@dataclass(frozen=True)
class Sides:
    """The champion's rows and new ones, from every angle."""

    columns: tuple[pd.DataFrame, pd.DataFrame]
    features: tuple[Features, Features] | None
    space: str
    """What the features are."""
    scores: tuple[Scores, Scores] | None
    """Anomaly scores and flags of held-out rows, and of the new ones; none where the champion gives none."""
    gallery: Gallery | None = None
    unreadable: int = 0
    """New images that could not be read."""


def look(context: Context, champion: Version, known: int, new: ImageFiles | TableFile | None) -> Sides:
    """Both sides.

    Args:
        known: how many rows the champion's data had; those after them were taken in since.
        new: what to look at instead of these.

    Raises:
        DataError: the new rows are of another kind than the project's, or cannot be read.
    """
    is_table = growth.is_table(context.workspace.data(context.config.project))
    if new is not None and isinstance(new, TableFile) != is_table:
        have, got = ("a table", "images") if is_table else ("images", "a table")
        raise DataError(f"{context.config.project} is a project of {have}, and these rows are {got}; name what fits")
    if is_table:
        return table_sides(context, champion, known, new if isinstance(new, TableFile) else None)
    return image_sides(context, champion, known, new if isinstance(new, ImageFiles) else None)


def image_sides(context: Context, champion: Version, known: int, files: ImageFiles | None) -> Sides:
    """Both sides of a project of images."""
    config, most = context.config, context.config.monitor.max_rows
    raw = sources.read(context.workspace.data(config.project))
    old = replace(raw, images=raw.images[:known], labels=raw.labels[:known])
    seen = trained_on(champion, describe(old)["sha256"].tolist(), config)
    trained, held = np.flatnonzero(seen), np.flatnonzero(~seen)
    before, apart = (np.asarray(raw.images[rows[spread(len(rows), most)]]) for rows in (trained, held))
    after, bad = np.asarray(raw.images[known:][spread(len(raw.images) - known, most)]), 0
    if files is not None:
        after, bad = read_files(files, raw.shape, most)
    scores = score_both(champion, apart, after)
    strangest = np.argsort(-scores[1][0], kind="stable")[:SHOWN] if scores else np.zeros(0, np.int64)
    gallery = Gallery(before[spread(len(before), SHOWN)], after[spread(len(after), SHOWN)], after[strangest])
    space, features = f"features of {config.model_name('extractor')}", in_frozen_space(context, before, after)
    return Sides((appearance(before), appearance(after)), features, space, scores, gallery, bad)


def split_of(champion: Version, config: Config) -> tuple[int, float]:
    """The split that a version was trained with, as `train_from` says it; today's where nobody recorded one."""
    seed, _, start = (champion.tags.get("regen.split") or train_from(config)).partition(":")
    return int(seed), float(start)


def trained_on(champion: Version, digests: Sequence[str], config: Config) -> Bool[np.ndarray, " n"]:
    """Whether each image was a training row of the champion's, whatever the project file says of splits by now."""
    seed, start = split_of(champion, config)
    return np.array([splits.uniform(digest, seed) >= start for digest in digests], bool)


def read_files(files: ImageFiles, shape: tuple[int, int, int], most: int) -> tuple[UInt8[np.ndarray, "n h w c"], int]:
    """Images of files, spread evenly over all, and how many of them could not be read.

    Raises:
        DataError: fewer than 2 can be read.
    """
    side, _, channels = shape
    chosen = [files.names[i] for i in spread(len(files), most)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd palettes and EXIF
        read = [read_image(files.root / name, side, channels) for name in chosen]
    sound = [image for image in read if not isinstance(image, str)]
    if len(sound) < 2:
        name, why = next((name, image) for name, image in zip(chosen, read, strict=True) if isinstance(image, str))
        raise DataError(
            f"{len(sound)} of {len(read)} images in {files.root} can be read, {name}: {why}; name sound ones"
        )
    return np.stack(sound), len(read) - len(sound)


def in_frozen_space(
    context: Context, before: UInt8[np.ndarray, "n h w c"], after: UInt8[np.ndarray, "m h w c"]
) -> tuple[Features, Features] | None:
    """Both sides' features by the project's frozen extractor; None where there is none."""
    from regen.evaluation.measure import features_of

    frozen = registered.by_alias(context.config.model_name("extractor"), CHAMPION)
    if frozen is None:
        return None
    extractor = packaging.load_network("extractor", frozen.uri)
    return features_of(extractor, before), features_of(extractor, after)


def score_both(
    champion: Version,
    before: np.ndarray | pd.DataFrame,
    after: np.ndarray | pd.DataFrame,
    past: tuple[Sequence[Path], Sequence[Path]] = ((), ()),
    batch: Path | None = None,
) -> tuple[Scores, Scores] | None:
    """The champion's scores of both sides; None if it gives none, or if rows lack columns that it reads.

    Args:
        past: files with the past of each side's rows, of a table.
        batch: the file that those after are a part of, their index being their numbers there.

    Raises:
        DataError: no row of a side can be scored.
    """
    if champion.kind != "vae" or not len(before):
        return None
    scorer = scorers.open_scorer(champion, past[0])
    other = scorer if batch is None else scorers.open_scorer(champion, past[1], batch)
    if any(not set(scorer.columns) <= set(side) for side in (before, after) if isinstance(side, pd.DataFrame)):
        return None
    return scores_of(scorer, before, "those held out of its training"), scores_of(other, after, "the new ones")


def scores_of(scorer: Scorer, rows: np.ndarray | pd.DataFrame, called: str) -> Scores:
    """Score and flag of each row; rows of a table that do not fit the model are left out.

    Raises:
        DataError: none is left.
    """
    size = SCORED_AT_ONCE
    if isinstance(rows, pd.DataFrame):
        numbers, size = rows.index, ROWS_AT_ONCE
        rows, errors = fitted(rows, scorer.columns, scorer.required)
        rows = rows.set_axis(numbers[rows.index])
        if not len(rows):
            reason = next(iter(errors.values()), "there are none")
            raise DataError(
                f"of the rows that are compared, none of {called} can be scored, the first because of {reason}; mend them, or "
                "run 'regen run' for a champion that takes them"
            )
    given = [scorer.predict(rows[at : at + size]) for at in range(0, len(rows), size)]
    return (
        np.concatenate([np.asarray(part[SCORE], float) for part in given]),
        np.concatenate([np.asarray(part[FLAG], bool) for part in given]),
    )


def table_sides(context: Context, champion: Version, known: int, file: TableFile | None) -> Sides:
    """Both sides of a project of a table: the columns that models see; held out are its newest rows, where it has a time."""
    config, folder = context.config, context.workspace.data(context.config.project)
    schema = table_schema.load(context.schema_path)
    path, total = folder / growth.TABLE, int(growth.manifest_of(folder)["count"])
    before = take(growth.batches(path), spread(known, MOST_ROWS))
    if file is None:
        after = take(growth.batches(path), known + spread(total - known, MOST_ROWS))
    else:
        chosen = spread(len(file), MOST_ROWS)
        after = take(file.shards(growth.BATCH), chosen)
        after.index = pd.Index(chosen[: len(after)])
    names = [column.name for column in schema.modelled]
    old, new = (typed(side, schema, called) for side, called in ((before, path.name), (after, "the new rows")))
    few = [side.iloc[spread(len(side), config.monitor.max_rows)] for side in (old[names], new[names])]
    scores = None
    if schema.time is not None:
        share = split_of(champion, config)[1] - config.data.extractor_share  # which a table has no rows for
        newest = before.iloc[np.argsort(old[schema.time].to_numpy(), kind="stable")[round(len(before) * (1 - share)) :]]
        thin = [side.iloc[spread(len(side), config.monitor.max_rows)] for side in (newest, after)]
        past = [path] if schema.key is not None else []  # without a key a row would be among its own past
        batch = None if file is None else file.path
        scores = score_both(champion, thin[0], thin[1], (past, past if batch is None else [path]), batch)
    return Sides((old[names], new[names]), encoded(few[0], few[1], schema), "standardised columns", scores)


def take(batches: Iterator[pd.DataFrame], rows: Int64[np.ndarray, " m"]) -> pd.DataFrame:
    """The rows of these numbers, which rise, out of batches that are held one at a time."""
    parts, at = list[pd.DataFrame](), 0
    for batch in batches:
        inside = rows[(rows >= at) & (rows < at + len(batch))] - at
        parts.append(batch.iloc[inside])
        at += len(batch)
    return pd.concat(parts, ignore_index=True)


def encoded(before: pd.DataFrame, after: pd.DataFrame, schema: TableSchema) -> tuple[Features, Features]:
    """Columns as numbers of like size: numbers by the reference's ranks, frequent categories each as 0 or 1.

    A rank is the share of the reference's values below, so that one huge value does not outweigh all others; a missing
    value has a column of its own.
    """
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for column in schema.modelled:
        old, new = before[column.name], after[column.name]
        if old.dtype == "float64":
            known = np.sort(old.dropna().to_numpy())
            parts.append((_ranks(old, known), _ranks(new, known)))
        else:
            words = old.value_counts().index[:MOST_WORDS]
            parts += [((old == word).to_numpy(float), (new == word).to_numpy(float)) for word in words]
        if old.isna().any() or new.isna().any():
            parts.append((old.isna().to_numpy(float), new.isna().to_numpy(float)))
    return np.stack([old for old, _ in parts], axis=1), np.stack([new for _, new in parts], axis=1)


def _ranks(side: "pd.Series[float]", known: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " m"]:
    """Each value's share of known values below it, halfway through equal ones; ½ where it is missing."""
    values = side.to_numpy(float)
    places = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / 2 / max(len(known), 1)
    ranks: np.ndarray = np.where(np.isnan(values), 0.5, places)
    return ranks
