"""Whether samples are copies of training rows: how near they come to these, against how near they come to held-out rows.

A model that has learnt the distribution is as far from the rows it saw as from others of the same distribution; one that
repeats its rows is nearer to those it saw (Meehan et al., *A Three-Sample Test for Overfitting*, 2020). Distances keep their
sign and size: the absolute cosine of MIFID counts a row's negative, and any multiple of a row, as a copy of it.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial.distance import cdist
from scipy.stats import binomtest, rankdata

from regen.core.errors import EvaluationError
from regen.evaluation.frechet import Features, evenly
from regen.evaluation.intervals import Estimate, Replicated, Rows, bootstrap
from regen.evaluation.nearest import CHUNK, nearest

LARGEST = 1024
"""Rows of a set that are resampled at most: all distances between them are held at once."""


@dataclass(frozen=True)
class Memorisation:
    """How samples lie between the rows that were trained on and rows that were held out."""

    nearer_to_training: Estimate
    """Share of the samples nearer to training rows than to as many held-out ones, a tie counting half; ½ is best."""
    copying: float
    """Statistic C_T of Meehan et al., of one cell: about N(0, 1) without copying, and far below 0 with it."""
    copies: int
    """Samples that are equal to some training row."""
    distances: Float64[np.ndarray, " n"]
    """Of each sample to its nearest training row."""
    rows: Int64[np.ndarray, " n"]
    """Which training row that is, for a picture of the pair."""

    @property
    def is_memorising(self) -> bool:
        """Whether the interval of the share lies wholly above ½."""
        return self.nearer_to_training.low > 0.5


def measure_memorisation(
    samples: Features, training: Features, control: Features, confidence: float = 0.95, chunk: int = CHUNK
) -> Memorisation:
    """Compares the samples' nearest training rows with their nearest rows among as many that no model saw.

    The more rows there are, the nearer the nearest: for the share and for C_T the larger of the two sets is thinned evenly to
    the other's size; copies and the nearest training row are looked for among all. The share's interval is Wilson's.

    Args:
        samples: what a model made, in the features or pixels to compare.
        training: rows the model was trained on.
        control: rows of the same distribution that it was not trained on.

    Raises:
        EvaluationError: a set is empty, the widths differ, or a feature is not finite.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(80, 4))
        >>> found = measure_memorisation(samples=rows[:40], training=rows[:40], control=rows[40:])
        >>> found.copies, found.nearer_to_training.value, found.is_memorising
        (40, 1.0, True)
    """
    sets = {"samples": samples, "training rows": training, "held-out rows": control}
    _require_comparable(sets)
    samples, training, control = (rows.astype(np.float64, copy=False) for rows in sets.values())
    n = min(len(training), len(control))
    seen, unseen = evenly(training, n), evenly(control, n)
    everywhere = nearest(samples, training, chunk=chunk)
    to_seen = everywhere.squares if n == len(training) else nearest(samples, seen, chunk=chunk).squares
    to_unseen = nearest(samples, unseen, chunk=chunk).squares
    share = float(((to_seen < to_unseen) + 0.5 * (to_seen == to_unseen)).mean())
    return Memorisation(
        _share(share, len(samples), confidence),
        copying_statistic(to_seen, nearest(unseen, seen, chunk=chunk).squares),
        int((everywhere.squares == 0).sum()),
        np.sqrt(everywhere.squares),
        everywhere.rows,
    )


def measure_memorised(samples: Features, training: Features, control: Features, draws: int, seed: int) -> Replicated:
    """The share of samples nearer to training rows than to as many held-out ones, less ½, with resamples; 0 or less is best.

    Which rows happen to have been held out moves the share as much as the samples do, so all three sets are resampled; the
    resamples are moved to the share itself, since each loses some of the rows that samples are nearest to. At most `LARGEST`
    rows of each set are used, evenly spaced.

    Raises:
        EvaluationError: as `measure_memorisation`, or a set has fewer than two rows.
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


def copying_statistic(of_samples: Float64[np.ndarray, " n"], of_control: Float64[np.ndarray, " m"]) -> float:
    """Mann and Whitney's U of two sets' distances to the training rows, in its standard deviations under equality.

    Below 0 samples lie nearer to training rows than held-out rows do, so they copy; above 0 the model underfits.

    Example:
        >>> round(copying_statistic(np.array([0.0, 1.0, 2.0]), np.array([3.0, 4.0, 5.0])), 2)
        -1.96
    """
    n, m = len(of_samples), len(of_control)
    ranks = rankdata(np.concatenate([of_samples, of_control]))
    farther = ranks[:n].sum() - n * (n + 1) / 2
    return float((farther - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))
