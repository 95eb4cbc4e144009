"""ROC-AUC, average precision and recall at a false-positive rate, of a ranking and of all resamples of it at once.

A resample is told by how often each row is in it. The rows are sorted once; sums along that order then give every figure of
every resample, ties included, as scikit-learn gives them one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from regen.core.errors import EvaluationError

Weights = Float64[np.ndarray, "b u"]
Scores = Float64[np.ndarray, " n"]
IsAnomaly = Bool[np.ndarray, " n"]

HELD = 2_000_000
"""Counts that are held at once, over the resamples of a block."""


@dataclass(frozen=True)
class Ranking:
    """For each distinct score, from the highest down, how many anomalies and how many normal rows have it."""

    anomalies: Weights
    normal: Weights

    @classmethod
    def of(cls, scores: Scores, is_anomaly: IsAnomaly, counts: Int64[np.ndarray, "b n"] | None = None) -> "Ranking":
        """The ranking by `scores`, one a row of `counts`: how often each row is taken; once each when absent.

        Raises:
            EvaluationError: a score is not finite, or one of the two groups is missing.
        """
        if not np.isfinite(scores).all():
            raise EvaluationError("anomaly scores hold NaN or infinity; look at the VAE's training")
        anomalies = int(is_anomaly.sum())
        if min(anomalies, len(scores) - anomalies) < 2:
            raise EvaluationError(
                f"detection needs at least 2 anomalies and 2 normal rows among the test rows, got {anomalies} and "
                f"{len(scores) - anomalies}; raise data.test_share or choose another data.anomaly_class"
            )
        order = np.argsort(-scores, kind="stable")
        starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
        taken = np.ones((1, len(scores))) if counts is None else counts.astype(np.float64)
        parts = (np.add.reduceat((taken * group)[:, order], starts, axis=1) for group in (is_anomaly, ~is_anomaly))
        return cls(*parts)

    def auc(self) -> Float64[np.ndarray, " b"]:
        """Chance that an anomaly outranks a normal row, ties counting half (Hanley and McNeil, 1982); 1 is perfect."""
        above = np.cumsum(self.normal, axis=1) - self.normal / 2
        outranked = (self.anomalies * above).sum(axis=1)
        found: np.ndarray = 1 - outranked / (self.anomalies.sum(axis=1) * self.normal.sum(axis=1))
        return found

    def average_precision(self) -> Float64[np.ndarray, " b"]:
        """Precision at each anomaly, averaged; 1 is perfect."""
        hits = np.cumsum(self.anomalies, axis=1)
        flagged = np.maximum(hits + np.cumsum(self.normal, axis=1), 1)
        found: np.ndarray = (self.anomalies * hits / flagged).sum(axis=1) / self.anomalies.sum(axis=1)
        return found

    def recall_at(self, rate: float) -> Float64[np.ndarray, " b"]:
        """Share of the anomalies above the lowest threshold that at most a share `rate` of the normal rows lies above."""
        allowed = np.floor(rate * self.normal.sum(axis=1, keepdims=True) + 1e-9)
        within = np.cumsum(self.normal, axis=1) <= allowed
        found: np.ndarray = (self.anomalies * within).sum(axis=1) / self.anomalies.sum(axis=1)
        return found


def resamples(scores: Scores, is_anomaly: IsAnomaly, draws: int, seed: int) -> Iterator[Ranking]:
    """Rankings of `draws` resamples in all; anomalies and normal rows are resampled within themselves."""
    rng, n = np.random.default_rng(seed), len(scores)
    groups = [np.flatnonzero(is_anomaly), np.flatnonzero(~is_anomaly)]
    at_once = max(1, HELD // n)
    for start in range(0, draws, at_once):
        counts = np.zeros((min(at_once, draws - start), n), np.int64)
        for one in counts:
            for rows in groups:
                one[rows] = np.bincount(rng.integers(len(rows), size=len(rows)), minlength=len(rows))
        yield Ranking.of(scores, is_anomaly, counts)


def day_resamples(
    scores: Scores, is_anomaly: IsAnomaly, days: Int64[np.ndarray, " n"], draws: int, seed: int
) -> Iterator[tuple[Ranking, Int64[np.ndarray, "b d"]]]:
    """Rankings of `draws` resamples of whole days, and how often each has each day: a day's rows stay together.

    A resample without both anomalies and normal rows is drawn again.

    Args:
        days: each row's day, from 0.
    """
    rng, n, n_days = np.random.default_rng(seed), len(scores), int(days.max()) + 1
    groups = [np.bincount(days, weights=group, minlength=n_days) for group in (is_anomaly, ~is_anomaly)]
    at_once = max(1, HELD // n)
    for start in range(0, draws, at_once):
        taken = np.zeros((min(at_once, draws - start), n_days), np.int64)
        for one in taken:
            while not all(one @ group >= 1 for group in groups):
                one[:] = np.bincount(rng.integers(n_days, size=n_days), minlength=n_days)
        yield Ranking.of(scores, is_anomaly, taken[:, days]), taken


def auc_error(scores: Scores, is_anomaly: IsAnomaly) -> float:
    """Standard error of the AUC: DeLong's (1988), raised towards Hanley and McNeil's (1982) where theirs is larger.

    DeLong's asks nothing of the scores and is too small where few anomalies happen to rank well; the other knows what an
    AUC near 1 may hide, and expects exponential scores. Of the two variances the geometric mean is taken.
    """
    one = Ranking.of(scores, is_anomaly)
    anomalies, normal = one.anomalies[0], one.normal[0]
    m, n, auc = anomalies.sum(), normal.sum(), float(one.auc()[0])
    below = 1 - (np.cumsum(normal) - normal / 2) / n
    above = (np.cumsum(anomalies) - anomalies / 2) / m
    placed = _variance_of_mean(below, anomalies, m) + _variance_of_mean(above, normal, n)
    inside = min(max(auc, 0.5 / (m * n)), 1 - 0.5 / (m * n))
    # Newcombe's form (2006, method 5), the same whichever group is called the first
    pairs = (m + n) / 2 - 1
    expected = (
        inside * (1 - inside) * (1 + pairs * (1 - inside) / (2 - inside) + pairs * inside / (1 + inside)) / (m * n)
    )
    placed = max(placed, (m * n) ** -2.0)
    return float(np.sqrt(max(placed, np.sqrt(placed * expected))))


def average_precision_error(scores: Scores, is_anomaly: IsAnomaly) -> float:
    """Standard error of the average precision by the infinitesimal jackknife (Jaeckel, 1972): how it moves with each row."""
    one = Ranking.of(scores, is_anomaly)
    anomalies, normal = one.anomalies[0], one.normal[0]
    m, n = anomalies.sum(), normal.sum()
    hits = np.cumsum(anomalies)
    flagged = hits + np.cumsum(normal)
    precision = hits / flagged

    def from_here_on(values: Float64[np.ndarray, " u"]) -> Float64[np.ndarray, " u"]:
        summed: np.ndarray = np.cumsum((anomalies * values)[::-1])[::-1]
        return summed

    of_anomalies = precision + from_here_on((flagged - hits) / flagged**2)
    of_normal = -n / m * from_here_on(hits / flagged**2)
    return float(np.sqrt(_variance_of_mean(of_anomalies, anomalies, m) + _variance_of_mean(of_normal, normal, n)))


def _variance_of_mean(values: Float64[np.ndarray, " u"], counts: Float64[np.ndarray, " u"], rows: float) -> float:
    return float(counts @ np.square(values - counts @ values / rows) / (rows * (rows - 1)))
