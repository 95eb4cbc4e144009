"""Intervals by bootstrap (Efron, 1979). One seed gives one series of resamples, so two models measured with it are paired."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, isnan, nan, sqrt

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import ndtri, stdtrit

from regen.core.errors import EvaluationError


@dataclass(frozen=True)
class Estimate:
    """A figure with the interval that should hold the truth."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return "–" if isnan(self.value) else f"{_short(self.value)} [{_short(self.low)}, {_short(self.high)}]"

    @property
    def is_finite(self) -> bool:
        """Whether the figure and both bounds are numbers."""
        return all(map(isfinite, (self.value, self.low, self.high)))


NO_NUMBER = Estimate(nan, nan, nan)


def _short(value: float) -> str:
    return (
        f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.5f}"
    )


def _t(confidence: float, degrees: float) -> float:
    """How many standard errors an interval reaches to either side."""
    return float(stdtrit(degrees, (1 + confidence) / 2))


def _wilson(share: float, rows: float, reach: float) -> tuple[float, float]:
    """The shares whose standard error, at that many rows, puts `share` within `reach` of them (Wilson, 1927)."""
    weight = 1 + reach**2 / rows
    centre = (share + reach**2 / (2 * rows)) / weight
    aside = reach * sqrt(share * (1 - share) / rows + reach**2 / (4 * rows**2)) / weight
    return min(max(centre - aside, 0.0), share), max(min(centre + aside, 1.0), share)


@dataclass(frozen=True)
class Spread:
    """What is known of a figure between 0 and 1 without resampling."""

    error: float
    """Its standard error."""
    step: float
    """The least by which it can change; a sample cannot tell a figure of 1 from one a step below."""
    degrees: int
    """Of the t distribution: rows of the smaller group less one."""

    def interval(self, point: float, confidence: float) -> tuple[float, float]:
        """Wilson's interval of a share of as many rows as would give it this standard error.

        It lies between 0 and 1, with the farther bound on the side where there is more room.
        """
        inside = min(max(point, self.step / 2), 1 - self.step / 2)
        rows = inside * (1 - inside) / max(self.error, self.step) ** 2
        return _wilson(point, rows, _t(confidence, self.degrees))


@dataclass(frozen=True)
class Noise:
    """What is known of a distance that sampling can only raise: how far it can lie from the truth by chance alone."""

    distances: Float64[np.ndarray, " b"]
    """Of resampled shares from those they were drawn from, the two sets' noise taken together."""
    above: Float64[np.ndarray, " b"]
    """How far each resample's figure lies above the mean of all."""

    def interval(self, point: float, confidence: float) -> tuple[float, float]:
        """A little wide: by the triangle inequality the truth lies below the point by no more than the noise."""
        tail = (1 - confidence) / 2
        below, above = float(np.quantile(self.distances, 1 - tail)), float(np.quantile(self.above, 1 - tail))
        return max(point - below, 0.0), point + above


@dataclass(frozen=True)
class Difference:
    """A paired difference of two figures, on the rows themselves and on each resample of them."""

    point: float
    replicates: Float64[np.ndarray, " b"]
    rows: int | None = None
    """Rows of the smallest group that was resampled; many when not said."""

    def estimate(self, confidence: float) -> Estimate:
        """The difference and a t interval about it; that of the reverse difference is its mirror image.

        A resample of k rows scatters by (k − 1)/k less than a new sample would, which is made good.
        """
        if not (isfinite(self.point) and np.isfinite(self.replicates).all()):
            return NO_NUMBER
        k = inf if self.rows is None else self.rows
        wider = _t(confidence, k - 1) * sqrt(k / (k - 1)) if isfinite(k) else float(ndtri((1 + confidence) / 2))
        reach = wider * float(self.replicates.std())
        return Estimate(self.point, self.point - reach, self.point + reach)


@dataclass(frozen=True)
class Replicated:
    """A figure on the rows themselves and on each resample of them."""

    point: float
    replicates: Float64[np.ndarray, " b"]
    corrects_bias: bool = False
    """Whether resampling shifts the figure as sampling itself did, as it does for distances between sets."""
    least: float = -inf
    """The least value the figure can have; a correction does not lead below it."""
    rows: int | None = None
    """Rows of the smallest group that was resampled; many when not said."""
    spread: Spread | Noise | None = None
    """What gives an interval in place of the resamples' percentiles."""

    def estimate(self, confidence: float) -> Estimate:
        """Value and interval: that of `spread` where there is one, else percentiles of the resamples, bias taken off.

        A percentile interval of a Fréchet distance never covers the truth, since each resample adds the bias again.
        """
        if not (isfinite(self.point) and np.isfinite(self.replicates).all()):
            return NO_NUMBER
        if self.spread is not None:
            bounds = self.spread.interval(self.point, confidence)
            return Estimate(min(max(self.centre, bounds[0]), bounds[1]), *bounds)
        tail = (1 - confidence) / 2
        low, high = (float(q) for q in np.quantile(self.corrected, [tail, 1 - tail]))
        return Estimate(*(max(bound, self.least) for bound in (self.centre, low, high)))

    def minus(self, other: "Replicated") -> Difference:
        """The paired difference; both must come from the same seed, rows and number of resamples.

        Raises:
            EvaluationError: the numbers of resamples differ.
        """
        if len(self.replicates) != len(other.replicates):
            raise EvaluationError(
                f"a paired difference needs as many resamples on both sides, got {len(self.replicates)} and "
                f"{len(other.replicates)}; measure both with one evaluation.bootstrap_draws"
            )
        known = [rows for rows in (self.rows, other.rows) if rows is not None]
        return Difference(self.centre - other.centre, self.corrected - other.corrected, min(known, default=None))

    @property
    def centre(self) -> float:
        """The point without its bias, which the resamples show by adding it once more."""
        return self.point if not self.corrects_bias else 2 * self.point - float(self.replicates.mean())

    @property
    def corrected(self) -> Float64[np.ndarray, " b"]:
        """The resamples about the centre.

        They lie farther from 0 than the point does, and a distance scatters the more the larger it is: its variance goes
        about with its mean, so theirs is brought back by the ratio of the two.
        """
        if not self.corrects_bias:
            return self.replicates
        mean = float(self.replicates.mean())
        shrunk = sqrt(self.point / mean) if 0 <= self.point < mean else 1.0
        corrected: np.ndarray = self.centre + shrunk * (self.replicates - mean)
        return corrected


def proportion(hits: int, rows: int, confidence: float) -> Estimate:
    """Share of the rows that are hits, with Wilson's interval (1927), right for few rows and for shares near 0 and 1.

    Raises:
        EvaluationError: there are no rows.

    Example:
        >>> str(proportion(0, 100, 0.95))
        '0.000 [0.000, 0.037]'
    """
    if rows < 1:
        raise EvaluationError("a share needs at least 1 row, got 0; add test rows")
    share = hits / rows
    return Estimate(share, *_wilson(share, rows, float(ndtri((1 + confidence) / 2))))


Rows = Int64[np.ndarray, " n"]


def bootstrap(
    statistic: Callable[..., float],
    strata: Sequence[Rows],
    draws: int,
    seed: int,
    *,
    together: bool = True,
    corrects_bias: bool = False,
    least: float = -inf,
) -> Replicated:
    """`statistic` on all rows and on `draws` resamples of them, each stratum resampled within itself.

    Args:
        strata: row numbers of each group whose size is fixed by design (classes, or two sets to compare).
        together: hand the statistic all rows as one array; otherwise one argument a stratum.

    Raises:
        EvaluationError: a stratum has fewer than two rows.

    Example:
        >>> values = np.arange(100.0)
        >>> str(bootstrap(lambda rows: values[rows].mean(), [np.arange(100)], draws=200, seed=0).estimate(0.95))
        '49.5 [44.2, 54.7]'
    """
    if any(len(rows) < 2 for rows in strata):
        raise EvaluationError(
            f"an interval needs at least 2 rows of each group, got {[len(rows) for rows in strata]}; add test rows"
        )
    rng = np.random.default_rng(seed)

    def measure(groups: Sequence[Rows]) -> float:
        return float(statistic(np.concatenate(groups)) if together else statistic(*groups))

    replicates = [measure([rows[rng.integers(len(rows), size=len(rows))] for rows in strata]) for _ in range(draws)]
    return Replicated(measure(strata), np.array(replicates), corrects_bias, least, min(map(len, strata)))


def mean_of(values: Float64[np.ndarray, " n"], draws: int, seed: int) -> Replicated:
    """The mean of rows' own values, with resamples of the rows.

    Example:
        >>> str(mean_of(np.arange(100.0), draws=200, seed=0).estimate(0.95))
        '49.5 [44.2, 54.7]'
    """
    return bootstrap(lambda rows: float(values[rows].mean()), [np.arange(len(values))], draws, seed)
