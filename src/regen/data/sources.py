"""Sources: each materialises a folder, the same bytes every time: of images, labels and a manifest, or of a table.

A folder of images holds `images.npy` (uint8, `n h w c`, 0 to 255), `labels.npy` (int64, `n`) and `manifest.json`; if files
were set aside, `quarantine.csv` lists them with their reasons. `table_sources` says what a table's folder holds.
"""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regen.core import files
from regen.core.errors import DataError, StaleDataError
from regen.core.sections.data import DataConfig, without_password
from regen.core.sections.tables import TABLE_SOURCES
from regen.data.archives import cifar10, cifar10_at_hand, fashion_mnist, idx_at_hand, mnist
from regen.data.folder import folder as image_folder
from regen.data.raw import Place, RawImages, spread

FILES = ("images.npy", "labels.npy", "manifest.json")
QUARANTINE = "quarantine.csv"


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


Source = Callable[[DataConfig, Place], RawImages]
SOURCES: dict[str, Source] = {
    "digits": lambda config, place: digits(),
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
    "folder": image_folder,
}
"""Every source by what `data.source` says up to a colon."""


def name_of(source: str) -> str:
    """The source's name in `SOURCES`.

    Example:
        >>> name_of("folder:~/photos")
        'folder'
    """
    return source.partition(":")[0]


def load(config: DataConfig, place: Place | None = None) -> RawImages:
    """What the source gives, at most `data.max_rows` of it."""
    raw = SOURCES[name_of(config.source)](config, place or Place())
    rows = spread(len(raw.images), config.max_rows)
    if len(rows) == len(raw.images):
        return raw
    paths = tuple(raw.paths[row] for row in rows) if raw.paths else ()
    return replace(raw, images=raw.images[rows], labels=raw.labels[rows], paths=paths)


def is_at_hand(config: DataConfig, place: Place) -> bool:
    """Whether the source can be read without a download."""
    match name_of(config.source):
        case "folder":
            return place.resolve(config.source.partition(":")[2]).is_dir()
        case "cifar10":
            return cifar10_at_hand(config, place)
        case "digits" | "transactions":
            return True
        case "table":
            return place.resolve(config.source.partition(":")[2]).is_file()
        case "sql":
            return False
        case name:
            return idx_at_hand(name, config, place)


def materialise(config: DataConfig, folder: Path, place: Place | None = None) -> None:
    """Writes the source's files to `folder`, whole or not at all."""
    with files.replacing_folder(folder) as temporary:
        scratch = temporary / "scratch"
        scratch.mkdir()
        if config.is_table:
            from regen.data import table_sources

            table_sources.materialise(config, temporary, replace(place or Place(), scratch=scratch), made_with(config))
            shutil.rmtree(scratch)
            return
        raw = load(config, replace(place or Place(), scratch=scratch))
        np.save(temporary / "images.npy", raw.images)
        np.save(temporary / "labels.npy", raw.labels)
        shutil.rmtree(scratch)
        manifest = {
            **made_with(config),
            "origin": raw.origin,
            "count": len(raw.images),
            "shape": list(raw.shape),
            "classes": list(raw.classes),
            "sha256": {name: files.sha256(temporary / name) for name in FILES[:2]},
        }
        if raw.class_names != tuple(map(str, raw.classes)):
            manifest["class_names"] = list(raw.class_names)
        if name_of(config.source) == "folder":
            manifest |= {"quarantined": len(raw.quarantined), "ignored": raw.ignored}
        if raw.quarantined:
            with (temporary / QUARANTINE).open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([("path", "reason"), *raw.quarantined])
        files.write_json(temporary / "manifest.json", manifest)


def made_with(config: DataConfig) -> dict[str, Any]:
    """The keys of the data section that decide what a source writes, those left out that do not apply."""
    made: dict[str, Any] = {"source": without_password(config.source)}
    if config.source == "transactions":
        made["simulator"] = config.simulator.model_dump(mode="json")
    if config.query is not None:
        made["query"] = config.query
    if name_of(config.source) == "folder":
        made |= {"resolution": config.resolution, "channels": config.channels}
    if config.max_rows is not None:
        made["max_rows"] = config.max_rows
    return made


def misfit(config: DataConfig, manifest: Any, shown: str = "it") -> str:
    """How the data that `manifest` describes differs from what the project file asks for; empty if it does not.

    Data that no source of ours made is the user's own, and fits whatever the project file says.
    """
    if not isinstance(manifest, dict) or name_of(str(manifest.get("source"))) not in {*SOURCES, *TABLE_SOURCES}:
        return ""
    wanted = made_with(config)
    if manifest["source"] != wanted["source"]:
        return f"data.source is {wanted['source']}, but {shown} was made from {manifest['source']}"
    for key in ("resolution", "channels", "query", "max_rows", "simulator"):
        asked, met = wanted.get(key), manifest.get(key)
        if asked != met and isinstance(asked, dict) and isinstance(met, dict):
            key, asked, met = next(
                (f"{key}.{name}", asked.get(name), met.get(name))
                for name in sorted({*asked, *met})
                if asked.get(name) != met.get(name)
            )
        if asked != met:
            return f"data.{key} is {_told(asked, 'not set')}, but {shown} was made with {_told(met, 'all rows')}"
    return ""


def _told(value: Any, absent: str) -> str:
    return absent if value is None else str(value)


def require_fit(config: DataConfig, folder: Path) -> None:
    """Makes sure that `folder` was made as the project file asks; a manifest that cannot be read is left to `read`.

    Raises:
        StaleDataError: it was made otherwise.
    """
    try:
        manifest = files.read_json(folder / "manifest.json")
    except (OSError, ValueError):
        return
    shown = f"{folder.parent.name}/{folder.name}"
    if difference := misfit(config, manifest, shown):
        raise StaleDataError(
            f"{difference}; remove {shown} and run 'regen data pull', which makes it anew and records it as a new version "
            "(the old one stays in DVC's cache), or undo the change of the data section"
        )


def quarantined(folder: Path) -> int:
    """How many files were set aside when `folder` was made."""
    try:
        return int(files.read_json(folder / "manifest.json").get("quarantined", 0))
    except (OSError, ValueError, TypeError, AttributeError):
        return 0


def read(folder: Path) -> RawImages:
    """The images in `folder`, memory-mapped, their files checked against the manifest.

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
        classes, shape, origin = tuple(manifest["classes"]), tuple(manifest["shape"]), str(manifest["origin"])
        names = tuple(map(str, manifest.get("class_names", classes)))
        if len(names) != len(classes):
            raise ValueError("a name for each class")
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{folder / 'manifest.json'} is corrupt; remove it, then {back}") from None
    arrays = []
    for name, wanted in expected.items():
        if files.sha256(folder / name) != wanted:  # before it is parsed: damaged bytes can fail in any way
            raise DataError(
                f"{folder / name} is corrupt or cut short, it is not the file its manifest describes; remove it, then {back}"
            )
        try:
            arrays.append(_mapped(folder / name))
        except (ValueError, EOFError, OSError) as error:
            raise DataError(f"{folder / name} is no NumPy array ({error}); remove it, then {back}") from None
    images, labels = arrays
    if images.ndim != 4 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{folder}: wanted images n×h×w×c and as many labels, got {images.shape} and {labels.shape}; {back}"
        )
    return RawImages(images, np.array(labels), classes, shape, origin, names)


def _mapped(path: Path) -> np.ndarray:
    """A read-only memory map of the array in `path`; an array in memory where there is nothing to map."""
    try:
        mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an array of no bytes cannot be mapped, a pickle cannot be loaded either way
        mapped = np.load(path, allow_pickle=False)
    return mapped
