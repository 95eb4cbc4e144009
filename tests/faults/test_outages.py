"""A database or an artifact store that is away for twenty seconds in the middle of a training: it is sat out, or told plainly.

Whatever the command says, run again it ends with the weights of a training that nothing happened to.
"""

import time
from contextlib import contextmanager

import pytest

from tests.faults.conftest import assert_fails_in_one_line, copy
from tests.postgres import databases  # noqa: F401  # a fixture
from tests.services import Postmaster, bucket, mlflow_server, new_database  # noqa: F401  # a fixture

AWAY_SECONDS = 20
SETTINGS = ("vae.network=mlp", "vae.width=4", "vae.images=460800", "seed=3")
EVERY = ("training.checkpoint_every_images=19200", "training.log_every_images=6400")
WORDS = [word for setting in (*SETTINGS, *EVERY) for word in ("--set", setting)]


@pytest.fixture(scope="module")
def servers(databases, bucket, tmp_path_factory):  # noqa: F811
    """MLflow on PostgreSQL, its artifacts in S3."""
    schema, folder = databases(), tmp_path_factory.mktemp("servers")
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    from tests.faults.conftest import Project

    environment = Project(folder).environment | quiet
    with mlflow_server(new_database(schema), bucket, folder, environment) as address:
        yield Postmaster(schema), bucket, {"MLFLOW_TRACKING_URI": address}


@pytest.fixture(scope="module")
def prepared(template, tmp_path_factory):
    """A project that is ready to train."""
    project = copy(template, tmp_path_factory.mktemp("prepared") / "project")
    done = project.regen("stage", "prepare", *WORDS)
    assert done.returncode == 0, done.stderr
    return project.root


def weights(project):
    """The networks that a finished training left."""
    (folder,) = project.store("train_vae")
    assert (folder / "done.json").exists()
    return {path.name: path.read_bytes() for path in (folder / "out").glob("*.safetensors")}


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory):
    """What the training gives when nothing happens."""
    project = copy(prepared, tmp_path_factory.mktemp("undisturbed") / "project")
    done = project.regen("stage", "train-vae", *WORDS)
    assert done.returncode == 0, done.stderr
    return weights(project)


@contextmanager
def store_gone(bucket):  # noqa: F811
    bucket.stop()
    yield
    bucket.start()


@pytest.mark.parametrize(
    "outage", ["the database answers nobody", "the database is restarted", "the artifact store is gone"]
)
def test_an_outage_in_the_middle_of_a_training_is_sat_out_or_told_plainly(
    servers, prepared, undisturbed, tmp_path, started, outage
):
    database, store, environment = servers
    away = {
        "the database answers nobody": database.frozen, "the database is restarted": database.gone,
        "the artifact store is gone": lambda: store_gone(store),
    }[outage]  # fmt: skip
    project = copy(prepared, tmp_path / "project")
    running = started(project.start("stage", "train-vae", *WORDS, **environment))
    running.wait_for("  train vae: 6,400 of")

    with away():
        time.sleep(AWAY_SECONDS)
        in_time = running.process.poll() is None or running.process.returncode != 0
    done = running.finish()
    again = project.regen("stage", "train-vae", *WORDS, **environment)

    assert in_time, "it trained to its end meanwhile; give it more images"
    if done.returncode != 0:
        assert_fails_in_one_line(done, "the tracking server")
    assert again.returncode == 0, again.stderr
    assert weights(project) == undisturbed
