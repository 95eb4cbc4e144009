"""The engine: the budget, and what is reported and saved when."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from regen.core.errors import StorageError
from regen.training.checkpoints import Checkpoints
from regen.training.engine import Budget, Guard, NotFiniteError, State, spend
from regen.training.runtime import Runtime
from tests.unit.training.engines import Clock, counting, fresh
from tests.unit.training.toys import Heard


def steps(state: State, step, images: int, runtime: Runtime | None = None, inspect=None, **budget: float) -> State:
    runtime = runtime or Runtime()
    return spend(Budget(images, **budget), 10, state, step, runtime, Guard(runtime), inspect)


# The budget


@given(st.integers(0, 1000), st.floats(0, 100))
def test_what_is_spent_is_the_larger_share_and_never_more_than_all(images: int, seconds: float) -> None:
    spent = Budget(500, seconds=40.0).spent(images, seconds)

    assert spent == min(max(images / 500, seconds / 40), 1)
    assert Budget(500).spent(images, seconds) == min(images / 500, 1)


def test_a_step_is_told_the_share_of_the_budget_that_is_spent() -> None:
    state = fresh()
    step, told = counting(state)

    steps(state, step, 40)

    assert told == [0, 0.25, 0.5, 0.75]
    assert (state.images, state.steps) == (40, 4)


def test_a_budget_that_is_no_multiple_of_the_batch_is_spent_to_its_end() -> None:
    state = fresh()
    step, told = counting(state)

    steps(state, step, 35)

    assert told == pytest.approx([0, 10 / 35, 20 / 35, 30 / 35])
    assert state.images == 40


def ticking(state: State, clock: Clock, seconds: float = 1.0):
    step, told = counting(state)

    def slow(spent: float) -> dict[str, Tensor]:
        clock.now += seconds
        return step(spent)

    return slow, told


def test_a_budget_in_seconds_ends_a_training(clock: Clock) -> None:
    state, monitor = fresh(), Heard()
    step, told = ticking(state, clock)

    steps(state, step, 10**9, Runtime(monitor=monitor, log_every_images=20), seconds=5.0)

    assert told == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert [(images, spent) for images, spent, _ in monitor.logged] == [(20, 0.4), (40, 0.8), (50, 1.0)]
    assert monitor.speeds == [10, 10, 10]


def test_the_budget_that_ends_first_counts(clock: Clock) -> None:
    state = fresh()
    step, told = ticking(state, clock)

    steps(state, step, 40, seconds=100.0)

    assert told == [0, 0.25, 0.5, 0.75]


def test_time_between_an_interruption_and_the_next_start_is_not_spent(tmp_path: Path, clock: Clock) -> None:
    runtime = Runtime(checkpoints=Checkpoints(tmp_path), checkpoint_every_images=20)
    first, second = fresh(), fresh()
    step, _ = ticking(first, clock)

    def interrupted(spent: float) -> dict[str, Tensor]:
        if first.steps == 3:
            raise KeyboardInterrupt
        return step(spent)

    with pytest.raises(KeyboardInterrupt):
        steps(first, interrupted, 10**9, runtime, seconds=5.0)
    clock.now += 10_000
    step, told = ticking(second, clock)
    steps(second, step, 10**9, runtime, seconds=5.0)

    assert told == pytest.approx([0.4, 0.6, 0.8])
    assert second.seconds == pytest.approx(5)


# Reports and checkpoints


def test_means_of_the_terms_are_reported_at_each_log_point_and_at_the_end() -> None:
    state, monitor = fresh(), Heard()
    step, _ = counting(state)

    steps(state, step, 75, Runtime(monitor=monitor, log_every_images=30))

    assert monitor.logged == [
        (30, 30 / 75, {"loss": 1.0}), (60, 60 / 75, {"loss": 4.0}), (80, 1.0, {"loss": 6.5}),
    ]  # fmt: skip
    assert state.curve == [{"images": 30, "loss": 1.0}, {"images": 60, "loss": 4.0}, {"images": 75, "loss": 6.5}]
    assert all(speed > 0 for speed in monitor.speeds)


def test_seconds_that_are_over_with_a_rollback_leave_the_means_of_what_went_before(clock: Clock) -> None:
    state, monitor = fresh(), Heard()
    step, _ = ticking(state, clock)

    def broken(spent: float) -> dict[str, Tensor]:
        if state.steps == 3:
            clock.now += 10
            raise NotFiniteError("the toy's", float("nan"))
        return step(spent)

    runtime = Runtime(monitor=monitor, log_every_images=1000, checkpoint_every_images=20)
    steps(state, broken, 10**9, runtime, seconds=5.0)

    assert state.curve == [{"images": 20, "loss": 0.5}]
    assert [images for images, *_ in monitor.logged] == [20]


@pytest.mark.parametrize("every", [1, 5, 10, 14])
def test_log_points_closer_than_a_batch_are_a_batch_apart(every: int) -> None:
    state, monitor = fresh(), Heard()
    step, _ = counting(state)

    steps(state, step, 30, Runtime(monitor=monitor, log_every_images=every))

    assert [images for images, *_ in monitor.logged] == [10, 20, 30]


def test_checkpoints_are_written_at_the_start_where_asked_and_at_the_end(tmp_path: Path) -> None:
    state, inspected = fresh(), []
    step, _ = counting(state)
    runtime = Runtime(checkpoints=Checkpoints(tmp_path, kept=9), checkpoint_every_images=30)

    steps(state, step, 75, runtime, lambda: inspected.append(state.images))

    assert inspected == [30, 60, 80]
    assert sorted(path.stem for path in tmp_path.glob("*.pt")) == [f"{images:012d}" for images in (0, 30, 60, 80)]


def test_an_inspection_is_made_whether_checkpoints_are_kept_or_not() -> None:
    state, inspected = fresh(), []
    step, _ = counting(state)

    steps(state, step, 75, Runtime(checkpoint_every_images=30), lambda: inspected.append(state.images))

    assert inspected == [30, 60, 80]


def test_what_an_inspection_changes_is_in_the_checkpoint(tmp_path: Path) -> None:
    state, again = fresh(), fresh()
    runtime = Runtime(checkpoints=Checkpoints(tmp_path), checkpoint_every_images=30)

    steps(state, counting(state)[0], 60, runtime, lambda: state.values["dial"].add_(state.steps))
    again.restore(Checkpoints(tmp_path).newest())

    assert again.values["dial"].item() == 3 + 6


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    runtime = Runtime(checkpoints=Checkpoints(tmp_path))
    state = fresh()
    steps(state, counting(state)[0], 30, runtime)
    again = fresh()
    step, told = counting(again)

    steps(again, step, 30, runtime)

    assert told == []
    assert again.curve == state.curve


def test_a_resumed_training_reports_the_means_it_would_have_reported(tmp_path: Path) -> None:
    monitor = Heard()
    runtime = Runtime(
        checkpoints=Checkpoints(tmp_path), monitor=monitor, log_every_images=50, checkpoint_every_images=20
    )
    first, second = fresh(), fresh()
    step, _ = counting(first)

    def fails_late(spent: float) -> dict[str, Tensor]:
        if first.images == 30:
            raise KeyboardInterrupt
        return step(spent)

    with pytest.raises(KeyboardInterrupt):
        steps(first, fails_late, 100, runtime)
    steps(second, counting(second)[0], 100, runtime)

    assert monitor.logged == [(50, 0.5, {"loss": 2.0}), (100, 1.0, {"loss": 7.0})]


def test_a_checkpoint_that_cannot_be_written_stops_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state = fresh()
    runtime = Runtime(checkpoints=Checkpoints(tmp_path / "file" / "work"))

    with pytest.raises(StorageError, match="cannot write"):
        steps(state, counting(state)[0], 10, runtime)


def test_processes_agree_on_when_to_stop() -> None:
    state = fresh()
    step, told = counting(state)
    fabric = SimpleNamespace(global_rank=1, world_size=2, broadcast=lambda spent: 0.5 if len(told) < 3 else 1.0)
    fabric.barrier, fabric.all_reduce = lambda: None, lambda total, reduce_op: total

    steps(state, step, 10**9, Runtime(fabric=fabric))

    assert len(told) == 3


def test_a_process_that_comes_late_does_not_take_the_first_checkpoint_of_another_for_an_old_one(tmp_path: Path) -> None:
    waits: list[bool] = []
    fabric = SimpleNamespace(global_rank=1, world_size=2, broadcast=lambda spent: 1.0 if state.steps else spent)
    state = fresh()
    checkpoints = Checkpoints(tmp_path)

    def barrier() -> None:
        if not waits:  # the first process keeps its own only once both have looked
            checkpoints.save(0, fresh().snapshot())
        waits.append(True)

    fabric.barrier, fabric.all_reduce = barrier, lambda total, reduce_op: total
    steps(state, counting(state)[0], 10, Runtime(fabric=fabric, checkpoints=checkpoints))

    assert len(waits) == 3  # after the look, the first checkpoint and the last
