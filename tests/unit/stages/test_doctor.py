"""The doctor finds damaged results, orphaned runs and servers of other versions, and mends what can be mended."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import pytest

from regen.registry import orphans, tracking
from regen.registry.tracking import Run
from regen.stages import doctor
from regen.stages.doctor import Server


def finish(context, stage: str) -> None:
    folder = context.folder(stage)
    folder.out.mkdir(parents=True)
    (folder.out / "weights").write_text("weights")
    folder.finish()


def test_damaged_results_are_found_and_removed(ready):
    context = ready()
    for stage in ("train_vae", "train_gan"):
        finish(context, stage)
    whole = doctor._results(context, False)
    (context.folder("train_gan").out / "weights").write_text("harmed")

    met = doctor._results(context, False)
    mended = doctor._results(context, True)

    assert whole.ok and "3 finished and whole" in whole.found  # with what prepare left
    assert not met.ok and "train_gan/" in met.found
    assert mended.ok
    assert not context.folder("train_gan").path.exists()
    assert context.folder("train_vae").is_done()


def test_runs_whose_process_is_gone_are_found_and_marked_as_killed(ready):
    import mlflow

    context = ready()
    tracking.open_store(context.workspace)
    ids = [Run.of_key(context.workspace, "digits", key, key, {}).id for key in ("here", "gone", "elsewhere")]
    client = mlflow.MlflowClient()
    host, number, start = tracking.this_process().rsplit(" ", 2)
    client.set_tag(ids[1], tracking.PROCESS, f"{host} {number} {float(start) - 1000:.0f}")
    client.set_tag(ids[2], tracking.PROCESS, f"other-machine {number} {start}")

    found = orphans.running()
    met = doctor._orphans(context, False)
    mended = doctor._orphans(context, True)

    assert found.orphans == (ids[1],)
    assert (found.alive, found.elsewhere) == (1, 1)
    assert not met.ok and "their processes are gone" in met.found
    assert mended.ok
    assert client.get_run(ids[1]).info.status == "KILLED"
    assert orphans.running().orphans == ()


def test_a_run_without_a_process_is_not_judged(ready):
    import mlflow

    context = ready()
    tracking.open_store(context.workspace)
    mlflow.MlflowClient().create_run(tracking.experiment_id(context.workspace, "digits"))

    assert orphans.running().orphans == ()


class Page(BaseHTTPRequestHandler):
    """Says a version as Prefect or MLflow do."""

    says = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.says.encode())

    def log_message(self, *_: object) -> None:
        """Keeps quiet."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("package", ["prefect", "mlflow"])
def test_a_server_of_our_version_is_well_and_one_of_another_is_not(address, monkeypatch, package):
    as_said = json.dumps if package == "prefect" else str
    server = Server(package, address, f"{address}/version")

    monkeypatch.setattr(Page, "says", as_said(version(package)))
    same = doctor._server(server)
    monkeypatch.setattr(Page, "says", as_said("1.2.3"))
    other = doctor._server(server)

    assert same.ok
    assert not other.ok
    assert "runs 1.2.3" in other.found
    assert f"{package}==1.2.3" in other.way_out


def test_a_server_that_does_not_answer_is_named():
    found = doctor._server(Server("mlflow", "http://127.0.0.1:1", "http://127.0.0.1:1/version"))

    assert not found.ok
    assert "http://127.0.0.1:1 does not answer" in found.found


def test_servers_are_asked_only_where_the_environment_points_to_some(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    none = doctor.servers()
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")

    assert none == []
    assert [server.page for server in doctor.servers()] == [
        "http://prefect:4200/api/admin/version", "http://mlflow:5000/version"
    ]  # fmt: skip


def test_a_pools_device_is_not_looked_for_on_this_machine(open_project):
    found = doctor._device(open_project({"training.pool": "gpu", "training.device": "cuda"}))

    assert found.ok
    assert found.found.startswith("cuda on the workers of pool gpu")


def test_paths_of_two_earlier_places_are_mended_together(ready):
    context = ready()
    tracking.open_store(context.workspace)
    for name in ("digits", "promotions"):
        tracking.experiment_id(context.workspace, name)
    with sqlite3.connect(context.workspace.mlruns / "mlflow.db") as connection:
        for name, place in (("digits", "first"), ("promotions", "second")):
            location = f"file:///{place}/mlruns/artifacts/{name}"
            connection.execute("UPDATE experiments SET artifact_location = ? WHERE name = ?", (location, name))

    met, mended = doctor._moved(context, False), doctor._moved(context, True)

    assert not met.ok
    assert mended.ok
    assert "file:///first/mlruns/artifacts and file:///second/mlruns/artifacts was moved here" in mended.found
    assert doctor._moved(context, False).ok


def test_a_damaged_database_is_a_finding_like_others(ready):
    context = ready()
    tracking.open_store(context.workspace)
    (context.workspace.mlruns / "mlflow.db").write_text("no database, whatever its name says" * 99)

    found = doctor._moved(context, False)

    assert not found.ok
    assert "file is not a database" in found.found
