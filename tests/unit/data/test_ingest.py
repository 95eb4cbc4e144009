"""New data in, with DVC itself: what is appended, what is set aside, what stops it, and what a kill leaves."""

import csv
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from regen.core import files
from regen.core.config import Config, parse
from regen.core.errors import DataError, StaleDataError, ValidationError
from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import growth, sources, versions
from regen.data import ingest as module
from regen.data.columns import Column, TableSchema
from regen.data.ingest import Ingested, ingest, kind_of
from tests.conftest import make_project

SCHEMA = TableSchema(
    (Column("id", "integer"), Column("amount", "numeric", low=0), Column("kind", "categorical")), key="id"
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of digits, and one of a table, both recorded."""
    root = tmp_path_factory.mktemp("template") / "project"
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_project(root, monkeypatch)
        workspace = Workspace(root)
        sources.materialise(DataConfig(), workspace.data("digits"))
        ledger = workspace.data("ledger")
        ledger.mkdir()
        pd.DataFrame({"id": [1, 2], "amount": [1.0, 2.0], "kind": ["a", "b"]}).to_parquet(
            ledger / growth.TABLE, index=False
        )
        files.write_json(ledger / growth.MANIFEST, {"source": "mine", "count": 2})
        versions.add(workspace)
    return root


@pytest.fixture
def workspace(template: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(template, tmp_path / "project", symlinks=True)
    return Workspace(tmp_path / "project")


def config(project: str = "digits", **settings: object) -> Config:
    return parse({"project": project, "ingest": settings})


def pictures(folder: Path, n: int, seed: int = 0, name: str = "3", side: int = 8) -> Path:
    """So many pictures of noise in a subfolder for a class."""
    rng = np.random.default_rng(seed)
    (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(n):
        Image.fromarray(rng.integers(1, 255, (side, side), dtype=np.uint8)).save(folder / name / f"{seed}-{i:03d}.png")
    return folder


def take(workspace: Workspace, path: Path, project: str = "digits", **settings: object) -> Ingested:
    return ingest(workspace, config(project, **settings), path, schema=SCHEMA, say=lambda text: None)


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): files.sha256(p) for p in folder.rglob("*") if p.is_file()}


def test_new_images_are_appended_and_the_new_version_is_recorded(workspace, tmp_path):
    before = sources.read(workspace.data("digits"))
    old = np.array(before.images)

    found = take(workspace, pictures(tmp_path / "new", 5))

    now = sources.read(workspace.data("digits"))
    assert (found.total, found.added, found.duplicates, found.bad, found.rows) == (5, 5, 0, 0, 1802)
    assert found.version == versions.require_clean(workspace, "digits") != found.before
    assert np.array_equal(now.images[:1797], old)
    assert now.labels[1797:].tolist() == [3] * 5
    assert np.array_equal(now.images[1797], np.asarray(Image.open(tmp_path / "new" / "3" / "0-000.png"))[..., None])


def test_images_of_another_size_are_brought_to_the_projects(workspace, tmp_path):
    take(workspace, pictures(tmp_path / "new", 2, side=32))

    assert sources.read(workspace.data("digits")).images.shape == (1799, 8, 8, 1)


def test_the_manifest_tells_what_there_was_at_each_earlier_version(workspace, tmp_path):
    first = take(workspace, pictures(tmp_path / "a", 2, seed=1))
    second = take(workspace, pictures(tmp_path / "b", 3, seed=2))

    manifest = growth.manifest_of(workspace.data("digits"))

    rows = [
        growth.rows_at(manifest, v, second.version) for v in (first.before, first.version, second.version, "other.dir")
    ]
    assert rows == [1797, 1799, 1802, None]
    assert [entry["origin"] for entry in manifest["ingested"]] == ["a", "b"]


def test_the_same_images_again_change_nothing(workspace, tmp_path):
    new = pictures(tmp_path / "new", 3)
    first = take(workspace, new)

    again = take(workspace, new)

    assert (again.added, again.duplicates, again.rows) == (0, 3, 1800)
    assert again.version == again.before == first.version


def test_the_same_images_into_the_same_data_make_the_same_version_elsewhere(workspace, tmp_path):
    shutil.copytree(workspace.root, tmp_path / "elsewhere", symlinks=True)
    new = pictures(tmp_path / "new", 3)

    assert take(workspace, new).version == take(Workspace(tmp_path / "elsewhere"), new).version


def test_bad_images_are_set_aside_with_their_reasons_and_the_files_themselves(workspace, tmp_path):
    new = pictures(tmp_path / "new", 18)
    (new / "3" / "broken.png").write_bytes(b"no image")
    pictures(new, 1, name="zebra")

    found = take(workspace, new)

    assert (found.total, found.added, found.bad) == (20, 18, 2)
    aside = workspace.root / found.quarantine
    assert aside.parent == workspace.root / "quarantine" / "digits"
    reasons = dict(list(csv.reader((aside / "reasons.csv").open()))[1:])
    assert reasons["3/broken.png"].startswith("no PNG, JPEG")
    assert reasons["zebra/0-000.png"].startswith("class: wanted a class of the project (0, 1, 2")
    assert (aside / "files" / "3" / "broken.png").read_bytes() == b"no image"
    assert sum(found.reasons.values()) == 2


def test_too_many_bad_images_stop_it_with_the_data_as_it_was(workspace, tmp_path):
    new = pictures(pictures(tmp_path / "new", 8), 2, name="zebra")
    before = contents(workspace.root / "data"), (workspace.root / "data.dvc").read_text()

    with pytest.raises(ValidationError, match=r"2 of 10 in .*new are bad, more than ingest\.max_bad_share \(10%\)"):
        take(workspace, new)

    assert (contents(workspace.root / "data"), (workspace.root / "data.dvc").read_text()) == before
    (listed,) = (workspace.root / "quarantine" / "digits").glob("new-*/reasons.csv")
    assert listed.read_text().count("zebra/") == 2


def test_a_larger_share_may_be_allowed(workspace, tmp_path):
    new = pictures(pictures(tmp_path / "new", 8), 2, name="zebra")

    assert take(workspace, new, max_bad_share=0.2).added == 8


def test_data_that_is_not_recorded_is_refused(workspace, tmp_path):
    (workspace.data("digits") / "more.txt").write_text("mine")

    with pytest.raises(StaleDataError, match=r"differs from data\.dvc in more\.txt"):
        take(workspace, pictures(tmp_path / "new", 2))


def test_another_projects_change_is_not_recorded_by_the_way(workspace, tmp_path):
    (workspace.data("ledger") / "more.txt").write_text("mine")

    with pytest.raises(StaleDataError, match=r"ledger/more\.txt, so digits cannot be recorded beside it"):
        take(workspace, pictures(tmp_path / "new", 2))

    assert versions.status(workspace, "digits").clean


@pytest.mark.parametrize("step", ["before dvc add", "after dvc add"])
def test_a_kill_leaves_the_old_data_or_the_new_and_the_next_ingest_completes_it(workspace, tmp_path, monkeypatch, step):
    new, add = pictures(tmp_path / "new", 3), versions.add
    before = contents(workspace.data("digits"))
    if (child := os.fork()) == 0:

        def killed(space: Workspace) -> None:
            if step == "after dvc add":
                add(space)
            os._exit(9)

        monkeypatch.setattr(versions, "add", killed)
        try:
            take(workspace, new)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

    versions.pull(workspace, "digits", DataConfig(), say=lambda text: None)
    was_undone = contents(workspace.data("digits")) == before
    again = take(workspace, new)

    assert was_undone == (step == "before dvc add")
    assert (again.added, again.duplicates) == ((3, 0) if was_undone else (0, 3))
    assert len(sources.read(workspace.data("digits")).images) == 1800
    assert not (workspace.state / "exchange" / "digits").exists()


def test_the_new_version_can_be_sent_to_the_remote(workspace, tmp_path):
    for words in (("init", "-q", "-f", "--no-scm"), ("remote", "add", "-q", "-d", "far", str(tmp_path / "far"))):
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=workspace.root, check=False, capture_output=True)

    found = take(workspace, pictures(tmp_path / "new", 2), push=True)

    digest = files.md5(workspace.data("digits") / "images.npy")
    assert found.pushed
    assert (tmp_path / "far" / "files" / "md5" / digest[:2] / digest[2:]).is_file()


def test_a_remote_that_refuses_is_told_after_the_version_is_recorded(workspace, tmp_path):
    with pytest.raises(DataError, match=r"version \w+\.dir of digits is recorded here, but was not sent to the remote"):
        take(workspace, pictures(tmp_path / "new", 2), push=True)

    assert len(sources.read(workspace.data("digits")).images) == 1799
    assert versions.status(workspace, "digits").clean


ROWS = "id,amount,kind\n3,3.5,a\n1,1,a\n2,99,b\n4,x,b\n5,5,b\n6,6,a\n7,7,a\n8,8,a\n"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_of_a_table_are_appended_as_the_types_that_are_there(workspace, tmp_path, ending):
    (tmp_path / "new.csv").write_text(ROWS)
    if ending == "parquet":
        pd.read_csv(tmp_path / "new.csv").to_parquet(tmp_path / "new.parquet")

    found = take(workspace, tmp_path / f"new.{ending}", "ledger", max_bad_share=0.3)

    now = pq.read_table(workspace.data("ledger") / growth.TABLE)
    assert (found.total, found.added, found.duplicates, found.bad, found.rows) == (8, 5, 1, 2, 7)
    assert now["id"].to_pylist() == [1, 2, 3, 5, 6, 7, 8]
    assert now["amount"].to_pylist() == [1.0, 2.0, 3.5, 5.0, 6.0, 7.0, 8.0]
    assert growth.manifest_of(workspace.data("ledger"))["count"] == 7
    assert found.version == versions.require_clean(workspace, "ledger")


def test_bad_rows_are_set_aside_whole_with_number_and_reason(workspace, tmp_path):
    (tmp_path / "new.csv").write_text(ROWS)

    found = take(workspace, tmp_path / "new.csv", "ledger", max_bad_share=0.3)

    assert list(csv.reader((workspace.root / found.quarantine / "reasons.csv").open())) == [
        ["row", "reason", "id", "amount", "kind"],
        ["2", "id: wanted a key that no other row has, got 2", "2", "99", "b"],
        ["3", "amount: wanted a number, got x", "4", "x", "b"],
    ]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere", "nowhere does not exist; name a folder of images, or a file"),
        ("note.txt", r"note\.txt is neither a folder of images nor a file that ends in \.csv"),
    ],
)
def test_what_is_neither_images_nor_a_table_is_named(tmp_path, path, words):
    (tmp_path / "note.txt").write_text("a note")

    with pytest.raises(DataError, match=words):
        kind_of(tmp_path / path, None)


@pytest.mark.parametrize(
    ("project", "new", "words"),
    [
        ("digits", "new.csv", "digits is a project of images, and .*new.csv holds a table"),
        ("ledger", "new", "ledger is a project of a table, and .*new holds images"),
    ],
)
def test_data_of_another_kind_is_refused(workspace, tmp_path, project, new, words):
    (tmp_path / "new.csv").write_text(ROWS)
    pictures(tmp_path / "new", 1)

    with pytest.raises(DataError, match=words):
        take(workspace, tmp_path / new, project)


def test_a_folder_without_images_is_named(workspace, tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(DataError, match="empty holds no images"):
        take(workspace, tmp_path / "empty")


def test_a_table_that_cannot_be_read_is_named(workspace, tmp_path):
    (tmp_path / "new.parquet").write_text("no parquet")

    with pytest.raises(DataError, match=r"new\.parquet cannot be read as a table"):
        take(workspace, tmp_path / "new.parquet", "ledger")


def test_a_summary_counts_all(workspace):
    found = Ingested("digits", "new", 9, 5, 3, 1, "quarantine/digits/new-0", {"why": 1}, 1802, "a", "b")

    assert list(module.counts(found).values()) == [9, 5, 3, 1, 1802]
    assert module.counts(replace(found, added=0))["added"] == 0
