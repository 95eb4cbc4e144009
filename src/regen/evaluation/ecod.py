"""ECOD (Li et al., *Unsupervised outlier detection using empirical cumulative distribution functions*, TKDE 2022).

A detector without settings: in each column, how far out in a tail of the training rows a value lies.
"""

import numpy as np
from jaxtyping import Float64

from regen.evaluation.ranking import Scores


def ecod(train: Float64[np.ndarray, "m d"], test: Float64[np.ndarray, "n d"], seed: int = 0) -> Scores:
    """Nats by which each row is out in the columns' tails, summed over columns; higher is stranger.

    Of the left tail, the right one and the one the column is skewed towards, the largest counts. The distribution is the
    training rows' alone, so that a row's score does not depend on the rows it is scored with; a value beyond all of them
    is as rare as one in a row more. On the training rows themselves the scores are those of the authors' code.

    Args:
        seed: not used; there so that all detectors are called alike.
    """
    left, right = tail_nats(train, test), tail_nats(-train, -test)
    skewed = ((train - train.mean(axis=0)) ** 3).sum(axis=0)  # its sign is the skewness's
    towards = np.where(skewed < 0, left, np.where(skewed > 0, right, left + right))
    scores: np.ndarray = np.maximum(np.maximum(left, right), towards).sum(axis=1)
    return scores


def tail_nats(train: Float64[np.ndarray, "m d"], test: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """−log of the share of training rows with a value as low, in nats.

    Example:
        >>> tail_nats(np.array([[1.0], [2.0]]), np.array([[1.0], [2.0], [0.0]])).round(4).tolist()
        [[0.6931], [0.0], [1.0986]]
    """
    n = len(train)
    columns = [
        np.searchsorted(np.sort(known), asked, side="right") for known, asked in zip(train.T, test.T, strict=True)
    ]
    counts = np.stack(columns, axis=1) if columns else np.zeros((len(test), 0))
    nats: np.ndarray = np.log(n / np.maximum(counts, n / (n + 1)))
    return nats
