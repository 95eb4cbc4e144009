"""Whether samples are copies of training rows: how near they come to these, against how near they come to held-out rows.

A model that has learnt the distribution is as far from the rows it saw as from others of the same distribution; one that
repeats its rows is nearer to those it saw (Meehan et al., *A Three-Sample Test for Overfitting*, 2020). Distances are
Euclidean: the absolute cosine of MIFID counts a row's negative as a copy of it.
"""

from dataclasses import replace

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import binomtest

from regen.core.errors import EvaluationError
from regen.evaluation.frechet import Features, evenly
from regen.evaluation.intervals import Estimate, Replicated, Rows, bootstrap
from regen.evaluation.nearest import CHUNK, nearest

LARGEST = 1024
"""Rows of a set that are resampled at most: all distances between them are held at once."""


def nearer_to_training(
    samples: Features, training: Features, control: Features, confidence: float = 0.95, chunk: int = CHUNK
) -> Estimate:
    """Share of the samples nearer to training rows than to as many that no model saw, a tie counting half; ½ is best.

    The more rows there are, the nearer the nearest: the larger of the two sets is thinned evenly to the other's size. The
    interval is Wilson's.

    Args:
        samples: what a model made, in the features or pixels to compare.
        training: rows the model was trained on.
        control: rows of the same distribution that it was not trained on.

    Raises:
        EvaluationError: a set is empty, the widths differ, or a feature is not finite.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(80, 4))
        >>> nearer_to_training(samples=rows[:40], training=rows[:40], control=rows[40:]).value
        1.0
    """
    sets = {"samples": samples, "training rows": training, "held-out rows": control}
    _require_comparable(sets)
    samples, training, control = (rows.astype(np.float64, copy=False) for rows in sets.values())
    n = min(len(training), len(control))
    to_seen, to_unseen = (nearest(samples, evenly(rows, n), chunk=chunk).squares for rows in (training, control))
    share = float(((to_seen < to_unseen) + 0.5 * (to_seen == to_unseen)).mean())
    return _share(share, len(samples), confidence)


def measure_memorised(samples: Features, training: Features, control: Features, draws: int, seed: int) -> Replicated:
    """The share of samples nearer to training rows than to as many held-out ones, less ½, with resamples; 0 or less is best.

    Which rows happen to have been held out moves the share as much as the samples do, so all three sets are resampled; the
    resamples are moved to the share itself, since each loses some of the rows that samples are nearest to. At most `LARGEST`
    rows of each set are used, evenly spaced.

    Raises:
        EvaluationError: as `nearer_to_training`, or a set has fewer than two rows.
    """
    _require_comparable({"samples": samples, "training rows": training, "held-out rows": control})
    n = min(len(training), len(control), LARGEST)
    samples, seen, unseen = evenly(samples, LARGEST), evenly(training, n), evenly(control, n)
    to_seen, to_unseen = (cdist(samples, rows, "sqeuclidean") for rows in (seen, unseen))

    def share(chosen: Rows, a: Rows, b: Rows) -> float:
        nearest_seen, nearest_unseen = (
            squares[chosen][:, np.unique(rows)].min(axis=1) for squares, rows in ((to_seen, a), (to_unseen, b))
        )
        nearer = (nearest_seen < nearest_unseen) + 0.5 * (nearest_seen == nearest_unseen)
        return float(nearer.mean()) - 0.5

    found = bootstrap(share, [np.arange(len(samples)), np.arange(n), np.arange(n)], draws, seed, together=False)
    moved = found.replicates - found.replicates.mean() + found.point
    return replace(found, replicates=np.clip(moved, -0.5, 0.5))


def _require_comparable(sets: dict[str, Features]) -> None:
    for name, rows in sets.items():
        if len(rows) == 0:
            raise EvaluationError(f"memorisation needs samples, training and held-out rows, got no {name}; add some")
        if not np.isfinite(rows).all():
            raise EvaluationError(f"the {name} hold NaN or infinity; look at the images or at the extractor's training")
    widths = {name: rows.shape[1] for name, rows in sets.items()}
    if len(set(widths.values())) > 1:
        met = ", ".join(f"{width} ({name})" for name, width in widths.items())
        raise EvaluationError(f"the sets have different numbers of features, {met}; use one extractor for all")


def _share(value: float, n: int, confidence: float) -> Estimate:
    interval = binomtest(round(value * n), n).proportion_ci(confidence, method="wilson")
    return Estimate(value, min(float(interval.low), value), max(float(interval.high), value))
