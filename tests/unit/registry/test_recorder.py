"""Figures are taken at once, written in batches, all written at the end, and a refusal crosses to who puts them."""

import threading
import time

import pytest

from regen.core.errors import RegistryError, StorageError
from regen.registry import tracking
from regen.registry.recorder import Recorder
from regen.registry.tracking import POINTS_A_REQUEST, Run


class Kept:
    """A run that keeps what it is given, a batch a call, or refuses it."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.batches: list[list[tuple[str, float, int, int]]] = []
        self.refusal, self.called, self.threads = refusal, threading.Event(), set()

    def log_points(self, points: list[tuple[str, float, int, int]]) -> None:
        self.threads.add(threading.current_thread().name)
        self.called.set()
        if self.refusal and points:
            raise self.refusal
        if points:
            self.batches.append(points)


def recorders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "records figures"]


def test_all_is_written_when_the_block_ends_in_one_batch_and_in_order() -> None:
    run = Kept()

    with Recorder(run, seconds=60) as recorder:
        for step in range(50):
            recorder.put({"train/kl": step / 2, "train/mse": 1.0}, step)

    (batch,) = run.batches
    assert [(key, value, step) for key, value, step, _ in batch] == [
        pair for step in range(50) for pair in (("train/kl", step / 2, step), ("train/mse", 1.0, step))
    ]
    assert recorders() == []


def test_figures_carry_the_time_at_which_they_were_put() -> None:
    run, before = Kept(), int(time.time() * 1000)

    with Recorder(run, seconds=60) as recorder:
        recorder.put({"a": 1.0}, 0)
        time.sleep(0.02)
        recorder.put({"a": 2.0}, 1)

    times = [when for *_, when in run.batches[0]]
    assert before <= times[0] < times[1] <= int(time.time() * 1000)


def test_figures_are_written_meanwhile_by_a_thread_of_their_own() -> None:
    run = Kept()

    with Recorder(run, seconds=0.01) as recorder:
        recorder.put({"a": 1.0}, 0)
        deadline = time.monotonic() + 10
        while not run.batches and time.monotonic() < deadline:
            time.sleep(0.005)
        during = list(run.batches)
        recorder.put({"a": 2.0}, 1)

    assert [point[:3] for point in during[0]] == [("a", 1.0, 0)]
    assert sum(len(batch) for batch in run.batches) == 2
    assert run.threads == {"records figures"}


def test_a_put_does_not_wait_for_the_store() -> None:
    release = threading.Event()

    class Slow(Kept):
        def log_points(self, points: list) -> None:
            super().log_points(points)
            release.wait(10)

    run = Slow()
    with Recorder(run, seconds=0.01) as recorder:
        run.called.wait(10)
        recorder.put({"a": 1.0}, 0)  # the thread is inside the store by now
        release.set()

    assert [point[0] for batch in run.batches for point in batch] == ["a"]


def test_a_refusal_crosses_to_the_next_put() -> None:
    def record() -> None:
        with Recorder(Kept(StorageError("the disk is full")), seconds=0.01) as recorder:
            recorder.put({"a": 1.0}, 0)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                time.sleep(0.005)
                recorder.put({"a": 2.0}, 1)
            pytest.fail("no put raised")

    with pytest.raises(StorageError, match="the disk is full"):
        record()
    assert recorders() == []


def test_a_refusal_at_the_end_crosses_to_the_end_of_the_block() -> None:
    def record() -> None:
        with Recorder(Kept(RegistryError("no server")), seconds=60) as recorder:
            recorder.put({"a": 1.0}, 0)

    with pytest.raises(RegistryError, match="no server"):
        record()
    assert recorders() == []


def interrupted(run: Kept) -> None:
    """Puts one figure, then stops by hand."""
    with Recorder(run, seconds=60) as recorder:
        recorder.put({"a": 1.0}, 0)
        raise KeyboardInterrupt


def test_an_error_of_the_block_itself_goes_first() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(Kept(RegistryError("no server")))


def test_what_was_put_before_an_error_of_the_block_is_written() -> None:
    run = Kept()

    with pytest.raises(KeyboardInterrupt):
        interrupted(run)

    assert [point[:3] for point in run.batches[0]] == [("a", 1.0, 0)]


def test_more_points_than_mlflow_takes_at_once_all_arrive(store) -> None:
    import mlflow

    run = Run.of_key(store.workspace, "recorded", "run", "many", {})
    with Recorder(run, seconds=60) as recorder:
        for step in range(POINTS_A_REQUEST // 2 + 50):
            recorder.put({"train/kl": float(step), tracking.SPEED: 100.0}, step)

    history = mlflow.MlflowClient().get_metric_history(run.id, "train/kl")
    assert sorted((point.step, point.value) for point in history) == [(n, n) for n in range(POINTS_A_REQUEST // 2 + 50)]
    assert run.training_seconds() == pytest.approx((POINTS_A_REQUEST // 2 + 49) / 100)


def test_a_run_that_is_not_there_is_a_registry_error(store) -> None:
    with pytest.raises(RegistryError, match="recording metrics"), Recorder(Run("0" * 32), seconds=60) as recorder:
        recorder.put({"a": 1.0}, 0)
