"""One pass of an extractor feeds every figure of its feature space, and no figure is compared with one of other conditions.

A set of features knows which extractor made it and what its rows are; figures know that too, and of how many rows they are,
since most of them shift with it. What differs in any of these is refused, not compared.
"""

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64

from regen.core import files
from regen.core.errors import DataError, EvaluationError
from regen.evaluation import kernel
from regen.evaluation.diversity import NEIGHBOURS, Neighbourhoods
from regen.evaluation.frechet import (
    ByClass,
    Gaussian,
    Thin,
    frechet_at_infinity,
    frechet_by_class,
    frechet_distance,
)
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
    """Under what a figure was measured; figures compare only where all of it is the same."""

    judge: Judge
    reference: str
    """Digest of the real rows' features."""
    n: int
    """Rows of each side."""

    def __str__(self) -> str:
        return f"{self.judge.name}, n = {self.n}"


@dataclass(frozen=True)
class FeatureSet:
    """Features of images as they come, batch by batch, with the images' classes where they are known.

    All rows are kept, since neighbours and kernels need them. A set is a value: `update` and `merge` give new ones, which
    share the rows of the old. Equal rows in equal order are the same set to the last bit, however they were split.
    """

    judge: Judge
    parts: tuple[np.ndarray, ...] = ()  # of n d each
    label_parts: tuple[np.ndarray, ...] = ()  # of n each, or none at all

    def update(self, batch: Float[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"] | None = None) -> "FeatureSet":
        """With one more batch.

        Raises:
            EvaluationError: a feature is not finite, its width is not the others', or some rows have a label and some not.
        """
        if not np.isfinite(batch).all():
            raise EvaluationError(
                "the features hold NaN or infinity; look at the images or at the extractor's training"
            )
        if labels is not None and len(labels) != len(batch):
            raise EvaluationError(f"{len(batch)} rows have {len(labels)} labels; give one label a row")
        new = () if labels is None else (np.array(labels, np.int64),)
        return self.merge(replace(self, parts=(np.array(batch),), label_parts=new))

    def merge(self, other: "FeatureSet") -> "FeatureSet":
        """The rows of both, this set's first.

        Raises:
            EvaluationError: they come from two extractors, or one has labels and the other has none.
        """
        _require_one_judge(self.judge, other.judge)
        if not (self.parts and other.parts):
            return self if self.parts else other
        widths = [side.parts[0].shape[1] for side in (self, other)]
        if widths[0] != widths[1]:
            raise EvaluationError(f"the parts have {widths[0]} and {widths[1]} features; use one extractor for both")
        if bool(self.label_parts) != bool(other.label_parts):
            raise EvaluationError("some rows have labels and some have none; give labels to all of them or to none")
        return replace(self, parts=self.parts + other.parts, label_parts=self.label_parts + other.label_parts)

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
    def labels(self) -> np.ndarray | None:
        """All classes, `n`; None where they are not known."""
        return np.concatenate(self.label_parts) if self.label_parts else None

    @cached_property
    def digest(self) -> str:
        """The sha256 of type, shape and rows."""
        return digest_of({"rows": self.rows})

    @cached_property
    def moments(self) -> Moments:
        """Mean and scatter."""
        return merged(Moments.of(self.rows[start : start + CHUNK]) for start in range(0, len(self), CHUNK))

    @cached_property
    def summary(self) -> Gaussian | Thin:
        """What a Fréchet distance needs of the set; thin where there are fewer rows than features."""
        return Thin.fit(self.rows) if len(self) < self.rows.shape[1] else self.moments.gaussian()

    def against(self, reference: "FeatureSet | Reference") -> Conditions:
        """The conditions of figures of this set against a reference.

        Raises:
            EvaluationError: they come from two extractors, or differ in size.
        """
        _require_one_judge(reference.judge, self.judge)
        n = len(reference) if isinstance(reference, FeatureSet) else reference.n
        if len(self) != n:
            raise EvaluationError(
                f"figures need as many fake rows as real ones, got {len(self)} and {n}; they shift with the number of "
                "rows, so cut the larger set"
            )
        return Conditions(self.judge, reference.digest, n)


def _require_one_judge(real: Judge, fake: Judge) -> None:
    if real != fake:
        raise EvaluationError(f"features of {real} and of {fake} cannot be compared; use one extractor for both")


def digest_of(arrays: dict[str, np.ndarray]) -> str:
    """The sha256 of arrays' names, types, shapes and values, in hex."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


@dataclass(frozen=True)
class SpaceFigures:
    """What one set of samples comes to in one feature space."""

    conditions: Conditions
    frechet: float
    frechet_at_infinity: float | None
    """None where there are too few rows for it."""
    kid: float
    precision: float
    recall: float
    density: float
    coverage: float
    by_class: ByClass | None
    """None where classes are not known."""

    def __str__(self) -> str:
        return f"FD[{self.conditions}] = {self.frechet:.4g}"


def measure_space(real: FeatureSet, fake: FeatureSet, k: int = NEIGHBOURS, seed: int = 0) -> SpaceFigures:
    """Every figure of a feature space, on the same rows.

    Args:
        k: neighbours that precision, recall, density and coverage reach to.
        seed: of the subsets that lead to FD∞.

    Raises:
        EvaluationError: the sets come from two extractors, differ in size, or are too small.
    """
    conditions = fake.against(real)
    n, d = real.rows.shape
    near = Neighbourhoods.of(real.rows, fake.rows, k)
    by_class = None
    if real.labels is not None and fake.labels is not None:
        by_class = frechet_by_class(real.rows, real.labels, fake.rows, fake.labels)
    return SpaceFigures(
        conditions,
        frechet_distance(real.summary, fake.summary),
        frechet_at_infinity(real.rows, fake.rows, seed=seed) if n >= max(3 * d, 20) else None,
        kernel.kernel_distance(real.rows, fake.rows),
        near.precision, near.recall, near.density, near.coverage,
        by_class,
    )  # fmt: skip


def require_comparable(one: Conditions, other: Conditions) -> None:
    """Refuses to compare two figures that were measured under different conditions.

    Raises:
        EvaluationError: another extractor, other real rows, or another number of rows.
    """
    _require_one_judge(one.judge, other.judge)
    if one.n != other.n:
        raise EvaluationError(
            f"figures of {one.n} and of {other.n} rows cannot be compared, since they shift with the number of rows; "
            "measure both on as many"
        )
    if one.reference != other.reference:
        raise EvaluationError(
            f"figures against the real rows {one.reference[:12]} and {other.reference[:12]} cannot be compared; "
            "measure both against the same rows"
        )


@dataclass(frozen=True)
class Reference:
    """The real rows' side of a Fréchet distance, computed once and kept: many sets of samples are measured against it."""

    judge: Judge
    digest: str
    """Of the rows' features."""
    n: int
    summary: Gaussian | Thin

    @classmethod
    def of(cls, real: FeatureSet) -> "Reference":
        """With the factor computed."""
        assert real.summary.factor is not None
        return cls(real.judge, real.digest, len(real), real.summary)

    def distance(self, fake: FeatureSet) -> float:
        """The Fréchet distance of samples; lower is better.

        Raises:
            EvaluationError: the samples come from another extractor, or are not as many as the reference's rows.
        """
        fake.against(self)
        return frechet_distance(self.summary, fake.summary)

    def save(self, path: Path) -> None:
        """Writes one .npz file whole, with a digest of all that is in it."""
        arrays = {"mean": self.summary.mean, "factor": self.summary.factor}
        if isinstance(self.summary, Gaussian):
            arrays["covariance"] = self.summary.covariance
        about = json.dumps({**asdict(self.judge), "digest": self.digest, "n": self.n}, sort_keys=True)
        arrays["about"] = np.frombuffer(about.encode(), np.uint8)
        arrays["seal"] = np.frombuffer(digest_of(arrays).encode(), np.uint8)
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Reference":
        """What `save` wrote.

        Raises:
            DataError: the file is missing, damaged, or holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as opened:
                arrays = dict(opened)
            seal = arrays.pop("seal").tobytes().decode()
            about = json.loads(arrays["about"].tobytes())
            judge = Judge(about["name"], about["sha256"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(f"the reference in {path} cannot be loaded ({reason}); make it anew") from error
        if digest_of(arrays) != seal:
            raise DataError(f"the reference in {path} does not match its digest {seal[:12]}; make it anew")
        mean, factor = arrays["mean"], arrays["factor"]
        whole = arrays.get("covariance")
        summary = Thin(mean, factor) if whole is None else Gaussian.factored(mean, whole, factor)
        return cls(judge, about["digest"], about["n"], summary)
