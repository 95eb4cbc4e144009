"""Mean and scatter of features that arrive in parts, kept centred and mergeable (Chan, Golub and LeVeque, 1979).

Sums of squares, from which n times the squared mean is taken at the end, lose every digit where the mean is large beside the
spread. Here each part is centred on its own mean, and two parts are joined by the square of what lies between their means.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch.distributed as dist
from jaxtyping import Float

from regen.core.errors import EvaluationError
from regen.evaluation.frechet import Gaussian

T = TypeVar("T")


@dataclass(frozen=True)
class Moments:
    """What a mean and a covariance need of any number of rows; equal up to rounding however the rows were split."""

    n: int
    mean: np.ndarray  # (d,)
    scatter: np.ndarray  # (d, d) sum of the outer products of the centred rows

    @classmethod
    def empty(cls, d: int) -> "Moments":
        """Of no rows yet."""
        return cls(0, np.zeros(d), np.zeros((d, d)))

    @classmethod
    def of(cls, batch: Float[np.ndarray, "n d"]) -> "Moments":
        """Of one batch, which may have no rows.

        Raises:
            EvaluationError: a feature is not finite.
        """
        if not np.isfinite(batch).all():
            raise EvaluationError(
                "the features hold NaN or infinity; look at the images or at the extractor's training"
            )
        if len(batch) == 0:
            return cls.empty(batch.shape[1])
        batch = batch.astype(np.float64, copy=False)
        centred = batch - (mean := batch.mean(axis=0))
        return cls(len(batch), mean, centred.T @ centred)

    def update(self, batch: Float[np.ndarray, "n d"]) -> "Moments":
        """With one more batch of rows."""
        return self.merge(Moments.of(batch))

    def merge(self, other: "Moments") -> "Moments":
        """Of the rows of both.

        Raises:
            EvaluationError: the two have different widths.

        Example:
            >>> one, two = Moments.of(np.array([[0.0], [2.0]])), Moments.of(np.array([[4.0]]))
            >>> one.merge(two)
            Moments(n=3, mean=array([2.]), scatter=array([[8.]]))
        """
        if self.mean.shape != other.mean.shape:
            raise EvaluationError(
                f"the parts have {len(self.mean)} and {len(other.mean)} features; use one extractor for both"
            )
        if self.n == 0 or other.n == 0:
            return other if self.n == 0 else self
        n, apart = self.n + other.n, other.mean - self.mean
        between = np.outer(apart, apart) * (self.n * other.n / n)
        return Moments(n, self.mean + apart * (other.n / n), self.scatter + other.scatter + between)

    def gaussian(self) -> Gaussian:
        """The sample mean and the unbiased sample covariance.

        Raises:
            EvaluationError: fewer than 2 rows.
        """
        if self.n < 2:
            raise EvaluationError(f"a covariance needs at least 2 rows of features, got {self.n}; add rows")
        return Gaussian(self.mean, self.scatter / (self.n - 1))

    def arrays(self) -> dict[str, np.ndarray]:
        """What `from_arrays` makes the same moments of, as numpy saves it."""
        return {"n": np.array(self.n), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Moments":
        """The inverse of `arrays`."""
        return cls(int(arrays["n"]), np.asarray(arrays["mean"]), np.asarray(arrays["scatter"]))


def merged(parts: Iterable[Moments]) -> Moments:
    """Of the rows of all parts, joined in their order, so that the same parts give the same bits."""
    first, *others = parts
    for one in others:
        first = first.merge(one)
    return first


def gathered(value: T) -> list[T]:
    """Every process's value, in the order of their ranks; the value alone where there is one process."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    everywhere: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everywhere, value)
    return everywhere
