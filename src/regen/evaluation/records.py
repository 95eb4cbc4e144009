"""Whether synthetic rows are copies of those they were learnt from: the distance to the closest record.

It says something beside that of rows which the model never saw (Zhao et al., *CTAB-GAN*, 2021, https://arxiv.org/abs/
2102.08369).
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.spatial.distance import cdist

from regen.core.errors import EvaluationError
from regen.data.tables import Table
from regen.evaluation.intervals import Replicated, Rows, bootstrap
from regen.evaluation.tables import require_alike

HELD = 1 << 22
"""Distances that are in memory at once."""


def closest_records(rows: Table, real: Table) -> Float64[np.ndarray, " n"]:
    """Each row's distance to the closest real row; 0 is a copy.

    The root mean square over the columns of: the difference in standard deviations of the real column, for numbers; 0 or 1,
    for categories. A missing number stands at the real median, and is 1 more from a number that is there.
    """
    require_alike(rows, real)
    medians, deviations = _scale(real.numbers)

    def spread_out(table: Table) -> tuple[Float64[np.ndarray, "n p"], Int64[np.ndarray, "n k"]]:
        missing = np.isnan(table.numbers)
        values = (np.where(missing, medians, table.numbers) - medians) / deviations
        varying = np.isnan(real.numbers).any(axis=0) | np.isnan(rows.numbers).any(axis=0)
        return values, np.column_stack([table.codes, missing[:, varying]]).astype(np.int64)

    (values, codes), (real_values, real_codes) = spread_out(rows), spread_out(real)
    away: np.ndarray = nearest(values, real_values, codes, real_codes) / np.sqrt(len(real.columns))
    return away


def nearest(
    values: Float64[np.ndarray, "n p"],
    reference: Float64[np.ndarray, "m p"],
    codes: Int64[np.ndarray, "n q"] | None = None,
    reference_codes: Int64[np.ndarray, "m q"] | None = None,
) -> Float64[np.ndarray, " n"]:
    """Each row's Euclidean distance to the nearest row of `reference`, a code that differs counting 1.

    Example:
        >>> nearest(np.array([[0.0], [4.0]]), np.array([[1.0], [9.0]]))
        array([1., 3.])
    """
    found = np.empty(len(values))
    chunk = max(HELD // len(reference), 1)
    for start in range(0, len(values), chunk):
        rows = slice(start, start + chunk)
        squares = cdist(values[rows], reference, "sqeuclidean") if values.shape[1] else np.zeros((1, len(reference)))
        if codes is not None and reference_codes is not None:
            for mine, theirs in zip(codes[rows].T, reference_codes.T, strict=True):
                squares = squares + (mine[:, None] != theirs)
        found[rows] = np.sqrt(np.min(squares, axis=1))
    return found


def _scale(numbers: Float64[np.ndarray, "n p"]) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """Median and standard deviation of what is there in each column; 0 and 1 where nothing is, or nothing varies."""
    medians, deviations = np.zeros(numbers.shape[1]), np.ones(numbers.shape[1])
    for i, column in enumerate(numbers.T):
        present = column[~np.isnan(column)]
        if len(present):
            medians[i] = np.median(present)
            deviations[i] = present.std() if np.ptp(present) > 0 else 1.0
    return medians, deviations


def copies(rows: Table, real: Table) -> Bool[np.ndarray, " n"]:
    """Whether each row is equal to some real row in every column."""
    require_alike(rows, real)
    known = set(_bytes(real))
    return np.array([row in known for row in _bytes(rows)])


def _bytes(table: Table) -> list[bytes]:
    """Each row as bytes; every NaN has the same ones."""
    numbers = np.where(np.isnan(table.numbers), np.nan, table.numbers)
    joined = np.column_stack([numbers.view(np.int64).reshape(numbers.shape), table.codes])
    return [row.tobytes() for row in np.ascontiguousarray(joined)]


def measure_closeness(
    fake: Float64[np.ndarray, " n"], control: Float64[np.ndarray, " m"], draws: int, seed: int
) -> Replicated:
    """How often a fake row is closer to the real rows than a control row is; ½ is best, near 1 they were learnt by heart.

    It is the area under the ROC curve of the distances (Mann and Whitney, 1947), ties counting half, so the two sets may
    differ in size.

    Args:
        fake: distances of the fake rows to their closest real ones.
        control: the same of rows that the model did not learn from.

    Raises:
        EvaluationError: a distance is not finite.

    Example:
        >>> measure_closeness(np.array([1.0, 3.0]), np.array([2.0, 4.0]), draws=1, seed=0).point
        0.75
    """
    if not (np.isfinite(fake).all() and np.isfinite(control).all()):
        raise EvaluationError("distances to the closest records hold NaN or infinity; look at the rows")

    def closer(rows: Rows, others: Rows) -> float:
        ordered = np.sort(control[others])
        beyond = len(ordered) - np.searchsorted(ordered, fake[rows], side="right")
        ties = np.searchsorted(ordered, fake[rows], side="right") - np.searchsorted(ordered, fake[rows], side="left")
        return float((beyond + ties / 2).mean() / len(ordered))

    return bootstrap(closer, [np.arange(len(fake)), np.arange(len(control))], draws, seed, together=False)
