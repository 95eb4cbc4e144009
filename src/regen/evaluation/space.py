"""One pass of an extractor feeds every figure of its feature space, and no figure is compared with one of another space.

A set of features knows which extractor made it and what its rows are. Sets of two extractors, or of two sizes, are refused.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from regen.core.errors import EvaluationError
from regen.evaluation.frechet import Gaussian, Thin
from regen.evaluation.moments import Moments, gathered, merged

CHUNK = 4096
"""Rows that moments are summed over at once, however they came, so that equal rows give equal bits."""


@dataclass(frozen=True)
class Judge:
    """Which extractor features come from."""

    name: str
    """Its name and version."""
    sha256: str
    """Of its weights."""

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:12]})"


@dataclass(frozen=True)
class Conditions:
    """Under what figures were measured: they compare only where all of it is the same."""

    judge: Judge
    reference: str
    """Digest of the real rows' features."""
    n: int
    """Rows of each side."""


@dataclass(frozen=True)
class FeatureSet:
    """Features of images as they come, batch by batch.

    All rows are kept, since neighbours and kernels need them. A set is a value: `update` and `merge` give new ones, which
    share the rows of the old. Equal rows in equal order are the same set to the last bit, however they were split.
    """

    judge: Judge
    parts: tuple[np.ndarray, ...] = ()  # of n d each

    def update(self, batch: Float[np.ndarray, "n d"]) -> "FeatureSet":
        """With one more batch.

        Raises:
            EvaluationError: a feature is not finite, or its width is not the others'.
        """
        if not np.isfinite(batch).all():
            raise EvaluationError(
                "the features hold NaN or infinity; look at the images or at the extractor's training"
            )
        return self.merge(replace(self, parts=(np.array(batch),)))

    def merge(self, other: "FeatureSet") -> "FeatureSet":
        """The rows of both, this set's first.

        Raises:
            EvaluationError: they come from two extractors.
        """
        _require_one_judge(self.judge, other.judge)
        if not (self.parts and other.parts):
            return self if self.parts else other
        widths = [side.parts[0].shape[1] for side in (self, other)]
        if widths[0] != widths[1]:
            raise EvaluationError(f"the parts have {widths[0]} and {widths[1]} features; use one extractor for both")
        return replace(self, parts=self.parts + other.parts)

    def across_processes(self) -> "FeatureSet":
        """The rows of all processes in the order of their ranks, the same set in each of them."""
        first, *others = gathered(replace(self))  # without what was computed and kept
        for one in others:
            first = first.merge(one)
        return first

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @cached_property
    def rows(self) -> np.ndarray:
        """All features, `n d`.

        Raises:
            EvaluationError: there are none.
        """
        if not self.parts:
            raise EvaluationError(f"no features of {self.judge} have come yet; add rows")
        return np.concatenate(self.parts)

    @cached_property
    def digest(self) -> str:
        """The sha256 of type, shape and rows."""
        head = f"{self.rows.dtype.str} {self.rows.shape}\n"
        return hashlib.sha256(head.encode() + np.ascontiguousarray(self.rows).tobytes()).hexdigest()

    @cached_property
    def moments(self) -> Moments:
        """Mean and scatter."""
        return merged(Moments.of(self.rows[start : start + CHUNK]) for start in range(0, len(self), CHUNK))

    @cached_property
    def summary(self) -> Gaussian | Thin:
        """What a Fréchet distance needs of the set; thin where there are fewer rows than features."""
        return Thin.fit(self.rows) if len(self) < self.rows.shape[1] else self.moments.gaussian()

    def against(self, reference: "FeatureSet") -> Conditions:
        """The conditions of figures of this set against a reference.

        Raises:
            EvaluationError: they come from two extractors, or differ in size.
        """
        _require_one_judge(reference.judge, self.judge)
        if len(self) != len(reference):
            raise EvaluationError(
                f"figures need as many fake rows as real ones, got {len(self)} and {len(reference)}; they shift with the "
                "number of rows, so cut the larger set"
            )
        return Conditions(self.judge, reference.digest, len(self))


def _require_one_judge(real: Judge, fake: Judge) -> None:
    if real != fake:
        raise EvaluationError(f"features of {real} and of {fake} cannot be compared; use one extractor for both")
