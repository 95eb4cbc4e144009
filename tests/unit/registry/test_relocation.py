"""A project's folder can be moved: MLflow's absolute paths are noticed to be stale, and mended."""

import shutil
import sqlite3

import pytest

from regen.core.errors import RegistryError
from regen.core.workspace import Workspace
from regen.registry import packaging, relocation, tracking, versions
from tests.unit.registry.conftest import use_store


@pytest.fixture
def moved(store, tmp_path, monkeypatch):
    """A project that was used in `before` and lies in `after` now, with one registered VAE."""
    store.register("moving")
    before, after = Workspace(tmp_path / "before"), Workspace(tmp_path / "after")
    shutil.copytree(store.workspace.mlruns, before.mlruns)
    relocation.relocate(before, (store.workspace.mlruns / "artifacts").as_uri())
    before.root.rename(after.root)
    use_store(after, monkeypatch)
    tracking.open_store(after)
    return before, after


def test_a_project_in_its_place_has_no_moved_paths(store):
    assert relocation.moved_paths(store.workspace) is None


def test_a_project_without_a_store_has_no_moved_paths(tmp_path):
    assert relocation.moved_paths(Workspace(tmp_path)) is None


def test_a_moved_project_tells_where_it_was(moved):
    before, after = moved

    assert relocation.moved_paths(after) == (before.mlruns / "artifacts").as_uri()


def test_a_moved_model_does_not_load_until_its_paths_are_mended(moved):
    _, after = moved
    version = versions.by_number("moving", 1)

    with pytest.raises(RegistryError, match="loading models:/moving/1"):
        packaging.load_network("vae", version.uri)
    relocation.relocate(after, relocation.moved_paths(after))

    assert relocation.moved_paths(after) is None
    assert type(packaging.load_network("vae", version.uri)).__name__ == "Vae"


def test_no_path_of_the_old_place_is_left_in_the_database(moved):
    before, after = moved

    relocation.relocate(after, relocation.moved_paths(after))

    with sqlite3.connect(after.mlruns / "mlflow.db") as connection:
        dump = "\n".join(connection.iterdump())
    assert str(before.root) not in dump


def test_artifacts_in_a_bucket_have_not_moved(moved):
    _, after = moved
    relocation.relocate(after, relocation.moved_paths(after))
    with sqlite3.connect(after.mlruns / "mlflow.db") as connection:
        connection.execute("UPDATE experiments SET artifact_location = 's3://bucket/mlruns/artifacts/digits'")

    assert relocation.moved_paths(after) is None


def test_a_damaged_database_is_named(tmp_path, store):
    broken = Workspace(tmp_path)
    broken.mlruns.mkdir()
    (broken.mlruns / "mlflow.db").write_text("no database, whatever its name says" * 99)

    with pytest.raises(
        RegistryError, match=r"MLflow refused \(looking for paths that have moved\): file is not a database"
    ):
        relocation.moved_paths(broken)
