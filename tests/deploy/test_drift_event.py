"""Drift and a real Prefect server: the monitor's flow runs there, tells it of drift once, and leaves its page's summary."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import pytest

from regen.core.config import load
from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import growth, sources, versions
from regen.registry import tracking
from regen.registry import versions as registered
from regen.registry.tracking import Run
from regen.stages.base import Context
from tests.conftest import make_project
from tests.unit.registry.conftest import log_network, use_store

START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A Prefect server on loopback."""

    address: str

    def ask(self, path: str, body: object) -> Any:
        """What a page of its API gives for a body."""
        asked = Request(f"{self.address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urlopen(asked, timeout=30) as page:
            return json.loads(page.read())

    def drifts(self) -> list[dict[str, Any]]:
        """The drift that it was told of."""
        found = self.ask("/events/filter", {"filter": {"event": {"name": ["data.drift.detected"]}}})
        events: list[dict[str, Any]] = found["events"]
        return events


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with untrained champions, and 250 black-on-white digits taken in since."""
    root = tmp_path_factory.mktemp("drift") / "project"
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_project(root, monkeypatch)
        workspace = Workspace(root)
        use_store(workspace, monkeypatch)
        sources.materialise(DataConfig(), workspace.data("digits"))
        versions.add(workspace)
        tracking.open_store(workspace)
        before = Context(workspace, load(root / "params.yaml")).data_version
        run = Run.of_key(workspace, "digits", "digits", "key", {})
        for kind in ("vae", "extractor"):
            uri = log_network(run, kind, tmp_path_factory.mktemp("networks") / kind)
            made = registered.register(
                f"digits-{kind}", kind, run, uri, f"key-{kind}", {"regen.data": before}, "# card"
            )
            registered.point(made, registered.CHAMPION)
        images = 255 - sources.digits().images[::7][:250]
        manifest = growth.grown(growth.manifest_of(workspace.data("digits")), before, 250, "test")
        with workspace.lock("data"), versions.replacing(workspace, "digits") as fresh:
            growth.append_images(workspace.data("digits"), fresh, images, np.zeros(250, np.int64), manifest)
    return root


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    return kept | {"COLUMNS": "200", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", **more}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    running = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=environment(PREFECT_HOME=str(home)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found = Server(f"http://127.0.0.1:{port}/api")
    try:
        _wait_for(found, running)
        yield found
    finally:
        running.terminate()
        running.wait(timeout=30)
        shutil.rmtree(home, ignore_errors=True)


def _wait_for(server: Server, running: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert running.poll() is None, "the server ended"
        try:
            with urlopen(f"{server.address}/health", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(f"the server did not answer within {START_SECONDS} s")


def monitor(project: Path, server: Server) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "monitor", "--json"], cwd=project, env=environment(PREFECT_API_URL=server.address),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_drift_is_told_to_the_server_once_and_summarised_there(project: Path, server: Server) -> None:
    first = monitor(project, server)
    told, deadline = server.drifts(), time.monotonic() + 60
    while not told and time.monotonic() < deadline:
        time.sleep(0.5)
        told = server.drifts()
    second = monitor(project, server)

    artifacts = server.ask("/artifacts/filter", {"artifacts": {"key": {"any_": ["digits-drift"]}}})
    assert (first["drift"]["outcome"], first["action"]) == ("drift", "start a retraining")
    assert (second["drift"]["outcome"], second["action"]) == ("drift", "none")
    assert [event["resource"]["prefect.resource.id"] for event in told] == ["regen.project.digits"]
    assert told[0]["payload"]["mlflow_run"] == first["run"]
    assert len(server.drifts()) == 1
    assert len(artifacts) == 2
    assert "# digits: drift" in artifacts[0]["data"]
