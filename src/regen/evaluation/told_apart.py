"""Whether trees can learn which rows are synthetic: the classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017)."""

import numpy as np

from regen.data.tables import Table
from regen.evaluation.anomaly import measure_detection
from regen.evaluation.intervals import Replicated
from regen.evaluation.tables import require_alike
from regen.evaluation.utility import fitted_trees, inputs_of


def measure_told_apart(real: Table, fake: Table, draws: int, seed: int) -> Replicated:
    """ROC-AUC, on half of the rows, of trees that learnt on the other half which are synthetic; ½ is best.

    Raises:
        EvaluationError: the tables differ in their columns, or have too few rows.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    require_alike(real, fake)
    (a, kinds), (b, _) = inputs_of(real), inputs_of(fake)
    rows, is_fake = np.concatenate([a, b]), np.repeat([False, True], [len(a), len(b)])
    order = np.random.default_rng(seed).permutation(len(rows))
    learn, test = order[: len(order) // 2], order[len(order) // 2 :]
    trees = fitted_trees(HistGradientBoostingClassifier, rows[learn], is_fake[learn].astype(np.int64), kinds, seed)
    return measure_detection(trees.predict_proba(rows[test])[:, 1], is_fake[test], draws, seed)["anomaly_auc"]
