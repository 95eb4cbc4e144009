"""A running `regen up` that tests ask, command and end; and the network ports for it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil

from flows.supervisor import MARK, family

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would point elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    return kept | {"COLUMNS": "200", "PREFECT_WORKER_QUERY_SECONDS": "1"} | more


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


def can_be_bound(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def until(ask: Callable[[], Any], what: str, seconds: float = 180.0) -> Any:
    """The first answer that holds.

    Args:
        what: what is waited for, for the error.
    """
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds:g} s"
        time.sleep(0.5)
    return answer


@dataclass
class Servers:
    """A running `regen up`."""

    root: Path
    process: "subprocess.Popen[str]"
    ports: dict[str, int]
    mark: str

    @property
    def family(self) -> list[psutil.Process]:
        """Every process that it or one of its own has started and that runs now."""
        return list(family(self.mark))

    @property
    def api(self) -> str:
        """Prefect's address for clients."""
        return f"http://127.0.0.1:{self.ports['prefect']}/api"

    def get(self, server: str, path: str, body: object = None, method: str | None = None) -> bytes:
        """Asks one of the servers, again while its database is busy."""
        data = None if body is None else json.dumps(body).encode()
        address = f"http://127.0.0.1:{self.ports[server]}{path}"
        asked = Request(address, data, {"Content-Type": "application/json"}, method=method)
        for left in range(10, -1, -1):
            try:
                with urlopen(asked, timeout=30) as page:
                    return bytes(page.read())
            except HTTPError as error:
                if error.code != 503 or not left:
                    raise
                time.sleep(1)
        raise AssertionError("unreachable")

    def prefect(self, path: str, body: object = None) -> Any:
        """What Prefect's API answers."""
        said = self.get("prefect", f"/api{path}", body)
        return json.loads(said) if said else None

    def regen(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs `regen` in the project."""
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments], cwd=self.root, env=environment(), capture_output=True,
            text=True, timeout=300, check=False,
        )  # fmt: skip

    def regen_json(self, *arguments: str) -> Any:
        """What `regen ... --json` prints."""
        done = self.regen(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def run(self, flow: str, **parameters: Any) -> dict[str, Any]:
        """Starts a deployment, as its form does, and waits for its end."""
        deployment = self.prefect(f"/deployments/name/{flow}/digits")["id"]
        asked = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return self.ended(self.prefect(f"/deployments/{deployment}/create_flow_run", asked)["id"])

    def ended(self, run: str) -> dict[str, Any]:
        """A flow run after its end."""

        def look() -> Any:
            found = self.prefect(f"/flow_runs/{run}")
            return found if found["state_type"] in ENDED else None

        found: dict[str, Any] = until(look, f"the end of run {run}")
        return found

    def runs_of(self, flow: str) -> list[dict[str, Any]]:
        """A flow's runs that were not merely planned, oldest first."""
        asked = {"flows": {"name": {"any_": [flow]}}, "sort": "EXPECTED_START_TIME_ASC"}
        found = self.prefect("/flow_runs/filter", asked)
        return [run for run in found if run["state_type"] != "SCHEDULED" or run["run_count"]]

    def end(self, with_signal: signal.Signals) -> tuple[int, str, list[psutil.Process]]:
        """Signals the command: its exit code, its standard error, and what of its family still runs after it."""
        self.process.send_signal(with_signal)
        _, err = self.process.communicate(timeout=90)
        return self.process.returncode, err, self.family


def serve(root: Path, *options: str) -> Servers:
    """Starts `regen up` on free ports and waits until it says that all are up."""
    ports = {name: free_port() for name in ("prefect", "mlflow", "review")}
    process = start(
        root, "up", *(word for name, port in ports.items() for word in (f"--{name}-port", str(port))), *options
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C" in line:
            (child, *_) = psutil.Process(process.pid).children()
            return Servers(root, process, ports, child.environ()[MARK].partition(" ")[0])
    assert process.stderr is not None
    raise AssertionError(f"regen up ended: {process.stderr.read()}")


def kill_all(servers: Servers) -> None:
    """Leaves nothing behind, whatever a test has come to."""
    if servers.process.poll() is None:
        servers.process.kill()
        servers.process.wait()
    for one in servers.family:
        with suppress(psutil.Error):
            one.kill()
