"""Archives: every row as its publisher made it, from local files or a download that is whole and the right one."""

import gzip
import hashlib
import io
import pickle
import socket
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regen.core.errors import DataError
from regen.core.sections.data import DataConfig
from regen.data import archives, sources
from regen.data.archives import CIFAR_BATCHES, IDX_SETS, STEMS, read_idx
from regen.data.raw import Place
from tests.unit.data.conftest import Web

RNG = np.random.default_rng(0)
PARTS = {"train": 30, "t10k": 10}
PIXELS = {part: RNG.integers(0, 256, (n, 28, 28), np.uint8) for part, n in PARTS.items()}
LABELS = {part: (np.arange(n) % 10).astype(np.uint8) for part, n in PARTS.items()}
PACKAGED = IDX_SETS["fashion-mnist"].packaged


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def idx_files() -> dict[str, bytes]:
    found = {}
    for part in PARTS:
        found[f"{part}-images-idx3-ubyte"] = idx(PIXELS[part])
        found[f"{part}-labels-idx1-ubyte"] = idx(LABELS[part])
    return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, say=lambda text: None)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    folder = tmp_path / "local"
    folder.mkdir()
    for name, content in idx_files().items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    return folder


@pytest.fixture
def served(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    """MNIST's files on the small server, with checksums that fit."""
    web.pages = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in idx_files().items()}
    md5 = {name.removesuffix(".gz"): hashlib.md5(content).hexdigest() for name, content in web.pages.items()}
    monkeypatch.setitem(IDX_SETS, "mnist", replace(IDX_SETS["mnist"], address=web.address, md5=md5))
    return web


@pytest.mark.parametrize("source", ["mnist", "fashion-mnist"])
def test_a_local_folder_gives_training_rows_then_test_rows(source: str, local: Path, place: Place) -> None:
    raw = sources.load(DataConfig(source=source, file="local"), place)

    np.testing.assert_array_equal(raw.images[..., 0], np.concatenate([PIXELS["train"], PIXELS["t10k"]]))
    np.testing.assert_array_equal(raw.labels, np.concatenate([LABELS["train"], LABELS["t10k"]]))
    assert (raw.labels.dtype, raw.shape, raw.classes) == (np.int64, (28, 28, 1), tuple(range(10)))
    assert raw.class_names[9] == {"mnist": "9", "fashion-mnist": "Ankle boot"}[source]


def test_files_may_be_unzipped_and_spelt_with_a_dot(local: Path, place: Place) -> None:
    before = sources.load(DataConfig(source="mnist", file=str(local)), place)
    for path in list(local.iterdir()):
        (local / path.name.removesuffix(".gz").replace("-idx", ".idx")).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()

    after = sources.load(DataConfig(source="mnist", file=str(local)), place)

    np.testing.assert_array_equal(after.images, before.images)


def test_the_packaged_set_is_whole(place: Place) -> None:
    if PACKAGED is None or not PACKAGED.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")

    raw = sources.load(DataConfig(source="fashion-mnist"), place)

    assert raw.images.shape == (70_000, 28, 28, 1)
    assert np.bincount(raw.labels).tolist() == [7000] * 10
    assert sources.is_at_hand(DataConfig(source="fashion-mnist"), place)


def test_a_name_of_data_file_that_is_not_there_is_refused(place: Place) -> None:
    for source in ("mnist", "cifar10"):
        with pytest.raises(DataError, match=r"data\.file names .*nowhere, which does not exist; correct it, or leave"):
            sources.load(DataConfig(source=source, file="nowhere"), place)


def test_a_folder_that_lacks_a_file_is_refused_by_its_name(local: Path, place: Place) -> None:
    (local / "t10k-labels-idx1-ubyte.gz").unlink()

    with pytest.raises(
        DataError, match=r"local, which holds no t10k-labels-idx1-ubyte\.gz; put the four files of http"
    ):
        sources.load(DataConfig(source="mnist", file="local"), place)


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: b"",
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: bytes([0, 0, 9, 3]) + content[4:],
        lambda content: b"\x1f\x8b" + content[2:],
        lambda content: gzip.compress(content)[:-20],
        lambda content: gzip.compress(content)[:50] + b"\x00" * 50,
    ],
    ids=["empty", "its head", "a byte short", "a byte long", "of shorts", "no gzip", "gzip cut short", "gzip damaged"],
)
def test_a_damaged_idx_file_is_refused_by_its_name(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    (tmp_path / "some").write_bytes(harm(idx(PIXELS["train"])))

    with pytest.raises(DataError, match=r"some is damaged or cut short \(.*\); remove it and fetch it anew"):
        read_idx(tmp_path / "some", 3)


def test_files_of_different_sets_are_refused(local: Path, place: Place) -> None:
    (local / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS["t10k"])))

    with pytest.raises(DataError, match=r"do not belong together: images \(30, 28, 28\).*labels \(10,\)"):
        sources.load(DataConfig(source="mnist", file="local"), place)


def test_a_download_is_kept_and_not_repeated(served: Web, place: Place) -> None:
    first = sources.load(DataConfig(source="mnist"), place)
    again = sources.load(DataConfig(source="mnist"), place)

    assert sorted(served.asked) == sorted(f"/{stem}.gz" for stem in STEMS)
    assert len(list((place.downloads / "mnist").iterdir())) == 4
    np.testing.assert_array_equal(first.images[..., 0], np.concatenate([PIXELS["train"], PIXELS["t10k"]]))
    np.testing.assert_array_equal(again.images, first.images)


def test_a_kept_download_that_was_damaged_is_fetched_anew(served: Web, place: Place) -> None:
    sources.load(DataConfig(source="mnist"), place)
    (place.downloads / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"damaged")

    raw = sources.load(DataConfig(source="mnist"), place)

    assert served.asked.count("/t10k-labels-idx1-ubyte.gz") == 2
    assert len(raw.labels) == 40


def test_a_download_says_what_it_fetches(served: Web, tmp_path: Path) -> None:
    said: list[str] = []

    sources.load(DataConfig(source="mnist"), Place(tmp_path, say=said.append))

    assert said[0].startswith(f"  data: downloading {served.address}train-images-idx3-ubyte.gz (0.0 MiB)")


def assert_refused(place: Place, match: str, source: str = "mnist") -> None:
    with pytest.raises(DataError, match=match) as caught:
        sources.load(DataConfig(source=source), place)
    assert "data.file" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path for path in place.downloads.rglob("*") if path.is_file()] == []


def test_a_wrong_checksum_is_refused_and_the_file_not_kept(served: Web, place: Place) -> None:
    served.pages["train-images-idx3-ubyte.gz"] += b"more"

    assert_refused(place, r"train-images-idx3-ubyte\.gz gave a file with md5 \w{32}, wanted \w{32}; it is not kept")


def test_a_download_that_is_cut_short_is_refused_and_not_kept(served: Web, place: Place) -> None:
    served.most = 1000

    assert_refused(place, r"train-images-idx3-ubyte\.gz was cut short after 1,000 of [\d,]+ bytes|IncompleteRead")


def test_a_server_that_is_not_there_is_named_with_data_file(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
    monkeypatch.setitem(IDX_SETS, "mnist", replace(IDX_SETS["mnist"], address=address))

    assert_refused(
        place, rf"{address}train-images-idx3-ubyte\.gz cannot be downloaded \(.*refused\); run .* data\.file"
    )


def test_a_page_that_is_gone_is_named(served: Web, place: Place) -> None:
    del served.pages["train-images-idx3-ubyte.gz"]

    assert_refused(place, r"train-images-idx3-ubyte\.gz cannot be downloaded \(Not Found\)")


def test_a_server_that_is_silent_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setitem(IDX_SETS, "mnist", replace(IDX_SETS["mnist"], address=address))

        assert_refused(place, r"cannot be downloaded \(timed out\)")


ROWS = 4
CIFAR = {name: RNG.integers(0, 256, (ROWS, 3072), np.uint8) for name in CIFAR_BATCHES}


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def binary() -> dict[str, bytes]:
    marks = np.arange(ROWS, dtype=np.uint8)[:, None]
    return {f"cifar-10-batches-bin/{name}.bin": np.hstack([marks, rows]).tobytes() for name, rows in CIFAR.items()}


def pickled() -> dict[str, bytes]:
    return {
        f"cifar-10-batches-py/{name}": pickle.dumps({b"data": rows, b"labels": list(range(ROWS))}, protocol=2)
        for name, rows in CIFAR.items()
    }


@pytest.mark.parametrize("members", [binary(), pickled()], ids=["binary version", "Python version"])
def test_cifars_rows_come_in_the_order_of_their_batches(tmp_path: Path, place: Place, members: dict) -> None:
    tar(tmp_path / "cifar.tar.gz", dict(reversed(members.items())) | {"cifar/readme.html": b"hello"})

    raw = sources.load(DataConfig(source="cifar10", file="cifar.tar.gz"), place)

    wanted = np.concatenate([CIFAR[name] for name in CIFAR_BATCHES]).reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(raw.images.transpose(0, 3, 1, 2), wanted)
    assert raw.labels.tolist() == list(range(ROWS)) * 6
    assert (raw.shape, raw.class_names[3]) == ((32, 32, 3), "cat")


def test_cifars_files_may_lie_in_a_folder(tmp_path: Path, place: Place) -> None:
    for name, content in binary().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)

    assert len(sources.load(DataConfig(source="cifar10", file="cifar-10-batches-bin"), place).images) == 6 * ROWS


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("evil"),))


def test_a_pickle_that_calls_something_is_refused_and_nothing_called(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tar(tmp_path / "cifar.tar.gz", pickled() | {"cifar-10-batches-py/data_batch_1": pickle.dumps(Evil())})

    with pytest.raises(
        DataError, match=r"no whole copy of CIFAR-10 \(its pickle asks for pathlib\.\S+, which no batch"
    ):
        sources.load(DataConfig(source="cifar10", file="cifar.tar.gz"), place)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: b"",
        lambda content: b"no archive",
        lambda content: content[: len(content) // 2],
        lambda content: content[:100] + bytes(100) + content[200:],
    ],
    ids=["empty", "text", "cut short", "damaged"],
)
def test_a_damaged_archive_is_refused_by_its_name(tmp_path: Path, place: Place, harm: Callable[[bytes], bytes]) -> None:
    path = tar(tmp_path / "cifar.tar.gz", binary())
    path.write_bytes(harm(path.read_bytes()))

    with pytest.raises(
        DataError, match=r"cifar\.tar\.gz is no whole copy of CIFAR-10 \(.*\); fetch it anew from https"
    ):
        sources.load(DataConfig(source="cifar10", file="cifar.tar.gz"), place)


def test_an_archive_without_a_batch_is_refused(tmp_path: Path, place: Place) -> None:
    members = binary()
    del members["cifar-10-batches-bin/test_batch.bin"]
    tar(tmp_path / "cifar.tar.gz", members)

    with pytest.raises(DataError, match="it holds no test_batch"):
        sources.load(DataConfig(source="cifar10", file="cifar.tar.gz"), place)


def test_cifar_is_downloaded_as_its_binary_version(
    tmp_path: Path, web: Web, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tar(tmp_path / "made.tar.gz", binary()).read_bytes()
    web.pages["cifar-10-binary.tar.gz"] = content
    monkeypatch.setattr(archives, "CIFAR_ADDRESS", f"{web.address}cifar-10-binary.tar.gz")
    monkeypatch.setattr(archives, "CIFAR_MD5", hashlib.md5(content).hexdigest())

    assert not sources.is_at_hand(DataConfig(source="cifar10"), place)
    assert len(sources.load(DataConfig(source="cifar10"), place).images) == 6 * ROWS
    assert sources.is_at_hand(DataConfig(source="cifar10"), place)


def test_only_what_needs_no_download_is_at_hand(local: Path, place: Place) -> None:
    assert sources.is_at_hand(DataConfig(), place)
    assert sources.is_at_hand(DataConfig(source="mnist", file="local"), place)
    assert not sources.is_at_hand(DataConfig(source="mnist"), place)
    assert not sources.is_at_hand(DataConfig(source="mnist", file="nowhere"), place)
    assert not sources.is_at_hand(DataConfig(source="cifar10", file="nowhere"), place)
    assert sources.is_at_hand(DataConfig(source="folder:local"), place)
    assert not sources.is_at_hand(DataConfig(source="folder:nowhere"), place)
