"""The Fréchet distance between two sets of features, each taken as a Gaussian (Heusel et al., 2017).

It is called FID only in the feature space of the original Inception file; here it is FD in a named extractor's. All of it is
in 64 bits: eigenvalues in 32 bits put the distance off by up to 0.4 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64
from scipy.linalg import lapack

from regen.core.errors import EvaluationError
from regen.evaluation.intervals import Replicated, Rows, bootstrap

Features = Float64[np.ndarray, "n d"]

SIZES = 15
"""Sizes that the distance is extrapolated from, as Chong and Forsyth choose it."""
SMALLEST = 0.1
"""The least of them, as a share of the rows."""
ROUNDING = 1e-9
"""Of the sets' own size, the most by which squaring may have put a sum of singular values off."""


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
        mean, centred = _centred(features)
        return cls(mean, centred.T @ centred / (len(features) - 1))  # BLAS sees one matrix and computes one half

    @cached_property
    def factor(self) -> np.ndarray:
        """A `d r` matrix F with FFᵀ the covariance, computed once: Cholesky's, or of as many columns as its rank."""
        return _factor(self.covariance)

    @property
    def spread(self) -> float:
        """Trace of the covariance."""
        return float(np.trace(self.covariance))


@dataclass(frozen=True)
class Thin:
    """Mean and covariance of fewer rows than features, the covariance left as the product that it is."""

    mean: np.ndarray  # (d,)
    factor: np.ndarray  # (d, n) centred rows over √(n − 1)

    @classmethod
    def fit(cls, features: Features) -> "Thin":
        """As `Gaussian.fit`, at the cost of centring.

        Raises:
            EvaluationError: fewer than 2 rows, or a feature is not finite.
        """
        mean, centred = _centred(features)
        centred /= np.sqrt(len(features) - 1)
        return cls(mean, centred.T)

    @property
    def covariance(self) -> np.ndarray:
        """The whole matrix, made anew at each call."""
        whole: np.ndarray = self.factor @ self.factor.T
        return whole

    @property
    def spread(self) -> float:
        """Trace of the covariance."""
        return float(np.vdot(self.factor.T, self.factor.T))


def summarise(features: Features) -> Gaussian | Thin:
    """The cheaper way to keep mean and covariance: thin where there are fewer rows than features."""
    return Thin.fit(features) if len(features) < features.shape[1] else Gaussian.fit(features)


def _centred(features: Features) -> tuple[np.ndarray, np.ndarray]:
    if len(features) < 2:
        raise EvaluationError(f"a covariance needs at least 2 rows of features, got {len(features)}; add rows")
    features = features.astype(np.float64, copy=False)
    mean = features.mean(axis=0)
    if not np.isfinite(mean).all():  # one feature that is not finite is enough to make its mean so
        raise EvaluationError("the features hold NaN or infinity; look at the images or at the extractor's training")
    return mean, features - mean


def frechet_distance(real: Gaussian | Thin, fake: Gaussian | Thin) -> float:
    """Squared Fréchet distance; 0 for equal Gaussians, and lower is better (Dowson and Landau, 1982).

    tr√(C₁C₂) is the sum of the roots of the eigenvalues of F₁ᵀC₂F₁, where C₁ = F₁F₁ᵀ; they are those of a symmetric matrix,
    which spares us sqrtm, slow and unstable when a covariance is singular. With C₂ = F₂F₂ᵀ it is also the sum of the singular
    values of F₁ᵀF₂, a small matrix where rows are few.

    Example:
        >>> unit = Gaussian(np.zeros(2), np.eye(2))
        >>> frechet_distance(unit, Gaussian(np.array([3.0, 0.0]), 4 * np.eye(2)))
        11.0
    """
    if real.mean.shape != fake.mean.shape:
        raise EvaluationError(
            f"the sets have {len(real.mean)} and {len(fake.mean)} features; use one extractor for both"
        )
    spread = real.spread + fake.spread
    distance = np.square(real.mean - fake.mean).sum() + spread - 2 * _cross(real, fake, ROUNDING * spread)
    return max(float(distance), 0.0)  # rounding can lead a little below


def _cross(real: Gaussian | Thin, fake: Gaussian | Thin, allowed: float) -> float:
    """tr√(C₁C₂), by way of the squared singular values of F₁ᵀF₂, and of these themselves where that is not exact enough."""
    if isinstance(real, Thin) and isinstance(fake, Thin):
        small = (torch.from_numpy(real.factor.T) @ torch.from_numpy(fake.factor)).numpy()
        small = small if small.shape[0] >= small.shape[1] else small.T
        squares, rank = small.T @ small, min(small.shape) - 1  # centred rows sum to 0, so one value is 0
    else:
        thin, whole = (fake, real) if isinstance(fake, Thin) else (real, fake)
        squares = _congruent(thin.factor, whole.covariance)
        rank = len(squares) - isinstance(thin, Thin)
    values = _eigenvalues(squares)[len(squares) - rank :]
    roots = np.sqrt(np.clip(values, 0, None))
    noise = np.finfo(np.float64).eps * values.max(initial=0.0)  # of each eigenvalue, whatever its own size
    if (noise / np.sqrt(np.maximum(values, noise) + np.finfo(np.float64).tiny)).sum() <= allowed:
        return float(roots.sum())
    return float(torch.linalg.svdvals(torch.from_numpy(real.factor.T @ fake.factor)).sum())


def _eigenvalues(symmetric: np.ndarray) -> np.ndarray:
    """In rising order; beyond a thousand torch's LAPACK (MKL) takes half of the time that numpy's (OpenBLAS) does."""
    if len(symmetric) <= 1024:
        return np.linalg.eigvalsh(symmetric)
    found: np.ndarray = torch.linalg.eigvalsh(torch.from_numpy(np.ascontiguousarray(symmetric))).numpy()
    return found


def _congruent(factor: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """FᵀCF; LAPACK spares half of the work where F is Cholesky's, since that is a triangle."""
    if not _is_lower(factor):
        product: np.ndarray = factor.T @ covariance @ factor
        return product
    half, failed = lapack.dsygst(covariance.T, factor.T, itype=2, lower=0)  # read by columns, F is an upper triangle
    assert failed == 0, failed
    return np.asarray(half).T  # its lower triangle holds what eigvalsh reads


def _is_lower(factor: np.ndarray) -> bool:
    rows, columns = factor.shape
    return rows == columns and rows > 1 and not np.triu(factor, 1).any()


def _factor(covariance: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # singular: eigenvalue roots do as well, without those that are rounding alone
        values, vectors = np.linalg.eigh(covariance)
        kept = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
        root: np.ndarray = vectors[:, kept] * np.sqrt(values[kept])
        return root


def frechet_at_infinity(real: Features, fake: Features, sizes: int = SIZES, seed: int = 0) -> float:
    """The distance that ever more rows would lead to: lower is better (FD∞; Chong and Forsyth, 2020).

    The distance of n rows lies above that of the distributions by about a constant over n, so a line through the distances of
    several n, drawn over 1/n, meets 0 at the distance without bias. It is an estimate, and may lie a little below zero. As
    published the real set stays whole and one subset is drawn a size; here both sets are cut into as many parts of n rows as
    they give, whose distances are averaged: the bias of either set is gone then, and there is less noise.

    Args:
        sizes: how many n, evenly spaced from a tenth of the rows, or twice the number of features, to all rows.
        seed: which rows are in which part.

    Raises:
        EvaluationError: the sets differ in size, or hold too few rows for a line.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> real, fake = rng.normal(size=(2000, 16)), rng.normal(size=(2000, 16))
        >>> plain = frechet_distance(Gaussian.fit(real), Gaussian.fit(fake))
        >>> abs(frechet_at_infinity(real, fake)) < plain / 5
        True
    """
    n, d = real.shape
    if len(fake) != n:
        raise EvaluationError(f"FD∞ needs as many fake rows as real ones, got {len(fake)} and {n}; cut the larger set")
    if sizes < 2 or n < max(3 * d, 20):
        raise EvaluationError(
            f"FD∞ of {d} features needs at least 2 sizes and {max(3 * d, 20)} rows, got {sizes} and {n}; add rows"
        )
    rng = np.random.default_rng(seed)
    counts = np.unique(np.linspace(max(SMALLEST * n, 2 * d, 2), n, sizes).round().astype(np.int64))
    distances = [_mean_of_parts(rng.permutation(real), rng.permutation(fake), count) for count in counts.tolist()]
    _, intercept = np.polyfit(1 / counts, distances, 1)
    return float(intercept)


def _mean_of_parts(real: Features, fake: Features, count: int) -> float:
    starts = range(0, len(real) - count + 1, count)
    parts = [[summarise(rows[start : start + count]) for rows in (real, fake)] for start in starts]
    return float(np.mean([frechet_distance(*pair) for pair in parts]))


def evenly(rows: Features, most: int) -> Features:
    """At most so many rows, spread evenly, which keeps the order of a sorted set from mattering."""
    if len(rows) <= most:
        return rows
    kept: Features = rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
    return kept


def _distances(real: Gaussian, fakes: Float64[np.ndarray, "k n d"]) -> Float64[np.ndarray, " k"]:
    """`frechet_distance` of each set, all at once."""
    means = fakes.mean(axis=1)
    centred = fakes - means[:, None]
    covariances = centred.transpose(0, 2, 1) @ centred / (fakes.shape[1] - 1)
    factor = real.factor
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
