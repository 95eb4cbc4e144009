"""Progress of long work: bars in a terminal, plain lines where output is piped, events where a parent process listens."""

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

PLAIN_SECONDS = 15.0
"""Seconds between two plain lines about one task."""
Watch = Callable[[str, int, int], None]
"""Whoever is told how far a piece of work is: its name, how much is done, how much there is."""


class Progress(Protocol):
    """Whoever shows progress."""

    def update(
        self, task: str, done: int, total: int, terms: Mapping[str, float], rate: float, of: str = "images"
    ) -> None:
        """How far a task is: images, rows or pairs seen, of how many, its loss terms, how many a second."""

    def say(self, text: str) -> None:
        """One line."""


def describe(terms: Mapping[str, float], rate: float, of: str = "images") -> str:
    """Loss terms and speed in a few words.

    Example:
        >>> describe({"kl": 1.234}, 5678.9)
        'kl 1.23 · 5,679 images/s'
    """
    return " · ".join(
        [*(f"{name.replace('_', ' ')} {value:.3g}" for name, value in terms.items()), f"{rate:,.0f} {of}/s"]
    )


class Lines:
    """Plain lines, for logs and pipes."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def update(
        self, task: str, done: int, total: int, terms: Mapping[str, float], rate: float, of: str = "images"
    ) -> None:
        """Prints a line now and then, and at the end."""
        with self._lock:
            now = time.monotonic()
            if done < total and now - self._last.get(task, 0.0) < PLAIN_SECONDS:
                return
            self._last[task] = now
        left = "done" if done >= total else f"{(total - done) / max(rate, 1e-9):.0f} s left"
        self.say(f"  {task}: {done:,} of {total:,} {of} · {describe(terms, rate, of)} · {left}")

    def say(self, text: str) -> None:
        """Prints to standard error."""
        with self._lock:
            print(text, file=sys.stderr, flush=True)


class Bars:
    """One bar a task, redrawn in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._rich = Progress(
            TextColumn("  {task.description:16}"), BarColumn(24), TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(), TextColumn("[dim]{task.fields[note]}"),
            console=Console(stderr=True), transient=False,
        )  # fmt: skip
        self._tasks: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Bars":
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rich.stop()

    def update(
        self, task: str, done: int, total: int, terms: Mapping[str, float], rate: float, of: str = "images"
    ) -> None:
        """Moves the task's bar."""
        with self._lock:
            if task not in self._tasks:
                self._tasks[task] = self._rich.add_task(task, total=total, note="")
            self._rich.update(self._tasks[task], completed=done, note=describe(terms, rate, of))

    def say(self, text: str) -> None:
        """Prints above the bars."""
        self._rich.console.print(text, highlight=False)


class Events:
    """One JSON object a line on standard output, for a parent process that shows progress itself."""

    def update(
        self, task: str, done: int, total: int, terms: Mapping[str, float], rate: float, of: str = "images"
    ) -> None:
        """Sends how far the task is."""
        self.send({"task": task, "done": done, "total": total, "terms": dict(terms), "rate": rate, "of": of})

    def say(self, text: str) -> None:
        """Sends a line."""
        self.send({"say": text})

    @staticmethod
    def send(event: Mapping[str, Any]) -> None:
        """Sends an event."""
        print(json.dumps(event), flush=True)


def plainly() -> Watch:
    """Tells whoever shows progress in this process, by a line now and then."""
    last = time.monotonic()

    def line(task: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > PLAIN_SECONDS:
            last = time.monotonic()
            current().say(f"  {task}: {done:,} of {total:,}")

    return line


_current: Progress = Lines()


def current() -> Progress:
    """Whoever shows progress in this process; plain lines unless told otherwise."""
    return _current


def use(progress: Progress) -> None:
    """Shows progress by `progress` from now on."""
    global _current
    _current = progress


def is_events() -> bool:
    """Whether a parent process shows this one's progress."""
    return isinstance(current(), Events)
