"""The engine: the budget, what is reported and saved when, steps that are never taken, and the way back from them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from regen.core.errors import DivergenceError, StorageError
from regen.training import engine
from regen.training.checkpoints import Checkpoints
from regen.training.engine import Budget, Guard, NotFiniteError, State, spend
from regen.training.runtime import Runtime
from tests.unit.training.toys import Heard, differing, weights_of

NAN = float("nan")


def fresh(seed: int = 0) -> State:
    torch.manual_seed(seed)
    net = nn.Linear(3, 2)
    return State(
        {"net": net}, {"net": torch.optim.AdamW(net.parameters(), 0.05, fused=True)}, {"dial": torch.zeros(())}
    )


def counting(state: State) -> tuple[Callable[[float], dict[str, Tensor]], list[float]]:
    """A step whose loss is the number of steps done before it, and the shares of the budget it was told."""
    told: list[float] = []

    def step(spent: float) -> dict[str, Tensor]:
        told.append(spent)
        return {"loss": torch.tensor(float(state.steps))}

    return step, told


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


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(engine, "time", clock)
    return clock


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


def fitting(state: State, guard: Guard) -> Callable[[float], dict[str, Tensor]]:
    """A step that fits a line, its rows decided by the step's number."""

    def step(spent: float) -> dict[str, Tensor]:
        optimiser = state.optimisers["net"]
        optimiser.param_groups[0]["lr"] = 0.05 * state.rate
        rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(state.steps))
        loss = (state.modules["net"](rows) - rows[:, :2]).square().mean()
        guard.step("the line's", loss, state.modules["net"], optimiser)
        return {"loss": loss}

    return step


def taken(n: int, seed: int = 0) -> State:
    """A state after `n` steps, with something in each of its places."""
    state, guard = fresh(seed), Guard(Runtime())
    spend(Budget(10 * n), 10, state, fitting(state, guard), Runtime(log_every_images=20), guard)
    state.values["dial"].fill_(0.5)
    state.rate, state.rollbacks = 0.25, 2
    state.gather({"loss": torch.tensor(2.0)})
    return state


def flat(snapshot: object, at: str = "") -> dict[str, object]:
    """Every leaf of a snapshot by its place."""
    if isinstance(snapshot, dict | list | tuple):
        items = snapshot.items() if isinstance(snapshot, dict) else enumerate(snapshot)
        return {k: v for key, inner in items for k, v in flat(inner, f"{at}/{key}").items()}
    return {at: snapshot}


def assert_same_state(one: State, other: State) -> None:
    left, right = flat(one.snapshot()), flat(other.snapshot())
    assert left.keys() == right.keys()
    for place, value in left.items():
        assert torch.equal(value, right[place]) if isinstance(value, Tensor) else value == right[place], place


def test_a_restored_state_is_the_one_that_was_saved(tmp_path: Path) -> None:
    one, other = taken(5), fresh(1)
    Checkpoints(tmp_path).save(20, one.snapshot())

    other.restore(Checkpoints(tmp_path).newest())

    assert_same_state(one, other)


def test_a_snapshot_holds_every_field_of_the_state() -> None:
    assert set(fresh().snapshot()) == set(State.__dataclass_fields__)


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
def test_a_checkpoint_is_read_on_the_cpu_and_restored_to_where_the_state_is(tmp_path: Path) -> None:
    one = taken(5)
    Checkpoints(tmp_path).save(20, one.snapshot())
    read = Checkpoints(tmp_path).newest()
    net = nn.Linear(3, 2).to("meta")
    other = State(
        {"net": net}, {"net": torch.optim.AdamW(net.parameters(), 0.05)}, {"dial": torch.zeros((), device="meta")}
    )

    other.restore(read)

    assert {v.device.type for place, v in flat(read).items() if isinstance(v, Tensor)} == {"cpu"}
    assert other.pending["loss"].device.type == other.values["dial"].device.type == "meta"
    moments = other.optimisers["net"].state_dict()["state"][0]
    assert {moments[name].device.type for name in ("exp_avg", "exp_avg_sq")} == {"meta"}
    assert (other.images, other.curve) == (one.images, one.curve)


def test_a_state_that_was_restored_shares_nothing_with_the_snapshot() -> None:
    snapshot, state, guard = taken(5).snapshot(), fresh(1), Guard(Runtime())
    before = {place: v.clone() if isinstance(v, Tensor) else v for place, v in flat(snapshot).items()}

    state.restore(snapshot)
    fitting(state, guard)(0.0)
    state.values["dial"].fill_(9.0)
    state.gather({"loss": torch.tensor(5.0)})
    state.report(100)

    after = flat(snapshot)
    assert [
        p for p, v in before.items() if not (torch.equal(v, after[p]) if isinstance(v, Tensor) else v == after[p])
    ] == []


# Steps that are never taken


def poisons() -> dict[str, Callable[[nn.Module, Tensor], Tensor]]:
    """Losses that may not move a weight."""
    return {
        "the loss is NaN": lambda net, loss: loss * NAN,
        "the loss is infinite": lambda net, loss: loss + float("inf"),
        "the gradient is NaN, the loss finite": lambda net, loss: loss + (0 * net.weight).abs().sqrt().sum(),
        "the gradient is infinite, the loss finite": lambda net, loss: (
            loss + net.weight.sub(net.weight.detach()).sqrt().sum()
        ),
    }


@pytest.mark.parametrize("optimiser", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("poison", poisons().values(), ids=poisons())
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_what_is_not_finite_never_reaches_the_weights(optimiser, at_once: bool, poison, clip: float) -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    adam, guard = optimiser(net.parameters(), 0.1, fused=True), Guard(Runtime())
    guard.at_once = at_once

    def loss() -> Tensor:
        return net(torch.ones(4, 3)).square().mean()

    guard.step("the line's", loss(), net, adam, clip)
    before, moments = weights_of(net=net), flat(adam.state_dict())
    moments = {place: v.clone() if isinstance(v, Tensor) else v for place, v in moments.items()}
    bad = poison(net, loss())

    if at_once:
        with pytest.raises(NotFiniteError) as met:
            guard.step("the line's", bad, net, adam, clip)
        assert met.value.what == "the line's"
    else:
        guard.step("the line's", bad, net, adam, clip)

    assert differing(before, weights_of(net=net)) == []
    after = flat(adam.state_dict())
    assert all(torch.equal(v, after[p]) if isinstance(v, Tensor) else v == after[p] for p, v in moments.items())


def test_where_asking_would_stall_the_trip_comes_at_the_log_point_and_once_forgotten_not_again() -> None:
    net = nn.Linear(3, 2)
    adam, guard = torch.optim.Adam(net.parameters(), 0.1, fused=True), Guard(Runtime())
    guard.at_once = False
    guard.step("the line's", net.weight.sum(), net, adam)
    guard.trip()

    guard.step("the line's", net.weight.sum() * NAN, net, adam)
    before = weights_of(net=net)
    guard.step("the line's", net.weight.sum(), net, adam)  # a good step after a bad one is taken

    assert differing(before, weights_of(net=net)) == ["net.weight"]
    with pytest.raises(NotFiniteError):
        guard.trip()
    guard.clear()
    assert guard.trip() is None


def test_a_gradient_is_scaled_down_to_the_norm_but_never_up() -> None:
    net = nn.Linear(2, 1, bias=False)
    sgd, guard = torch.optim.SGD(net.parameters(), 1.0), Guard(Runtime())

    guard.step("the line's", (net.weight * torch.tensor([[3.0, 4.0]])).sum(), net, sgd, clip=1.0)
    large = net.weight.grad.clone()
    guard.step("the line's", (net.weight * torch.tensor([[0.3, 0.4]])).sum(), net, sgd, clip=1.0)

    torch.testing.assert_close(large, torch.tensor([[0.6, 0.8]]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(net.weight.grad, torch.tensor([[0.3, 0.4]]))


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


def test_seconds_that_were_lost_by_going_back_are_not_spent(clock: Clock) -> None:
    state, guard = fresh(), Guard(Runtime())
    bad = bad_times(4, 1)

    def step(spent: float) -> dict[str, Tensor]:
        clock.now += 1
        return disturbed(state, guard, lambda: bad(state))(spent)

    spend(Budget(10**9, 10.0), 10, state, step, Runtime(checkpoint_every_images=20, log_every_images=20), guard)

    assert (state.steps, state.seconds) == (10, 10)


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
