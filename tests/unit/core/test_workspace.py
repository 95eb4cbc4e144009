"""Where a project keeps what: found from below, locked across processes and threads, done only when whole."""

import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from regen.core.errors import ConfigError
from regen.core.workspace import StageFolder, Workspace

TAKE_TURNS = """
import sys, time
from pathlib import Path
from regen.core.workspace import Workspace

for _ in range(5):
    with Workspace(Path(sys.argv[1])).lock("data"):
        for word in ("in", "out"):
            with open(sys.argv[2], "a") as log:
                log.write(word + "\\n")
            time.sleep(0.005)
"""


@pytest.fixture
def stage(tmp_path: Path) -> StageFolder:
    folder = Workspace(tmp_path).stage("train_vae", "0123456789abcdef" * 4)
    (folder.out / "sub").mkdir(parents=True)
    (folder.out / "vae.json").write_text("weights")
    (folder.out / "sub" / "curve.csv").write_text("curve")
    folder.finish()
    return folder


@pytest.mark.parametrize("marker", ["params.yaml", "dvc.yaml"])
def test_the_project_is_the_nearest_folder_upward_that_holds_its_file(tmp_path: Path, marker: str) -> None:
    (tmp_path / "params.yaml").touch()
    inner = tmp_path / "inner"
    (inner / "a" / "b").mkdir(parents=True)
    (inner / marker).touch()

    assert Workspace.find(inner / "a" / "b") == Workspace(inner.resolve())
    assert Workspace.find(inner) == Workspace(inner.resolve())


def test_the_search_starts_at_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").touch()
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")

    assert Workspace.find() == Workspace(tmp_path.resolve())


def test_a_folder_in_no_project_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is in no Regen project; go to the folder that holds params\.yaml"):
        Workspace.find(tmp_path)


def test_everything_lies_under_the_root(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)

    places = [workspace.state, workspace.mlruns, workspace.data("digits"), workspace.outputs("digits")]

    assert all(place.is_relative_to(tmp_path) for place in places)
    assert len(set(places)) == len(places)


def test_other_keys_and_other_stages_have_other_folders(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)

    found = {workspace.stage(name, key) for name in ("train_vae", "train_gan") for key in ("a" * 64, "b" * 64)}

    assert len(found) == 4


def test_results_and_locks_lie_in_a_shared_folder_where_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Workspace(tmp_path / "one"), Workspace(tmp_path / "other")
    apart = one.stage("train_vae", "a" * 64) != other.stage("train_vae", "a" * 64)

    monkeypatch.setenv("REGEN_STORE", str(tmp_path / "shared"))

    assert apart
    assert one.stage("train_vae", "a" * 64) == other.stage("train_vae", "a" * 64)
    assert one.store.is_relative_to(tmp_path / "shared")
    with one.lock("promotion"):
        assert (tmp_path / "shared" / "locks" / "promotion.lock").exists()


def test_a_shared_folder_may_be_named_from_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGEN_STORE", "beside")

    assert Workspace(tmp_path).store == tmp_path / "beside" / "store"


def assert_turns(entries: list[str]) -> None:
    assert entries[0::2] == ["in"] * (len(entries) // 2)
    assert entries[1::2] == ["out"] * (len(entries) // 2)


def test_a_lock_excludes_another_thread(tmp_path: Path) -> None:
    log: list[str] = []

    def take_turns() -> None:
        for _ in range(10):
            with Workspace(tmp_path).lock("data"):
                log.append("in")
                time.sleep(0.001)
                log.append("out")

    threads = [Thread(target=take_turns) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(log) == 80
    assert_turns(log)


def test_a_lock_excludes_another_process(tmp_path: Path) -> None:
    log = tmp_path / "log"

    processes = [subprocess.Popen([sys.executable, "-c", TAKE_TURNS, str(tmp_path), str(log)]) for _ in range(3)]

    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(log.read_text().split()) == 30
    assert_turns(log.read_text().split())


def fail_inside(workspace: Workspace) -> None:
    with workspace.lock("data"):
        raise RuntimeError("inside")


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    entered = False

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside(workspace)
    with workspace.lock("data"):
        entered = True
    assert entered


def test_locks_of_two_names_do_not_exclude_each_other(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    entered = False

    with workspace.lock("data"), workspace.lock("store"):
        entered = True

    assert entered


def test_a_fresh_stage_is_not_done(tmp_path: Path) -> None:
    assert not Workspace(tmp_path).stage("train_vae", "a" * 64).is_done()


def test_a_stage_without_its_mark_is_not_done(stage: StageFolder) -> None:
    (stage.path / "done.json").unlink()

    assert not stage.is_done()


def test_a_finished_stage_is_done(stage: StageFolder) -> None:
    assert stage.is_done()


def test_an_unfinished_runs_leavings_do_not_count(stage: StageFolder) -> None:
    stage.work.mkdir()
    (stage.work / "000.pt").write_text("checkpoint")

    assert stage.is_done()


@pytest.mark.parametrize("name", ["vae.json", "sub/curve.csv"])
@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_text("changes"),
        lambda path: path.write_text(path.read_text()[:-1]),
        lambda path: path.write_text(""),
        lambda path: path.unlink(),
        lambda path: path.with_name("added").write_text("more"),
    ],
    ids=["changed", "truncated", "emptied", "missing", "added"],
)
def test_a_stage_with_a_harmed_result_is_not_done(stage: StageFolder, name: str, harm) -> None:
    harm(stage.out / name)

    assert not stage.is_done()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"sha256": 3}', '{"sha256": null}', "3"])
def test_a_stage_with_a_corrupt_mark_is_not_done(stage: StageFolder, content: str) -> None:
    (stage.path / "done.json").write_text(content)

    assert not stage.is_done()
