"""The same flow with Prefect and MLflow on PostgreSQL, artifacts and data in S3, results in a shared folder."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from regen.core.environment import embedded
from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import sources, versions
from tests.conftest import make_project
from tests.postgres import Databases, databases  # noqa: F401  # a fixture
from tests.services import Bucket, bucket, mlflow_server, new_database, prefect_server  # noqa: F401  # fixtures

QUICK = ("--set", "vae.images=640", "--set", "gan.images=320", "--set", "extractor.images=6400")
Done = subprocess.CompletedProcess[str]


def own_environment() -> dict[str, str]:
    """This process's, without what would point elsewhere."""
    others = ("PREFECT_", "MLFLOW_", "AWS_", "REGEN_STORE", "REGEN_ARTIFACTS")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)} | {"COLUMNS": "200"}


@dataclass(frozen=True)
class Machine:
    """A clone of the project on a machine of its own."""

    root: Path
    environment: dict[str, str]

    def call(self, *command: str) -> Done:
        """Runs a Python module in the project."""
        return subprocess.run(
            [sys.executable, "-m", *command], cwd=self.root, env=self.environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip

    def regen(self, *arguments: str) -> Done:
        """Runs `regen`, which must succeed."""
        done = self.call("flows.cli", *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        return done


@dataclass(frozen=True)
class Cluster:
    """Two machines with the same servers, and what the first one's run came to."""

    first: Machine
    second: Machine
    bucket: Bucket
    prefect: str
    summary: dict[str, object]


@pytest.fixture(scope="module")
def cluster(databases: Databases, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:  # noqa: F811
    folder = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_project(folder / "first", monkeypatch)
        sources.materialise(DataConfig(), Workspace(folder / "first").data("digits"))
        versions.add(Workspace(folder / "first"))
    schema = databases()
    prefect_database = new_database(schema).replace("postgresql://", "postgresql+asyncpg://")
    quiet = own_environment() | {
        name: value for name, value in embedded(Workspace(folder)).items() if not name.startswith("MLFLOW_TRACKING")
    }
    with (
        mlflow_server(new_database(schema), bucket, folder, quiet) as mlflow,
        prefect_server(folder, quiet | {"PREFECT_SERVER_DATABASE_CONNECTION_URL": prefect_database}) as prefect,
    ):
        environment = own_environment() | bucket.environment | {
            "MLFLOW_TRACKING_URI": mlflow, "PREFECT_API_URL": prefect, "REGEN_STORE": str(folder / "shared"),
        }  # fmt: skip
        first = Machine(folder / "first", environment)
        for arguments in (
            ("remote", "add", "-d", "s3", "s3://regen/dvc"), ("remote", "modify", "s3", "endpointurl", bucket.address),
            ("push", "data.dvc"),
        ):  # fmt: skip
            done = first.call("dvc", *arguments)
            assert done.returncode == 0, done.stderr
        shutil.copytree(
            first.root, folder / "second", symlinks=True, ignore=shutil.ignore_patterns("data", "cache", ".regen")
        )
        summary = json.loads(first.regen("run", *QUICK, "--json").stdout)
        yield Cluster(first, Machine(folder / "second", environment), bucket, prefect, summary)


def test_the_flow_registers_and_promotes_through_the_servers(cluster):
    models = json.loads(cluster.first.regen("models", "--json").stdout)["versions"]

    assert {model["model"] for model in models} == {"digits-extractor", "digits-gan", "digits-vae"}
    assert "champion" in {alias for model in models for alias in model["aliases"]}
    assert not (cluster.first.root / "mlruns" / "mlflow.db").exists()


def test_artifacts_lie_in_s3_and_none_in_the_project(cluster):
    names = cluster.bucket.names("mlflow/")

    assert {name.rsplit("/", 1)[-1] for name in names} >= {"vae.safetensors", "generator.safetensors", "report.html"}
    assert not (cluster.first.root / "mlruns" / "artifacts").exists()


def test_prefects_server_on_postgresql_knows_the_run(cluster):
    request = Request(f"{cluster.prefect}/flow_runs/filter", b"{}", {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as page:
        runs = json.loads(page.read())

    assert [run["state_name"] for run in runs if run["parent_task_run_id"] is None] == ["Completed"]


def test_results_lie_in_the_shared_folder(cluster):
    done = {path.parent.parent.name for path in (cluster.first.root.parent / "shared" / "store").glob("*/*/done.json")}

    assert done == {"prepare", "train_extractor", "train_vae", "train_gan", "evaluate", "register", "promote"}
    assert not (cluster.first.root / ".regen" / "store").exists()


def test_another_machine_pulls_the_data_from_s3_and_finds_the_work_done(cluster):
    assert not (cluster.second.root / "data").exists()

    again = json.loads(cluster.second.regen("run", *QUICK, "--json").stdout)

    assert again["reused"]
    assert again["fingerprint"] == cluster.summary["fingerprint"]
    assert (cluster.second.root / "data" / "digits").is_dir()


def test_the_doctor_asks_the_servers_for_their_versions(cluster):
    checks = {
        check["check"]: check
        for check in json.loads(cluster.first.call("flows.cli", "doctor", "--json").stdout)["checks"]
    }

    assert all(checks[name]["ok"] for name in ("Prefect server", "MLflow server", "results", "runs", "MLflow store")), (
        checks
    )
    assert "not in the project" in checks["paths"]["found"]


def test_another_machine_uses_the_model(cluster):
    cluster.second.regen("sample", "digits-gan/1", "--n", "4", "--out", "four.png")

    assert (cluster.second.root / "four.png").is_file()


def test_a_database_without_a_server_keeps_artifacts_where_regen_artifacts_says(cluster, databases, tmp_path):  # noqa: F811
    direct = Machine(
        cluster.second.root,
        cluster.first.environment
        | {
            "MLFLOW_TRACKING_URI": new_database(databases()), "REGEN_ARTIFACTS": "s3://regen/direct/",
            "REGEN_STORE": str(tmp_path / "shared"),
        },
    )  # fmt: skip
    for stage in ("prepare", "train-vae"):
        direct.regen("stage", stage, *QUICK)

    models = json.loads(direct.regen("models", "--json").stdout)

    assert models["versions"] == []
    assert any(name.endswith("training/curve.csv") for name in cluster.bucket.names("direct/digits/"))
