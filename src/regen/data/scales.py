"""How the values of one column of numbers are brought to a scale that a network learns on, and back.

Both ways hold a few hundred numbers at most, none of them a row, and know the way back for whatever a network gives.
"""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64
from scipy.special import ndtr, ndtri

KNOTS = 1001
"""Most points of a distribution function, and most different values that are kept exactly."""
TIED = 2
"""Rows a value, in the mean, of numbers that are kept exactly; rarer ones would tell of single rows."""
ROWS_A_KNOT = 10
"""Fewest rows between two points."""
MOST_MODES = 10
LEAST_WEIGHT = 0.005
"""A mode of a smaller share is left out (Xu et al., 2019)."""
SPAN = 4.0
"""Standard deviations of a mode that count 1."""
MOST_FITTED = 10_000
"""Rows, evenly spread, that a mixture is fitted to."""
MOST_DECIMALS = 6
DAY, HOUR, MINUTE = 86_400.0, 3_600.0, 60.0
Values = Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class Quantiles:
    """Through a column's distribution function and the normal one's inverse, so that N(0, 1) comes out.

    A value that many rows share takes an interval, all of which leads back to it. Beyond the range of the fit a value goes
    on in a straight line, one for each standard deviation, so that what lies far outside stays apart.
    """

    method: ClassVar[str] = "quantile"
    levels: tuple[float, ...]
    """Where the distribution function has its knots, from 0 to 1; twice the same where it jumps."""
    knots: tuple[float, ...]
    """The values there, ascending."""
    margin: float
    """The share that is left beyond each end, so that both have a finite place."""
    deviation: float

    @classmethod
    def fit(cls, values: Values, *, exact: bool = False) -> "Quantiles":
        """The distribution of these values; few enough of them are kept exactly if so told, or if rows share them."""
        if not len(values):
            return cls((0.0, 1.0), (0.0, 0.0), 0.5 / 2, 1.0)
        known, counts = np.unique(values, return_counts=True)
        if len(known) <= KNOTS and (exact or TIED * len(known) <= len(values)):
            ends = np.cumsum(counts) / len(values)
            levels, knots = np.stack([np.r_[0.0, ends[:-1]], ends], axis=1).ravel(), np.repeat(known, 2)
        else:
            levels = np.linspace(0, 1, min(KNOTS, len(values) // ROWS_A_KNOT + 2))
            knots = np.quantile(values, levels, method="inverted_cdf")
        margin = 0.5 / (len(values) + 1)
        return cls(tuple(levels.tolist()), tuple(knots.tolist()), margin, float(values.std()) or 1.0)

    def encode(self, values: Values, rng: np.random.Generator | None) -> tuple[Values, list[np.ndarray]]:
        """Each value's place on the normal scale; no codes."""
        levels, knots = np.array(self.levels), np.array(self.knots)
        first, end = np.searchsorted(knots, values, "left"), np.searchsorted(knots, values, "right")
        shared = end - first > 1
        low = np.where(shared, levels[np.minimum(first, len(levels) - 1)], 0)
        high = np.where(shared, levels[end - 1], 0)
        within = low + (high - low) * (0.5 if rng is None else rng.random(len(values)))
        share = np.where(shared, within, np.interp(values, knots, levels))
        beyond = (values - np.clip(values, knots[0], knots[-1])) / self.deviation
        return ndtri(self.margin + (1 - 2 * self.margin) * share) + beyond, []

    def decode(self, values: Values, codes: list[np.ndarray]) -> Values:
        """The value at each place of the normal scale."""
        share = np.clip((ndtr(values) - self.margin) / (1 - 2 * self.margin), 0, 1)
        found: np.ndarray = np.interp(share, self.levels, self.knots)
        return found


@dataclass(frozen=True)
class Modes:
    """Within the modes of a Gaussian mixture: which of them, and how many of its spans from its middle."""

    method: ClassVar[str] = "modes"
    weights: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]

    @classmethod
    def fit(cls, values: Values, seed: int) -> "Modes":
        """A Bayesian mixture of these values, which uses as many modes as it needs."""
        if not len(values) or np.ptp(values) == 0:
            return cls((1.0,), (float(values[0]) if len(values) else 0.0,), (1.0,))
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import BayesianGaussianMixture

        some = values[np.linspace(0, len(values) - 1, min(len(values), MOST_FITTED)).round().astype(np.int64)]
        middle, width = some.mean(), some.std() or 1.0
        mixture = BayesianGaussianMixture(
            n_components=min(MOST_MODES, len(some)), weight_concentration_prior=0.001, random_state=seed % 2**32,
            weight_concentration_prior_type="dirichlet_process", max_iter=100,
        )  # fmt: skip
        with warnings.catch_warnings():  # a mixture that has not settled serves as well
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit((some[:, None] - middle) / width)
        kept = mixture.weights_ >= min(LEAST_WEIGHT, mixture.weights_.max())
        means, spreads = mixture.means_[kept, 0], np.sqrt(mixture.covariances_[kept, 0, 0])
        parts = (mixture.weights_[kept] / mixture.weights_[kept].sum(), means * width + middle, spreads * width)
        return cls(*(tuple(part.tolist()) for part in parts))

    def encode(self, values: Values, rng: np.random.Generator | None) -> tuple[Values, list[np.ndarray]]:
        """Each value's place within its mode, and the mode."""
        weights, means, deviations = map(np.array, (self.weights, self.means, self.deviations))
        logits = np.log(weights / deviations) - 0.5 * ((values[:, None] - means) / deviations) ** 2
        if rng is not None:  # the largest after Gumbel noise is drawn by its probability
            logits = logits + rng.gumbel(size=logits.shape)
        modes = logits.argmax(axis=1)
        return (values - means[modes]) / (SPAN * deviations[modes]), [modes.astype(np.int64)]

    def decode(self, values: Values, codes: list[np.ndarray]) -> Values:
        """The value at each place within a mode."""
        found: np.ndarray = values * SPAN * np.array(self.deviations)[codes[0]] + np.array(self.means)[codes[0]]
        return found


Scale = Quantiles | Modes


def step_of(values: Values, *, dates: bool, whole: bool) -> float:
    """The widest step that every value is a multiple of; 0 where none is, of numbers down to a millionth.

    Example:
        >>> step_of(np.array([0.5, 12.25]), dates=False, whole=False)
        0.01
    """
    for step in (DAY, HOUR, MINUTE) if dates else ():
        if not (values % step).any():
            return step
    for decimals in range(MOST_DECIMALS + 1):
        if whole or (np.round(values, decimals) == values).all():
            return float(f"1e-{decimals}")
    return 0.0


def to_step(values: Values, step: float) -> Values:
    """Each value at the nearest multiple of `step`."""
    if not step:
        return values
    if step >= 1:
        return np.round(values / step) * step
    return np.round(values, int(np.round(-np.log10(step))))
