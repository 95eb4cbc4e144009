"""`regen up` serves Prefect and MLflow on loopback to whoever runs flows meanwhile, and leaves nothing behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
import pytest

from flows.up import state_file, use_running_server
from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import sources, versions
from tests.conftest import make_project

QUICK = ("--set", "vae.images=64", "--set", "gan.images=32", "--set", "extractor.images=64")


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    return kept | {"COLUMNS": "200"}


def start(root: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Starts `regen` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments], cwd=root, env=environment(), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def can_be_bound(port: int, host: str = "127.0.0.1") -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


@dataclass
class Servers:
    """A running `regen up`."""

    root: Path
    process: "subprocess.Popen[str]"
    ports: dict[str, int]
    family: list[psutil.Process]

    def get(self, server: str, path: str, body: object = None) -> bytes:
        """Asks one of the servers."""
        data = None if body is None else json.dumps(body).encode()
        address = f"http://127.0.0.1:{self.ports[server]}{path}"
        with urlopen(Request(address, data, {"Content-Type": "application/json"}), timeout=30) as page:
            return bytes(page.read())

    def end(self, with_signal: signal.Signals) -> tuple[int, str, list[psutil.Process]]:
        """Signals the command: its exit code, its standard error, and what of its family still runs after it."""
        self.process.send_signal(with_signal)
        _, err = self.process.communicate(timeout=60)
        _, left = psutil.wait_procs(self.family, timeout=5)
        return self.process.returncode, err, [one for one in left if one.status() != psutil.STATUS_ZOMBIE]


def serve(root: Path) -> Servers:
    """Starts `regen up` on free ports and waits until it says that both are up."""
    ports = {"prefect": free_port(), "mlflow": free_port()}
    process = start(root, "up", "--prefect-port", str(ports["prefect"]), "--mlflow-port", str(ports["mlflow"]))
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C" in line:
            return Servers(root, process, ports, psutil.Process(process.pid).children(recursive=True))
    assert process.stderr is not None
    raise AssertionError(f"regen up ended: {process.stderr.read()}")


def kill_all(servers: Servers) -> None:
    for one in (
        (*servers.family, psutil.Process(servers.process.pid)) if servers.process.poll() is None else servers.family
    ):
        with suppress(psutil.NoSuchProcess):
            one.kill()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("up") / "project"
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_project(root, monkeypatch)
        sources.materialise(DataConfig(), Workspace(root).data("digits"))
        versions.add(Workspace(root))
    return root


@pytest.fixture(scope="module")
def servers(project: Path) -> Iterator[Servers]:
    running = serve(project)
    yield running
    kill_all(running)


def test_both_servers_answer_on_loopback_alone(servers):
    assert servers.get("prefect", "/api/health") == b"true"
    assert servers.get("mlflow", "/health") == b"OK"
    addresses = {
        connection.laddr.ip
        for process in servers.family
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port in servers.ports.values()
    }
    assert addresses == {"127.0.0.1"}


def test_prefects_pages_ask_this_server(servers):
    settings = json.loads(servers.get("prefect", "/ui-settings"))

    assert settings["api_url"] == f"http://127.0.0.1:{servers.ports['prefect']}/api"


def test_a_run_meanwhile_uses_these_servers_and_starts_none_of_its_own(servers):
    running = start(servers.root, "run", *QUICK)
    said = ""
    for line in running.stderr:
        said += line
        if line.startswith("  train gan"):
            break
    children = [" ".join(child.cmdline()) for child in psutil.Process(running.pid).children(recursive=True)]
    out, err = running.communicate(timeout=300)

    assert running.returncode == 0, said + err
    assert not [line for line in children if "prefect.server" in line]
    flows = json.loads(servers.get("prefect", "/api/flow_runs/filter", {}))
    assert [flow["state_name"] for flow in flows] == ["Completed"]
    artifacts = json.loads(servers.get("prefect", "/api/artifacts/filter", {}))
    assert {artifact["key"] for artifact in artifacts} == {"digits-report", "digits-verdicts"}
    found = json.loads(servers.get("mlflow", "/api/2.0/mlflow/registered-models/search"))
    assert {model["name"] for model in found["registered_models"]} == {"digits-gan", "digits-vae", "digits-extractor"}
    assert "digits-vae, version 1" in out


def test_flows_are_pointed_at_servers_that_answer(servers, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))

    use_running_server(Workspace(servers.root))

    assert os.environ["PREFECT_API_URL"] == f"http://127.0.0.1:{servers.ports['prefect']}/api"


def test_flows_stay_with_the_server_that_the_user_names(servers, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example.org/api")

    use_running_server(Workspace(servers.root))

    assert os.environ["PREFECT_API_URL"] == "http://prefect.example.org/api"


@pytest.mark.parametrize("state", ['{"prefect": "http://127.0.0.1:1"}', "{", '{"mlflow": ""}'])
def test_servers_that_are_gone_are_passed_over(tmp_path, monkeypatch, state):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    state_file(Workspace(tmp_path)).parent.mkdir()
    state_file(Workspace(tmp_path)).write_text(state)

    use_running_server(Workspace(tmp_path))

    assert "PREFECT_API_URL" not in os.environ


@pytest.mark.parametrize("server", ["prefect", "mlflow"])
def test_a_port_that_is_taken_is_named(servers, server):
    other = {"prefect": "mlflow", "mlflow": "prefect"}[server]
    ports = (f"--{server}-port", str(servers.ports[server]), f"--{other}-port", str(free_port()))

    process = start(servers.root, "up", *ports)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert err == f"error: port {servers.ports[server]} is taken; choose another by --{server}-port\n"


def test_ctrl_c_ends_all_and_frees_the_ports(servers):
    state = servers.root / ".regen" / "up.json"
    assert state.is_file()

    code, err, left = servers.end(signal.SIGINT)

    assert (code, left) == (0, [])
    assert "Traceback" not in err
    assert "error" not in err
    assert all(can_be_bound(port) for port in servers.ports.values())
    assert not state.exists()


def test_a_sigterm_ends_all_too(project, tmp_path):
    shutil.copytree(project, tmp_path / "project", symlinks=True, ignore=shutil.ignore_patterns("up.json"))
    servers = serve(tmp_path / "project")

    code, err, left = servers.end(signal.SIGTERM)

    kill_all(servers)
    assert (code, left) == (0, [])
    assert "Traceback" not in err
    assert all(can_be_bound(port) for port in servers.ports.values())


def test_a_server_that_dies_ends_the_other_and_says_so(project, tmp_path):
    shutil.copytree(project, tmp_path / "project", symlinks=True, ignore=shutil.ignore_patterns("up.json"))
    servers = serve(tmp_path / "project")
    mlflow = next(one for one in servers.family if str(servers.ports["mlflow"]) in one.cmdline())

    mlflow.kill()
    _, err = servers.process.communicate(timeout=60)
    _, left = psutil.wait_procs(servers.family, timeout=5)

    kill_all(servers)
    assert servers.process.returncode == 1
    assert err.splitlines()[-1].startswith("error: mlflow ended with code -9; look into ")
    assert "Traceback" not in err
    assert left == []
