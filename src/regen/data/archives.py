"""Known sets of images: MNIST, Fashion-MNIST and CIFAR-10, from local files or a download whose checksum must fit.

All rows of a set, its own training and test rows alike, since Regen makes its own splits. Nothing here is unpickled
freely, and nothing is unpacked to disk.
"""

import gzip
import hashlib
import http.client
import io
import pickle
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64, UInt8

from regen.core import files
from regen.core.errors import DataError
from regen.core.sections.data import DataConfig
from regen.data.raw import PLAIN_SECONDS, Place, RawImages

Images = UInt8[np.ndarray, "n h w c"]
Labels = Int64[np.ndarray, " n"]
TIMEOUT_SECONDS = 30.0
"""How long a server may be silent."""
CHUNK = 1 << 20
DAMAGED = (
    EOFError, ValueError, LookupError, TypeError, AttributeError, MemoryError, OSError, zlib.error, tarfile.TarError,
    pickle.UnpicklingError,
)  # fmt: skip
"""What readers of archives raise when these are not what they should be."""


@dataclass(frozen=True)
class IdxSet:
    """A set in MNIST's format: four gzipped idx files."""

    title: str
    address: str
    """The folder on the web that holds the files."""
    md5: Mapping[str, str]
    """Each file's md5 as its publisher gives it."""
    class_names: tuple[str, ...]
    packaged: Path | None = None
    """Where a package of the system puts the files, which may be compressed anew."""


PARTS = ("train", "t10k")
KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")
STEMS = tuple(f"{part}-{kind}" for part in PARTS for kind in KINDS)
IDX_SETS = {
    "mnist": IdxSet(
        "MNIST (LeCun, Cortes and Burges, 1998)",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        tuple("0123456789"),
    ),
    "fashion-mnist": IdxSet(
        "Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017)",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        (
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
        Path("/usr/share/datasets/fashion-mnist"),
    ),
}  # fmt: skip
CIFAR_ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
"""The binary version, which needs no pickle."""
CIFAR_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
CIFAR_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
CIFAR_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def mnist(config: DataConfig, place: Place) -> RawImages:
    """70,000 handwritten digits of 28×28 pixels."""
    return _idx_set(IDX_SETS["mnist"], "mnist", config, place)


def fashion_mnist(config: DataConfig, place: Place) -> RawImages:
    """70,000 pieces of clothing of 28×28 pixels, from Debian's package dataset-fashion-mnist where it is installed."""
    return _idx_set(IDX_SETS["fashion-mnist"], "fashion-mnist", config, place)


def cifar10(config: DataConfig, place: Place) -> RawImages:
    """60,000 photographs of 32×32 pixels in ten classes (Krizhevsky, 2009), from the binary or the Python version."""
    path = _given(config, place)
    if path is None:
        target = place.downloads / "cifar10" / CIFAR_ADDRESS.rpartition("/")[2]
        path = download(CIFAR_ADDRESS, CIFAR_MD5, target, "the archive cifar-10-binary.tar.gz", place)
    try:
        batches = dict(_cifar_batches(path))
        if missing := [name for name in CIFAR_BATCHES if name not in batches]:
            raise ValueError(f"it holds no {missing[0]}")
    except DAMAGED as error:
        raise DataError(
            f"{path} is no whole copy of CIFAR-10 ({_line(error)}); fetch it anew from {CIFAR_ADDRESS}"
        ) from None
    labels = np.concatenate([batches[name][1] for name in CIFAR_BATCHES])
    images = np.concatenate([batches[name][0] for name in CIFAR_BATCHES])
    images = np.ascontiguousarray(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return RawImages(images, labels, tuple(range(10)), (32, 32, 3), "CIFAR-10 (Krizhevsky, 2009)", CIFAR_NAMES)


def idx_at_hand(name: str, config: DataConfig, place: Place) -> bool:
    """Whether a set in MNIST's format can be read without a download."""
    folders = [place.resolve(config.file)] if config.file else [IDX_SETS[name].packaged, place.downloads / name]
    return any(all(_find(folder, stem) for stem in STEMS) for folder in folders)


def cifar10_at_hand(config: DataConfig, place: Place) -> bool:
    """Whether CIFAR-10 can be read without a download."""
    if config.file:
        return place.resolve(config.file).exists()
    return (place.downloads / "cifar10" / CIFAR_ADDRESS.rpartition("/")[2]).is_file()


def _given(config: DataConfig, place: Place) -> Path | None:
    """What `data.file` names."""
    if config.file is None:
        return None
    path = place.resolve(config.file)
    if not path.exists():
        raise DataError(
            f"data.file names {path}, which does not exist; correct it, or leave it out to download the files"
        )
    return path


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _idx_set(known: IdxSet, name: str, config: DataConfig, place: Place) -> RawImages:
    folder = _given(config, place)
    packaged = known.packaged if known.packaged is not None and known.packaged.is_dir() else None
    paths: dict[str, Path] = {}
    for stem in STEMS:
        found = _find(folder or packaged, stem)
        if found is None and folder is not None:
            raise DataError(
                f"data.file names {folder}, which holds no {stem}.gz; put the four files of {known.address} there"
            )
        paths[stem] = found or download(
            f"{known.address}{stem}.gz", known.md5[stem], place.downloads / name / f"{stem}.gz",
            f"a folder with the four files {', '.join(f'{each}.gz' for each in STEMS)}", place,
        )  # fmt: skip
    pixels = [read_idx(paths[f"{part}-{KINDS[0]}"], 3) for part in PARTS]
    marks = [read_idx(paths[f"{part}-{KINDS[1]}"], 1) for part in PARTS]
    if [len(part) for part in pixels] != [len(part) for part in marks] or pixels[0].shape[1:] != pixels[1].shape[1:]:
        raise DataError(
            f"the files in {paths[STEMS[0]].parent} do not belong together: images {pixels[0].shape} and {pixels[1].shape}, "
            f"labels {marks[0].shape} and {marks[1].shape}; fetch them anew from {known.address}"
        )
    images, labels = np.concatenate(pixels), np.concatenate(marks)
    h, w = images.shape[1:]
    classes = tuple(range(len(known.class_names)))
    return RawImages(images[..., None], labels.astype(np.int64), classes, (h, w, 1), known.title, known.class_names)


def _find(folder: Path | None, stem: str) -> Path | None:
    """A folder's file with this stem, gzipped or not, spelt with a hyphen or a dot before idx."""
    if folder is None:
        return None
    spelt = (f"{form}{ending}" for form in (stem, stem.replace("-idx", ".idx")) for ending in (".gz", ""))
    return next((folder / name for name in spelt if (folder / name).is_file()), None)


def read_idx(path: Path, dimensions: int) -> UInt8[np.ndarray, "..."]:
    """The array in an idx file of bytes (LeCun's format), gzipped or not.

    Raises:
        DataError: it is none, or its data is longer or shorter than its header says.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            head = file.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:4] != bytes([0, 0, 8, dimensions]):
                raise ValueError(f"it does not begin as an idx file of {dimensions} dimensions does")
            shape = tuple(np.frombuffer(head, ">u4", offset=4).tolist())
            body = file.read()
        return np.frombuffer(body, np.uint8).reshape(shape)
    except DAMAGED as error:
        raise DataError(f"{path} is damaged or cut short ({_line(error)}); remove it and fetch it anew") from None


def _cifar_batches(path: Path) -> Iterator[tuple[str, tuple[np.ndarray, Labels]]]:
    """Each batch's pixels (`n 3072`) and labels by its name, from an archive or a folder of its files."""
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.stem in CIFAR_BATCHES:
                yield file.stem, _cifar_batch(file.name, file.read_bytes())
        return
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            if member.isfile() and name.removesuffix(".bin") in CIFAR_BATCHES:
                opened = archive.extractfile(member)
                assert opened is not None  # it is a file
                yield name.removesuffix(".bin"), _cifar_batch(name, opened.read())


def _cifar_batch(name: str, content: bytes) -> tuple[np.ndarray, Labels]:
    if name.endswith(".bin"):
        records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
        return records[:, 1:], records[:, 0].astype(np.int64)
    batch = _OnlyArrays(io.BytesIO(content), encoding="bytes").load()
    pixels, labels = np.asarray(batch[b"data"], np.uint8), np.asarray(batch[b"labels"], np.int64)
    if pixels.shape != (len(labels), 3072):
        raise ValueError(f"{name} holds pixels of shape {pixels.shape}")
    return pixels, labels


class _OnlyArrays(pickle.Unpickler):
    """Opens a pickle of plain values and arrays, and refuses to call anything else."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),  # how Python 3 writes bytes for Python 2
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module.partition(".")[0], name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"its pickle asks for {module}.{name}, which no batch of images needs"
            ) from None


def download(address: str, md5: str, target: Path, by_hand: str, place: Place) -> Path:
    """`target`, fetched from `address` unless it is there; only a file with this md5 is kept.

    Args:
        by_hand: what to name as data.file instead.

    Raises:
        DataError: the server cannot be reached, breaks off, or gives another file.
    """
    if target.is_file() and files.md5(target) == md5:
        return target
    instead = f"run the command again, or fetch it elsewhere and set data.file to {by_hand}"
    seen = hashlib.md5(usedforsecurity=False)
    got, whole = 0, 0
    with files.replacing(target) as temporary, temporary.open("wb") as file:
        for chunk, total in _fetched(address, instead, place):
            whole = total
            file.write(chunk)
            seen.update(chunk)
            got += len(chunk)
        if got < whole:
            raise DataError(f"{address} was cut short after {got:,} of {whole:,} bytes and is not kept; {instead}")
        if seen.hexdigest() != md5:
            raise DataError(
                f"{address} gave a file with md5 {seen.hexdigest()}, wanted {md5}; it is not kept; {instead}"
            )
    return target


def _fetched(address: str, instead: str, place: Place) -> Iterator[tuple[bytes, int]]:
    """The file's chunks, each with the size of the whole (0 where the server does not say)."""
    request = urllib.request.Request(address, headers={"User-Agent": "regen"})  # noqa: S310 - ours, and http(s)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            total, got, last = int(response.headers.get("Content-Length") or 0), 0, time.monotonic()
            place.say(f"  data: downloading {address}" + (f" ({total / 2**20:.1f} MiB)" if total else ""))
            while chunk := response.read(CHUNK):
                got += len(chunk)
                if time.monotonic() - last > PLAIN_SECONDS:
                    last = time.monotonic()
                    place.say(f"  data: {got / 2**20:,.0f} of {total / 2**20:,.0f} MiB")
                yield chunk, total
    except (OSError, http.client.HTTPException) as error:  # what writing the file raises does not pass through here
        reason = error.reason if isinstance(error, urllib.error.URLError) else _line(error)
        raise DataError(f"{address} cannot be downloaded ({reason}); {instead}") from None
