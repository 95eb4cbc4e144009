"""Runs Prefect, its workers, MLflow and the review page on loopback, and ends all it started, whatever ends it."""

import json
import os
import platform
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import click
import psutil

from flows.supervisor import Service, Supervisor, end, family
from regen.core import files
from regen.core.errors import RegenError
from regen.core.workspace import Workspace
from regen.registry.tracking import open_store

HOST = "127.0.0.1"
MLFLOW_PAGE = "#/experiments?workflowType=machine_learning"
"""MLflow's pages about training; it would open on those about language models."""
POOLS = ("cpu", "gpu")
START_SECONDS = 120
LOOK_SECONDS = 1.0
ASK_SECONDS = 5.0
"""Between two questions whether there is a champion to review."""


@dataclass(frozen=True)
class Ports:
    """Where each page is."""

    prefect: int = 4200
    mlflow: int = 5000
    review: int = 8321

    def address(self, name: str) -> str:
        """A page's address."""
        return f"http://{HOST}:{getattr(self, name)}"


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
        with urlopen(url, timeout=2) as page:  # noqa: S310  # an address that we or the user named
            return bool(page.status == 200)
    except (URLError, OSError, ValueError):
        return False


def serve(workspace: Workspace, ports: Ports, config: Path, model: str, *, workers: bool, review: bool) -> None:
    """Runs everything until Ctrl-C, a SIGTERM, or until something dies again and again.

    Args:
        config: the project file whose models people review.
        model: the registered model that they do, once it has a champion.
        workers: whether there is a worker for each pool.
        review: whether there is a review page.

    Raises:
        RegenError: a port is taken, or a part does not start or cannot be kept running.
    """
    _end_leftovers(workspace)
    pages = ("prefect", "mlflow", *(["review"] if review else []))
    for name in pages:
        _require_free(name, getattr(ports, name))
    open_store(workspace)
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)
    supervisor = Supervisor(workspace.state / "logs")
    try:
        click.echo("Starting Prefect and MLflow …", err=True)
        for service in (prefect(ports), mlflow(ports)):
            supervisor.start(service)
        health = {"prefect": f"{ports.address('prefect')}/api/health", "mlflow": f"{ports.address('mlflow')}/health"}
        _wait_until_up(supervisor, health)
        told = {name: ports.address(name) for name in pages}
        files.write_text(state_file(workspace), json.dumps(told | {"pid": os.getpid(), "mark": supervisor.mark}))
        click.echo(f"Prefect  {ports.address('prefect')}   flows, runs, artifacts")
        click.echo(f"MLflow   {ports.address('mlflow')}/{MLFLOW_PAGE}   experiments, models, promotions")
        if workers:
            for pool in POOLS:
                supervisor.start(worker(ports, pool))
            click.echo(f"Workers  one each for the pools {', '.join(POOLS)}; 'regen deploy' gives them work")
        if review:
            click.echo(f"Review   {ports.address('review')}/   as soon as {model} has a champion")
            supervisor.start(review_page(ports, config, model))
        click.echo("Ctrl-C ends all.")
        while True:
            time.sleep(LOOK_SECONDS)
            supervisor.look_after()
    except KeyboardInterrupt:
        click.echo("\nStopping …", err=True)
    finally:
        for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, signal.SIG_IGN)  # a second Ctrl-C would leave processes behind
        state_file(workspace).unlink(missing_ok=True)
        supervisor.stop(last=("prefect", "mlflow"))


def prefect(ports: Ports) -> Service:
    """The Prefect server."""
    return Service(
        "prefect",
        ("-m", "prefect", "server", "start", "--host", HOST, "--port", str(ports.prefect)),
        {"PREFECT_API_URL": None, "PREFECT_SERVER_UI_API_URL": f"{ports.address('prefect')}/api"},
    )


def mlflow(ports: Ports) -> Service:
    """The MLflow server with its pages."""
    return Service(
        "mlflow",
        (
            "-m", "mlflow", "server", "--host", HOST, "--port", str(ports.mlflow), "--workers", "1",
            "--backend-store-uri", os.environ["MLFLOW_TRACKING_URI"],
        ),
    )  # fmt: skip


def worker(ports: Ports, pool: str) -> Service:
    """A process worker for a pool, which it makes if there is none."""
    return Service(
        f"worker-{pool}",
        (
            "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process",
            "--name", f"{pool} on {platform.node() or HOST}",
        ),
        {"PREFECT_API_URL": f"{ports.address('prefect')}/api", "PREFECT_LOGGING_LEVEL": "INFO"},
        survived_by_children=True,
    )  # fmt: skip


def review_page(ports: Ports, config: Path, model: str) -> Service:
    """The page on which people judge the champion's samples, once there is a champion."""
    question = urlencode({"name": model, "alias": "champion"})
    champion = f"{ports.address('mlflow')}/api/2.0/mlflow/registered-models/alias?{question}"
    return Service(
        "review", ("-m", "flows.cli", "review", str(config), "--host", HOST, "--port", str(ports.review), "--json"),
        can_start=_now_and_then(lambda: answers(champion)), hear=_tell_of_review(), essential=False,
    )  # fmt: skip


def _now_and_then(ask: Callable[[], bool]) -> Callable[[], bool]:
    asked = -ASK_SECONDS

    def call() -> bool:
        nonlocal asked
        if time.monotonic() - asked < ASK_SECONDS:
            return False
        asked = time.monotonic()
        return ask()

    return call


def _tell_of_review() -> Callable[[str], None]:
    """Passes on what the page says as it opens: its address, and a new reviewer's token, which no log may hold."""
    said = ""

    def hear(line: str) -> None:
        nonlocal said
        said += line
        try:
            found = json.loads(said)
        except ValueError:
            return
        said = ""
        token = f"   token {found['token']}, shown this once" if found["token"] else ""
        click.echo(f"Review   {found['address']}   open{token}")

    return hear


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_leftovers(workspace: Workspace) -> None:
    """Ends what an earlier `regen up` left running because it was killed itself."""
    try:
        found = files.read_json(state_file(workspace))
        pid, mark = int(found["pid"]), str(found["mark"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if mark and not psutil.pid_exists(pid) and (left := list(family(mark))):
        click.echo(f"An earlier 'regen up' was killed; ending what it left running ({len(left)} processes)", err=True)
        end(left)


def _require_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise RegenError(f"port {port} is taken; choose another by --{name}-port") from None


def _wait_until_up(supervisor: Supervisor, pages: Mapping[str, str]) -> None:
    deadline, waiting = time.monotonic() + START_SECONDS, dict(pages)
    while waiting:
        supervisor.require_alive()
        waiting = {name: page for name, page in waiting.items() if not answers(page)}
        if time.monotonic() > deadline:
            raise RegenError(
                f"{', '.join(waiting)} did not answer within {START_SECONDS} s; look into {supervisor.logs}"
            )
        time.sleep(0.3)
