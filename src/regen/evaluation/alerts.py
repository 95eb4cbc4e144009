"""Anomaly detection under a time split: the usual figures, and the precision of the alerts that a day's work allows.

Precision at the top k of each day is that of "Reproducible Machine Learning for Credit Card Fraud Detection" (Le Borgne et
al., 2022, chapter 4). Anomalies of one day hang together, so whole days are resampled (the cluster bootstrap of Field and
Welsh, 2007).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from regen.core.sections.evaluation import Metric
from regen.evaluation import anomaly
from regen.evaluation.anomaly import RATES, Recalls
from regen.evaluation.intervals import Replicated, Spread
from regen.evaluation.ranking import IsAnomaly, Ranking, Scores, day_resamples

SECONDS = 86_400
LEAST_DAYS = 5
"""Days under which they cannot be resampled; rows are then."""
WEEK = 7
Days = Int64[np.ndarray, " n"]
"""Each row's day, counted from 0."""


def days_of(seconds: Float64[np.ndarray, " n"]) -> Days:
    """Each row's day among those that have rows, from its time in seconds since 1970.

    Example:
        >>> days_of(np.array([10.0, 90_000.0, 20.0])).tolist()
        [0, 1, 0]
    """
    found: Days = np.unique(np.floor(seconds / SECONDS).astype(np.int64), return_inverse=True)[1]
    return found


@dataclass(frozen=True)
class DailyAlerts:
    """The highest-scored rows of each day, and what became of them."""

    precision: Float64[np.ndarray, " d"]
    """Share of anomalies among the day's alerts; 1 is best."""
    possible: Float64[np.ndarray, " d"]
    """The same of a perfect ranking, which has no more anomalies to raise than the day has."""


def daily_alerts(scores: Scores, is_anomaly: IsAnomaly, days: Days, k: int) -> DailyAlerts:
    """What the `k` highest-scored rows of each day are; all of a day that has fewer."""
    order = np.lexsort((-scores, days))
    sizes = np.bincount(days)
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(len(days)) - starts[days[order]]
    raised = order[rank < k]
    alerts = np.minimum(sizes, k)
    hits = np.bincount(days[raised], weights=is_anomaly[raised], minlength=len(sizes))
    anomalies = np.bincount(days, weights=is_anomaly, minlength=len(sizes))
    return DailyAlerts(hits / alerts, np.minimum(anomalies, alerts) / alerts)


def measure_alerts(scores: Scores, is_anomaly: IsAnomaly, days: Days | None, k: int, draws: int, seed: int) -> Recalls:
    """ROC-AUC, average precision, recalls at false-positive rates, and the precision of the day's top `k` alerts.

    Without days, or with fewer than five, rows are resampled; without days the last figure is not measured.

    Raises:
        EvaluationError: a score is not finite, or one of the two groups is missing.
    """
    if days is None or int(days.max()) + 1 < LEAST_DAYS:
        recalls = anomaly.measure_recalls(scores, is_anomaly, draws, seed)
        found = anomaly.measure_detection(scores, is_anomaly, draws, seed) | recalls.figures
        few = "no time column" if days is None else f"only {int(days.max()) + 1} days"
        reason: dict[Metric, str] = {
            "anomaly_precision_top_k": f"not enough samples: {few}, and at least {LEAST_DAYS} days are resampled"
        }
        return Recalls(found, recalls.unmeasured | reason)
    one, n_days = Ranking.of(scores, is_anomaly), int(days.max()) + 1
    normal, anomalies = int((~is_anomaly).sum()), int(is_anomaly.sum())
    unmeasured: dict[Metric, str] = {
        name: f"not enough samples: a false-positive rate of {rate:.1%} needs at least {round(1 / rate)} normal test rows, "
        f"got {normal}"
        for name, rate in RATES.items()
        if normal * rate < 1
    }
    measures: dict[Metric, Callable[[Ranking], Float64[np.ndarray, " b"]]] = {
        "anomaly_auc": Ranking.auc, "anomaly_ap": Ranking.average_precision,
    }  # fmt: skip
    for name, rate in RATES.items():
        if name not in unmeasured:
            measures[name] = lambda ranking, rate=rate: ranking.recall_at(rate)  # type: ignore[misc]
    daily = daily_alerts(scores, is_anomaly, days, k).precision
    drawn: dict[Metric, list[np.ndarray]] = {name: [] for name in (*measures, "anomaly_precision_top_k")}
    for ranking, taken in day_resamples(scores, is_anomaly, days, draws, seed):
        for name, measure in measures.items():
            drawn[name].append(measure(ranking))
        drawn["anomaly_precision_top_k"].append(taken @ daily / n_days)
    points = {name: float(measure(one)[0]) for name, measure in measures.items()}
    points["anomaly_precision_top_k"] = float(daily.mean())
    steps: dict[Metric, float] = {
        "anomaly_auc": 1 / (anomalies * normal), "anomaly_ap": 1 / (anomalies * (anomalies + 1)),
        "anomaly_precision_top_k": 1 / (k * n_days),
    }  # fmt: skip
    return Recalls(
        {
            name: _around(points[name], np.concatenate(drawn[name]), steps.get(name, 1 / anomalies), n_days)
            for name in drawn
        },
        unmeasured,
    )


def _around(point: float, replicates: Float64[np.ndarray, " b"], step: float, n_days: int) -> Replicated:
    return Replicated(point, replicates, rows=n_days, spread=Spread(float(replicates.std()), step, n_days - 1))


@dataclass(frozen=True)
class Week:
    """How scores do in one week."""

    week: int
    """From 0, the first row's day being its first."""
    rows: int
    anomalies: int
    average_precision: float


def by_week(scores: Scores, is_anomaly: IsAnomaly, seconds: Float64[np.ndarray, " n"]) -> list[Week]:
    """The average precision of each week that has at least two anomalies and two normal rows."""
    weeks = (np.floor((seconds - np.floor(seconds.min() / SECONDS) * SECONDS) / SECONDS) // WEEK).astype(np.int64)
    found = []
    for week in np.unique(weeks):
        mine: Bool[np.ndarray, " n"] = weeks == week
        anomalies = int(is_anomaly[mine].sum())
        if min(anomalies, int(mine.sum()) - anomalies) >= 2:
            reached = float(Ranking.of(scores[mine], is_anomaly[mine]).average_precision()[0])
            found.append(Week(int(week), int(mine.sum()), anomalies, reached))
    return found
