"""Intervals by bootstrap (Efron, 1979). One seed gives one series of resamples, so two models measured with it are paired."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
from jaxtyping import Float64, Int64

from regen.core.errors import EvaluationError


@dataclass(frozen=True)
class Estimate:
    """A figure with the interval that should hold the truth."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_short(self.value)} [{_short(self.low)}, {_short(self.high)}]"

    @property
    def is_finite(self) -> bool:
        """Whether the figure and both bounds are numbers."""
        return all(map(isfinite, (self.value, self.low, self.high)))


def _short(value: float) -> str:
    return (
        f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.5f}"
    )


@dataclass(frozen=True)
class Replicated:
    """A figure on the rows themselves and on each resample of them."""

    point: float
    replicates: Float64[np.ndarray, " b"]
    corrects_bias: bool = False
    """Whether resampling shifts the figure as sampling itself did, as it does for distances between sets."""
    least: float = -inf
    """The least value the figure can have; a correction does not lead below it."""

    def estimate(self, confidence: float) -> Estimate:
        """Value and interval: percentiles of the resamples or, correcting the bias, their mirror image about the point.

        A percentile interval of a Fréchet distance never covers the truth, since each resample adds the bias again;
        2·point − resample does (Davison and Hinkley, 1997, section 5.2).
        """
        if not (isfinite(self.point) and np.isfinite(self.replicates).all()):
            return Estimate(float("nan"), float("nan"), float("nan"))
        tail = (1 - confidence) / 2
        low, high = (float(q) for q in np.quantile(self.replicates, [tail, 1 - tail]))
        if not self.corrects_bias:
            return Estimate(self.point, low, high)
        corrected = (2 * self.point - found for found in (float(self.replicates.mean()), high, low))
        return Estimate(*(max(bound, self.least) for bound in corrected))

    def minus(self, other: "Replicated") -> "Replicated":
        """The paired difference; both must come from the same seed, rows and number of resamples.

        Raises:
            EvaluationError: the numbers of resamples differ.
        """
        if len(self.replicates) != len(other.replicates):
            raise EvaluationError(
                f"a paired difference needs as many resamples on both sides, got {len(self.replicates)} and "
                f"{len(other.replicates)}; measure both with one evaluation.bootstrap_draws"
            )
        return Replicated(self.point - other.point, self.replicates - other.replicates, self.corrects_bias)


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
    return Replicated(measure(strata), np.array(replicates), corrects_bias, least)
