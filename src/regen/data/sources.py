"""Sources: each materialises a folder of images, labels and a manifest, the same bytes every time.

The folder holds `images.npy` (uint8, `n h w c`, 0 to 255), `labels.npy` (int64, `n`) and `manifest.json`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from regen.core import files
from regen.core.errors import DataError

FILES = ("images.npy", "labels.npy", "manifest.json")


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


def digits() -> RawImages:
    """1,797 handwritten digits of 8×8 pixels (Alpaydin and Kaynak, UCI, 1998), which scikit-learn ships; 17 grey levels."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    images = np.round(scans.images * (255 / 16)).astype(np.uint8)[..., None]
    return RawImages(
        images,
        scans.target.astype(np.int64),
        classes=tuple(range(10)),
        shape=(8, 8, 1),
        origin="UCI Optical Recognition of Handwritten Digits, through scikit-learn",
    )


SOURCES: dict[str, Callable[[], RawImages]] = {"digits": digits}
"""Every source by the name that `data.source` gives it."""


def materialise(source: str, folder: Path) -> None:
    """Writes the source's files to `folder`, whole or not at all."""
    raw = SOURCES[source]()
    with files.replacing_folder(folder) as temporary:
        np.save(temporary / "images.npy", raw.images)
        np.save(temporary / "labels.npy", raw.labels)
        manifest = {
            "source": source,
            "origin": raw.origin,
            "count": len(raw.images),
            "shape": list(raw.shape),
            "classes": list(raw.classes),
            "sha256": {name: files.sha256(temporary / name) for name in FILES[:2]},
        }
        files.write_json(temporary / "manifest.json", manifest)


def read(folder: Path) -> RawImages:
    """The images in `folder`, their files checked against the manifest.

    Raises:
        DataError: a file is missing, unreadable, or not what the manifest says.
    """
    back = "run 'regen data pull' to have it back"
    for name in FILES:
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} is missing; {back}")
    try:
        manifest = files.read_json(folder / "manifest.json")
        expected = {name: str(manifest["sha256"][name]) for name in FILES[:2]}
        described = tuple(manifest["classes"]), tuple(manifest["shape"]), str(manifest["origin"])
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{folder / 'manifest.json'} is corrupt; remove it, then {back}") from None
    arrays = []
    for name, wanted in expected.items():
        if files.sha256(folder / name) != wanted:  # before it is parsed: damaged bytes can fail in any way
            raise DataError(
                f"{folder / name} is corrupt or cut short, it is not the file its manifest describes; remove it, then {back}"
            )
        try:
            arrays.append(np.load(folder / name, allow_pickle=False))
        except (ValueError, EOFError, OSError) as error:
            raise DataError(f"{folder / name} is no NumPy array ({error}); remove it, then {back}") from None
    images, labels = arrays
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{folder}: wanted images n×h×w×c and as many labels, got {images.shape} and {labels.shape}; {back}"
        )
    return RawImages(images, labels, *described)
