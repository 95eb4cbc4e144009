"""A stage in a process of its own: its progress, its outcome and its errors come back as if it ran here."""

import json
import sys
from pathlib import Path

import pytest

from regen.core.errors import BY_NAME, DataError, DeviceError, KilledError, TrainingError
from regen.data import versions
from regen.stages import worker
from regen.stages.base import Outcome


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Puts a shell script in the place of the child process."""

    def call(script):
        path = tmp_path / "child"
        path.write_text(f'#!/bin/sh\nread order\nprintf %s "$order" > {tmp_path / "order.json"}\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return call


def say(event):
    """The shell command by which a child sends an event."""
    return f"echo '{json.dumps(event)}'"


OUTCOME = say({"outcome": {"stage": "prepare", "key": "abc", "reused": False}})


def test_a_childs_outcome_is_given_back(open_project, child):
    child(OUTCOME)

    assert worker.run_in_process(open_project(), "prepare") == Outcome("prepare", "abc", reused=False)


def test_the_child_is_told_the_place_the_configuration_and_the_stage(open_project, child, tmp_path, root):
    child(OUTCOME)

    worker.run_in_process(open_project({"vae.width": "7"}), "train_vae")

    order = json.loads((tmp_path / "order.json").read_text())
    assert (Path(order["root"]), order["stages"], order["config"]["vae"]["width"]) == (root, ["train_vae"], 7)


def test_a_childs_progress_is_shown_here(open_project, child, shown):
    update = {"task": "train vae", "done": 64, "total": 128, "terms": {"kl": 1.5}, "rate": 10.0, "of": "rows"}
    child("\n".join([say({"say": "hello"}), say(update), OUTCOME]))

    worker.run_in_process(open_project(), "train_vae")

    assert shown.lines == ["hello"]
    assert shown.updates == [("train vae", 64, 128, {"kl": 1.5}, 10.0)]
    assert shown.units == {"rows"}


def test_what_is_no_event_is_passed_over(open_project, child):
    child("echo some library says hello\n" + OUTCOME)

    assert worker.run_in_process(open_project(), "prepare").key == "abc"


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_error_of_ours_crosses_as_itself(open_project, child, name):
    child(say({"error": name, "message": "row 3 is damaged"}) + "\nexit 1")

    with pytest.raises(BY_NAME[name], match="row 3 is damaged") as met:
        worker.run_in_process(open_project(), "prepare")

    assert type(met.value) is BY_NAME[name]


@pytest.mark.parametrize("signal", [9, 11, 15])
def test_a_child_that_is_killed_is_a_killed_error(open_project, child, signal):
    child(f"kill -{signal} $$")

    with pytest.raises(KilledError, match=f"train_gan was killed by signal {signal}; run the command again"):
        worker.run_in_process(open_project(), "train_gan")


def test_a_child_that_ends_without_a_word_is_a_training_error_with_its_last_words(open_project, child):
    child("echo first >&2\necho 'MemoryError: no more' >&2\nexit 3")

    with pytest.raises(TrainingError, match="train_gan ended with code 3: MemoryError: no more") as met:
        worker.run_in_process(open_project(), "train_gan")

    assert not isinstance(met.value, KilledError)


def test_a_missing_device_crosses_from_a_real_child(open_project):
    with pytest.raises(DeviceError, match=r"training\.device"):
        worker.run_in_process(open_project({"training.device": "cuda:99"}), "prepare")


def test_damaged_data_crosses_from_a_real_child(open_project, root):
    labels = root / "data" / "digits" / "labels.npy"
    labels.write_bytes(labels.read_bytes()[:-100])
    versions.add(open_project().workspace)

    with pytest.raises(DataError, match=r"labels\.npy is corrupt or cut short") as met:
        worker.run_in_process(open_project(), "prepare")

    assert type(met.value) is DataError


def test_a_real_child_leaves_its_results_where_this_process_finds_them(open_project):
    context = open_project()

    outcome = worker.run_in_process(context, "prepare")

    assert outcome == Outcome("prepare", context.key("prepare"), reused=False)
    assert (context.results("prepare") / "rows.csv").is_file()
