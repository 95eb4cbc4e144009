"""Splits that are disjoint by construction: each distinct image has one digest, and the digest decides its split.

A row keeps its split when rows are added or removed, so what a champion was tested on never enters a later training.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64, UInt8

from regen.core import files
from regen.core.errors import DataError
from regen.core.sections.data import DataConfig

CHUNK = 4096
"""Images that are copied together."""
SPLITS = ("extractor", "validation", "test", "train")


def assign(digests: list[str], config: DataConfig, seed: int) -> list[str]:
    """The split of each row, from its digest and the seed alone; equal digests share a split."""
    bounds = np.cumsum([config.extractor_share, config.validation_share, config.test_share])
    numbers = np.array([uniform(digest, seed) for digest in digests], np.float64)
    return [SPLITS[place] for place in np.searchsorted(bounds, numbers, side="right").tolist()]


def uniform(digest: str, seed: int) -> float:
    """A number in [0, 1) that the digest and the seed decide.

    Example:
        >>> uniform("ab", seed=0) == uniform("ab", seed=0) != uniform("ab", seed=1)
        True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{digest}".encode()).digest()[:6]) / 2**48


@dataclass(frozen=True)
class Dataset:
    """Distinct, valid images with their splits."""

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int64[np.ndarray, " n"]
    split: np.ndarray  # (n,) of names in SPLITS
    anomaly_class: int | None
    class_names: Mapping[int, str] = field(default_factory=dict)
    """What people call a label; `name` gives the number where nothing stands here."""

    @classmethod
    def build(
        cls,
        images: UInt8[np.ndarray, "n h w c"],
        labels: Int64[np.ndarray, " n"],
        table: pd.DataFrame,
        config: DataConfig,
        seed: int,
        *,
        names: Mapping[int, str] | None = None,
        into: Path | None = None,
    ) -> "Dataset":
        """Drops the rows that `table` calls duplicates, then splits the rest.

        Args:
            names: what people call each label.
            into: a file for the images that are kept, which are then read from there; in memory without it.

        Raises:
            DataError: a split would be empty, or the anomaly class is not among the labels.
        """
        kept = ~table["duplicate"].to_numpy()
        split = np.array(assign(table["sha256"][kept].tolist(), config, seed))
        if config.anomaly_class is not None and not (labels[kept] == config.anomaly_class).any():
            raise DataError(
                f"data.anomaly_class is {config.anomaly_class}, but the classes are {sorted(set(labels.tolist()))}"
            )
        empty = [name for name in SPLITS if not (split == name).any()]
        if empty:
            shares = "lower the other shares" if empty[0] == "train" else f"raise data.{empty[0]}_share"
            raise DataError(f"no rows fall to {', '.join(empty)}; add rows or {shares}")
        chosen = images[kept] if into is None else _write(into, images, np.flatnonzero(kept))
        return cls(chosen, labels[kept], split, config.anomaly_class, dict(names or {}))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width, as the networks want them."""
        h, w, c = self.images.shape[1:]
        return int(c), int(h), int(w)

    @property
    def is_anomaly(self) -> Bool[np.ndarray, " n"]:
        """Whether a row belongs to the class that counts as the anomaly."""
        if self.anomaly_class is None:
            return np.zeros(len(self.labels), bool)
        found: np.ndarray = self.labels == self.anomaly_class
        return found

    def name(self, label: int) -> str:
        """What people call the class."""
        return self.class_names.get(label, str(label))

    def rows(self, split: str, *, normal_only: bool = False) -> Int64[np.ndarray, " m"]:
        """The numbers of a split's rows, without the anomaly class if `normal_only`."""
        chosen = self.split == split
        return np.flatnonzero(chosen & ~self.is_anomaly if normal_only else chosen)

    def pixels(self, split: str, *, normal_only: bool = False) -> UInt8[np.ndarray, "m h w c"]:
        """A split's images."""
        return np.asarray(self.images[self.rows(split, normal_only=normal_only)])

    def save(self, folder: Path) -> None:
        """Writes images.npy, rows.csv and dataset.json into an existing folder."""
        mapped, target = getattr(self.images, "filename", None), folder / "images.npy"
        if mapped is None or not target.exists() or not target.samefile(mapped):  # else they lie there already
            _write(target, self.images, np.arange(len(self.images)))
        pd.DataFrame({"label": self.labels, "split": self.split}).to_csv(folder / "rows.csv", index_label="row")
        counts = {name: int((self.split == name).sum()) for name in SPLITS}
        names = {str(label): name for label, name in self.class_names.items()}
        meta = {"anomaly_class": self.anomaly_class, "rows": counts, "class_names": names}
        files.write_json(folder / "dataset.json", meta)

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Reads what `save` wrote; the images are a read-only memory map, of which rows are read as they are asked for."""
        table = pd.read_csv(folder / "rows.csv")
        meta = files.read_json(folder / "dataset.json")
        return cls(
            np.load(folder / "images.npy", mmap_mode="r"),
            table["label"].to_numpy(np.int64),
            table["split"].to_numpy(str),
            meta["anomaly_class"],
            {int(label): name for label, name in meta["class_names"].items()},
        )


def _write(
    path: Path, images: UInt8[np.ndarray, "n h w c"], rows: Int64[np.ndarray, " m"]
) -> UInt8[np.ndarray, "m h w c"]:
    """Writes these rows, a chunk at a time, and gives them back as a read-only memory map."""
    shape = (len(rows), *images.shape[1:])
    with files.replacing(path) as temporary:
        written = np.lib.format.open_memmap(temporary, mode="w+", dtype=images.dtype, shape=shape)
        for at in range(0, len(rows), CHUNK):
            written[at : at + CHUNK] = images[rows[at : at + CHUNK]]
        written.flush()
    mapped: np.ndarray = np.load(path, mmap_mode="r")
    return mapped


def unit_interval(images: UInt8[np.ndarray, "n h w c"]) -> Float64[np.ndarray, "n d"]:
    """Flattened pixels in [0, 1], for methods that take vectors."""
    return images.reshape(len(images), -1) / 255.0
