"""A tracking server out of reach, a model that is not there, a store that is damaged: one line each."""

import pytest

from tests.faults.conftest import assert_fails_in_one_line

NOWHERE = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}


@pytest.mark.parametrize("command", [("run",), ("models",)], ids=" ".join)
def test_a_tracking_server_out_of_reach_is_named_with_the_way_out(unchanged, here, command):
    done = here(unchanged, *command, **NOWHERE)

    assert_fails_in_one_line(done, "http://127.0.0.1:1 does not answer", "unset MLFLOW_TRACKING_URI")


def test_a_database_that_is_none_is_named(own_project, here):
    database = own_project.root / "mlruns" / "mlflow.db"
    database.parent.mkdir()
    database.write_text("scribbled over, and long enough to be read as a header of a database\n" * 20)

    assert_fails_in_one_line(here(own_project, "models"), "not a database")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("sample", "digits-dae"), ("there is no model digits-dae", "none yet, run regen run")),
        (("sample", "digits-vae@champion"), ("there is no model digits-vae",)),
        (("sample", "digits-vae/7"), ("digits-vae has no version 7", "regen models")),
        (("models", "digits-dae"), ("there is no model digits-dae",)),
        (("promote", "digits-vae", "7"), ("digits-vae has no version 7",)),
        (("rollback", "digits-vae"), ("digits-vae has no champion",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and value[0].islower() else "",
)
def test_a_model_that_is_not_there_is_named(project, here, command, words):
    done = here(project, *command)

    assert_fails_in_one_line(done, *words)
    assert not list(project.root.glob("*.png"))
