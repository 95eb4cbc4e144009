"""Versions of the data, with DVC itself: where files come from, what is dirty, and what is left alone."""

import hashlib
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from regen.core.errors import DataError, StaleDataError
from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import sources, versions
from regen.data.versions import Status, tree_md5
from tests.unit.data.trees import contents, overwrite

NAMES = ("images.npy", "labels.npy", "manifest.json")


def dvc(project: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=project, check=True, capture_output=True)


def empty_cache(workspace: Workspace) -> None:
    """Takes the files out of DVC's cache and leaves its listings."""
    for file in (workspace.root / ".dvc" / "cache").rglob("*"):
        if file.is_file() and file.suffix != ".dir":
            file.unlink()


def test_a_tree_is_named_as_dvc_names_it(project: Path) -> None:
    for name in ("b/a.txt", "b.txt", "b-c.txt", "b0", "B", "ä ö.txt", "b/deep/er/x", "empty"):
        path = project / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if name == "empty" else name)

    versions.add(Workspace(project))

    written = yaml.safe_load((project / "data.dvc").read_text())["outs"][0]["md5"]
    entries = {name: hashlib.md5(content).hexdigest() for name, content in contents(project / "data").items()}
    assert tree_md5(entries) == written
    assert versions.recorded_md5(Workspace(project)) == written


@given(st.dictionaries(st.text(min_size=1), st.text("0123456789abcdef", min_size=32, max_size=32), max_size=6))
def test_a_trees_name_does_not_depend_on_the_order_of_its_files(entries: dict[str, str]) -> None:
    assert tree_md5(dict(reversed(entries.items()))) == tree_md5(entries)


def test_a_fresh_project_gets_its_data_from_the_source_and_data_dvc_stays_as_it_is(project: Path) -> None:
    workspace, recorded = Workspace(project), (project / "data.dvc").read_bytes()

    origin = versions.pull(workspace, "digits", DataConfig())

    assert origin == "source"
    assert (project / "data.dvc").read_bytes() == recorded
    assert versions.status(workspace, "digits").clean
    assert len(sources.read(project / "data" / "digits").images) == 1797


def test_a_project_that_is_here_is_left_as_it_is(pulled: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions.subprocess, "run", None)

    assert versions.pull(pulled, "digits", DataConfig()) == "here"
    assert versions.require_clean(pulled, "digits") == versions.status(pulled, "digits").version


def test_the_version_is_the_name_of_the_projects_own_tree(pulled: Workspace) -> None:
    found = contents(pulled.data("digits"))

    assert versions.require_clean(pulled, "digits") == tree_md5(
        {name: hashlib.md5(content).hexdigest() for name, content in found.items()}
    )


def test_a_deleted_file_comes_from_dvcs_cache(pulled: Workspace) -> None:
    before = contents(pulled.data("digits"))
    (pulled.data("digits") / "labels.npy").unlink()

    assert versions.pull(pulled, "digits", DataConfig()) == "cache"
    assert contents(pulled.data("digits")) == before


def test_a_wiped_project_comes_from_dvcs_remote(pulled: Workspace, tmp_path: Path) -> None:
    before, recorded = contents(pulled.data("digits")), (pulled.root / "data.dvc").read_bytes()
    dvc(pulled.root, "remote", "add", "-d", "store", str(tmp_path / "remote"))
    versions.push(pulled)
    shutil.rmtree(pulled.root / ".dvc" / "cache")
    shutil.rmtree(pulled.root / "data")

    assert versions.pull(pulled, "digits", DataConfig()) == "remote"
    assert contents(pulled.data("digits")) == before
    assert (pulled.root / "data.dvc").read_bytes() == recorded
    assert versions.status(pulled, "digits").clean


def test_a_wiped_project_without_a_remote_comes_from_the_source(pulled: Workspace) -> None:
    before, recorded = contents(pulled.data("digits")), (pulled.root / "data.dvc").read_bytes()
    shutil.rmtree(pulled.root / ".dvc" / "cache")
    (pulled.data("digits") / "images.npy").unlink()

    assert versions.pull(pulled, "digits", DataConfig()) == "source"
    assert contents(pulled.data("digits")) == before
    assert (pulled.root / "data.dvc").read_bytes() == recorded


def test_an_interrupted_pull_is_completed(project: Path) -> None:
    workspace, recorded = Workspace(project), (project / "data.dvc").read_bytes()
    sources.materialise(DataConfig(), workspace.data("digits"))
    (workspace.data("digits") / "manifest.json").unlink()

    assert versions.pull(workspace, "digits", DataConfig()) == "source"
    assert versions.status(workspace, "digits").clean
    assert (project / "data.dvc").read_bytes() == recorded


def test_a_project_without_data_dvc_is_materialised_and_recorded(project: Path) -> None:
    workspace, recorded = Workspace(project), (project / "data.dvc").read_bytes()
    (project / "data.dvc").unlink()

    assert versions.status(workspace, "digits") == Status(None)
    assert versions.pull(workspace, "digits", DataConfig()) == "source"
    assert yaml.safe_load((project / "data.dvc").read_text()) == yaml.safe_load(recorded)
    assert versions.status(workspace, "digits").clean


def test_pulls_at_the_same_time_wait_for_each_other(project: Path) -> None:
    workspace = Workspace(project)

    with ThreadPoolExecutor(2) as pool:
        origins = list(pool.map(lambda _: versions.pull(workspace, "digits", DataConfig()), range(2)))

    assert sorted(origins) == ["here", "source"]
    assert versions.status(workspace, "digits").clean


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_file_is_stale_and_left_alone(pulled: Workspace, name: str) -> None:
    path = pulled.data("digits") / name
    overwrite(path, path.read_bytes() + b" ")
    before, recorded = contents(pulled.root / "data"), (pulled.root / "data.dvc").read_bytes()

    with pytest.raises(StaleDataError, match=rf"data/digits differs from data\.dvc in {name}; run 'regen data add'"):
        versions.require_clean(pulled, "digits")
    with pytest.raises(StaleDataError, match=rf"data/digits differs from data\.dvc in {name}"):
        versions.pull(pulled, "digits", DataConfig())
    assert contents(pulled.root / "data") == before
    assert (pulled.root / "data.dvc").read_bytes() == recorded


def test_an_added_file_is_stale(pulled: Workspace) -> None:
    (pulled.data("digits") / "more.npy").write_text("more")

    with pytest.raises(StaleDataError, match=r"differs from data\.dvc in more\.npy"):
        versions.require_clean(pulled, "digits")


def test_a_file_that_dvc_ignores_makes_nothing_dirty(pulled: Workspace) -> None:
    before = versions.status(pulled, "digits")

    (pulled.data("digits") / "left.pyc").write_text("compiled")

    assert versions.status(pulled, "digits") == before


def test_a_missing_file_is_stale_and_named(pulled: Workspace) -> None:
    (pulled.data("digits") / "labels.npy").unlink()

    with pytest.raises(StaleDataError, match=r"data/digits lacks labels\.npy; run 'regen data pull'"):
        versions.require_clean(pulled, "digits")
    assert versions.status(pulled, "digits").missing == ("labels.npy",)


def test_a_project_that_is_not_recorded_is_stale(pulled: Workspace) -> None:
    with pytest.raises(StaleDataError, match=r"data\.dvc records no data/other; run 'regen data pull'"):
        versions.require_clean(pulled, "other")


def test_a_change_that_is_added_is_a_new_version(pulled: Workspace) -> None:
    before = versions.require_clean(pulled, "digits")
    overwrite(pulled.data("digits") / "labels.npy", b"others")

    versions.add(pulled)

    assert versions.require_clean(pulled, "digits") != before


def test_another_projects_data_changes_neither_version_nor_cleanliness(pulled: Workspace) -> None:
    before = versions.status(pulled, "digits")
    sources.materialise(DataConfig(), pulled.data("digits_2"))
    unrecorded = versions.status(pulled, "digits")

    versions.add(pulled)

    assert unrecorded == before
    assert versions.status(pulled, "digits") == before
    assert versions.status(pulled, "digits_2").clean


def test_another_projects_unrecorded_change_stays_unrecorded_when_this_one_is_pulled(pulled: Workspace) -> None:
    sources.materialise(DataConfig(), pulled.data("other"))
    versions.add(pulled)
    overwrite(pulled.data("other") / "labels.npy", b"changed")
    (pulled.data("digits") / "labels.npy").unlink()
    recorded = (pulled.root / "data.dvc").read_bytes()

    versions.pull(pulled, "digits", DataConfig())

    assert versions.status(pulled, "digits").clean
    assert versions.status(pulled, "other").changed == ("labels.npy",)
    assert (pulled.root / "data.dvc").read_bytes() == recorded


def test_another_projects_files_survive_a_pull_with_an_incomplete_cache(pulled: Workspace) -> None:
    (pulled.data("other")).mkdir()
    (pulled.data("other") / "images.npy").write_bytes(b"the only copy")
    versions.add(pulled)
    empty_cache(pulled)
    (pulled.data("digits") / "labels.npy").unlink()

    versions.pull(pulled, "digits", DataConfig())

    assert contents(pulled.data("other")) == {"images.npy": b"the only copy"}
    assert versions.status(pulled, "other").clean
    assert versions.status(pulled, "digits").clean


def test_a_damaged_cache_is_never_recorded_as_a_version(pulled: Workspace) -> None:
    recorded, before = (pulled.root / "data.dvc").read_bytes(), contents(pulled.data("digits"))
    name = hashlib.md5(before["labels.npy"]).hexdigest()
    cached = pulled.root / ".dvc" / "cache" / "files" / "md5" / name[:2] / name[2:]
    cached.chmod(0o644)
    cached.write_bytes(before["labels.npy"][:-1])
    cached.chmod(0o444)
    (pulled.data("digits") / "labels.npy").unlink()

    try:
        versions.pull(pulled, "digits", DataConfig())
    except DataError:
        restored = False
    else:
        restored = True

    assert (pulled.root / "data.dvc").read_bytes() == recorded
    assert restored == (contents(pulled.data("digits")) == before)


def test_a_users_own_unrecorded_files_are_not_mixed_with_the_sources(project: Path) -> None:
    workspace = Workspace(project)
    (project / "data.dvc").unlink()
    workspace.data("digits").mkdir(parents=True)
    (workspace.data("digits") / "images.npy").write_bytes(b"the user's own")

    with pytest.raises(DataError, match=r"images\.npy"):
        versions.pull(workspace, "digits", DataConfig())
    assert contents(project / "data") == {"digits/images.npy": b"the user's own"}
    assert not (project / "data.dvc").exists()


def test_a_file_that_differs_on_a_fresh_clone_is_stale_and_left_alone(project: Path) -> None:
    workspace, recorded = Workspace(project), (project / "data.dvc").read_bytes()
    workspace.data("digits").mkdir(parents=True)
    (workspace.data("digits") / "images.npy").write_bytes(b"the user's own")

    with pytest.raises(StaleDataError, match=r"not the source's .*images\.npy"):
        versions.pull(workspace, "digits", DataConfig())
    assert (workspace.data("digits") / "images.npy").read_bytes() == b"the user's own"
    assert (project / "data.dvc").read_bytes() == recorded


@pytest.mark.parametrize(
    "content",
    [b"", b"outs: []", b"outs: [{path: data}]", b"- a", b"outs: 3", b"outs: [", b"\xff\xfe", b"\x00", b"outs: null"],
)
def test_a_corrupt_data_dvc_is_refused_with_the_way_out(project: Path, content: bytes) -> None:
    (project / "data.dvc").write_bytes(content)

    with pytest.raises(DataError, match=r"data\.dvc is corrupt; have it back by 'git checkout data\.dvc'"):
        versions.status(Workspace(project), "digits")
    with pytest.raises(DataError, match=r"data\.dvc is corrupt"):
        versions.pull(Workspace(project), "digits", DataConfig())


def other_digits() -> sources.RawImages:
    raw = sources.digits()
    return replace(raw, images=255 - raw.images)


def test_a_source_that_gives_other_bytes_than_recorded_is_refused(
    pulled: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sources.SOURCES, "digits", lambda config, place: other_digits())
    empty_cache(pulled)
    (pulled.data("digits") / "images.npy").unlink()
    before = contents(pulled.root / "data")

    with pytest.raises(DataError, match=r"source digits gives \w+\.dir, but data\.dvc records \w+\.dir for digits"):
        versions.pull(pulled, "digits", DataConfig())
    assert contents(pulled.root / "data") == before


def test_a_source_that_gives_other_bytes_to_a_fresh_clone_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sources.SOURCES, "digits", lambda config, place: other_digits())
    recorded = (project / "data.dvc").read_bytes()

    with pytest.raises(DataError, match=r"data\.dvc records \w+\.dir, .* with the source's digits data/ would not"):
        versions.pull(Workspace(project), "digits", DataConfig())
    assert (project / "data.dvc").read_bytes() == recorded
    assert [path.name for path in (project / ".regen").iterdir()] == ["locks"]


def test_without_data_there_is_nothing_to_add(project: Path) -> None:
    with pytest.raises(DataError, match=r"data does not exist; put a project's files there first"):
        versions.add(Workspace(project))


def test_what_dvc_refuses_is_told_in_its_words(project: Path) -> None:
    with pytest.raises(DataError, match=r"dvc push data\.dvc failed: .*remote"):
        versions.push(Workspace(project))
