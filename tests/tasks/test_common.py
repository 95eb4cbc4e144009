"""A task shows that its work was done before, and is tried again only where that helps."""

import pytest

from regen.core.errors import ConfigError, DataError, DivergenceError, KilledError, StorageError, TrainingError
from regen.stages.base import Outcome


def test_fresh_work_is_given_back_as_it_is():
    from tasks.common import shown

    outcome = Outcome("train_vae", "a" * 64, reused=False)

    assert shown(outcome) is outcome


def test_work_that_was_done_before_is_a_state_named_cached():
    from tasks.common import shown

    outcome = Outcome("train_vae", "a" * 64, reused=True)

    state = shown(outcome)

    assert (state.name, state.is_completed(), state.data) == ("Cached", True, outcome)
    assert state.message == f"train_vae was done before, key {'a' * 16}"


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (KilledError("killed by signal 9"), True),
        (TrainingError("ended with code 3"), False),
        (DivergenceError("the loss is nan"), False),
        (DataError("a file is damaged"), False),
        (StorageError("the disk is full"), False),
        (ValueError("a bug"), False),
    ],
)
def test_only_a_killed_training_is_tried_again(error, again):
    from prefect.states import Failed

    from tasks.common import was_killed

    assert was_killed(None, None, Failed(data=error)) is again


def test_a_training_is_tried_twice_more_and_nothing_else_is():
    from tasks.common import was_killed
    from tasks.data import prepare, pull_data
    from tasks.evaluate import evaluate
    from tasks.promote import find_finished, promote, register
    from tasks.train import train

    assert (train.retries, train.retry_condition_fn) == (2, was_killed)
    assert [task.retries for task in (pull_data, find_finished, prepare, evaluate, register, promote)] == [0] * 6


def test_the_workspace_is_that_of_the_current_folder(config, project):
    from tasks.common import context_of

    context = context_of(config)

    assert context.workspace.root == project.resolve()
    assert context.config is config


def test_a_flow_takes_its_project_by_the_files_path_or_whole(project):
    from flows.train import train

    by_path = train.validate_parameters({"config": "params.yaml", "kind": "vae"})["config"]
    whole = train.validate_parameters({"config": by_path.model_dump(mode="json"), "kind": "vae"})["config"]

    assert by_path.project == "digits"
    assert whole == by_path


def test_a_project_file_that_is_not_there_is_named(project):
    from flows.train import train

    with pytest.raises(ConfigError, match=r"there is no project file .*parms.yaml; did you mean .*params.yaml"):
        train.validate_parameters({"config": "parms.yaml", "kind": "vae"})


def test_a_picture_is_shown_whole_and_a_large_one_named(tmp_path, monkeypatch):
    from tasks import common

    picture = tmp_path / "samples.png"
    picture.write_bytes(b"png")

    assert common.picture_markdown(picture, "Samples") == "![Samples](data:image/png;base64,cG5n)"
    monkeypatch.setattr(common, "MOST_PICTURE_BYTES", 2)
    assert common.picture_markdown(picture, "Samples") == f"Samples: `{picture}`"
