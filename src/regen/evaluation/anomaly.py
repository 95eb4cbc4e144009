"""Anomaly detection: ROC-AUC and average precision with intervals, beside three detectors fitted on the same rows."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float64
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from regen.core.config import Metric
from regen.core.errors import EvaluationError
from regen.evaluation.intervals import Replicated, bootstrap

Vectors = Float64[np.ndarray, "n d"]
Scores = Float64[np.ndarray, " n"]


def measure_detection(
    scores: Scores, is_anomaly: Bool[np.ndarray, " n"], draws: int, seed: int
) -> dict[Metric, Replicated]:
    """anomaly_auc (Hanley and McNeil, 1982) and anomaly_ap of scores that are higher for stranger rows; 1 is perfect.

    Raises:
        EvaluationError: a score is not finite, or one of the two groups is missing.
    """
    if not np.isfinite(scores).all():
        raise EvaluationError("anomaly scores hold NaN or infinity; look at the VAE's training")
    strata = [np.flatnonzero(is_anomaly), np.flatnonzero(~is_anomaly)]
    if min(map(len, strata)) < 2:
        raise EvaluationError(
            f"detection needs at least 2 anomalies and 2 normal rows among the test rows, got {len(strata[0])} and "
            f"{len(strata[1])}; raise data.test_share or choose another data.anomaly_class"
        )
    measures: dict[Metric, Callable[..., float]] = {"anomaly_auc": roc_auc_score, "anomaly_ap": average_precision_score}
    return {
        name: bootstrap(lambda rows, f=f: f(is_anomaly[rows], scores[rows]), strata, draws, seed)
        for name, f in measures.items()
    }


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
