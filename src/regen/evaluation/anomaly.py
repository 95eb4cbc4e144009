"""Anomaly detection: how well scores rank anomalies first, with intervals, beside three detectors fitted on the same rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

from regen.core.errors import EvaluationError
from regen.core.sections.evaluation import Metric
from regen.evaluation import ranking
from regen.evaluation.intervals import Estimate, Replicated, Spread, proportion
from regen.evaluation.ranking import IsAnomaly, Ranking, Scores

Vectors = Float64[np.ndarray, "n d"]

RATES: dict[Metric, float] = {"anomaly_recall_fpr1": 0.01, "anomaly_recall_fpr01": 0.001}
"""False-positive rates that recall is measured at."""


def measure_detection(scores: Scores, is_anomaly: IsAnomaly, draws: int, seed: int) -> dict[Metric, Replicated]:
    """anomaly_auc and anomaly_ap of scores that are higher for stranger rows; 1 is perfect.

    Raises:
        EvaluationError: a score is not finite, or one of the two groups is missing.
    """
    one = Ranking.of(scores, is_anomaly)
    drawn = [(r.auc(), r.average_precision()) for r in ranking.resamples(scores, is_anomaly, draws, seed)]
    aucs, precisions = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    anomalies, normal = int(is_anomaly.sum()), int((~is_anomaly).sum())
    fewer = min(anomalies, normal)
    of_auc = Spread(ranking.auc_error(scores, is_anomaly), 1 / (anomalies * normal), fewer - 1)
    of_precision = Spread(
        ranking.average_precision_error(scores, is_anomaly), 1 / (anomalies * (anomalies + 1)), fewer - 1
    )
    return {
        "anomaly_auc": Replicated(float(one.auc()[0]), aucs, rows=fewer, spread=of_auc),
        "anomaly_ap": Replicated(float(one.average_precision()[0]), precisions, rows=fewer, spread=of_precision),
    }


@dataclass(frozen=True)
class Recalls:
    """Recall at each false-positive rate, or why there is none."""

    figures: dict[Metric, Replicated]
    unmeasured: dict[Metric, str]
    """Metric to the reason why these rows cannot tell it."""


def measure_recalls(scores: Scores, is_anomaly: IsAnomaly, draws: int, seed: int) -> Recalls:
    """Share of the anomalies found by the threshold that 1 %, and 0.1 %, of the normal rows lie above; 1 is perfect.

    A rate that would flag less than one of the normal rows is not measured.

    Raises:
        EvaluationError: a score is not finite, or one of the two groups is missing.
    """
    one = Ranking.of(scores, is_anomaly)
    anomalies, normal = int(is_anomaly.sum()), int((~is_anomaly).sum())
    unmeasured = {
        name: f"not enough samples: a false-positive rate of {rate:.1%} needs at least {round(1 / rate)} normal test rows, "
        f"got {normal}"
        for name, rate in RATES.items()
        if normal * rate < 1
    }
    measured = {name: rate for name, rate in RATES.items() if name not in unmeasured}
    drawn = [
        [r.recall_at(rate) for rate in measured.values()] for r in ranking.resamples(scores, is_anomaly, draws, seed)
    ]
    figures: dict[Metric, Replicated] = {}
    for place, (name, rate) in enumerate(measured.items()):
        replicates = np.concatenate([block[place] for block in drawn])
        spread = Spread(float(replicates.std()), 1 / anomalies, anomalies - 1)
        figures[name] = Replicated(
            float(one.recall_at(rate)[0]), replicates, rows=min(anomalies, normal), spread=spread
        )
    return Recalls(figures, unmeasured)


@dataclass(frozen=True)
class Flagging:
    """What a calibrated threshold does on rows it was not calibrated on."""

    false_positive_rate: Estimate
    """Share of the normal rows above the threshold; 1 − vae.flag_quantile was meant."""
    recall: Estimate
    """Share of the anomalies above it; 1 is best."""


def measure_flagging(scores: Scores, is_anomaly: IsAnomaly, threshold: float, confidence: float) -> Flagging:
    """The threshold's realised false-positive rate and recall.

    Raises:
        EvaluationError: a score or the threshold is not finite, or one of the two groups is missing.
    """
    Ranking.of(scores, is_anomaly)  # for its checks
    if not np.isfinite(threshold):
        raise EvaluationError(f"the threshold is {threshold}; calibrate it on finite validation scores")
    flagged = scores > threshold
    normal, found = (
        proportion(int(flagged[group].sum()), int(group.sum()), confidence) for group in (~is_anomaly, is_anomaly)
    )
    return Flagging(normal, found)


def isolation_forest(train: Vectors, test: Vectors, seed: int) -> Scores:
    """Isolation forest (Liu et al., 2008) with scikit-learn's defaults: how few cuts set a row apart."""
    forest = IsolationForest(random_state=seed % 2**32).fit(train)
    scores: np.ndarray = -forest.score_samples(test)
    return scores


def pca_reconstruction(train: Vectors, test: Vectors, seed: int) -> Scores:
    """Squared error after the principal components that keep 95 % of the variance (Shyu et al., 2003)."""
    pca = PCA(0.95, svd_solver="full").fit(train)
    scores: np.ndarray = np.square(test - pca.inverse_transform(pca.transform(test))).sum(axis=1)
    return scores


def nearest_neighbours(train: Vectors, test: Vectors, seed: int) -> Scores:
    """Mean distance to the five nearest training rows (Ramaswamy et al., 2000)."""
    distances, _ = NearestNeighbors(n_neighbors=min(5, len(train))).fit(train).kneighbors(test)
    scores: np.ndarray = distances.mean(axis=1)
    return scores


BASELINES: dict[str, Callable[[Vectors, Vectors, int], Scores]] = {
    "isolation forest": isolation_forest,
    "PCA reconstruction": pca_reconstruction,
    "kNN": nearest_neighbours,
}
"""What the VAE must be seen beside; each takes training vectors, test vectors and a seed."""
