"""Has the data changed? Column by column (PSI), in a feature space (MMD with a permutation test), and by anomaly scores.

A shift counts when it is both large and beyond chance: with few rows a large index may be chance, with many a tiny one is
not. All functions are pure; what they are given is drawn and read elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64
from scipy import stats

from regen.core.errors import EvaluationError
from regen.core.sections.operations import FAMILIES, MonitorConfig

BINS = 10
"""Parts that the reference's values are cut into, as many rows in each."""
CATEGORIES = 20
"""Most frequent categories that are counted apart; all others are one."""
MEDIAN_ROWS = 500
"""Rows of each side, drawn from all of them, whose distances set the kernel's width."""
AT_ONCE = 256
"""Permutations that are computed together."""
OTHERS, MISSING = "others", "missing"
Outcome = Literal["drift", "no drift", "too few rows"]


@dataclass(frozen=True)
class Bins:
    """How a column is cut: at its reference's quantiles, or by value where there are few."""

    edges: tuple[float, ...] = ()
    """The upper ends of all bins but the last; a value equal to one belongs below it."""
    apart: tuple[Any, ...] = ()
    """The values that are counted apart, where there are no edges; whatever else there is counts as others."""

    @classmethod
    def fit(cls, reference: "pd.Series[Any]") -> "Bins":
        """Bins of a column: of text by value, of numbers by quantile unless there are no more values than bins."""
        present = reference.dropna()
        counts = present.value_counts()
        if not pd.api.types.is_numeric_dtype(present) or pd.api.types.is_bool_dtype(present):
            return cls(apart=tuple(counts.index[:CATEGORIES]))
        if len(counts) <= BINS:
            return cls(apart=tuple(sorted(counts.index)))
        cuts = np.quantile(present.to_numpy(float), np.arange(1, BINS) / BINS)
        return cls(edges=tuple(np.unique(cuts).tolist()))

    @property
    def labels(self) -> tuple[str, ...]:
        """What people call each bin, in their order."""
        if not self.edges:
            return (*(f"{v:g}" if isinstance(v, float) else str(v) for v in self.apart), OTHERS, MISSING)
        ends = [f"{edge:.3g}".replace("-", "−") for edge in self.edges]
        spans = [f"≤ {ends[0]}", *(f"{a} – {b}" for a, b in pairwise(ends)), f"> {ends[-1]}"]
        return (*spans, MISSING)

    def count(self, column: "pd.Series[Any]") -> Int64[np.ndarray, " b"]:
        """How many values lie in each bin, in the order of the labels."""
        present = column.dropna()
        if not self.edges:
            known = [int((present == value).sum()) for value in self.apart]
            return np.array([*known, len(present) - sum(known), len(column) - len(present)], np.int64)
        places = np.searchsorted(self.edges, present.to_numpy(float), side="left")
        inside = np.bincount(places, minlength=len(self.edges) + 1)
        return np.append(inside, len(column) - len(present)).astype(np.int64)


def stability_index(reference: Int64[np.ndarray, " b"], new: Int64[np.ndarray, " b"]) -> float:
    """Population stability index, Σ (p − q) ln(p / q) over bins' shares; 0 for equal shares, and higher is more shifted.

    Half a row is added to each bin, so that an empty one does not make it infinite; bins that are empty on both sides do
    not count. Under .1 is read as stable and over .25 as shifted (Siddiqi, *Credit Risk Scorecards*, 2006).

    Raises:
        EvaluationError: a side has no rows, or the two have other bins.

    Example:
        >>> stability_index(np.array([50, 50]), np.array([50, 50]))
        0.0
    """
    if reference.shape != new.shape or reference.sum() == 0 or new.sum() == 0:
        raise EvaluationError(
            f"a stability index needs rows on both sides in the same bins, got {int(reference.sum())} in {len(reference)} and "
            f"{int(new.sum())} in {len(new)}; add rows"
        )
    there = (reference > 0) | (new > 0)
    p, q = (np.where(there, side + 0.5, 0.0)[there] for side in (reference, new))
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def stability_p_value(index: float, reference: Int64[np.ndarray, " b"], new: Int64[np.ndarray, " b"]) -> float:
    """The probability of an index as large from equal distributions.

    The index over (1/n + 1/m) is about χ² with a degree of freedom less than there are bins (Yurdakul and Naranjo,
    *Statistical Properties of the Population Stability Index*, 2020).
    """
    bins = int(((reference > 0) | (new > 0)).sum())
    if bins < 2:
        return 1.0
    return float(stats.chi2.sf(index / (1 / reference.sum() + 1 / new.sum()), bins - 1))


@dataclass(frozen=True)
class Shift:
    """How one column's values have moved."""

    name: str
    psi: float
    p_value: float
    labels: tuple[str, ...]
    """Its bins; those that are empty on both sides are left out."""
    reference: tuple[float, ...]
    """Share of the reference's rows in each bin."""
    new: tuple[float, ...]

    def drifted(self, rules: MonitorConfig, tests: int) -> bool:
        """Whether it is both large and beyond chance, one of so many tests."""
        return self.psi >= rules.psi and self.p_value < rules.p_value / FAMILIES / tests


def shift(name: str, reference: "pd.Series[Any]", new: "pd.Series[Any]") -> Shift:
    """How a column's new values lie in the bins of the reference's.

    Raises:
        EvaluationError: a side has no rows.
    """
    bins = Bins.fit(reference)
    before, after = bins.count(reference), bins.count(new)
    index = stability_index(before, after)
    there = np.flatnonzero((before > 0) | (after > 0))
    return Shift(
        name, index, stability_p_value(index, before, after), tuple(bins.labels[i] for i in there),
        tuple((before[there] / before.sum()).tolist()), tuple((after[there] / after.sum()).tolist()),
    )  # fmt: skip


@dataclass(frozen=True)
class Distance:
    """How far apart two sets of features lie."""

    space: str
    """What the features are."""
    squared_mmd: float
    """About 0, and also below it, where nothing has changed."""
    p_value: float
    """Share of random divisions of all rows that lie as far apart."""
    reference_rows: int
    new_rows: int

    def drifted(self, rules: MonitorConfig) -> bool:
        """Whether it is beyond chance."""
        return self.p_value < rules.p_value / FAMILIES


def squared_mmd(kernel: Float64[np.ndarray, "t t"], labels: Float64[np.ndarray, "b t"]) -> Float64[np.ndarray, " b"]:
    """Unbiased squared maximum mean discrepancy of each division of the rows in two (Gretton et al., JMLR 2012, lemma 6).

    Args:
        kernel: of all rows with one another.
        labels: 1 for a row of the first set, 0 for one of the second; a division a line.
    """
    n, m = labels.sum(axis=1), (1 - labels).sum(axis=1)
    diagonal = np.diag(kernel)
    towards = labels @ kernel
    all_first = (towards * labels).sum(axis=1)
    across = towards.sum(axis=1) - all_first
    within_first = all_first - labels @ diagonal
    within_second = kernel.sum() - all_first - 2 * across - (1 - labels) @ diagonal
    found: np.ndarray = within_first / (n * (n - 1)) + within_second / (m * (m - 1)) - 2 * across / (n * m)
    return found


def gaussian_kernel(rows: Float64[np.ndarray, "t d"], width: float) -> Float64[np.ndarray, "t t"]:
    """exp(−‖x − y‖² / 2 width²) of all rows with one another."""
    kernel = _squared_distances(rows)
    kernel /= -2 * width**2
    np.exp(kernel, out=kernel)
    return kernel


def median_distance(rows: Float64[np.ndarray, "t d"]) -> float:
    """The median distance between two rows, by which the kernel is scaled; 1 where all rows are equal."""
    middle = float(np.sqrt(np.median(_squared_distances(rows)[np.triu_indices(len(rows), 1)])))
    return middle if middle > 0 else 1.0


def _squared_distances(rows: Float64[np.ndarray, "t d"]) -> Float64[np.ndarray, "t t"]:
    """In place, since at thousands of rows each copy is hundreds of MiB."""
    squares = np.square(rows).sum(axis=1)
    found: np.ndarray = rows @ rows.T
    found *= -2
    found += squares[:, None]
    found += squares
    np.maximum(found, 0, out=found)
    return found


def feature_distance(
    reference: Float64[np.ndarray, "n d"], new: Float64[np.ndarray, "m d"], space: str, permutations: int, seed: int
) -> Distance:
    """Squared MMD of two sets with a permutation test (Gretton et al., *A Kernel Two-Sample Test*, JMLR 2012).

    The kernel is Gaussian, as wide as the median distance. The p-value counts the division that was met among the random ones
    (Phipson and Smyth, 2010), so it is never 0, and it holds at any number of rows.

    Raises:
        EvaluationError: fewer than 2 rows of a side, other widths, or a feature that is not finite.
    """
    if min(len(reference), len(new)) < 2 or reference.shape[1] != new.shape[1]:
        raise EvaluationError(
            f"a distance needs at least 2 rows of each side with the same features, got {reference.shape} and {new.shape}; "
            "add rows"
        )
    rows = np.concatenate([reference, new]).astype(np.float64)
    if not np.isfinite(rows).all():
        raise EvaluationError("the features hold NaN or infinity; look at the rows or at the extractor's training")
    rows = rows - rows.mean(axis=0)  # distances stay as they are, and lose fewer digits
    rng, as_far = np.random.default_rng(seed), 0
    sides = (rows[: len(reference)], rows[len(reference) :])
    some = [side[rng.permutation(len(side))[:MEDIAN_ROWS]] for side in sides]
    kernel = gaussian_kernel(rows, median_distance(np.concatenate(some)))
    met = (np.arange(len(rows)) < len(reference)).astype(np.float64)
    found = float(squared_mmd(kernel, met[None])[0])
    for at in range(0, permutations, AT_ONCE):
        divisions = rng.permuted(np.tile(met, (min(AT_ONCE, permutations - at), 1)), axis=1)
        as_far += int((squared_mmd(kernel, divisions) >= found - 1e-12).sum())
    return Distance(space, found, (1 + as_far) / (1 + permutations), len(reference), len(new))


@dataclass(frozen=True)
class ScoreShift:
    """How the champion's anomaly scores have moved."""

    shift: Shift
    statistic: float
    """Kolmogorov and Smirnov's: the largest gap between the two cumulative shares."""
    p_value: float
    flagged_before: float
    """Share of held-out rows over the threshold."""
    flagged_now: float

    def drifted(self, rules: MonitorConfig) -> bool:
        """Whether it is both large and beyond chance."""
        return self.shift.psi >= rules.psi and self.p_value < rules.p_value / FAMILIES


def score_shift(
    reference: Float64[np.ndarray, " n"], new: Float64[np.ndarray, " m"], flags: tuple[np.ndarray, np.ndarray]
) -> ScoreShift:
    """How new rows' scores lie against those of held-out rows.

    Args:
        reference: scores of rows that the model was not trained on, since it finds its own training rows more normal.
        flags: whether each score of both is over the threshold.
    """
    test = stats.ks_2samp(reference, new)
    moved = shift("anomaly score", pd.Series(reference), pd.Series(new))
    return ScoreShift(moved, float(test.statistic), float(test.pvalue), *(float(side.mean()) for side in flags))


@dataclass(frozen=True)
class Drift:
    """What was found out about new data."""

    outcome: Outcome
    reasons: tuple[str, ...]
    reference_rows: int
    new_rows: int
    columns: tuple[Shift, ...] = ()
    """The most shifted first."""
    features: Distance | None = None
    scores: ScoreShift | None = None

    @property
    def figures(self) -> dict[str, float]:
        """The figures by name, for MLflow."""
        found = {f"psi/{one.name}": one.psi for one in self.columns}
        if self.features is not None:
            found |= {"squared_mmd": self.features.squared_mmd, "mmd_p_value": self.features.p_value}
        if self.scores is not None:
            found |= {
                "psi/anomaly score": self.scores.shift.psi, "ks": self.scores.statistic, "ks_p_value": self.scores.p_value,
                "flagged": self.scores.flagged_now,
            }  # fmt: skip
        return {name: value for name, value in found.items() if isfinite(value)}


def too_few(reference_rows: int, new_rows: int, rules: MonitorConfig) -> Drift:
    """The verdict on fewer new rows than are judged."""
    why = f"{new_rows:,} new rows, and fewer than {rules.min_rows:,} (monitor.min_rows) are not judged"
    return Drift("too few rows", (why,), reference_rows, new_rows)


def judge(
    reference_rows: int, new_rows: int, columns: Mapping[str, Shift], features: Distance | None, scores: ScoreShift | None,
    rules: MonitorConfig,
) -> Drift:  # fmt: skip
    """The verdict: drift if any column, the features or the scores have shifted, each beyond its part of `p_value`."""
    ranked = tuple(sorted(columns.values(), key=lambda one: -one.psi))
    reasons = [
        f"{one.name} has shifted: PSI {one.psi:.2f}, from {rules.psi:g} on a shift"
        for one in ranked
        if one.drifted(rules, len(ranked))
    ]
    if features is not None and features.drifted(rules):
        reasons.append(f"{features.space}: squared MMD {features.squared_mmd:.3g}, p = {features.p_value:.2g}")
    if scores is not None and scores.drifted(rules):
        reasons.append(
            f"anomaly scores have shifted: PSI {scores.shift.psi:.2f}, KS {scores.statistic:.2f}, "
            f"{scores.flagged_now:.1%} flagged where it was {scores.flagged_before:.1%}"
        )
    outcome: Outcome = "drift" if reasons else "no drift"
    return Drift(
        outcome,
        tuple(reasons) or ("no test is beyond its threshold",),
        reference_rows,
        new_rows,
        ranked,
        features,
        scores,
    )
