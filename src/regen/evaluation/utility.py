"""Train on synthetic, test on real: what a table is worth to those who learn from it (Esteban et al., 2017).

The figures of a model trained on real rows stand beside it (https://arxiv.org/abs/1706.02633).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from regen.core.errors import EvaluationError
from regen.data.tables import Table
from regen.evaluation.intervals import Replicated, Rows, bootstrap
from regen.evaluation.tables import require_alike

MOST_CLASSES = 10
"""A label of numbers is taken for classes when it has at most so many values, all of them whole."""
MOST_CATEGORIES = 254
"""Categories of a column that the trees can tell apart; beyond, their codes are taken for numbers."""


@dataclass(frozen=True)
class Utility:
    """What a model trained on each table reaches on the same real rows, by the figure's name."""

    fake: dict[str, Replicated]
    real: dict[str, Replicated]


def measure_utility(fake: Table, real: Table, test: Table, label: str, draws: int, seed: int) -> Utility:
    """Figures of gradient-boosted trees trained on fake rows, beside the same trained on real ones; 1 is perfect.

    Macro-F1 and ROC-AUC (the mean of each class against the rest) of a label of classes, R² of a label of numbers. Rows
    whose numeric label is missing are left out. Both have the same resamples of the test rows, so differences are paired.

    Args:
        test: real rows that neither `real` nor what made `fake` held.

    Raises:
        EvaluationError: there is no such column, no other one, or the label does not vary among the test rows.
    """
    for other in (fake, test):
        require_alike(real, other)
    if label not in real.columns:
        raise EvaluationError(f"there is no column {label}; the label can be one of: {', '.join(real.columns)}")
    if len(real.columns) < 2:
        raise EvaluationError(f"{label} is the only column; a utility needs others to predict it from")
    tables = [_labelled(table, label) for table in (fake, real, test)]
    for name, table in zip(("fake", "real", "test"), tables, strict=True):
        if len(table) < 2:
            raise EvaluationError(
                f"the label {label} is there in {len(table)} of the {name} rows, and a utility needs 2 or more; choose another"
            )
    if min(map(len, tables)) < 2 or len(np.unique(tables[2].column(label))) < 2:
        raise EvaluationError(
            f"the label {label} has {len(np.unique(tables[2].column(label)))} values in {len(tables[2])} test rows; "
            "a utility needs at least 2, and 2 rows of each table: add test rows or choose another label"
        )
    measure = _classified if _is_classes(tables[1].column(label), label in real.names) else _regressed
    by_fake, by_real = (measure(train, tables[2], label, draws, seed) for train in tables[:2])
    return Utility(by_fake, by_real)


def _labelled(table: Table, label: str) -> Table:
    """The rows that have a label; a missing category is a label of its own."""
    return table.take(np.flatnonzero(~np.isnan(table.column(label).astype(np.float64))))


def _is_classes(values: Float64[np.ndarray, " n"] | Int64[np.ndarray, " n"], is_numbers: bool) -> bool:
    known = np.unique(values)
    return not is_numbers or (len(known) <= MOST_CLASSES and bool((known == np.round(known)).all()))


def inputs_of(table: Table, label: str | None = None) -> tuple[Float64[np.ndarray, "n f"], list[bool]]:
    """All columns but the label, and which of them the trees shall take for categories."""
    rest = table if label is None else table.without(label)
    kinds = [False] * len(rest.names) + [size <= MOST_CATEGORIES for size in rest.sizes]
    return np.column_stack([rest.numbers, rest.codes]), kinds


def _classified(train: Table, test: Table, label: str, draws: int, seed: int) -> dict[str, Replicated]:
    from sklearn.metrics import f1_score

    truth = test.column(label)
    classes = np.unique(np.concatenate([train.column(label), truth]))
    probabilities = _probabilities(train, test, label, classes, seed)
    guesses, met = classes[probabilities.argmax(axis=1)], np.unique(truth)

    def f1(rows: Rows) -> float:
        return float(f1_score(truth[rows], guesses[rows], labels=met, average="macro", zero_division=0))

    def auc(rows: Rows) -> float:
        return _one_against_rest(truth[rows], probabilities[rows], classes)

    strata = _strata(truth)
    return {"f1": bootstrap(f1, strata, draws, seed), "auc": bootstrap(auc, strata, draws, seed)}


def _probabilities(train: Table, test: Table, label: str, classes: np.ndarray, seed: int) -> Float64[np.ndarray, "n k"]:
    """Each test row's probability of each class; 0 for classes that were not there to be learnt."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    labels, probabilities = train.column(label), np.zeros((len(test), len(classes)))
    known = np.unique(labels)
    if len(known) == 1:
        probabilities[:, np.searchsorted(classes, known)] = 1
        return probabilities
    inputs, kinds = inputs_of(train, label)
    model = fitted_trees(HistGradientBoostingClassifier, inputs, np.searchsorted(known, labels), kinds, seed)
    probabilities[:, np.searchsorted(classes, known)] = model.predict_proba(inputs_of(test, label)[0])
    return probabilities


def fitted_trees(kind: Callable[..., Any], inputs: np.ndarray, labels: np.ndarray, kinds: list[bool], seed: int) -> Any:
    """Gradient-boosted trees, scikit-learn's `kind`, that have learnt the labels.

    Args:
        kinds: which inputs are categories.
    """
    empty = np.isnan(inputs).all(axis=0)  # of a column without a value they cannot make bins
    inputs = np.where(empty, 0.0, inputs) if empty.any() else inputs
    steady = {"early_stopping": False, "l2_regularization": 1.0}  # of one row of a class the defaults fail or diverge
    return kind(categorical_features=kinds, random_state=seed % 2**32, **steady).fit(inputs, labels)


def _one_against_rest(truth: np.ndarray, probabilities: Float64[np.ndarray, "n k"], classes: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    split = [(truth == one, probabilities[:, i]) for i, one in enumerate(classes)]
    areas = [roc_auc_score(is_one, p) for is_one, p in split if 0 < is_one.sum() < len(is_one)]
    return float(np.mean(areas)) if areas else float("nan")


def _strata(truth: np.ndarray) -> list[Rows]:
    """The rows of each class, so that every resample has them all; a class of one row joins the largest."""
    groups = sorted((np.flatnonzero(truth == one) for one in np.unique(truth)), key=len)
    alone, others = [g for g in groups if len(g) < 2], [g for g in groups if len(g) >= 2]
    return [*others[:-1], np.concatenate([*others[-1:], *alone])]


def _regressed(train: Table, test: Table, label: str, draws: int, seed: int) -> dict[str, Replicated]:
    from sklearn.ensemble import HistGradientBoostingRegressor

    inputs, kinds = inputs_of(train, label)
    model = fitted_trees(HistGradientBoostingRegressor, inputs, train.column(label), kinds, seed)
    truth, errors = test.column(label), test.column(label) - model.predict(inputs_of(test, label)[0])

    def r2(rows: Rows) -> float:
        total = np.square(truth[rows] - truth[rows].mean()).sum()
        return float(1 - np.square(errors[rows]).sum() / total) if total > 0 else float("nan")

    return {"r2": bootstrap(r2, [np.arange(len(truth))], draws, seed)}
