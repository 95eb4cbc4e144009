"""What a table's VAE must be seen beside: detectors fitted on the same columns of the same rows, and a supervised one."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64

from regen.core.errors import EvaluationError
from regen.data.raw import spread
from regen.data.tables import Table
from regen.evaluation.anomaly import Vectors, isolation_forest, nearest_neighbours
from regen.evaluation.ecod import ecod
from regen.evaluation.ranking import Scores
from regen.evaluation.utility import fitted_trees, inputs_of

MOST_ONE_HOT = 32
"""Categories up to which a column becomes one input a category; beyond, it is left out."""
MOST_NEIGHBOURS = 5_000
"""Training rows, spread evenly over all, among which neighbours are looked for."""
FIGHT = "supervised trees"
"""The reference that learns from the labels known when it is trained."""


def vectors(tables: Sequence[Table]) -> list[Vectors]:
    """Each table's rows as vectors: numbers in standard deviations of the first table, categories as 0 and 1.

    A missing number stands at the median, and a column of its own says so.
    """
    train = tables[0]
    missing = [np.isnan(table.numbers) for table in tables]
    with np.errstate(all="ignore"):
        middle = np.array([np.median(c[~np.isnan(c)]) if (~np.isnan(c)).any() else 0.0 for c in train.numbers.T])
    filled = [np.where(gaps, middle, table.numbers) for gaps, table in zip(missing, tables, strict=True)]
    mean, deviation = filled[0].mean(axis=0), filled[0].std(axis=0)
    deviation[deviation == 0] = 1.0
    varying = np.logical_or.reduce([gaps.any(axis=0) for gaps in missing])
    hot = [place for place, size in enumerate(train.sizes) if size <= MOST_ONE_HOT]
    return [
        np.column_stack(
            [(numbers - mean) / deviation, gaps[:, varying].astype(np.float64)]
            + [np.eye(table.sizes[place])[table.codes[:, place]] for place in hot]
        )
        for numbers, gaps, table in zip(filled, missing, tables, strict=True)
    ]


def neighbours(train: Vectors, test: Vectors, seed: int) -> Scores:
    """Mean distance to the five nearest among at most 5,000 training rows (Ramaswamy et al., 2000)."""
    return nearest_neighbours(train[spread(len(train), MOST_NEIGHBOURS)], test, seed)


UNSUPERVISED: dict[str, Callable[[Vectors, Vectors, int], Scores]] = {
    "isolation forest": isolation_forest, "ECOD": ecod, "kNN": neighbours,
}  # fmt: skip
"""Each takes training vectors, test vectors and a seed; none sees a label."""


def supervised(train: Table, known: Float64[np.ndarray, " n"], test: Table, seed: int) -> Scores:
    """The probability of an anomaly by gradient-boosted trees that learnt from the labels known at training time.

    Args:
        known: each training row's label; NaN where it is not known yet.

    Raises:
        EvaluationError: the known labels are all the same.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = np.flatnonzero(~np.isnan(known))
    if len(np.unique(known[rows])) < 2:
        raise EvaluationError(
            f"of the {len(known)} training rows {len(rows)} have a known label, all the same; supervised trees need both"
        )
    inputs, kinds = inputs_of(train.take(rows))
    trees = fitted_trees(HistGradientBoostingClassifier, inputs, known[rows].astype(np.int64), kinds, seed)
    found: Scores = trees.predict_proba(inputs_of(test)[0])[:, 1]
    return found
