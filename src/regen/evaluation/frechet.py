"""The Fréchet distance between two sets of features, each taken as a Gaussian (Heusel et al., 2017).

It is called FID only in the feature space of the original Inception file; here it is FD in a named extractor's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from regen.core.errors import EvaluationError
from regen.evaluation.intervals import Replicated, Rows, bootstrap

Features = Float64[np.ndarray, "n d"]


@dataclass(frozen=True)
class Gaussian:
    """Mean and covariance of a set of features."""

    mean: np.ndarray  # (d,)
    covariance: np.ndarray  # (d, d)

    @classmethod
    def fit(cls, features: Features) -> "Gaussian":
        """The sample mean and the unbiased sample covariance.

        Raises:
            EvaluationError: fewer than 2 rows, or a feature is not finite.
        """
        if len(features) < 2:
            raise EvaluationError(f"a covariance needs at least 2 rows of features, got {len(features)}; add rows")
        if not np.isfinite(features).all():
            raise EvaluationError(
                "the features hold NaN or infinity; look at the images or at the extractor's training"
            )
        centred = features - (mean := features.mean(axis=0))
        return cls(mean, centred.T @ centred / (len(features) - 1))


def frechet_distance(real: Gaussian, fake: Gaussian) -> float:
    """Squared Fréchet distance; 0 for equal Gaussians, and lower is better (Dowson and Landau, 1982).

    tr√(C₁C₂) is the sum of the roots of the eigenvalues of LᵀC₂L, where C₁ = LLᵀ; they are those of a symmetric matrix,
    which spares us sqrtm, slow and unstable when a covariance is singular.

    Example:
        >>> unit = Gaussian(np.zeros(2), np.eye(2))
        >>> frechet_distance(unit, Gaussian(np.array([3.0, 0.0]), 4 * np.eye(2)))
        11.0
    """
    if real.mean.shape != fake.mean.shape:
        raise EvaluationError(
            f"the sets have {len(real.mean)} and {len(fake.mean)} features; use one extractor for both"
        )
    factor = _factor(real.covariance)
    eigenvalues = np.linalg.eigvalsh(factor.T @ fake.covariance @ factor)
    cross = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    apart = np.square(real.mean - fake.mean).sum()
    distance = apart + np.trace(real.covariance) + np.trace(fake.covariance) - 2 * cross
    return max(float(distance), 0.0)  # rounding can lead a little below


def _factor(covariance: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # singular: an eigenvalue root does as well
        values, vectors = np.linalg.eigh(covariance)
        root: np.ndarray = vectors * np.sqrt(np.clip(values, 0, None))
        return root


def _distances(real: Gaussian, fakes: Float64[np.ndarray, "k n d"]) -> Float64[np.ndarray, " k"]:
    """`frechet_distance` of each set, all at once."""
    means = fakes.mean(axis=1)
    centred = fakes - means[:, None]
    covariances = centred.transpose(0, 2, 1) @ centred / (fakes.shape[1] - 1)
    factor = _factor(real.covariance)
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(factor.T @ covariances @ factor), 0, None)).sum(axis=1)
    traces = np.trace(real.covariance) + np.trace(covariances, axis1=1, axis2=2)
    distances: np.ndarray = np.maximum(np.square(means - real.mean).sum(axis=1) + traces - 2 * cross, 0.0)
    return distances


def measure_frechet(real: Features, fakes: Sequence[Features], draws: int, seed: int) -> Replicated:
    """The mean distance of several fake sets to the real one, with resamples of all; its estimate corrects their bias.

    Several sets, since one set of some hundred samples is a draw of luck that two models' order can turn on.

    Raises:
        EvaluationError: the sets differ in size, since the distance falls with the number of rows.
    """
    if any(len(fake) != len(real) for fake in fakes):
        met = ", ".join(str(len(fake)) for fake in fakes)
        raise EvaluationError(f"a Fréchet distance needs as many fake rows as real ones, got {met} and {len(real)}")

    for fake in fakes:  # of a wrong width, or not finite: it says so
        frechet_distance(Gaussian.fit(real), Gaussian.fit(fake))
    stacked = np.stack(fakes)
    sets = np.arange(len(fakes))[:, None]

    def mean_distance(a: Rows, *rows: Rows) -> float:
        return float(_distances(Gaussian.fit(real[a]), stacked[sets, np.stack(rows)]).mean())

    everything = np.arange(len(real))
    return bootstrap(
        mean_distance, [everything] * (1 + len(fakes)), draws, seed, together=False, corrects_bias=True, least=0
    )
