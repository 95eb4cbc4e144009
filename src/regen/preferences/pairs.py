"""Which pairs people see: half where the rewards disagree most, half at random, some with a known answer, some twice.

In a pilot with 400 pairs, half and half gave rewards that judged .884 of fresh pairs rightly, all at random .856 (active
learning of preferences by disagreement: Christiano et al., 2017, https://arxiv.org/abs/1706.03741). The random half is
also the unbiased sample that calibrates a reward and audits it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64

from regen.core.errors import ConfigError

Strategy = Literal["disagreement", "random", "gold"]
Numbers = Int64[np.ndarray, "n 2"]
"""Pairs of sample numbers."""
Disagreement = Callable[[Numbers], Float[np.ndarray, " n"]] | Float[np.ndarray, "s s"]
"""How far the rewards disagree on pairs: a function of them, or a matrix over all samples; higher is shown sooner."""
GOLD_SHARE = 0.10
REPEAT_SHARE = 0.05
REPEAT_GAP = 10
"""Pairs between one and its repeat, where there are as many."""
CANDIDATES = 20_000
"""Most pairs that are scored for disagreement."""
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Pair:
    """Two samples to judge, by their numbers."""

    a: int
    b: int
    strategy: Strategy
    split: str
    gold: int | None = None
    """The known answer: −1 `a` is better, +1 `b` is; none where taste decides."""
    repeat_of: int | None = None
    """The place in the plan of the pair that it repeats, sides swapped; shown only to those who judged that one."""


def split_samples(n: int, rng: np.random.Generator, validation_share: float = VALIDATION_SHARE) -> list[str]:
    """The split of each of `n` samples. Pairs keep within a split, so that no sample is both trained and validated on."""
    order = rng.permutation(n)
    held_out = set(order[: round(n * validation_share)].tolist())
    return ["validation" if i in held_out else "train" for i in range(n)]


def plan(
    splits: Sequence[str],
    n_pairs: int,
    rng: np.random.Generator,
    disagreement: Disagreement | None = None,
    gold: Sequence[tuple[int, int, int]] = (),
) -> list[Pair]:
    """`n_pairs` pairs in the order they are shown; gold ones and repeats are among them.

    Args:
        splits: the split of each sample that pairs may be made of.
        disagreement: without it all pairs are drawn at random.
        gold: pairs with a known answer, as sample numbers and −1 or +1; a tenth of the plan is taken from their front.

    Raises:
        ConfigError: there are too few samples for as many different pairs.

    Example:
        >>> pairs = plan(["train"] * 30, 100, np.random.default_rng(0), gold=[(0, 30, -1)] * 20)
        >>> sum(pair.gold is not None for pair in pairs), sum(pair.repeat_of is not None for pair in pairs)
        (10, 5)
    """
    n_gold = min(round(n_pairs * GOLD_SHARE), len(gold))
    n_repeats = round(n_pairs * REPEAT_SHARE)
    words = np.array(splits, dtype=object)
    groups = [np.flatnonzero(words == split) for split in sorted(set(splits))]
    quotas = _quotas(n_pairs - n_gold - n_repeats, [len(group) for group in groups])
    fresh = [
        pair
        for group, quota in zip(groups, quotas, strict=True)
        for pair in _within(group, str(words[group[0]]), quota, rng, disagreement)
    ]
    known = [Pair(a, b, "gold", "gold", answer) for a, b, answer in gold[:n_gold]]
    return _with_repeats([(fresh + known)[i] for i in rng.permutation(len(fresh) + n_gold)], n_repeats, rng)


def plan_between(
    n: int, n_pairs: int, rng: np.random.Generator, gold: Sequence[tuple[int, int, int]] = ()
) -> list[Pair]:
    """`n_pairs` pairs of a first model's samples, numbered from 0, with a second's, numbered from `n`, each in one pair.

    Known pairs and repeats are among them as in `plan`. Nothing is learned from such pairs, they say which model is preferred.

    Raises:
        ConfigError: there are too few samples for as many different pairs.

    Example:
        >>> pairs = plan_between(10, 10, np.random.default_rng(0))
        >>> all((pair.a < 10) != (pair.b < 10) for pair in pairs)
        True
    """
    n_gold, n_repeats = min(round(n_pairs * GOLD_SHARE), len(gold)), round(n_pairs * REPEAT_SHARE)
    n_fresh = n_pairs - n_gold - n_repeats
    if n_fresh > n:
        raise ConfigError(f"{n} samples of each model make {n} pairs, and {n_fresh} are wanted; draw more samples")
    first, second, swap = rng.permutation(n), n + rng.permutation(n), rng.random(n_fresh) < 0.5
    fresh = [
        Pair(int(b if turned else a), int(a if turned else b), "random", "between")
        for a, b, turned in zip(first, second, swap, strict=False)
    ]
    known = [Pair(a, b, "gold", "gold", answer) for a, b, answer in gold[:n_gold]]
    return _with_repeats([(fresh + known)[i] for i in rng.permutation(n_fresh + n_gold)], n_repeats, rng)


def _quotas(total: int, sizes: Sequence[int]) -> list[int]:
    """`total` shared out by sizes, in whole numbers that add up to it."""
    ends = np.round(np.cumsum([0, *sizes]) / max(sum(sizes), 1) * total).astype(int)
    return [int(quota) for quota in np.diff(ends)]


def _within(
    samples: Int64[np.ndarray, " k"], split: str, n: int, rng: np.random.Generator, disagreement: Disagreement | None
) -> list[Pair]:
    """`n` pairs of these samples, all of one split: half those of the largest disagreement, the rest at random."""
    rows, columns = np.triu_indices(len(samples), k=1)
    if len(rows) < n:
        raise ConfigError(
            f"{len(samples)} samples of the split {split} make {len(rows)} pairs, and {n} are wanted; draw more samples"
        )
    swap = rng.random(len(rows)) < 0.5
    everything = samples[np.stack([np.where(swap, columns, rows), np.where(swap, rows, columns)], axis=1)]
    n_chosen = n // 2 if disagreement is not None else 0
    order = rng.permutation(len(everything))
    drawn, rest = everything[order[: n - n_chosen]], everything[order[n - n_chosen :][:CANDIDATES]]
    pairs = [Pair(int(a), int(b), "random", split) for a, b in drawn]
    if disagreement is not None:
        best = rest[np.argsort(-_scores(disagreement, rest), kind="stable")[:n_chosen]]
        pairs += [Pair(int(a), int(b), "disagreement", split) for a, b in best]
    return pairs


def _scores(disagreement: Disagreement, pairs: Numbers) -> Float[np.ndarray, " n"]:
    scores = disagreement(pairs) if callable(disagreement) else disagreement[pairs[:, 0], pairs[:, 1]]
    if scores.shape != (len(pairs),) or not np.isfinite(scores).all():
        raise ConfigError(
            f"a disagreement is one finite number a pair, {len(pairs)} of them, got shape {scores.shape}; "
            "hand in a function of pairs or a matrix over all samples"
        )
    return scores


def _with_repeats(pairs: list[Pair], n_repeats: int, rng: np.random.Generator) -> list[Pair]:
    """Puts repeats of some of the pairs whose answer is not known further back, and numbers what they repeat."""
    open_ones = [i for i, pair in enumerate(pairs) if pair.gold is None]
    chosen = set(rng.permutation(open_ones)[:n_repeats].tolist())
    keys = [(float(i), None) for i in range(len(pairs))]
    again = [(float(rng.uniform(min(i + REPEAT_GAP, len(pairs)), len(pairs) + 1)), i) for i in sorted(chosen)]
    merged: list[tuple[float, int | None]] = sorted([*keys, *again], key=lambda entry: entry[0])
    place = {int(key): at for at, (key, repeated) in enumerate(merged) if repeated is None}
    return [
        pairs[int(key)] if repeated is None else replace(pairs[repeated], repeat_of=place[repeated])
        for key, repeated in merged
    ]
