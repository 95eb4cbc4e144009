"""Keeps processes running: what dies starts again, ever later and not for ever; at the end none is left."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import click
import psutil

from regen.core.errors import RegenError

MARK = "REGEN_UP"
"""The variable by which every process that was started here, or by one that was, is known."""
RESTARTS = 5
"""How often a process may die within `WINDOW_SECONDS` and be started again."""
WINDOW_SECONDS = 600.0
LONGEST_PAUSE_SECONDS = 30.0
STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Service:
    """One process to keep running."""

    name: str
    command: Sequence[str]
    """Arguments of Python."""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    """What it needs beside this process's environment; None takes a variable away."""
    can_start: Callable[[], bool] = lambda: True
    """Whether what it needs is there; asked again and again until it is."""
    hear: Callable[[str], None] | None = None
    """Told each line of its standard output, which then goes to no log."""
    survived_by_children: bool = False
    """Whether what it started may go on when it dies, as flow runs do; else they end before it starts again."""
    essential: bool = True
    """Whether all ends when it cannot be kept running; else only it is given up."""


class Running:
    """A service with its process, and when it died."""

    def __init__(self, service: Service, log: Path, mark: str) -> None:
        self.service, self.log, self.mark = service, log, mark
        self.process: subprocess.Popen[str] | None = None
        self.deaths: list[float] = []
        self.starts_at = 0.0
        self.given_up = False

    def start(self) -> None:
        """Starts the process."""
        hear = self.service.hear
        wanted = os.environ | self.service.environment | {MARK: f"{self.mark} {self.service.name}"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.service.command], stdin=subprocess.DEVNULL, stderr=log, text=True,
                stdout=subprocess.PIPE if hear else log, start_new_session=True,
                env={name: value for name, value in wanted.items() if value is not None},
            )  # fmt: skip
        if hear and (lines := self.process.stdout):
            threading.Thread(target=lambda: [hear(line) for line in lines], daemon=True).start()

    def look_after(self, now: float) -> None:
        """Starts the process when its time has come, and notes its death.

        Raises:
            RegenError: it died too often, and cannot be done without.
        """
        if self.process is None:
            if not self.given_up and now >= self.starts_at and self.service.can_start():
                self.start()
            return
        code = self.process.poll()
        if code is None:
            return
        self.process = None
        self.deaths = [*(death for death in self.deaths if now - death < WINDOW_SECONDS), now]
        if not self.service.survived_by_children:
            end(list(family(f"{self.mark} {self.service.name}")))  # a server's child may still hold its port
        said = f"{self.service.name} ended with code {code}"
        if len(self.deaths) <= RESTARTS:
            pause = pause_before(len(self.deaths))
            self.starts_at = now + pause
            click.echo(
                f"{said}; it starts again in {pause:g} s ({len(self.deaths)} of {RESTARTS}; see {self.log})", err=True
            )
            return
        said += f", {len(self.deaths)} times within {WINDOW_SECONDS / 60:g} minutes; look into {self.log}"
        if self.service.essential:
            raise RegenError(said)
        self.given_up = True
        click.echo(f"{said}. The others go on without it.", err=True)


def pause_before(restart: int) -> float:
    """Seconds before the nth restart: 1, 2, 4, and so on, up to half a minute.

    Example:
        >>> [pause_before(n) for n in (1, 2, 3, 9)]
        [1.0, 2.0, 4.0, 30.0]
    """
    return min(2.0 ** (restart - 1), LONGEST_PAUSE_SECONDS)


class Supervisor:
    """The processes that are kept running."""

    def __init__(self, logs: Path) -> None:
        self.logs, self.mark = logs, uuid4().hex
        self.running: list[Running] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, service: Service) -> None:
        """Starts a service, as soon as it can start."""
        log = self.logs / f"{service.name}.log"
        log.unlink(missing_ok=True)
        self.running.append(Running(service, log, self.mark))
        self.running[-1].look_after(time.monotonic())

    def look_after(self) -> None:
        """Starts again what has died.

        Raises:
            RegenError: something dies again and again.
        """
        for one in self.running:
            one.look_after(time.monotonic())

    def require_alive(self) -> None:
        """Makes sure that nothing has died, while it starts for the first time.

        Raises:
            RegenError: something has.
        """
        for one in self.running:
            if one.process is not None and (code := one.process.poll()) is not None:
                raise RegenError(f"{one.service.name} ended with code {code}; look into {one.log}")

    def stop(self, last: Sequence[str] = ()) -> None:
        """Ends every process that was started here or by one of them; the services in `last` after all others."""
        spared = {one.process.pid for one in self.running if one.process and one.service.name in last}
        end([process for process in family(self.mark) if process.pid not in spared])
        end(list(family(self.mark)))
        for one in self.running:
            if one.process is not None:
                one.process.wait()


def family(mark: str) -> Iterator[psutil.Process]:
    """Every process whose mark begins like this, also one whose parent has died."""
    assert mark, "every process would be ours"
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK, "").startswith(mark):
                yield process


def end(processes: Sequence[psutil.Process]) -> None:
    """Asks processes to end, and ends those that do not in time."""
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with suppress(psutil.Error):
                ask(process)
        processes = psutil.wait_procs(processes, timeout=STOP_SECONDS)[1]
