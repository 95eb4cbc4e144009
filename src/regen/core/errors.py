"""Every error that Regen raises on purpose; each tells what was met, what was wanted, and the way out.

RegenError
├── ConfigError         the project file says something that cannot be used
├── DataError           data is missing, unreadable or damaged
│   ├── TooFewVotesError    a reward cannot be learned from so few
│   ├── ValidationError     rows fail their schema; `failures` lists each row and check
│   └── StaleDataError      data/ and data.dvc disagree
├── DeviceError         the device that was asked for is not there
├── TrainingError       training cannot go on
│   ├── DivergenceError     a loss or a gradient is not finite
│   ├── CollapseError       the GAN's samples have lost their diversity
│   └── KilledError         the training process was killed; a rerun goes on from its last checkpoint
├── EvaluationError     a figure cannot be computed from what was given
├── StorageError        a disk is full, read-only or otherwise refuses a write
└── RegistryError       the tracking store or the model registry refuses or is out of reach
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EACCES, EDQUOT, EEXIST, ENOSPC, ENOTDIR, EPERM, EROFS


class RegenError(Exception):
    """The root: catching it catches every failure that Regen foresees."""


class ConfigError(RegenError):
    """The project file says something that cannot be used."""


class DataError(RegenError):
    """Data is missing, unreadable or damaged."""


@dataclass(frozen=True)
class Failure:
    """One row that failed one check."""

    row: int | None
    """Row number in the data, from 0; None when the check is about the whole table."""
    check: str
    """What was wanted."""
    value: str
    """What was met."""

    def __str__(self) -> str:
        where = "the whole set" if self.row is None else f"row {self.row}"
        return f"{where}: wanted {self.check}, got {self.value}"


class ValidationError(DataError):
    """Rows fail their schema."""

    def __init__(self, message: str, failures: tuple[Failure, ...] = ()) -> None:
        super().__init__(message)
        self.failures = failures


class TooFewVotesError(DataError):
    """A reward cannot be learned from so few votes."""


class StaleDataError(DataError):
    """data/ and data.dvc disagree."""


class DeviceError(RegenError):
    """The device that was asked for is not there."""


class TrainingError(RegenError):
    """Training cannot go on."""


class DivergenceError(TrainingError):
    """A loss or a gradient is not finite."""


class CollapseError(TrainingError):
    """The GAN's samples have lost their diversity."""


class KilledError(TrainingError):
    """The training process was killed; a rerun goes on from its last checkpoint."""


class EvaluationError(RegenError):
    """A figure cannot be computed from what was given."""


class StorageError(RegenError):
    """A disk is full, read-only or otherwise refuses a write."""


class RegistryError(RegenError):
    """The tracking store or the model registry refuses or is out of reach."""


BY_NAME: dict[str, type[RegenError]] = {
    kind.__name__: kind
    for kind in (
        RegenError, ConfigError, DataError, TooFewVotesError, ValidationError, StaleDataError, DeviceError,
        TrainingError, DivergenceError, CollapseError, KilledError, EvaluationError, StorageError, RegistryError,
    )
}  # fmt: skip
"""The tree by name, so that an error can cross from one process to another."""


WRITE_REFUSALS = {
    ENOSPC: "the disk is full; free some space",
    EDQUOT: "the disk quota is used up; free some space",
    EROFS: "the file system is read-only; mount it for writing, or work in another folder",
    EACCES: "permission was denied; give yourself write access, or work in another folder",
    ENOTDIR: "a file stands where a folder should be; move it away",
    EEXIST: "a file stands where a folder should be; move it away",
    EPERM: "the operation is not permitted; give yourself write access, or work in another folder",
}


@contextmanager
def writes_to(what: object) -> Iterator[None]:
    """Turns an operating system's refusal to write `what` into a StorageError that says the way out."""
    try:
        yield
    except OSError as error:
        if error.errno not in WRITE_REFUSALS:
            raise
        raise StorageError(f"cannot write {what}: {WRITE_REFUSALS[error.errno]}, then run the command again") from error
