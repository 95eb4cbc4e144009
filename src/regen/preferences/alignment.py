"""Whether a tuned model may be promoted: pure functions from figures to a verdict with its ledger.

All must hold: people prefer it to the base, no best-of-n sampling of the base does as well at the same distance, the distance
is within its budget, the classes keep near their declared shares, and unacceptable samples are rare.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from regen.core.errors import EvaluationError
from regen.core.sections.alignment import AlignConfig
from regen.evaluation.gate import Check, Decision, Verdict
from regen.evaluation.intervals import Estimate, Replicated

Shares = Float64[np.ndarray, " c"]
CONFIDENCE = 0.95
PERMUTATIONS = 1000
LEAST_P = 0.05
"""A shift of the classes that chance alone makes more often than this passes."""


def win_rate(
    wins: Sequence[Float[np.ndarray, " n"]], draws: int, seed: int, confidence: float = CONFIDENCE
) -> Estimate:
    """The mean of wins (1), ties (½) and losses (0); its interval resamples clusters, then the votes within each.

    Args:
        wins: one array a cluster: a training's seed, or a person, whose votes are more alike than others'.

    Raises:
        EvaluationError: there is no cluster, or one is empty.

    Example:
        >>> win_rate([np.ones(50), np.ones(50)], draws=100, seed=0)
        Estimate(value=1.0, low=1.0, high=1.0)
    """
    if not wins or any(len(one) == 0 for one in wins):
        raise EvaluationError(
            f"a win rate needs votes in every cluster, got {[len(one) for one in wins]}; leave empty ones out"
        )
    rng = np.random.default_rng(seed)

    def resample() -> float:
        chosen = (wins[place] for place in rng.integers(len(wins), size=len(wins)))
        return float(np.concatenate([one[rng.integers(len(one), size=len(one))] for one in chosen]).mean())

    replicates = np.array([resample() for _ in range(draws)])
    return Replicated(float(np.concatenate(list(wins)).mean()), replicates).estimate(confidence)


@dataclass(frozen=True)
class Point:
    """Where a way of sampling stands: how much it is liked, and how far it is from the data."""

    win_rate: float
    """Over the base."""
    distance: float
    """Fréchet distance."""


def is_dominated(tuned: Point, base: Point, best_of: Sequence[Point]) -> bool:
    """Whether picking the best of n of the base's samples, at the tuned model's distance, is liked at least as much.

    What best-of-n reaches between the given numbers is interpolated along the distance; beyond the last it stays.

    Example:
        >>> base, best_of_4 = Point(0.5, 10.0), Point(0.8, 20.0)
        >>> [is_dominated(Point(rate, 15.0), base, [best_of_4]) for rate in (0.6, 0.7)]
        [True, False]
    """
    frontier = sorted([base, *best_of], key=lambda point: (point.distance, point.win_rate))
    rates = np.maximum.accumulate([point.win_rate for point in frontier])
    reached = np.interp(
        tuned.distance, [point.distance for point in frontier], rates, left=-np.inf, right=float(rates[-1])
    )
    return bool(tuned.win_rate <= reached)


@dataclass(frozen=True)
class Bias:
    """How far the classes of a model's samples are from what was declared."""

    shares: tuple[float, ...]
    """Of each class, the classifier's mistakes corrected."""
    shift: float
    """Total variation to the declared shares: 0 for equal, 1 for none in common."""
    entropy: float
    """Of the shares, over that of equal ones: 1 where all classes are as frequent, 0 where there is one."""
    p_value: float
    """How often samples that differ from the base's by chance alone shift at least as much beyond the base's."""


def measure_bias(
    tuned: Int64[np.ndarray, " n"],
    base: Int64[np.ndarray, " m"],
    declared: Shares,
    confusion: Float64[np.ndarray, "c c"],
    seed: int,
) -> Bias:
    """The classes' shares among the tuned model's samples against the declared ones.

    The null is that tuned and base samples are exchangeable: their predicted classes are dealt out anew between the two.

    Args:
        tuned: a classifier's class of each tuned sample.
        base: the same of the base's.
        confusion: row i holds the chances that a row of true class i is taken for each class.

    Raises:
        EvaluationError: the declared shares do not add up to 1 or the shapes do not fit.

    Example:
        >>> tuned = base = np.repeat([0, 1], 50)
        >>> measure_bias(tuned, base, np.array([0.5, 0.5]), np.eye(2), seed=0).shift
        0.0
    """
    if confusion.shape != (len(declared), len(declared)):
        raise EvaluationError(
            f"{len(declared)} declared classes need a confusion matrix of as many rows and columns, got {confusion.shape}"
        )
    if abs(declared.sum() - 1) > 1e-6 or (declared < 0).any():
        raise EvaluationError(f"declared shares are not negative and add up to 1, got a sum of {declared.sum():g}")

    counts = [np.bincount(some, minlength=len(declared)) for some in (tuned, base)]

    def shift_of(some: Int64[np.ndarray, " c"]) -> float:
        return total_variation(corrected_shares(some, confusion), declared)

    def excess(of_tuned: Int64[np.ndarray, " c"]) -> float:
        return shift_of(of_tuned) - shift_of(counts[0] + counts[1] - of_tuned)

    dealt = np.random.default_rng(seed).multivariate_hypergeometric(counts[0] + counts[1], len(tuned), PERMUTATIONS)
    as_large = sum(excess(one) >= excess(counts[0]) - 1e-12 for one in dealt)
    shares = corrected_shares(counts[0], confusion)
    return Bias(
        tuple(shares.tolist()), shift_of(counts[0]), normalised_entropy(shares), (1 + as_large) / (1 + PERMUTATIONS)
    )


def total_variation(one: Shares, other: Shares) -> float:
    """Half the summed differences of two sets of shares; 0 for equal ones, 1 for none in common."""
    return float(np.abs(one - other).sum() / 2)


def normalised_entropy(shares: Shares) -> float:
    """The entropy of shares over the largest there could be; 1 for a single class.

    Example:
        >>> normalised_entropy(np.array([0.25, 0.25, 0.25, 0.25]))
        1.0
    """
    if len(shares) < 2:
        return 1.0
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum() / np.log(len(shares))) + 0.0


def corrected_shares(counts: Int64[np.ndarray, " c"], confusion: Float64[np.ndarray, "c c"]) -> Shares:
    """The shares of true classes that best explain how often each was predicted: non-negative least squares, of sum 1.

    Example:
        >>> confusion = np.array([[1.0, 0.0], [0.5, 0.5]])  # half of the ones are taken for zeros
        >>> corrected_shares(np.array([3, 1]), confusion).tolist()
        [0.5, 0.5]
    """
    from scipy.optimize import nnls

    met = counts / max(counts.sum(), 1)
    found, _ = nnls(confusion.T, met)
    shares: Shares = found / found.sum() if found.sum() > 0 else met
    return shares


def confusion_matrix(true: Int64[np.ndarray, " n"], predicted: Int64[np.ndarray, " n"], n_classes: int) -> np.ndarray:
    """The chances that a row of each true class is taken for each class, from labelled rows; (c, c).

    A class without rows is taken to be recognised always.

    Example:
        >>> confusion_matrix(np.array([0, 0]), np.array([0, 1]), 2).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
    """
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (true, predicted), 1)
    seen = counts.sum(axis=1, keepdims=True)
    found: np.ndarray = np.where(seen > 0, counts / np.maximum(seen, 1), np.eye(n_classes))
    return found


@dataclass(frozen=True)
class Safety:
    """How many samples are unacceptable."""

    unacceptable: int
    n: int

    @property
    def rate(self) -> float:
        """Their share."""
        return self.unacceptable / self.n

    @property
    def upper(self) -> float:
        """The share that their true one lies under with 95 % confidence."""
        return clopper_pearson_upper(self.unacceptable, self.n)

    @classmethod
    def of(cls, unacceptable: Bool[np.ndarray, " n"]) -> "Safety":
        """Counts them.

        Raises:
            EvaluationError: there are no samples.
        """
        if len(unacceptable) == 0:
            raise EvaluationError("a rate of unacceptable samples needs samples, got none; draw some")
        return cls(int(unacceptable.sum()), len(unacceptable))


def clopper_pearson_upper(hits: int, n: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided exact upper bound of a binomial share (Clopper and Pearson, 1934).

    Example:
        >>> round(clopper_pearson_upper(0, 3000), 6)  # the rule of three: about 3/n
        0.000998
    """
    from scipy.stats import beta

    if not 0 <= hits <= n or n < 1:
        raise EvaluationError(f"a share is of 0 to n of n ≥ 1 samples, got {hits} of {n}")
    return 1.0 if hits == n else float(beta.ppf(confidence, hits + 1, n - hits))


@dataclass(frozen=True)
class Evidence:
    """What was measured of a tuned model and of its base."""

    win_rate: Estimate
    """Of the tuned model's samples over the base's."""
    tuned: Point
    base: Point
    best_of: Mapping[int, Point]
    """Best-of-n sampling of the base, by n."""
    bias: Bias
    safety: Safety
    base_safety: Safety


def decide(evidence: Evidence, config: AlignConfig) -> Verdict:
    """PROMOTE only if every guard holds; HOLD where people's liking alone is not shown, else REJECT."""
    checks = tuple(guard(evidence, config) for guard in GUARDS)
    failed = [check for check in checks if not check.passed]
    reasons = tuple(f"{check.kind} not met: {check}" for check in failed)
    if not failed:
        return Verdict(Decision.PROMOTE, (f"preferred to the base: {evidence.win_rate}",), checks)
    short = {check.metric for check in failed} <= {"win_rate"}
    return Verdict(Decision.HOLD if short else Decision.REJECT, reasons, checks)


def _is_preferred(evidence: Evidence, config: AlignConfig) -> Check:
    met, floor = evidence.win_rate, config.win_rate_floor
    passed = met.is_finite and met.low > floor
    return Check("primary", "win_rate", f"a lower bound above {floor:g}", str(met), passed)


def _beats_best_of_n(evidence: Evidence, config: AlignConfig) -> Check:
    dominated = is_dominated(evidence.tuned, evidence.base, list(evidence.best_of.values()))
    met = f"{evidence.tuned.win_rate:.3f} at {evidence.tuned.distance:.4g}, where " + ", ".join(
        f"best of {n} is {point.win_rate:.3f} at {point.distance:.4g}" for n, point in sorted(evidence.best_of.items())
    )
    return Check("guard", "best_of_n", "more wins than best-of-n at the same distance", met, not dominated)


def _keeps_its_distance(evidence: Evidence, config: AlignConfig) -> Check:
    most = config.frechet_factor * evidence.base.distance
    wanted = f"at most {most:.4g}, {config.frechet_factor:g} times the base's (align.frechet_factor)"
    met = evidence.tuned.distance
    return Check("floor", "frechet_distance_against_base", wanted, f"{met:.4g}", bool(met <= most))


def _keeps_its_classes(evidence: Evidence, config: AlignConfig) -> Check:
    bias = evidence.bias
    wanted = f"a shift of at most {config.bias_tolerance:g}, or one that chance explains"
    met = f"{bias.shift:.3f} (p = {bias.p_value:.3f}, entropy {bias.entropy:.3f})"
    return Check("guard", "bias", wanted, met, bias.shift <= config.bias_tolerance or bias.p_value >= LEAST_P)


def _is_acceptable(evidence: Evidence, config: AlignConfig) -> Check:
    safety, before = evidence.safety, evidence.base_safety
    wanted = f"an upper bound of at most {config.unsafe_most:.2%}, and no more than the base's {before.upper:.2%}"
    met = f"{safety.unacceptable} of {safety.n}, at most {safety.upper:.2%}"
    passed = safety.upper <= config.unsafe_most and safety.rate <= before.upper
    return Check("guard", "unacceptable", wanted, met, passed)


GUARDS: tuple[Callable[[Evidence, AlignConfig], Check], ...] = (
    _is_preferred, _beats_best_of_n, _keeps_its_distance, _keeps_its_classes, _is_acceptable,
)  # fmt: skip
"""Every guard a tuned model must pass, in the ledger's order."""
