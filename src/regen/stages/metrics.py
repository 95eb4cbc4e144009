"""Scores of any two folders of images or any two tables, with no project around them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from regen.core.errors import EvaluationError
from regen.core.seeds import derive
from regen.data.raw import spread
from regen.data.tables import ENDINGS, Table, encode, is_table, read_table
from regen.evaluation.diversity import measure_diversity
from regen.evaluation.frechet import frechet_at_infinity, frechet_distance, measure_frechet
from regen.evaluation.intervals import Estimate, bootstrap, mean_of
from regen.evaluation.kernel import measure_kernel
from regen.evaluation.memorisation import nearer_to_training
from regen.evaluation.records import closest_records, copies, measure_closeness
from regen.evaluation.space import FeatureSet
from regen.evaluation.tables import column_shapes, measure_shapes, measure_trends, pair_trends
from regen.evaluation.utility import measure_utility
from regen.models.extractors import DEFAULT, ORIGINAL
from regen.stages.embed import common_side, embed, open_extractor, pictures
from regen.stages.progress import Watch

LEAST = 50
"""Fewest images or rows of each that say anything."""
DRAWS, CONFIDENCE = 200, 0.95
QUICK_DIM = 192
"""Most features whose distance is resampled: at 2,048 each resample takes seconds."""
MOST_RECORDS = 20_000
"""Most rows whose closest real record is looked for, among all real ones."""
TEST_SHARE = 0.3
"""Share of the real rows that a utility is measured on when there is no control."""


@dataclass(frozen=True)
class Options:
    """What the command was asked for beside the two sets."""

    extractor: str | None = None
    label: str | None = None
    control: Path | None = None
    n: int | None = None
    seed: int = 0
    resolution: int | None = None
    skip_bad: bool = False


@dataclass(frozen=True)
class Figure:
    """One figure, as people and machines read it."""

    label: str
    best: str
    """What it comes to for a perfect set."""
    estimate: Estimate
    """Without an interval the bounds are NaN."""
    uncorrected: float | None = None
    """Its value with the bias of a small set in it, where that was taken off."""


@dataclass(frozen=True)
class Scores:
    """All that the command found out."""

    kind: str
    n: int
    seed: int
    figures: Mapping[str, Figure]
    extractor: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, float] = field(default_factory=dict)
    """How like each column's shape is."""
    pairs: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """How like each pair's trend is."""
    skipped: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """The files of each folder that gave no image, with the reason."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; null stands for a number that there is not."""
        figures = {
            name: {
                "label": one.label, "best": one.best, "uncorrected": _number(one.uncorrected),
                **{key: _number(value) for key, value in asdict(one.estimate).items()},
            }
            for name, one in self.figures.items()
        }  # fmt: skip
        found: dict[str, Any] = {"kind": self.kind, "n": self.n, "seed": self.seed, "figures": figures}
        if self.kind == "images":
            skipped = {k: [{"file": file, "reason": why} for file, why in bad] for k, bad in self.skipped.items()}
            return found | {"extractor": dict(self.extractor), "skipped": skipped}
        pairs = [{"columns": list(pair), "score": score} for pair, score in self.pairs.items()]
        return found | {"columns": dict(self.columns), "pairs": pairs}


def _number(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def score(real: Path, fake: Path, options: Options, watch: Watch) -> Scores:
    """Every figure of two folders of images, or of two tables.

    Raises:
        DataError: a file cannot be read, or the tables' columns differ.
        EvaluationError: the two cannot be compared, or an option does not go with them.
    """
    paths = {"REAL": real, "FAKE": fake, **({"CONTROL": options.control} if options.control else {})}
    kinds = {called: _kind(called, path) for called, path in paths.items()}
    if len(set(kinds.values())) > 1:
        met = ", ".join(f"{called} is a {kind}" for called, kind in kinds.items())
        raise EvaluationError(f"{met}; name folders of images only, or tables only")
    given: dict[str, object] = {"--label": options.label}
    if kinds["REAL"] == "table":
        given = {
            "--extractor": options.extractor, "--resolution": options.resolution, "--skip-bad": options.skip_bad,
        }  # fmt: skip
    if wrong := [name for name, value in given.items() if value]:
        raise EvaluationError(f"{wrong[0]} does not go with a {kinds['REAL']}; leave it out")
    return (_score_tables if kinds["REAL"] == "table" else _score_images)(paths, options, watch)


def _kind(called: str, path: Path) -> str:
    if path.is_dir():
        return "folder of images"
    if path.is_file() and is_table(path):
        return "table"
    met = f"{path}, is neither a folder nor a table" if path.exists() else f"{path}, does not exist"
    raise EvaluationError(f"{called}, {met}; name a folder of images, or a file that ends in {', '.join(ENDINGS)}")


def _require_equal(counts: Mapping[str, int], n: int | None, what: str) -> None:
    """Makes sure that there is enough of each, and as much of FAKE as of REAL."""
    met = ", ".join(f"{count:,} in {called}" for called, count in counts.items())
    if min(counts.values()) < LEAST:
        raise EvaluationError(f"a score needs at least {LEAST} {what} of each, got {met}; add {what}")
    smaller = min(counts["REAL"], counts["FAKE"])
    if n is None and counts["REAL"] != counts["FAKE"]:
        raise EvaluationError(
            f"a score depends on how many {what} it is measured on, and there are {met}; --n {smaller} takes as many of "
            "each, drawn with the seed"
        )
    if n is not None and not LEAST <= n <= smaller:
        raise EvaluationError(f"--n {n} lies outside of {LEAST} to {smaller}, since there are {met}; choose one inside")


def _mean(values: Shaped[np.ndarray, " n"], seed: int) -> Estimate:
    """The mean over rows."""
    return mean_of(values, DRAWS, seed).estimate(CONFIDENCE)


def _score_images(paths: Mapping[str, Path], options: Options, watch: Watch) -> Scores:
    extractor = open_extractor(options.extractor or DEFAULT)
    found = {called: pictures(called, path) for called, path in paths.items()}
    if not options.skip_bad:  # else it is known only when they have been read
        _require_equal({called: len(one.files) for called, one in found.items()}, options.n, "images")
    if options.n is not None:
        found |= {called: found[called].drawn(options.n, options.seed) for called in ("REAL", "FAKE")}
    side = options.resolution or common_side(list(found.values()))
    sets = {called: embed(one, extractor, side, watch, skip_bad=options.skip_bad) for called, one in found.items()}
    _require_equal({called: len(one.features) for called, one in sets.items()}, options.n, "images")
    real, fake = sets["REAL"].features, sets["FAKE"].features
    spec = extractor.spec
    figures = _distances(real, fake, options.seed, watch, is_fid=spec.id == ORIGINAL)
    if "CONTROL" in sets:
        control = sets["CONTROL"].features.rows
        nearer = nearer_to_training(fake.rows, real.rows, control, CONFIDENCE)
        figures["nearer_than_control"] = Figure("Nearer to REAL than to CONTROL, share", "0.5", nearer)
    about = {**asdict(spec), "digest": spec.digest, "space": spec.space, "compared_at": side}
    skipped = {called: one.skipped for called, one in sets.items() if one.skipped}
    return Scores("images", len(real), options.seed, figures, extractor=about, skipped=skipped)


def _distances(real: FeatureSet, fake: FeatureSet, seed: int, watch: Watch, *, is_fid: bool) -> dict[str, Figure]:
    """The distances, and how the neighbourhoods of the two sets overlap."""
    conditions = fake.against(real)
    watch("distances", 0, 2)
    label = f"{'FID' if is_fid else 'FD'}[{conditions.judge.name}, n={conditions.n}]"
    if real.rows.shape[1] <= QUICK_DIM:
        measured = measure_frechet(real.rows, [fake.rows], DRAWS, seed)
        distance = Figure(label, "0", measured.estimate(CONFIDENCE), measured.point)
    else:
        distance = Figure(label, "0", _bare(frechet_distance(real.summary, fake.summary)))
    figures = {"frechet_distance": distance}
    if conditions.n >= max(3 * real.rows.shape[1], 20):
        endless = _bare(frechet_at_infinity(real.rows, fake.rows, seed=seed))
        figures["frechet_at_infinity"] = Figure("… as it would be for ever more images, FD∞", "0", endless)
    watch("distances", 1, 2)
    kernel = measure_kernel(real.rows, [fake.rows], DRAWS, seed, scaled=not is_fid)
    figures["kid"] = Figure("Kernel distance, KID", "0", kernel.estimate(CONFIDENCE))
    watch("distances", 2, 2)
    watch("neighbourhoods", 0, 1)
    near = measure_diversity(real.rows, [fake.rows], DRAWS, seed)
    watch("neighbourhoods", 1, 1)
    for name in ("precision", "recall", "density", "coverage"):
        figures[name] = Figure(name.capitalize(), "1", getattr(near, name).estimate(CONFIDENCE))
    return figures


def _bare(value: float) -> Estimate:
    """A value without an interval."""
    return Estimate(value, nan, nan)


def _score_tables(paths: Mapping[str, Path], options: Options, watch: Watch) -> Scores:
    tables = dict(zip(paths, encode([read_table(path) for path in paths.values()], list(paths)), strict=True))
    _require_equal({called: len(one) for called, one in tables.items()}, options.n, "rows")
    real, fake = (_drawn(tables[called], called, options.n, options.seed) for called in ("REAL", "FAKE"))
    control, seed = tables.get("CONTROL"), options.seed
    if options.label is not None and options.label not in real.columns:
        raise EvaluationError(f"there is no column {options.label}; --label can be one of: {', '.join(real.columns)}")
    figures = _likeness(real, fake, control, seed, watch)
    watch("closest records", 0, 1)
    figures |= _privacy(real, fake, control, seed)
    watch("closest records", 1, 1)
    if options.label is not None:
        watch("utility", 0, 1)
        figures |= _utility(real, fake, control, options.label, seed)
        watch("utility", 1, 1)
    pairs = pair_trends(real, fake) if len(real.columns) > 1 else {}
    return Scores("tables", len(real), seed, figures, columns=column_shapes(real, fake), pairs=pairs)


def _drawn(table: Table, called: str, n: int | None, seed: int) -> Table:
    """All rows, or `n` of them drawn with the seed."""
    if n is None:
        return table
    rng = np.random.default_rng(derive(seed, "metrics", called))
    return table.take(rng.permutation(len(table))[:n])


def _likeness(real: Table, fake: Table, control: Table | None, seed: int, watch: Watch) -> dict[str, Figure]:
    """The mean scores of columns and of pairs, and what as many rows of CONTROL reach."""
    measures = {"column_shapes": ("Column shapes", measure_shapes), "pair_trends": ("Pair trends", measure_trends)}
    figures = {}
    for name, (label, measure) in measures.items():
        if name == "pair_trends" and len(real.columns) < 2:
            continue
        found = measure(real, fake, DRAWS, seed, _counted(label.lower(), watch))
        figures[name] = Figure(label, "1", found.estimate(CONFIDENCE))
        if control is not None and len(control) >= len(real):
            same = _drawn(control, "CONTROL", len(real), seed)
            beside = measure(real, same, DRAWS, seed, _counted(f"{label.lower()} of CONTROL", watch))
            figures[f"{name}_of_control"] = Figure("… of CONTROL", "1", beside.estimate(CONFIDENCE))
    return figures


def _counted(task: str, watch: Watch) -> Callable[[], None]:
    """Tells of each resample, and of the measurement itself."""
    steps = count(1)
    return lambda: watch(task, next(steps), DRAWS + 1)


def _privacy(real: Table, fake: Table, control: Table | None, seed: int) -> dict[str, Figure]:
    """How close fake rows are to real ones, and how close rows are that no model saw."""
    away = closest_records(_thinned(fake), real)
    closest = Figure("Closest record of REAL, median distance", "–", _median(away, seed))
    copied = Figure("Copies of rows of REAL, share", "–", _mean(copies(fake, real), seed))
    if control is None:
        return {"closest_record": closest, "copies": copied}
    control_away = closest_records(_thinned(control), real)
    return {
        "closest_record": closest,
        "closest_record_of_control": Figure("… of CONTROL", "–", _median(control_away, seed)),
        "copies": copied,
        "copies_in_control": Figure("… in CONTROL", "–", _mean(copies(control, real), seed)),
        "closer_than_control": Figure(
            "Closer to REAL than CONTROL is",
            "0.5",
            measure_closeness(away, control_away, DRAWS, seed).estimate(CONFIDENCE),
        ),
    }


def _thinned(table: Table) -> Table:
    return table.take(spread(len(table), MOST_RECORDS))


def _median(values: Shaped[np.ndarray, " n"], seed: int) -> Estimate:
    found = bootstrap(lambda rows: float(np.median(values[rows])), [np.arange(len(values))], DRAWS, seed)
    return found.estimate(CONFIDENCE)


def _utility(real: Table, fake: Table, control: Table | None, label: str, seed: int) -> dict[str, Figure]:
    """What trees trained on each table reach on CONTROL or, without one, on real rows kept back; equal rows train both."""
    if control is None:
        order = np.random.default_rng(derive(seed, "metrics", "test")).permutation(len(real))
        kept = round(len(real) * TEST_SHARE)
        control, real = real.take(order[:kept]), real.take(order[kept:])
        fake = fake.take(np.random.default_rng(derive(seed, "metrics", "train")).permutation(len(fake))[: len(real)])
    found = measure_utility(fake, real, control, label, DRAWS, seed)
    names = {"f1": "macro-F1", "auc": "ROC-AUC", "r2": "R²"}
    figures = {}
    for name, by_fake in found.fake.items():
        by_real = found.real[name]
        told = f"{label}, {names[name]}"
        figures[f"utility_{name}"] = Figure(f"{told}: trained on FAKE", "1", by_fake.estimate(CONFIDENCE))
        figures[f"utility_{name}_of_real"] = Figure("… trained on REAL", "1", by_real.estimate(CONFIDENCE))
        figures[f"utility_{name}_lost"] = Figure("… lost", "0", by_real.minus(by_fake).estimate(CONFIDENCE))
    return figures
