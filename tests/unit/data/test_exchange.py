"""One folder in another's place: whole or not at all, wherever the process is killed."""

import json
import os
import shutil
from errno import EXDEV
from pathlib import Path

import pytest

from regen.core import files
from regen.core.errors import StorageError
from regen.core.workspace import Workspace
from regen.data import exchange as module
from regen.data.exchange import Exchange
from regen.data.record import hashes, tree_md5


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    """An exchange of data/digits, which holds one old file."""
    found = Exchange.of(Workspace(tmp_path), "digits")
    found.target.mkdir(parents=True)
    (found.target / "old.txt").write_text("old")
    return found


def version(folder: Path) -> str:
    return tree_md5(hashes(folder))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(exchange: Exchange, record=lambda: None) -> None:
    with exchange.prepared() as fresh:
        (fresh / "new.txt").write_text("new")
        exchange.switch(version, record)


def test_the_new_folder_takes_the_old_ones_place_and_nothing_else_is_left(exchange):
    fill(exchange)

    assert names(exchange.target) == ["new.txt"]
    assert not exchange.folder.exists()


def test_an_error_while_the_new_folder_is_filled_changes_nothing(exchange):
    def fill_half() -> None:
        with exchange.prepared() as fresh:
            (fresh / "half.txt").write_text("half")
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fill_half()

    assert names(exchange.target) == ["old.txt"]
    assert not exchange.folder.exists()


def test_an_error_while_it_is_recorded_brings_the_old_one_back(exchange):
    def refuse() -> None:
        raise RuntimeError("not recorded")

    with pytest.raises(RuntimeError, match="not recorded"):
        fill(exchange, refuse)

    assert names(exchange.target) == ["old.txt"]
    assert not exchange.folder.exists()


STEPS = ("journal", "old away", "new in place", "recorded", "journal gone")


def killed_at(exchange: Exchange, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the exchange in a child that ends as if killed right after `step`."""
    if (child := os.fork()) == 0:
        renames: list[Path] = []

        def rename(source: Path, target: Path) -> None:
            source.rename(target)
            renames.append(target)
            if step == STEPS[len(renames)]:
                os._exit(9)

        def write(path: Path, value: object) -> None:
            files.write_text(path, json.dumps(value))
            if step == "journal":
                os._exit(9)

        def record() -> None:
            if step == "recorded":
                os._exit(9)

        def remove(path: Path, **options: object) -> None:
            if step == "journal gone":
                os._exit(9)
            shutil.rmtree(path, **options)

        monkeypatch.setattr(Exchange, "_rename", staticmethod(rename))
        monkeypatch.setattr(module.files, "write_json", write)
        monkeypatch.setattr(module, "shutil", type("Shutil", (), {"rmtree": staticmethod(remove)}))
        try:
            fill(exchange, record)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("step", STEPS[:4])
def test_a_kill_before_it_is_recorded_leaves_the_old_folder(exchange, step, monkeypatch):
    killed_at(exchange, step, monkeypatch)

    exchange.recover(version, is_recorded=False)

    assert names(exchange.target) == ["old.txt"]
    assert not exchange.folder.exists()


@pytest.mark.parametrize("step", STEPS[3:])
def test_a_kill_after_it_is_recorded_leaves_the_new_folder(exchange, step, monkeypatch):
    killed_at(exchange, step, monkeypatch)

    undone = exchange.recover(version, is_recorded=True)

    assert not undone
    assert names(exchange.target) == ["new.txt"]
    assert not exchange.folder.exists()


def test_what_somebody_changed_after_a_kill_is_left_alone(exchange, monkeypatch):
    killed_at(exchange, "new in place", monkeypatch)
    (exchange.target / "mine.txt").write_text("mine")

    undone = exchange.recover(version, is_recorded=False)

    assert not undone
    assert names(exchange.target) == ["mine.txt", "new.txt"]


def test_two_disks_are_named(exchange, monkeypatch):
    def rename(self: Path, target: Path) -> None:
        raise OSError(EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "rename", rename)

    with pytest.raises(StorageError, match=r"lie on different disks.* keep data/ and \.regen/ on one disk"):
        fill(exchange)

    assert names(exchange.target) == ["old.txt"]
