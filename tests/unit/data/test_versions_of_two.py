"""Versions of two projects' data in one record, and of data that is made with other settings."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from regen.core.errors import StaleDataError
from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import sources, versions
from regen.data.raw import Place
from tests.unit.data.trees import contents, overwrite


def other_clothes(config: DataConfig, place: Place) -> sources.RawImages:
    return replace(sources.digits(), origin="clothes")


@pytest.fixture
def clothes(monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """A second project's data section, whose source is at hand."""
    monkeypatch.setitem(sources.SOURCES, "fashion-mnist", other_clothes)
    monkeypatch.setattr(sources, "idx_at_hand", lambda name, config, place: name == "fashion-mnist")
    return DataConfig(source="fashion-mnist", max_rows=100)


def test_a_second_project_is_recorded_beside_the_first_on_a_fresh_clone(project: Path, clothes: DataConfig) -> None:
    workspace = Workspace(project)

    assert versions.pull(workspace, "clothes", clothes) == "source"

    assert versions.status(workspace, "clothes").clean
    assert versions.status(workspace, "digits").clean
    assert len(sources.read(workspace.data("clothes")).images) == 100
    assert versions.pull(workspace, "clothes", clothes) == "here"
    assert versions.pull(workspace, "digits", DataConfig()) == "here"


def test_the_first_project_can_be_told_on_a_clone_that_records_two(project: Path, clothes: DataConfig) -> None:
    workspace = Workspace(project)
    (project / "configs").mkdir()
    (project / "configs" / "clothes.yaml").write_text(
        "project: clothes\ndata: {source: fashion-mnist, max_rows: 100}\n"
    )
    versions.pull(workspace, "clothes", clothes)
    shutil.rmtree(project / ".dvc" / "cache")
    shutil.rmtree(project / "data")
    recorded = (project / "data.dvc").read_bytes()

    assert versions.pull(workspace, "digits", DataConfig()) == "source"

    assert versions.status(workspace, "digits").clean
    assert (project / "data.dvc").read_bytes() == recorded


def test_the_first_projects_files_come_from_the_cache_when_a_second_is_recorded(
    pulled: Workspace, clothes: DataConfig
) -> None:
    before = contents(pulled.data("digits"))
    shutil.rmtree(pulled.data("digits"))

    versions.pull(pulled, "clothes", clothes)

    assert contents(pulled.data("digits")) == before
    assert versions.status(pulled, "digits").clean


def test_a_second_project_is_not_recorded_beside_changes_that_nobody_recorded(
    pulled: Workspace, clothes: DataConfig
) -> None:
    overwrite(pulled.data("digits") / "labels.npy", b"changed")
    recorded = (pulled.root / "data.dvc").read_bytes()

    with pytest.raises(
        StaleDataError, match=r"data/ differs from data\.dvc in digits/labels\.npy, so clothes cannot be"
    ):
        versions.pull(pulled, "clothes", clothes)
    assert (pulled.data("digits") / "labels.npy").read_bytes() == b"changed"
    assert (pulled.root / "data.dvc").read_bytes() == recorded


def test_data_made_with_other_settings_is_refused_with_the_way_out(pulled: Workspace) -> None:
    before = contents(pulled.root / "data")

    with pytest.raises(
        StaleDataError,
        match=r"data\.max_rows is 500, but data/digits was made with all rows; remove data/digits and run 'regen data pull'",
    ):
        versions.pull(pulled, "digits", DataConfig(max_rows=500))
    assert contents(pulled.root / "data") == before


def test_removed_data_is_made_anew_with_other_settings_and_the_old_version_kept(pulled: Workspace) -> None:
    said, before = list[str](), contents(pulled.data("digits"))
    recorded, version = (pulled.root / "data.dvc").read_bytes(), versions.require_clean(pulled, "digits")
    shutil.rmtree(pulled.data("digits"))

    origin = versions.pull(pulled, "digits", DataConfig(max_rows=500), said.append)

    assert origin == "source"
    assert said == ["  data: digits is made anew, with other settings than the version that data.dvc records"]
    assert len(sources.read(pulled.data("digits")).images) == 500
    assert versions.require_clean(pulled, "digits") != version
    shutil.rmtree(pulled.data("digits"))
    (pulled.root / "data.dvc").write_bytes(recorded)
    assert versions.pull(pulled, "digits", DataConfig()) == "cache"
    assert contents(pulled.data("digits")) == before


def test_a_fresh_clone_can_be_given_other_settings(project: Path) -> None:
    workspace = Workspace(project)

    versions.pull(workspace, "digits", DataConfig(max_rows=500))

    assert len(sources.read(workspace.data("digits")).images) == 500
    assert versions.status(workspace, "digits").clean


def test_files_of_a_folder_that_were_set_aside_are_told_of_and_recorded(project: Path) -> None:
    workspace, said = Workspace(project), list[str]()
    (project / "photos").mkdir()
    Image.new("RGB", (4, 4), (1, 2, 3)).save(project / "photos" / "one.png")
    (project / "photos" / "two.png").write_bytes(b"bad")

    versions.pull(workspace, "mine", DataConfig(source="folder:photos", resolution=4), said.append)

    assert said == ["  data: 1 files were set aside; data/mine/quarantine.csv says why"]
    assert versions.status(workspace, "mine").clean
    assert (workspace.data("mine") / "quarantine.csv").is_file()
