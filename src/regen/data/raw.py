"""What a source hands out, and what it is handed: images with their classes, and where it may look and write."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from regen.core.workspace import Workspace

PLAIN_SECONDS = 10.0
"""Seconds between two lines about long work."""


@dataclass(frozen=True)
class RawImages:
    """Images as a source hands them out."""

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int64[np.ndarray, " n"]
    classes: tuple[int, ...]
    """The labels there may be."""
    shape: tuple[int, int, int]
    """Height, width and channels that every image should have."""
    origin: str
    """Where they come from, for the manifest and the model card."""
    class_names: tuple[str, ...] = ()
    """What people call the classes, in their order; the numbers themselves where nothing else is told."""
    quarantined: tuple[tuple[str, str], ...] = ()
    """Files that gave no image, each with the reason."""
    paths: tuple[str, ...] = ()
    """The file of each image, inside the folder that was read; empty where images come from no files of their own."""
    ignored: int = 0
    """How many files of the source were no images by their ending."""

    def __post_init__(self) -> None:
        if not self.class_names:
            object.__setattr__(self, "class_names", tuple(map(str, self.classes)))


def tell(text: str) -> None:
    """Prints a line to standard error."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Place:
    """Where a source finds and leaves files, and whom it tells of long work."""

    root: Path = Path()
    """What relative paths of the project file are relative to."""
    scratch: Path | None = None
    """A folder for images while they are read, removed afterwards; without it they are kept in memory."""
    say: Callable[[str], None] = tell

    @property
    def downloads(self) -> Path:
        """Where downloads are kept; what lies here can be removed at any time."""
        return Workspace(self.root).state / "downloads"

    def resolve(self, path: str) -> Path:
        """The path that a project file means: absolute, from the home folder, or relative to the root."""
        return self.root / Path(path).expanduser()


def spread(n: int, most: int | None) -> Int64[np.ndarray, " m"]:
    """The numbers of at most `most` rows, spread evenly over `n`.

    Example:
        >>> spread(10, most=4).tolist()
        [0, 2, 5, 7]
    """
    if most is None or most >= n:
        return np.arange(n)
    return np.arange(most) * n // most
