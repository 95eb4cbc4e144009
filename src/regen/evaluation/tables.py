"""How like two tables are: shapes of columns, trends of pairs of them, and errors of rows that were reconstructed.

The scores of shapes and trends are those of the Synthetic Data Vault (Patki et al., 2016, and its SDMetrics).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float64, Int64

from regen.core.errors import EvaluationError
from regen.data.tables import Table
from regen.evaluation.intervals import Replicated, Rows, bootstrap

BINS = 10
"""Into how many bins of equally many real rows a column of numbers is cut where it is paired with categories."""
DENSE = 1 << 20
"""Most combinations of two columns' categories that are counted in an array of all of them."""
Codes = Int64[np.ndarray, " n"]


def column_shapes(real: Table, fake: Table) -> dict[str, float]:
    """How like each column's distribution is; 1 is equal, 0 has nothing in common.

    1 − the Kolmogorov–Smirnov statistic for numbers, 1 − total variation for categories. A missing number stands below
    every number, a missing category is one of its own.
    """
    return {shape.name: 1 - shape.distance(*everything(real, fake)) for shape in _shapes(real, fake)}


def measure_shapes(
    real: Table, fake: Table, draws: int, seed: int, step: Callable[[], None] = lambda: None
) -> Replicated:
    """The mean score of the columns, with resamples of the rows of both tables.

    Two samples of one law score less than 1, the less the fewer rows they have: so compare scores at equal numbers of rows.

    Args:
        step: called once a resample.
    """
    shapes = _shapes(real, fake)

    def mean_score(rows: Rows, others: Rows) -> float:
        step()
        return 1 - float(np.mean([shape.distance(rows, others) for shape in shapes]))

    return _around_the_point(bootstrap(mean_score, everything(real, fake), draws, seed, together=False))


def _around_the_point(found: Replicated) -> Replicated:
    """The resamples moved to the point: each scores lower, since it adds to a distance what sampling had added before.

    The correction that suits squared distances (twice the point minus the resample) takes too little off these.
    """
    moved = found.replicates - found.replicates.mean() + found.point
    return Replicated(found.point, np.clip(moved, 0, 1))


def pair_trends(real: Table, fake: Table) -> dict[tuple[str, str], float]:
    """How like the trend of each pair of columns is; 1 is equal, 0 as different as can be.

    Two columns of numbers: 1 − |difference of Pearson's correlations| / 2 over the rows where both are there; a constant
    correlates 0 with everything. Other pairs: 1 − total variation of the two-way tables, in which numbers are cut at the
    real deciles (bins of equal width, as SDMetrics has them, put nearly all of a heavy-tailed column into one) and a
    missing value counts as one of its own.
    """
    trends = _Trends.of(real, fake)
    return dict(zip(trends.pairs, 1 - trends.distances(*everything(real, fake)), strict=True))


def measure_trends(
    real: Table, fake: Table, draws: int, seed: int, step: Callable[[], None] = lambda: None
) -> Replicated:
    """The mean score of the pairs, with resamples of the rows of both tables; of few rows it is low as that of shapes is.

    Raises:
        EvaluationError: there is but one column.
    """
    trends = _Trends.of(real, fake)

    def mean_score(rows: Rows, others: Rows) -> float:
        step()
        return 1 - float(trends.distances(rows, others).mean())

    return _around_the_point(bootstrap(mean_score, everything(real, fake), draws, seed, together=False))


def column_errors(real: Table, reconstructed: Table) -> dict[str, float]:
    """Each column's mean error, row by row; 0 is perfect, lower is better.

    Numbers: the mean absolute error in standard deviations of the real column; where only one of the two is missing, the
    error is one of them. Categories, and columns whose numbers are all the same: the share of rows that differ.

    Raises:
        EvaluationError: the tables differ in their columns or in how many rows they have.
    """
    require_alike(real, reconstructed)
    if len(real) != len(reconstructed):
        raise EvaluationError(
            f"row by row needs as many reconstructed rows as real ones, got {len(reconstructed)} and {len(real)}; "
            "reconstruct every row once"
        )
    errors = {}
    for name, a, b in zip(real.names, real.numbers.T, reconstructed.numbers.T, strict=True):
        missing, deviation = np.isnan(a) != np.isnan(b), _deviation(a)
        apart = np.nan_to_num(np.abs(a - b))
        errors[name] = float(np.where(missing, 1.0, apart / deviation if deviation else apart > 0).mean())
    for name, a, b in zip(real.category_names, real.codes.T, reconstructed.codes.T, strict=True):
        errors[name] = float((a != b).mean())
    return errors


def require_alike(real: Table, fake: Table) -> None:
    """Makes sure that two tables can be compared.

    Raises:
        EvaluationError: their columns differ, or one holds nothing.
    """
    if (real.names, real.category_names, real.sizes) != (fake.names, fake.category_names, fake.sizes):
        raise EvaluationError(
            f"the tables have the columns {list(real.columns)} and {list(fake.columns)}; encode both together"
        )
    if not (len(real) and len(fake) and real.columns):
        raise EvaluationError(
            f"tables to compare need rows and columns, got {len(real)} and {len(fake)} rows of {len(real.columns)} columns"
        )


def everything(real: Table, fake: Table) -> tuple[Rows, Rows]:
    """All rows of each table."""
    return np.arange(len(real)), np.arange(len(fake))


@dataclass(frozen=True)
class _Shape:
    """One column of both tables as codes, in order of size if it holds numbers; so a resample needs no sorting."""

    name: str
    real: Codes
    fake: Codes
    size: int
    ordered: bool

    def distance(self, rows: Rows, others: Rows) -> float:
        """Kolmogorov–Smirnov statistic, or total variation, of some rows of each."""
        gap = _shares(self.real[rows], self.size) - _shares(self.fake[others], self.size)
        found = np.abs(gap.cumsum()).max() if self.ordered else np.abs(gap).sum() / 2
        return float(min(found, 1.0))


def _shapes(real: Table, fake: Table) -> list[_Shape]:
    require_alike(real, fake)
    shapes = []
    for name, a, b in zip(real.names, real.numbers.T, fake.numbers.T, strict=True):
        both = np.concatenate([a, b])
        known, codes = np.unique(np.where(np.isnan(both), -np.inf, both), return_inverse=True)
        shapes.append(_Shape(name, codes[: len(a)], codes[len(a) :], len(known), ordered=True))
    columns = zip(real.category_names, real.codes.T, fake.codes.T, real.sizes, strict=True)
    return shapes + [_Shape(name, a, b, size, ordered=False) for name, a, b, size in columns]


def _shares(codes: Codes, size: int) -> Float64[np.ndarray, " k"]:
    shares: np.ndarray = np.bincount(codes, minlength=size) / len(codes)
    return shares


@dataclass(frozen=True)
class _Trends:
    """What the pairs of columns are measured on."""

    real: Table
    fake: Table
    real_codes: Int64[np.ndarray, "n d"]
    """Every column as codes, numbers in bins."""
    fake_codes: Int64[np.ndarray, "m d"]
    sizes: tuple[int, ...]
    places: tuple[tuple[int, int], ...]
    """Which two columns each pair is of."""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The names of each pair's columns."""
        return [(self.real.columns[i], self.real.columns[j]) for i, j in self.places]

    @classmethod
    def of(cls, real: Table, fake: Table) -> "_Trends":
        require_alike(real, fake)
        if len(real.columns) < 2:
            raise EvaluationError(f"trends need at least 2 columns, got only {real.columns[0]}; add a column")
        edges = [_edges(column) for column in real.numbers.T]
        real_codes, fake_codes = (
            np.column_stack([*(_binned(c, e) for c, e in zip(table.numbers.T, edges, strict=True)), table.codes])
            for table in (real, fake)
        )
        sizes = (*(len(e) + 2 for e in edges), *real.sizes)
        places = tuple(combinations(range(len(real.columns)), 2))
        return cls(real, fake, real_codes.astype(np.int64), fake_codes.astype(np.int64), sizes, places)

    def distances(self, rows: Rows, others: Rows) -> Float64[np.ndarray, " k"]:
        """Each pair's distance, 1 − its score, on some rows of each table."""
        apart = np.abs(correlations(self.real.numbers[rows]) - correlations(self.fake.numbers[others])) / 2
        a, b = self.real_codes[rows].T.copy(), self.fake_codes[others].T.copy()
        numbers = len(self.real.names)

        def distance(i: int, j: int) -> float:
            if j < numbers:
                return float(apart[i, j])
            size = self.sizes[j]
            return _variation(a[i] * size + a[j], b[i] * size + b[j], self.sizes[i] * size)

        return np.array([distance(i, j) for i, j in self.places])


def _edges(column: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " k"]:
    """Where the real column is cut."""
    present = column[~np.isnan(column)]
    if not len(present):
        return np.zeros(0)
    return np.unique(np.quantile(present, np.arange(1, BINS) / BINS))


def _binned(column: Float64[np.ndarray, " n"], edges: Float64[np.ndarray, " k"]) -> Codes:
    """The bin of each value; the last one for what is missing."""
    return np.where(np.isnan(column), len(edges) + 1, np.searchsorted(edges, column, side="right"))


def _variation(real: Codes, fake: Codes, size: int) -> float:
    """Total variation between two sets of codes under `size`."""
    if size > DENSE:
        known, codes = np.unique(np.concatenate([real, fake]), return_inverse=True)
        real, fake, size = codes[: len(real)], codes[len(real) :], len(known)
    return float(min(np.abs(_shares(real, size) - _shares(fake, size)).sum() / 2, 1.0))


def correlations(numbers: Float64[np.ndarray, "n p"]) -> Float64[np.ndarray, "p p"]:
    """Pearson's correlation of each two columns over the rows where both are there; 0 where one does not vary there."""
    there = ~np.isnan(numbers)
    counts = there.sum(axis=0)
    means = np.where(there, numbers, 0).sum(axis=0) / np.maximum(counts, 1)
    centred = np.where(there, numbers - means, 0)
    scales = np.abs(centred).max(axis=0, initial=0)
    floor = 1e-12 * np.abs(means)  # what is left of a constant is rounding
    centred = np.where(scales > floor, centred / np.where(scales > floor, scales, 1), 0)
    together = np.maximum(there.T.astype(float) @ there, 1)
    sums, squares = centred.T @ there, np.square(centred).T @ there
    variances = np.maximum(squares - sums**2 / together, 0)
    covariances = centred.T @ centred - sums * sums.T / together
    varies = np.minimum(variances, variances.T) > 1e-12 * together
    found = np.where(varies, covariances / np.sqrt(np.where(varies, variances * variances.T, 1)), 0)
    bounded: np.ndarray = np.clip(found, -1, 1)
    return bounded


def _deviation(column: Float64[np.ndarray, " n"]) -> float:
    """The standard deviation of what is there; 0 for a constant and for nothing."""
    present = column[~np.isnan(column)]
    return float(present.std()) if len(present) and np.ptp(present) > 0 else 0.0
