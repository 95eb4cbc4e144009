"""How far people's votes can be relied on: agreement among them, with themselves, with known answers, and side bias."""

from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int64

from regen.core.errors import EvaluationError
from regen.evaluation.intervals import Estimate, bootstrap

CONFIDENCE = 0.95
DRAWS = 500
VALUES = (-1, 0, 1)


@dataclass(frozen=True)
class Share:
    """A share with Wilson's interval; not a number where nothing was counted."""

    hits: int
    of: int

    @property
    def estimate(self) -> Estimate:
        """The share and its interval."""
        from scipy.stats import binomtest

        if not self.of:
            return Estimate(float("nan"), float("nan"), float("nan"))
        interval = binomtest(self.hits, self.of).proportion_ci(CONFIDENCE, method="wilson")
        return Estimate(self.hits / self.of, float(interval.low), float(interval.high))

    def to_json(self) -> dict[str, float | int | None]:
        """The share, its interval, and how many it is of."""
        return {**_plain(self.estimate), "of": self.of}


@dataclass(frozen=True)
class Reliability:
    """One person's votes beside those of others."""

    annotator: str
    votes: int
    agrees: Share
    """Of others' votes on the same pairs, those that say the same."""
    gold: Share
    """Of pairs with a known answer, those answered rightly."""
    repeats: Share
    """Of pairs seen twice, those judged the same both times."""
    left: Share
    """Of votes for a side, those for the left one."""
    ties: Share
    skips: Share
    fast: Share
    """Of the votes, those that took under 300 ms."""
    median_seconds: float


@dataclass(frozen=True)
class Agreement:
    """What a campaign's votes say of themselves."""

    votes: int
    people: int
    alpha: Estimate
    """Krippendorff's α, ordinal; 1 is full agreement, 0 what chance gives."""
    shared: int
    """Pairs that two or more people judged, on which α rests."""
    left: Share
    repeats: Share
    gold: Share
    fast: Share
    each: tuple[Reliability, ...]
    notes: tuple[str, ...]
    """What cannot be said, and what should be looked into."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where a figure cannot be computed."""
        shares = {name: getattr(self, name).to_json() for name in ("left", "repeats", "gold", "fast")}
        each = [
            {name: value.to_json() if isinstance(value, Share) else value for name, value in vars(reliability).items()}
            for reliability in self.each
        ]
        return {
            "votes": self.votes, "people": self.people, "alpha": {**_plain(self.alpha), "of": self.shared}, **shares,
            "annotators": each, "notes": list(self.notes),
        }  # fmt: skip


def measure(votes: pd.DataFrame, seed: int = 0) -> Agreement:
    """Agreement in a campaign's votes, as `export.votes` gives them."""
    judged = votes[~votes.skipped]
    fresh = judged[~judged.gold & ~judged.repeat]
    counts = value_counts(fresh)
    notes = []
    try:
        krippendorff_alpha(counts)
        resampled = bootstrap(
            lambda rows: krippendorff_alpha(counts[rows], may_be_undefined=True), [np.arange(len(counts))], DRAWS, seed
        )
        defined = resampled.replicates[np.isfinite(resampled.replicates)]
        alpha = replace(resampled, replicates=defined).estimate(CONFIDENCE)
        if len(defined) < DRAWS:
            notes.append(
                f"agreement among people rests on few unlike votes: {DRAWS - len(defined)} of {DRAWS} resamples have none"
            )
    except EvaluationError as error:
        alpha = Estimate(float("nan"), float("nan"), float("nan"))
        notes.append(f"no agreement among people: {error}")
    left, repeats, gold = _left(judged), _repeats(judged), _gold(judged)
    if left.of and not left.estimate.low <= 0.5 <= left.estimate.high:
        notes.append(f"{left.hits} of {left.of} votes for a side went left: people favour a side")
    if not repeats.of:
        notes.append("no self-consistency: nobody judged a pair twice")
    each = tuple(_reliability(name, votes, fresh) for name in sorted(set(votes.annotator)))
    shared = int((counts.sum(axis=1) >= 2).sum())
    fast = Share(int(votes.fast.sum()), len(votes))
    return Agreement(len(votes), len(each), alpha, shared, left, repeats, gold, fast, each, tuple(notes))


def value_counts(votes: pd.DataFrame) -> Int64[np.ndarray, "u 3"]:
    """How many people chose −1, 0 and 1 on each pair that two or more of them judged."""
    table = pd.crosstab(votes.task, votes.choice).reindex(columns=VALUES, fill_value=0)
    counts: np.ndarray = table.to_numpy(dtype=np.int64)
    judged: np.ndarray = counts[counts.sum(axis=1) >= 2]
    return judged


def krippendorff_alpha(counts: Int64[np.ndarray, "u v"], *, may_be_undefined: bool = False) -> float:
    """Krippendorff's α for ordered values: 1 is full agreement, 0 what chance gives, below 0 is worse than chance.

    Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section on ordinal data.

    Args:
        counts: how many people gave each unit each value, values in their order; units judged once do not count.
        may_be_undefined: give a nan where α is not defined instead of an error.

    Raises:
        EvaluationError: fewer than 2 units were judged twice, or all values are equal.

    Example:
        >>> krippendorff_alpha(np.array([[2, 0, 0], [0, 2, 0], [0, 0, 2]]))
        1.0
    """
    units = counts[counts.sum(axis=1) >= 2].astype(float)
    if len(units) < 2:
        raise EvaluationError(
            f"Krippendorff's α needs 2 or more pairs that 2 or more people judged, got {len(units)}; collect more votes"
        )
    judged = units.sum(axis=1, keepdims=True)
    together = units.T @ (units / (judged - 1)) - np.diag((units / (judged - 1)).sum(axis=0))
    totals = together.sum(axis=1)
    apart = _ordinal_distance(totals)
    expected = float(totals @ apart @ totals)
    if expected == 0:
        if may_be_undefined:
            return float("nan")
        raise EvaluationError("Krippendorff's α is not defined where all votes say the same; collect more votes")
    return 1.0 - float(totals.sum() - 1) * float((together * apart).sum()) / expected


def _ordinal_distance(totals: Float[np.ndarray, " v"]) -> Float[np.ndarray, "v v"]:
    """The squared number of values between two, half of their own included."""
    upto = np.cumsum(totals) - totals / 2
    return np.square(upto[:, None] - upto[None, :])


def _left(votes: pd.DataFrame) -> Share:
    sides = votes[votes.choice != 0]
    return Share(int(((sides.choice == -1) != sides.flipped).sum()), len(sides))


def _gold(votes: pd.DataFrame) -> Share:
    known = votes[votes.gold & ~votes.repeat]
    return Share(int((known.choice == known.gold_choice).sum()), len(known))


def _repeats(votes: pd.DataFrame) -> Share:
    again = votes[votes.repeat]
    first = votes.set_index(["task", "annotator"]).choice
    keys = list(zip(again.repeat_of, again.annotator, strict=True))
    pairs = [(first[key], choice) for key, choice in zip(keys, again.choice, strict=True) if key in first.index]
    return Share(sum(bool(before == now) for before, now in pairs), len(pairs))


def _reliability(name: str, votes: pd.DataFrame, fresh: pd.DataFrame) -> Reliability:
    mine = votes[votes.annotator == name]
    judged = mine[~mine.skipped]
    both = fresh[fresh.annotator == name].merge(fresh[fresh.annotator != name], on="task", suffixes=("", "_other"))
    ties = int((judged.choice == 0).sum())
    return Reliability(
        name, len(mine), Share(int((both.choice == both.choice_other).sum()), len(both)), _gold(judged),
        _repeats(judged), _left(judged), Share(ties, len(judged)), Share(int(mine.skipped.sum()), len(mine)),
        Share(int(mine.fast.sum()), len(mine)), float(mine.ms.median()) / 1000,
    )  # fmt: skip


def _plain(estimate: Estimate) -> dict[str, float | None]:
    found = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: value if isfinite(value) else None for name, value in found.items()}
