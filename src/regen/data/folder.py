"""A folder of images, a subfolder a class: every file that can be read is brought to one size, the others are set aside.

The size is met as dataset tools of GANs do it (StyleGAN's `center-crop`, ADM): the largest square in the middle, resized
by an antialiased bicubic filter. A file that has the size already keeps its pixels. Alpha is laid over white, EXIF's
orientation applied, and of several frames the first taken.
"""

import os
import stat
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from regen.core.errors import DataError
from regen.core.sections.data import DataConfig
from regen.data.raw import PLAIN_SECONDS, Place, RawImages, spread

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
MOST_PIXELS = 100_000_000
"""An image of more pixels is taken for a decompression bomb."""
BATCH = 256


@dataclass(frozen=True)
class Found:
    """The image files below a folder."""

    files: tuple[tuple[str, str], ...]
    """Path inside the folder, in order, with the name of its class."""
    strays: tuple[str, ...]
    """Images beside the folders of the classes."""
    ignored: int
    """How many files have no image's ending."""


def folder(config: DataConfig, place: Place) -> RawImages:
    """The images below `folder:PATH`; a class is a subfolder with all below it, numbered in the order of the names.

    Images directly in PATH are one class of that folder's name, unless there are subfolders with images. Hidden files are
    passed over; files whose ending is no image's are counted; images that cannot be read are set aside with the reason.

    Raises:
        DataError: there is no such folder, no image in it, or none that can be read.
    """
    root = place.resolve(config.source.partition(":")[2])
    if not root.is_dir():
        raise DataError(f"data.source names {root}, which is no folder; correct the path after 'folder:'")
    found = find(root)
    if not found.files:
        raise DataError(
            f"{root} holds no images ({found.ignored} files of other kinds); put {', '.join(e[1:] for e in ENDINGS)} files "
            "there, a subfolder for each class"
        )
    names = sorted({name for _, name in found.files})
    chosen = [found.files[i] for i in spread(len(found.files), config.max_rows)]
    images = _room(len(chosen), config, place)
    labels, paths = list[int](), list[str]()
    bad = [(path, f"lies beside the folders of the classes, {names[0]} and others") for path in found.strays]
    for (path, name), read in zip(chosen, _all(root, [path for path, _ in chosen], config, place), strict=True):
        if isinstance(read, str):
            bad.append((path, read))
        else:
            images[len(labels)] = read
            labels.append(names.index(name))
            paths.append(_printable(path))
    if not labels:
        path, reason = bad[-1]
        raise DataError(
            f"none of the {len(chosen)} images in {root} can be read, {path}: {reason}; put sound ones there"
        )
    return RawImages(
        images[: len(labels)],
        np.array(labels, np.int64),
        classes=tuple(range(len(names))),
        shape=(config.resolution, config.resolution, config.channels),
        origin=f"the folder {root.name}",
        class_names=tuple(_printable(name) for name in names),
        quarantined=tuple((_printable(path), reason) for path, reason in sorted(bad)),
        ignored=found.ignored,
        paths=tuple(paths),
    )


def find(root: Path) -> Found:
    """The image files below `root`; links are followed, but no folder is read twice."""
    direct, below, ignored = [], [], 0
    for path in _walk(root, set()):
        inside = path.relative_to(root)
        if path.suffix.lower() not in ENDINGS:
            ignored += 1
        elif len(inside.parts) == 1:
            direct.append(inside.as_posix())
        else:
            below.append((inside.as_posix(), inside.parts[0]))
    if below:
        return Found(tuple(sorted(below)), tuple(sorted(direct)), ignored)
    own = root.resolve().name or "images"
    return Found(tuple((path, own) for path in sorted(direct)), (), ignored)


def _walk(root: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    at = root.stat()
    if (at.st_dev, at.st_ino) in seen:
        return
    seen.add((at.st_dev, at.st_ino))
    try:
        children = sorted(root.iterdir())
    except OSError as error:
        raise DataError(
            f"{root} cannot be read ({error.strerror}); give yourself access to it, or move it away"
        ) from None
    for path in children:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path, seen)
        else:
            yield path


def _room(n: int, config: DataConfig, place: Place) -> UInt8[np.ndarray, "n h w c"]:
    """An array for the images, in a file if there is a place for it."""
    shape = (n, config.resolution, config.resolution, config.channels)
    if place.scratch is None:
        return np.zeros(shape, np.uint8)
    return np.lib.format.open_memmap(place.scratch / "images.npy", mode="w+", dtype=np.uint8, shape=shape)


def _all(root: Path, paths: list[str], config: DataConfig, place: Place) -> Iterator[UInt8[np.ndarray, "h w c"] | str]:
    """Each image, or the reason why there is none, in the order of the paths."""
    last = monotonic()
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        warnings.simplefilter("ignore")  # of odd palettes and EXIF; a bomb is told by its size
        for at in range(0, len(paths), BATCH):
            if monotonic() - last > PLAIN_SECONDS:
                last = monotonic()
                place.say(f"  data: {at:,} of {len(paths):,} images of {root} read")
            yield from pool.map(
                lambda path: read_image(root / path, config.resolution, config.channels), paths[at : at + BATCH]
            )


def read_image(path: Path, resolution: int, channels: int) -> UInt8[np.ndarray, "h w c"] | str:
    """One file's image, or in a few words why it gives none.

    Args:
        resolution: height and width to bring it to.
        channels: 1 for grey, 3 for colour.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "no plain file"
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width < 1 or height < 1:
                return "it has no pixels"
            if width * height > MOST_PIXELS:
                return f"{width}×{height} pixels are more than {MOST_PIXELS:,}, as in a decompression bomb"
            image.load()
            flat = _flattened(ImageOps.exif_transpose(image)).convert("L" if channels == 1 else "RGB")
        side = min(flat.size)
        left, top = (flat.width - side) // 2, (flat.height - side) // 2
        square = flat.crop(
            (left, top, left + side, top + side)
        )  # first, so that nothing beside it bleeds into the edge
        square = square.resize((resolution, resolution), Image.Resampling.BICUBIC)
        return np.asarray(square, np.uint8).reshape(resolution, resolution, channels)
    except UnidentifiedImageError:
        return "no PNG, JPEG, WebP or TIFF image, or one that is damaged from its start"
    except Image.DecompressionBombError:
        return f"more than {MOST_PIXELS:,} pixels, as in a decompression bomb"
    except Exception as error:  # decoders raise anything when they meet damaged bytes
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return " ".join(told.split()) or type(error).__name__


def _flattened(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel and nothing transparent."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit pixels have no known range; save it with 8 or 16 bits")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return image


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
