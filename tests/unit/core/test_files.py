"""Files that are whole or absent, and digests that do not see the order of keys."""

import hashlib
import json
import os
import shutil
from errno import EACCES, EDQUOT, EIO, ENOSPC, EPERM, EROFS
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core import files
from regen.core.errors import StorageError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def reversed_keys(value: object) -> object:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    with files.replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")

    assert (tmp_path / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    with files.replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")

        assert (tmp_path / "a.txt").read_text() == "old"


def test_folders_on_the_way_to_a_file_are_made(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b" / "c.txt", "text")

    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "text"


def half_written(path: Path) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text("ha")
        raise KeyboardInterrupt


def test_an_error_inside_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    with pytest.raises(KeyboardInterrupt):
        half_written(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_an_error_inside_leaves_an_absent_file_absent(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        half_written(tmp_path / "a.txt")
    assert names(tmp_path) == []


def fill(folder: Path, *contents: str, fail: bool = False) -> None:
    with files.replacing_folder(folder) as temporary:
        for content in contents:
            (temporary / content).write_text(content)
        (temporary / "sub").mkdir()
        (temporary / "sub" / "deep").write_text("deep")
        if fail:
            raise KeyboardInterrupt


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    fill(tmp_path / "folder", "a", "b")

    fill(tmp_path / "folder", "c")

    assert names(tmp_path / "folder") == ["c", "sub"]
    assert (tmp_path / "folder" / "sub" / "deep").read_text() == "deep"
    assert names(tmp_path) == ["folder"]


def test_an_error_inside_leaves_the_old_folder_and_no_temporary_one(tmp_path: Path) -> None:
    fill(tmp_path / "folder", "a")

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "folder", "b", fail=True)
    assert names(tmp_path / "folder") == ["a", "sub"]
    assert names(tmp_path) == ["folder"]


def test_an_error_inside_leaves_an_absent_folder_absent(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "folder", "b", fail=True)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (ENOSPC, "disk is full; free some space"),
        (EDQUOT, "quota is used up; free some space"),
        (EROFS, "read-only; mount it for writing, or work in another folder"),
        (EACCES, "permission was denied; give yourself write access"),
        (EPERM, "not permitted; give yourself write access"),
    ],
)
@pytest.mark.parametrize("write", [files.write_text, fill], ids=["file", "folder"])
def test_a_refused_write_is_a_storage_error_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write, number: int, way_out: str
) -> None:
    write(tmp_path / "a", "old")
    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)

    with pytest.raises(StorageError, match=rf"cannot write .*{tmp_path.name}.*{way_out}.*run the command again"):
        write(tmp_path / "a", "new")
    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_another_error_of_the_system_passes_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(EIO, os.strerror(EIO))

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(OSError, match="Input/output"):
        files.write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == []


@pytest.mark.parametrize("write", [files.write_text, fill], ids=["file", "folder"])
def test_a_path_below_a_file_is_a_storage_error(tmp_path: Path, write) -> None:
    (tmp_path / "file").write_text("a file")

    with pytest.raises(StorageError, match="cannot write"):
        write(tmp_path / "file" / "below", "text")


def test_a_folder_that_fails_to_move_into_place_leaves_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "folder", "a")

    def refuse(path: Path) -> None:
        raise PermissionError(EACCES, os.strerror(EACCES))

    with monkeypatch.context() as patch:
        whole = shutil.rmtree
        patch.setattr(shutil, "rmtree", lambda path, **kw: whole(path, **kw) if kw else refuse(path))
        with pytest.raises(StorageError, match="permission was denied"):
            fill(tmp_path / "folder", "b")
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["a", "sub"]


@given(JSON)
def test_a_digest_does_not_depend_on_the_order_of_keys(value: object) -> None:
    assert files.digest(reversed_keys(value)) == files.digest(value)


@given(JSON, JSON)
def test_other_values_have_other_digests(one: object, other: object) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)

    assert (files.digest(one) == files.digest(other)) == same


@given(st.binary(max_size=200))
def test_a_files_digests_are_hashlibs(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_bytes(content)

    assert files.sha256(path) == hashlib.sha256(content).hexdigest()
    assert files.md5(path) == hashlib.md5(content).hexdigest()


def test_equal_values_make_equal_json_files(tmp_path: Path) -> None:
    files.write_json(tmp_path / "one.json", {"a": 1, "b": {"c": 2, "d": 3}})
    files.write_json(tmp_path / "other.json", {"b": {"d": 3, "c": 2}, "a": 1})

    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "other.json").read_bytes()


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"σ": [1, 2.5, None, "−"]})

    assert files.read_json(tmp_path / "a.json") == {"σ": [1, 2.5, None, "−"]}


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "−log σ")

    assert (tmp_path / "a.txt").read_bytes() == "−log σ".encode()
