"""Whether a metric prefers what people prefer: Kendall's τ-b (1945) between its differences and their votes.

A vote says which of two versions' samples someone liked better. A metric that is worth gating by ranks the versions as the
votes do; one near 0 says nothing of what people see.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from regen.core.errors import DataError
from regen.core.seeds import derive
from regen.evaluation.gate import HIGHER_IS_BETTER
from regen.evaluation.intervals import bootstrap

COLUMNS = ("model_a", "version_a", "model_b", "version_b", "choice")
LEAST_VOTES = 2
Figures = Mapping[tuple[str, int], Mapping[str, float]]
"""Each version's figures, by model and number."""


@dataclass(frozen=True)
class Agreement:
    """How far one metric and the votes agree."""

    metric: str
    correlation: float
    """τ-b: 1 where the metric always prefers what people prefer, −1 where it never does, 0 where it knows nothing."""
    low: float
    high: float
    pairs: int
    """Pairs of versions that were compared."""
    votes: int


def read_votes(paths: list[Path]) -> pd.DataFrame:
    """The votes of all files together.

    Raises:
        DataError: a file cannot be read, lacks a column, or holds a choice that is none.
    """
    parts = []
    for path in paths:
        try:
            part = pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's own errors are among them
            reason = " ".join(str(error).split())[:160]
            raise DataError(f"the votes in {path} cannot be read ({reason}); export them again") from error
        if missing := [column for column in COLUMNS if column not in part]:
            raise DataError(f"the votes in {path} lack {', '.join(missing)}; wanted are {', '.join(COLUMNS)}")
        if not part["choice"].isin((-1, 0, 1)).all():
            met = sorted(set(part["choice"]) - {-1, 0, 1}, key=str)
            raise DataError(f"the votes in {path} hold the choices {met}; wanted are −1 (a), 0 (neither) and 1 (b)")
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def measure_agreement(
    votes: pd.DataFrame, figures: Figures, draws: int, confidence: float, seed: int
) -> list[Agreement]:
    """Each metric's agreement with the votes, the highest first; a metric that fewer than two votes speak of is left out.

    Intervals resample annotators where the votes name at least two of them (a column `annotator`), since one person's votes
    resemble each other; else pairs of versions, or single votes where there is one pair only.
    """
    found = [
        one
        for metric in HIGHER_IS_BETTER
        if (one := _of_metric(votes, figures, metric, draws, confidence, seed)) is not None
    ]
    return sorted(found, key=lambda one: -one.correlation)


def _of_metric(
    votes: pd.DataFrame, figures: Figures, metric: str, draws: int, confidence: float, seed: int
) -> Agreement | None:
    sides = [
        [figures.get((str(model), int(number)), {}).get(metric, np.nan) for model, number in zip(*columns, strict=True)]
        for columns in ((votes["model_a"], votes["version_a"]), (votes["model_b"], votes["version_b"]))
    ]
    a, b = (np.array(values, dtype=np.float64) for values in sides)
    gains = (b - a) if HIGHER_IS_BETTER[metric] else (a - b)  # type: ignore[index]  # a name from that very table
    known = np.isfinite(gains)
    if known.sum() < LEAST_VOTES:
        return None
    kept, choices = votes[known], votes.loc[known, "choice"].to_numpy(np.int64)
    pairs, clusters = _clusters(kept)
    members = [np.flatnonzero(clusters == one) for one in range(clusters.max() + 1)]

    def correlation(chosen: Int64[np.ndarray, " k"]) -> float:
        rows = np.concatenate([members[one] for one in chosen])
        return kendall(gains[known][rows], choices[rows])

    estimate = bootstrap(correlation, [np.arange(len(members))], draws, derive(seed, "agreement")).estimate(confidence)
    return Agreement(metric, estimate.value, estimate.low, estimate.high, pairs, int(known.sum()))


def kendall(gains: Float64[np.ndarray, " n"], choices: Int64[np.ndarray, " n"]) -> float:
    """τ-b between a metric's gains of b over a and the choices; 0 where either never leaves 0.

    Each vote counts in both directions, (gain, choice) and (−gain, −choice), since which version was called a means nothing.

    Example:
        >>> kendall(np.array([2.0, 2.0, 2.0, 2.0]), np.array([1, 1, 1, -1]))
        0.5
    """
    from scipy.stats import kendalltau

    if not gains.any() or not choices.any():
        return 0.0
    return float(kendalltau(np.concatenate([gains, -gains]), np.concatenate([choices, -choices])).statistic.round(12))


def _clusters(votes: pd.DataFrame) -> tuple[int, Int64[np.ndarray, " n"]]:
    """How many pairs of versions were compared, and the group that each vote is resampled with."""
    names = [
        " | ".join(sorted((f"{row.model_a} {row.version_a}", f"{row.model_b} {row.version_b}")))
        for row in votes.itertuples()
    ]
    pairs = len(set(names))
    if "annotator" in votes and len(set(votes["annotator"])) > 1:
        names = votes["annotator"].astype(str).tolist()
    elif pairs == 1:
        names = [str(row) for row in range(len(votes))]
    codes: np.ndarray = pd.factorize(np.array(names))[0].astype(np.int64)
    return pairs, codes
