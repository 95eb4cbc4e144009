"""What a set of figures was measured against: which extractor, which rows, how many, and their statistics.

A Fréchet distance falls with the number of rows and means nothing outside its space, so distances compare only where the
extractor's weights, the rows and their number are the same.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import UInt8

from regen.core import files
from regen.core.errors import DataError, EvaluationError
from regen.evaluation.frechet import Features, Gaussian


@dataclass(frozen=True)
class Reference:
    """Reference rows as an extractor sees them."""

    extractor: str
    """Its registered name."""
    version: int
    sha256: str
    """Of its weights."""
    rows: str
    """Digest of the rows' pixels."""
    n: int
    statistics: Gaussian

    @classmethod
    def of(
        cls, extractor: str, version: int, sha256: str, pixels: UInt8[np.ndarray, "n h w c"], features: Features
    ) -> "Reference":
        """The reference that these rows make."""
        return cls(extractor, version, sha256, digest(pixels), len(pixels), Gaussian.fit(features))

    @property
    def name(self) -> dict[str, str | int]:
        """What stands beside each set of figures."""
        return {
            "extractor": self.extractor, "version": self.version, "sha256": self.sha256, "rows": self.rows, "n": self.n,
        }  # fmt: skip

    def save(self, folder: Path, stem: str = "reference") -> None:
        """Writes STEM.npz, mean and covariance, and STEM.json, all else."""
        with files.replacing(folder / f"{stem}.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, mean=self.statistics.mean, covariance=self.statistics.covariance)
        files.write_json(folder / f"{stem}.json", self.name)

    @classmethod
    def load(cls, folder: Path, stem: str = "reference") -> "Reference":
        """Reads what `save` wrote.

        Raises:
            DataError: a file is missing or damaged.
        """
        try:
            with np.load(folder / f"{stem}.npz") as held:
                statistics = Gaussian(held["mean"], held["covariance"])
            return cls(**files.read_json(folder / f"{stem}.json"), statistics=statistics)
        except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(
                f"the reference {folder / stem} cannot be read ({reason}); remove it and run 'regen stage evaluate'"
            ) from error


def digest(pixels: UInt8[np.ndarray, "n h w c"]) -> str:
    """The sha256 of the rows' shape and pixels, in their order."""
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def require_comparable(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Refuses to compare figures that were measured against different references.

    Args:
        one: what `Reference.name` gives, as `judged_by` in evaluation.json holds it.
        other: the same of the other figures.

    Raises:
        EvaluationError: the extractor's weights, the number of rows or the rows themselves differ.
    """
    wayout = "measure both again on the same rows: 'regen evaluate MODEL --against MODEL'"
    if one["sha256"] != other["sha256"]:
        met = " and ".join(f"{who['extractor']} {who['version']} ({who['sha256'][:8]})" for who in (one, other))
        raise EvaluationError(f"the figures are from the spaces of two extractors, {met}; {wayout}")
    if one["n"] != other["n"]:
        raise EvaluationError(
            f"the figures are measured on {one['n']} and {other['n']} rows, and a distance falls with their number; {wayout}"
        )
    if one["rows"] != other["rows"]:
        raise EvaluationError(
            f"the figures are measured against other rows ({one['rows'][:8]} and {other['rows'][:8]}); {wayout}"
        )
