"""The tracking store opens for many at once, finds a run again by its key, and says plainly what is wrong."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from regen.core.environment import embedded
from regen.core.errors import RegistryError, StorageError
from regen.core.workspace import Workspace
from regen.registry import tracking
from regen.registry.tracking import Run
from regen.registry.tracking import speaking_plainly as speaking

OPEN = """\
from pathlib import Path
from regen.core.environment import bootstrap
from regen.core.workspace import Workspace
from regen.registry import tracking
workspace = Workspace(Path.cwd())
bootstrap(workspace)
tracking.open_store(workspace)
print(tracking.Run.of_key(workspace, "digits", "run", "key", {}).id)
"""


def status_of(run):
    """RUNNING, FINISHED, FAILED or KILLED."""
    import mlflow

    return mlflow.MlflowClient().get_run(run.id).info.status


def test_four_processes_open_a_fresh_store_at_once(tmp_path, monkeypatch):
    for name in embedded(Workspace(tmp_path)):
        monkeypatch.delenv(name, raising=False)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]

    said = [process.communicate(timeout=120) for process in processes]

    assert [process.returncode for process in processes] == [0] * 4, said
    assert all(len(out.strip()) == 32 for out, _ in said)


def test_a_store_that_was_left_half_made_is_begun_anew_and_a_whole_one_kept(tmp_path, monkeypatch):
    for name in embedded(Workspace(tmp_path)):
        monkeypatch.delenv(name, raising=False)
    database = tmp_path / "mlruns" / "mlflow.db"

    def opened(*first: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", "\n".join([*first, OPEN])], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )

    killed = opened("import os, mlflow", "mlflow.MlflowClient.search_experiments = lambda *_, **__: os._exit(9)")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(
            "CREATE TABLE _alembic_tmp_experiments (name TEXT)"
        )  # as a migration that was cut short leaves
    first, second = opened(), opened()

    assert killed.returncode == 9
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout, "the run was not found again"
    assert sorted(path.name for path in database.parent.glob("mlflow*") if path.suffix == ".making") == []


def test_a_run_is_found_again_by_its_key(store):
    first = Run.of_key(store.workspace, "found", "run", "one", {"colour": "red"})

    again = Run.of_key(store.workspace, "found", "run", "one", {})
    other = Run.of_key(store.workspace, "found", "run", "two", {})

    assert again == first != other
    assert again.data().tags["colour"] == "red"


def test_parameters_that_are_recorded_already_stay_as_they_are(store):
    run = Run.of_key(store.workspace, "parameters", "run", "one", {})
    run.log_params({"width": 4})

    run.log_params({"width": 8, "images": 64})

    assert run.data().params == {"width": "4", "images": "64"}


def test_a_run_is_running_while_it_runs_and_finished_after(store):
    run = Run.of_key(store.workspace, "ends", "run", "well", {})

    with run.running():
        during = status_of(run)

    assert during == "RUNNING"
    assert status_of(run) == "FINISHED"


@pytest.mark.parametrize(("raised", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_says_how_it_was_cut_short(store, raised, status):
    run = Run.of_key(store.workspace, "ends", "run", status, {})

    with pytest.raises(raised), run.running():
        raise raised

    assert status_of(run) == status


def test_artifacts_of_the_embedded_store_lie_in_mlruns(store):
    import mlflow

    owner = tracking.experiment_id(store.workspace, "placed")

    location = mlflow.MlflowClient().get_experiment(owner).artifact_location
    assert location == (store.workspace.mlruns / "artifacts" / "placed").as_uri()


@pytest.mark.parametrize("address", ["postgresql+psycopg://db/mlflow", "sqlite:////elsewhere/mlflow.db"])
def test_artifacts_of_another_database_lie_where_regen_artifacts_says(tmp_path, monkeypatch, address):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("REGEN_ARTIFACTS", "s3://bucket/regen/")
    named = tracking.artifact_location(Workspace(tmp_path), "digits")
    monkeypatch.delenv("REGEN_ARTIFACTS")

    assert named == "s3://bucket/regen/digits"
    assert tracking.artifact_location(Workspace(tmp_path), "digits") == (tmp_path / "mlruns/artifacts/digits").as_uri()


def test_a_server_decides_itself_where_artifacts_lie(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("REGEN_ARTIFACTS", "s3://bucket/regen")

    assert tracking.artifact_location(Workspace(tmp_path), "digits") is None


def test_an_open_store_is_waited_for_longer_than_one_to_be_opened(store, monkeypatch):
    names = list(tracking.PATIENTLY)
    for name in names:
        monkeypatch.delenv(name, raising=False)
    during = {}
    monkeypatch.setattr("mlflow.MlflowClient.search_experiments", lambda *_, **__: during.update(os.environ))

    tracking.open_store(store.workspace)

    assert {name: during[name] for name in names} == tracking.SOON
    assert {name: os.environ[name] for name in names} == tracking.PATIENTLY


def test_how_long_to_wait_is_the_users_to_say(store, monkeypatch):
    chosen = dict.fromkeys(tracking.PATIENTLY, "3")
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)

    tracking.open_store(store.workspace)

    assert {name: os.environ[name] for name in chosen} == chosen


def test_an_artifact_store_that_is_away_is_told_of_plainly():
    from botocore import exceptions

    with pytest.raises(RegistryError, match="the artifact store does not answer or refuses"), speaking("recording"):
        raise exceptions.EndpointConnectionError(endpoint_url="http://s3:9000")


@pytest.mark.parametrize("reason", ["500 Server Error: INTERNAL SERVER ERROR for url", "too many 503 error responses"])
def test_a_server_whose_own_stores_are_away_is_told_of_plainly(reason):
    from requests import HTTPError

    with pytest.raises(RegistryError, match="its database or its artifact store may be away"), speaking("recording"):
        raise HTTPError(reason)


def test_a_password_is_not_said(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg://ada:secret@127.0.0.1:1/mlflow")

    with pytest.raises(RegistryError, match=r"ada@127\.0\.0\.1:1/mlflow does not answer") as met, speaking("opening"):
        raise ConnectionError("Connection refused")

    assert "secret" not in str(met.value)


def test_a_server_out_of_reach_is_named_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")

    with pytest.raises(
        RegistryError, match=r"http://127\.0\.0\.1:1 does not answer .*unset MLFLOW_TRACKING_URI"
    ) as met:
        tracking.open_store(Workspace(tmp_path))

    assert "\n" not in str(met.value)


def test_a_database_that_is_none_is_refused_in_one_line(tmp_path, monkeypatch):
    workspace = Workspace(tmp_path)
    workspace.mlruns.mkdir()
    (workspace.mlruns / "mlflow.db").write_text(
        "no database at all, but long enough to be taken for a damaged one\n" * 9
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", embedded(workspace)["MLFLOW_TRACKING_URI"])

    with pytest.raises(RegistryError, match="opening the store") as met:
        tracking.open_store(workspace)

    assert "\n" not in str(met.value)


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("attempt to write a readonly database", "is its disk read-only"),
        ("unable to open database file", "is its disk read-only"),
        ("database or disk is full", "free some space"),
        ("disk I/O error", "free some space"),
    ],
)
def test_a_disk_that_refuses_the_database_is_a_storage_error(reason, hint):
    import sqlite3

    with pytest.raises(StorageError, match=hint), tracking.speaking_plainly("writing"):
        raise sqlite3.OperationalError(reason)


def test_the_commit_is_unknown_outside_a_repository(tmp_path):
    assert tracking.git_commit(tmp_path) == "unknown"


def test_a_commit_with_changed_files_is_called_dirty(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "one")
    clean = tracking.git_commit(tmp_path)

    (tmp_path / "file").write_text("two")

    assert len(clean) == 40
    assert tracking.git_commit(tmp_path) == f"{clean}-dirty"


def test_points_go_in_requests_of_a_thousand_at_most(store, monkeypatch):
    import mlflow

    sizes = []
    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", lambda self, run, metrics: sizes.append(len(metrics)))

    Run("any").log_points([("a", 1.0, step, 0) for step in range(2500)])
    Run("any").log_points([])

    assert sizes == [1000, 1000, 500]


def test_a_point_keeps_its_step_and_its_time(store):
    import mlflow

    run = Run.of_key(store.workspace, "points", "run", "one", {})

    run.log_points([("a", 1.5, 7, 1_700_000_000_123), ("a", 2.5, 8, 1_700_000_000_456)])

    history = mlflow.MlflowClient().get_metric_history(run.id, "a")
    assert [(m.value, m.step, m.timestamp) for m in sorted(history, key=lambda m: m.step)] == [
        (1.5, 7, 1_700_000_000_123), (2.5, 8, 1_700_000_000_456),
    ]  # fmt: skip


def test_training_seconds_come_from_the_speed_of_each_stretch_the_last_word_counting(store):
    run = Run.of_key(store.workspace, "speed", "run", "one", {})

    run.log_metrics({tracking.SPEED: 10.0}, step=100)
    run.log_metrics({tracking.SPEED: 20.0}, step=200)
    first = run.training_seconds()
    run.log_metrics({tracking.SPEED: 50.0}, step=200)

    assert (first, run.training_seconds()) == (15.0, 12.0)


def test_a_new_run_is_another_one_each_time_and_is_found_by_its_id(store):
    one, two = (Run.new(store.workspace, "anew", "evaluate", {"colour": "red"}) for _ in range(2))

    one.close()

    assert one != two
    assert Run.find(one.id) == one
    assert one.data().tags["colour"] == "red"
    assert status_of(one) == "FINISHED"
    assert Run.find("0" * 32) is None


def test_a_run_knows_the_models_that_were_logged_in_it(store):
    assert set(store.run.model_uris()) >= set(store.uris.values())
    assert Run.new(store.workspace, "anew", "empty", {}).model_uris() == []


def test_a_file_of_a_run_is_read_back_and_one_that_is_not_there_is_none(store, tmp_path):
    (tmp_path / "told.json").write_text('{"decision": "HOLD"}')
    store.run.log_files({tmp_path / "told.json": "gate"})

    assert store.run.read_json("gate/told.json") == {"decision": "HOLD"}
    assert store.run.read_json("gate/other.json") is None
    assert store.run.read_json("nowhere/told.json") is None
