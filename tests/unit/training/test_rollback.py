"""The way back from steps that go wrong: to the last checkpoint, at half the rate, three times at most, and paid for."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from regen.core.errors import DivergenceError
from regen.training.checkpoints import Checkpoints
from regen.training.engine import Budget, Guard, State, spend
from regen.training.runtime import Runtime
from tests.unit.training.engines import NAN, Clock, assert_same_state, fitting, fresh
from tests.unit.training.toys import Heard, differing, weights_of

# The way back


def disturbed(state: State, guard: Guard, is_bad: Callable[[], bool]) -> Callable[[float], dict[str, Tensor]]:
    """Steps that fit a line, but for those where `is_bad`."""
    fit = fitting(state, guard)

    def step(spent: float) -> dict[str, Tensor]:
        if is_bad():
            guard.step(
                "the line's", state.modules["net"].weight.sum() * NAN, state.modules["net"], state.optimisers["net"]
            )
        return fit(spent)

    return step


def train(runtime: Runtime, is_bad: Callable[[State], bool], images: int = 200, *, at_once: bool = True) -> State:
    state, guard = fresh(), Guard(runtime)
    guard.at_once = at_once
    return spend(Budget(images), 10, state, disturbed(state, guard, lambda: is_bad(state)), runtime, guard)


def bad_times(step: int, times: int) -> Callable[[State], bool]:
    """Bad at a step, the first few times that it is tried."""
    left = [times]

    def is_bad(state: State) -> bool:
        if state.steps == step and left[0]:
            left[0] -= 1
            return True
        return False

    return is_bad


def runtime(folder: Path | None = None, monitor: Heard | None = None) -> Runtime:
    checkpoints = None if folder is None else Checkpoints(folder)
    return Runtime(monitor=monitor or Heard(), checkpoints=checkpoints, log_every_images=20, checkpoint_every_images=50)


@pytest.mark.parametrize("kept", [True, False], ids=["from a file", "from memory"])
def test_a_loss_that_is_not_finite_once_is_gone_back_from_with_half_the_rate(tmp_path: Path, kept: bool) -> None:
    monitor = Heard()

    state = train(runtime(tmp_path if kept else None, monitor), bad_times(12, 1))

    assert (state.steps, state.images, state.rate, state.rollbacks) == (20, 200, 0.5, 1)
    assert monitor.warnings == [
        "the line's loss is nan after 120 images; back to 100 images with 0.5 of the learning rate (1 of 3)"
    ]
    assert [point["images"] for point in state.curve] == list(range(20, 201, 20))
    assert all(torch.isfinite(torch.tensor(point["loss"])) for point in state.curve)


def test_going_back_takes_weights_and_optimisers_to_the_checkpoint_and_halves_the_rate(tmp_path: Path) -> None:
    def expected() -> State:
        one = fresh()
        guard = Guard(Runtime())
        spend(Budget(100), 10, one, fitting(one, guard), Runtime(), guard)
        one.rate = 0.5
        step = fitting(one, guard)
        for number in range(10, 20):
            one.steps = number
            step(0.0)
        return one

    state = train(runtime(tmp_path), bad_times(12, 1))

    assert differing(weights_of(**state.modules), weights_of(**expected().modules)) == []


@pytest.mark.parametrize("times", [1, 2, 3])
def test_going_back_in_memory_is_going_back_to_a_file(tmp_path: Path, times: int) -> None:
    kept, held = (train(runtime(folder), bad_times(13, times)) for folder in (tmp_path, None))

    kept.seconds = held.seconds = 0.0
    assert kept.rate == 0.5**times
    assert_same_state(kept, held)


@pytest.mark.parametrize("kept", [True, False], ids=["from a file", "from memory"])
def test_what_goes_wrong_again_and_again_is_an_error_after_three_times_back(tmp_path: Path, kept: bool) -> None:
    monitor = Heard()

    with pytest.raises(
        DivergenceError, match=r"the line's loss is nan after 120 images; lower its learning rate, .*3 times back"
    ):
        train(runtime(tmp_path if kept else None, monitor), lambda state: state.steps == 12)

    assert [text.split(" with ")[1] for text in monitor.warnings] == [
        f"{rate} of the learning rate ({n} of 3)" for n, rate in ((1, 0.5), (2, 0.25), (3, 0.125))
    ]


def test_a_first_step_that_fails_goes_back_to_the_untrained_weights(tmp_path: Path) -> None:
    monitor = Heard()

    state = train(runtime(tmp_path, monitor), bad_times(0, 2))

    assert state.images == 200
    assert [text.split("; ")[1][:16] for text in monitor.warnings] == ["back to 0 images"] * 2


@pytest.mark.parametrize("times", [1, 3])
def test_steps_that_were_skipped_are_gone_back_from_at_the_next_log_point(tmp_path: Path, times: int) -> None:
    monitor = Heard()

    state = train(runtime(tmp_path, monitor), bad_times(12, times), at_once=False)

    assert (state.images, state.rate) == (200, 0.5**times)
    assert len(monitor.warnings) == times
    assert monitor.warnings[0].startswith("the line's loss is nan after 140 images; back to 100 images")
    reference = train(runtime(), bad_times(12, times))
    assert differing(weights_of(**state.modules), weights_of(**reference.modules)) == []


def test_a_skipped_step_is_never_saved(tmp_path: Path) -> None:
    state = train(runtime(tmp_path), bad_times(19, 1), at_once=False)  # the last step, just before the last checkpoint

    assert (state.images, state.rollbacks) == (200, 1)
    again = fresh()
    again.restore(Checkpoints(tmp_path).newest())
    assert (again.images, again.rollbacks) == (200, 1)


@pytest.mark.parametrize("stop", [1, 9, 11, 13, 16])
def test_a_training_that_went_back_is_resumed_bit_for_bit(tmp_path: Path, stop: int) -> None:
    def too_fast(state: State) -> bool:
        return state.steps == 12 and state.rate == 1

    whole = train(runtime(tmp_path / "whole"), too_fast)
    tries = [0]

    def interrupted(state: State) -> bool:
        tries[0] += 1
        if tries[0] == stop:
            raise KeyboardInterrupt
        return too_fast(state)

    with pytest.raises(KeyboardInterrupt):
        train(runtime(tmp_path / "cut"), interrupted)
    resumed = train(runtime(tmp_path / "cut"), too_fast)

    whole.seconds = resumed.seconds = 0.0
    assert_same_state(resumed, whole)


def timed(clock: Clock, is_bad: Callable[[State], bool], seconds: float, runtime: Runtime) -> State:
    """Trains with steps of a second, those that go wrong included."""
    state, guard = fresh(), Guard(Runtime())

    def step(spent: float) -> dict[str, Tensor]:
        clock.now += 1
        return disturbed(state, guard, lambda: is_bad(state))(spent)

    return spend(Budget(10**9, seconds), 10, state, step, runtime, guard)


def test_seconds_that_were_lost_by_going_back_are_spent(clock: Clock) -> None:
    runtime = Runtime(checkpoint_every_images=20, log_every_images=20)

    state = timed(clock, bad_times(5, 1), 10.0, runtime)

    assert (state.steps, state.seconds) == (8, 10)  # one step was lost with the bad one


def test_a_training_that_keeps_going_back_ends_with_its_seconds_at_its_last_checkpoint(
    clock: Clock, tmp_path: Path
) -> None:
    state = timed(clock, lambda state: state.steps == 6, 9.0, runtime(tmp_path))

    assert (state.steps, state.seconds, state.rollbacks) == (5, 9, 2)
    assert Checkpoints(tmp_path).newest()["seconds"] == 9  # so that it is not gone on with


def test_what_going_back_cost_outlives_an_interruption(clock: Clock, tmp_path: Path) -> None:
    def interrupted(state: State) -> bool:
        if state.rollbacks:
            raise KeyboardInterrupt
        return state.steps == 6

    with pytest.raises(KeyboardInterrupt):
        timed(clock, interrupted, 100.0, runtime(tmp_path))
    kept = Checkpoints(tmp_path).newest()

    assert [kept[name] for name in ("images", "seconds", "rate", "rollbacks")] == [50, 7, 0.5, 1]


def test_seconds_that_go_by_before_the_first_checkpoint_are_an_error(clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match=r"all 3 seconds went by before the first checkpoint.*raise the seconds"):
        timed(clock, lambda state: state.steps == 2, 3.0, runtime(tmp_path))
