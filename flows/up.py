"""Starts the Prefect server and the MLflow UI on loopback and ends all it started, whatever ends it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.request import urlopen

import click

from regen.core import files
from regen.core.errors import RegenError
from regen.core.workspace import Workspace
from regen.registry.tracking import open_store

HOST = "127.0.0.1"
MLFLOW_PAGE = "#/experiments?workflowType=machine_learning"
"""MLflow's pages about training; it would open on those about language models."""
START_SECONDS = 120
STOP_SECONDS = 15


def state_file(workspace: Workspace) -> Path:
    """Where `regen up` says that it runs."""
    return workspace.state / "up.json"


def use_running_server(workspace: Workspace) -> None:
    """Points Prefect at the server of `regen up`, when one answers and the user named no other."""
    try:
        address = str(files.read_json(state_file(workspace))["prefect"])
    except (OSError, ValueError, KeyError):
        return
    if "PREFECT_API_URL" not in os.environ and answers(f"{address}/api/health"):
        os.environ["PREFECT_API_URL"] = f"{address}/api"


def answers(url: str) -> bool:
    """Whether a page answers with success."""
    try:
        with urlopen(url, timeout=2) as page:  # noqa: S310  # our own address on loopback
            return bool(page.status == 200)
    except (URLError, OSError):
        return False


def serve(workspace: Workspace, prefect_port: int, mlflow_port: int) -> None:
    """Runs both servers until Ctrl-C, a SIGTERM, or the end of one of them.

    Raises:
        RegenError: a port is taken, or a server does not start.
    """
    for name, port in (("Prefect", prefect_port), ("MLflow", mlflow_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                raise RegenError(f"port {port} is taken; choose another by --{name.lower()}-port") from None
    open_store(workspace)
    addresses = {"prefect": f"http://{HOST}:{prefect_port}", "mlflow": f"http://{HOST}:{mlflow_port}"}
    commands = {
        "prefect": ["-m", "prefect", "server", "start", "--host", HOST, "--port", str(prefect_port)],
        "mlflow": [
            "-m", "mlflow", "server", "--host", HOST, "--port", str(mlflow_port), "--workers", "1",
            "--backend-store-uri", os.environ["MLFLOW_TRACKING_URI"],
        ],
    }  # fmt: skip
    environment = os.environ | {"PREFECT_SERVER_UI_API_URL": f"{addresses['prefect']}/api"}
    environment.pop("PREFECT_API_URL", None)
    logs = workspace.state / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    children: dict[str, subprocess.Popen[bytes]] = {}
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)
    try:
        for name, command in commands.items():
            with (logs / f"{name}.log").open("wb") as log:
                children[name] = subprocess.Popen(
                    [sys.executable, *command], stdout=log, stderr=log, env=environment, start_new_session=True
                )
        click.echo("Starting Prefect and MLflow …", err=True)
        _wait_until_up(
            children, {"prefect": f"{addresses['prefect']}/api/health", "mlflow": f"{addresses['mlflow']}/health"}, logs
        )
        files.write_text(state_file(workspace), json.dumps(addresses))
        click.echo(f"Prefect  {addresses['prefect']}   flows, runs, artifacts")
        click.echo(f"MLflow   {addresses['mlflow']}/{MLFLOW_PAGE}   experiments, models, promotions")
        click.echo("Ctrl-C ends both.")
        while True:
            time.sleep(1)
            _require_alive(children, logs)
    except KeyboardInterrupt:
        click.echo("\nStopping …", err=True)
    finally:
        state_file(workspace).unlink(missing_ok=True)
        _stop(children)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait_until_up(children: Mapping[str, "subprocess.Popen[bytes]"], pages: Mapping[str, str], logs: Path) -> None:
    deadline, waiting = time.monotonic() + START_SECONDS, dict(pages)
    while waiting:
        _require_alive(children, logs)
        waiting = {name: page for name, page in waiting.items() if not answers(page)}
        if time.monotonic() > deadline:
            raise RegenError(f"{', '.join(waiting)} did not answer within {START_SECONDS} s; look into {logs}")
        time.sleep(0.3)


def _require_alive(children: Mapping[str, "subprocess.Popen[bytes]"], logs: Path) -> None:
    for name, child in children.items():
        if child.poll() is not None:
            raise RegenError(f"{name} ended with code {child.returncode}; look into {logs / name}.log")


def _stop(children: Mapping[str, "subprocess.Popen[bytes]"]) -> None:
    for send in (signal.SIGTERM, signal.SIGKILL):
        for child in children.values():
            try:
                os.killpg(child.pid, send)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + STOP_SECONDS
        for child in children.values():
            try:
                child.wait(timeout=max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                continue
