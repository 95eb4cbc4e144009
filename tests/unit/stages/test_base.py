"""A stage is performed once for its key, anew when its results are damaged, and copied to where people look."""

import subprocess
import sys

import pytest

from regen.core.errors import StaleDataError, StorageError
from regen.stages.base import Outcome, jsonable, perform, publish

PERFORM = """\
import time
from pathlib import Path
from regen.core.config import load
from regen.core.workspace import Workspace
from regen.stages.base import Context, perform
context = Context(Workspace(Path.cwd()), load(Path("params.yaml")))
def body(work, out):
    with Path("calls.txt").open("a") as calls:
        calls.write("called\\n")
    time.sleep(0.5)
    (out / "result.txt").write_text("done")
print(perform(context, "prepare", body).reused)
"""


class Body:
    """A stage's work that counts how often it was done."""

    def __init__(self, text="result"):
        self.text, self.calls = text, 0

    def __call__(self, work, out):
        self.calls += 1
        (work / "checkpoint").write_text("half way")
        (out / "result.txt").write_text(self.text)


def test_the_second_call_finds_the_work_done(open_project):
    context, body = open_project(), Body()

    first, second = perform(context, "prepare", body), perform(context, "prepare", body)

    assert body.calls == 1
    assert first == Outcome("prepare", context.key("prepare"), reused=False)
    assert second == Outcome("prepare", context.key("prepare"), reused=True)


def test_other_inputs_are_other_work(open_project):
    body = Body()
    perform(open_project(), "train_vae", body)

    outcome = perform(open_project({"vae.width": "8"}), "train_vae", body)

    assert not outcome.reused
    assert body.calls == 2


@pytest.mark.parametrize("damage", ["changed", "removed", "added", "unmarked"])
def test_damaged_results_are_made_anew(open_project, damage):
    context, body = open_project(), Body()
    perform(context, "prepare", body)
    folder = context.folder("prepare")
    if damage == "changed":
        (folder.out / "result.txt").write_text("resulx")
    elif damage == "removed":
        (folder.out / "result.txt").unlink()
    elif damage == "added":
        (folder.out / "foreign.txt").write_text("not ours")
    else:
        (folder.path / "done.json").write_text("{")

    outcome = perform(context, "prepare", body)

    assert not outcome.reused
    assert [path.name for path in folder.out.iterdir()] == ["result.txt"]
    assert (folder.out / "result.txt").read_text() == "result"
    assert folder.is_done()


def test_results_are_made_anew_when_the_world_around_them_has_changed(open_project):
    context, body = open_project(), Body()
    perform(context, "evaluate", body)

    outcome = perform(context, "evaluate", body, still_holds=lambda out: False)

    assert not outcome.reused
    assert body.calls == 2


def test_failed_work_leaves_no_results_but_what_it_can_go_on_from(open_project):
    context = open_project()

    def fail(work, out):
        (work / "checkpoint").write_text("half way")
        (out / "result.txt").write_text("half")
        raise RuntimeError("cut short")

    with pytest.raises(RuntimeError, match="cut short"):
        perform(context, "prepare", fail)

    folder = context.folder("prepare")
    assert not folder.is_done()
    assert (folder.work / "checkpoint").read_text() == "half way"
    assert not (context.workspace.outputs("digits") / "prepare").exists()


def test_the_next_try_starts_from_an_empty_out_and_the_old_work(open_project):
    context, seen = open_project(), []

    def fail(work, out):
        (work / "checkpoint").write_text("half way")
        (out / "leftover.txt").write_text("half")
        raise RuntimeError("cut short")

    def finish(work, out):
        seen.extend([(work / "checkpoint").read_text(), list(out.iterdir())])

    with pytest.raises(RuntimeError):
        perform(context, "prepare", fail)
    perform(context, "prepare", finish)

    assert seen == ["half way", []]
    assert not context.folder("prepare").work.exists()


def test_a_full_disk_is_a_storage_error(open_project):
    def fill(work, out):
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="the disk is full; free some space"):
        perform(open_project(), "prepare", fill)


def test_two_processes_do_the_same_work_once(open_project, root):
    open_project()
    processes = [
        subprocess.Popen([sys.executable, "-c", PERFORM], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]  # fmt: skip

    said = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], said
    assert sorted(out.strip() for out, _ in said) == ["False", "True"]
    assert (root / "calls.txt").read_text() == "called\n"


def test_results_are_copied_to_where_people_look(open_project):
    context = open_project()

    perform(context, "prepare", Body("for people"))

    assert (context.workspace.outputs("digits") / "prepare" / "result.txt").read_text() == "for people"


def test_a_copy_that_people_changed_is_put_right(open_project):
    context, body = open_project(), Body()
    perform(context, "prepare", body)
    target = context.workspace.outputs("digits") / "prepare"
    (target / "result.txt").write_text("scribbled over")
    (target / "extra.txt").write_text("scribbled beside")

    perform(context, "prepare", body)

    assert {path.name: path.read_text() for path in target.iterdir()} == {"result.txt": "result"}
    assert body.calls == 1


def test_a_copy_that_is_right_is_left_alone(open_project):
    context = open_project()
    perform(context, "prepare", Body())
    target = context.workspace.outputs("digits") / "prepare"
    before = target.stat().st_ino

    publish(context, "prepare", context.folder("prepare"))

    assert target.stat().st_ino == before


def test_results_of_a_stage_that_has_not_run_are_asked_for_in_vain(open_project):
    with pytest.raises(StaleDataError, match="run 'regen stage train-vae'"):
        open_project().results("train_vae")


def test_dataclasses_become_plain_values_wherever_they_stand():
    outcome = Outcome("prepare", "abc", reused=True)

    assert jsonable({1: [outcome], "two": (1.5, None)}) == {
        "1": [{"stage": "prepare", "key": "abc", "reused": True}], "two": [1.5, None],
    }  # fmt: skip
