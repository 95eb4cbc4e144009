"""Figures on their way to MLflow: gathered by the training loop, written in batches by a thread of its own."""

import threading
import time
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from types import TracebackType

from regen.registry.tracking import Run

SECONDS = 2.0
"""Seconds between two writes."""


class Recorder:
    """Takes figures at once and writes them later; when its block ends, all are written.

    Raises:
        RegistryError, StorageError: at the next `put` or at the end, when the store refused.
    """

    def __init__(self, run: Run, seconds: float = SECONDS) -> None:
        self._run, self._seconds = run, seconds
        self._waiting: SimpleQueue[tuple[Mapping[str, float], int, int]] = SimpleQueue()
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="records figures", daemon=True)

    def put(self, figures: Mapping[str, float], step: int) -> None:
        """Figures at a step, the time being now."""
        if self._failure:
            raise self._failure
        self._waiting.put((figures, step, int(time.time() * 1000)))

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure and error is None:
            raise self._failure

    def _work(self) -> None:
        stopping = False
        while not stopping and self._failure is None:
            stopping = self._stop.wait(self._seconds)
            try:
                self._run.log_points(self._taken())
            except Exception as failure:  # crosses to the loop's thread
                self._failure = failure

    def _taken(self) -> list[tuple[str, float, int, int]]:
        points: list[tuple[str, float, int, int]] = []
        while True:
            try:
                figures, step, when = self._waiting.get_nowait()
            except Empty:
                return points
            points += [(key, float(value), step, when) for key, value in figures.items()]
