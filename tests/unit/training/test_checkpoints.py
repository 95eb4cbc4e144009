"""Checkpoints: whole or absent, the newest whole one wins, and only as many stay as should."""

import os
from errno import ENOSPC
from pathlib import Path

import pytest
import torch

from regen.core.errors import StorageError
from regen.training.checkpoints import Checkpoints


def state(images: int) -> dict:
    return {"images": images, "weights": {"w": torch.full((100,), float(images))}}


@pytest.fixture
def filled(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path / "work", kept=3)
    for images in (100, 200, 1000):
        checkpoints.save(images, state(images))
    return checkpoints


def images_of(checkpoints: Checkpoints) -> int | None:
    found = checkpoints.newest()
    return None if found is None else found["images"]


def newest_file(checkpoints: Checkpoints) -> Path:
    return max(checkpoints.folder.glob("*.pt"))


def test_without_a_checkpoint_there_is_no_newest(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "nowhere").newest() is None


def test_the_newest_is_what_was_saved_last(filled: Checkpoints) -> None:
    found = filled.newest()

    assert found["images"] == 1000
    assert torch.equal(found["weights"]["w"], torch.full((100,), 1000.0))


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
        lambda path: path.unlink(),
        lambda path: path.with_suffix(".sha256").unlink(),
        lambda path: path.with_suffix(".sha256").write_text(""),
    ],
    ids=["truncated", "empty", "one byte", "missing", "no digest", "empty digest"],
)
def test_a_damaged_newest_is_passed_over(filled: Checkpoints, harm) -> None:
    harm(newest_file(filled))

    assert images_of(filled) == 200


def test_when_all_are_damaged_there_is_none(filled: Checkpoints) -> None:
    for path in filled.folder.glob("*.pt"):
        path.write_bytes(b"")

    assert filled.newest() is None


@pytest.mark.parametrize("kept", [1, 2, 5])
def test_only_the_kept_ones_stay(tmp_path: Path, kept: int) -> None:
    checkpoints = Checkpoints(tmp_path, kept)

    for images in range(100, 800, 100):
        checkpoints.save(images, state(images))

    left = [f"{images:012d}" for images in range(800 - 100 * kept, 800, 100)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        name + ending for name in left for ending in (".pt", ".sha256")
    )


@pytest.mark.parametrize("kept", [1, 2])
def test_what_is_saved_stays_though_damaged_newer_ones_lie_there(tmp_path: Path, kept: int) -> None:
    checkpoints = Checkpoints(tmp_path, kept)
    for images in (800, 900):
        checkpoints.save(images, state(images))
    for path in tmp_path.glob("*.pt"):
        path.write_bytes(b"damaged")

    checkpoints.save(100, state(100))

    assert images_of(checkpoints) == 100


def test_a_checkpoint_that_is_saved_again_is_replaced(filled: Checkpoints) -> None:
    newest_file(filled).write_bytes(b"damaged")

    filled.save(1000, state(1000))

    assert images_of(filled) == 1000


def test_an_interrupted_save_leaves_the_one_before(filled: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    before = sorted(filled.folder.iterdir())
    monkeypatch.setattr(torch, "save", interrupted)

    with pytest.raises(KeyboardInterrupt):
        filled.save(2000, state(2000))
    assert sorted(filled.folder.iterdir()) == before
    assert images_of(filled) == 1000


def test_a_full_disk_is_a_storage_error(filled: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(StorageError, match=r"cannot write .*000000002000\.pt: the disk is full; free some space"):
        filled.save(2000, state(2000))
    assert images_of(filled) == 1000


def test_a_disk_that_fills_under_torchs_writer_is_a_storage_error(
    filled: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:659] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", full)

    with pytest.raises(
        StorageError,
        match=r"cannot write .*\.pt: the disk is full or refuses .*unexpected pos 64 vs 0.*free some space",
    ):
        filled.save(2000, state(2000))
    assert len(list(filled.folder.iterdir())) == 6


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match="cannot write"):
        Checkpoints(tmp_path / "file" / "work").save(100, state(100))


def test_code_in_a_checkpoint_is_not_run(filled: Checkpoints) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return (pytest.fail, ("a checkpoint ran code",))

    filled.save(2000, {"images": Harmful()})

    with pytest.raises(Exception, match=r"[Ww]eights"):
        filled.newest()
