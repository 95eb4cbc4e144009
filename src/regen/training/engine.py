"""The engine under every loop: the budget, the guarded step, reports, checkpoints, exact resume, bounded rollback.

A loss or a gradient that is not finite never reaches the weights. Training then goes back to the last checkpoint with
its optimisers and half the learning rate, at most `ROLLBACKS` times, and fails with a clear error after that.
"""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regen.core.errors import DivergenceError
from regen.training.runtime import Runtime

ROLLBACKS = 3


@dataclass(frozen=True)
class Budget:
    """What a training may use: images and, if given, seconds; it ends with whichever ends first."""

    images: int
    seconds: float | None = None

    def spent(self, images: int, seconds: float) -> float:
        """The share that is spent, from 0 to 1.

        Example:
            >>> Budget(100, seconds=10.0).spent(20, 5.0)
            0.5
        """
        of_time = seconds / self.seconds if self.seconds else 0.0
        return min(max(images / self.images, of_time), 1.0)


@dataclass
class State:
    """All that a loop changes, so that a checkpoint of it makes interrupted equal uninterrupted, bit for bit.

    Random numbers need no place in it: a step's number decides them.
    """

    modules: dict[str, nn.Module]
    optimisers: dict[str, Optimizer]
    values: dict[str, Tensor] = field(default_factory=dict)
    """What else a loop keeps from step to step."""
    images: int = 0
    """Images seen."""
    steps: int = 0
    seconds: float = 0.0
    """Time spent, steps that were gone back from included, interruptions left out."""
    rate: float = 1.0
    """What every learning rate is multiplied by; halved at each rollback."""
    rollbacks: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    """Means of the loss terms at each log point."""
    pending: dict[str, Tensor] = field(default_factory=dict)
    """Sums of the loss terms since the last log point."""
    pending_steps: int = 0

    _PLAIN = ("values", "images", "steps", "seconds", "rate", "rollbacks", "curve", "pending", "pending_steps")

    def snapshot(self) -> dict[str, Any]:
        """Everything, as tensors and plain values."""
        return {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            **{name: getattr(self, name) for name in self._PLAIN},
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Goes back to a snapshot, whatever device it was taken on."""
        for name, module in self.modules.items():
            module.load_state_dict(snapshot["modules"][name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(deepcopy(snapshot["optimisers"][name]))  # it would share the tensors else
        device, places = next(next(iter(self.modules.values())).parameters()).device, self.values
        for name in self._PLAIN:
            setattr(self, name, deepcopy(snapshot[name]))
        self.values = {name: value.to(places[name].device) for name, value in self.values.items()}
        self.pending = {name: value.to(device) for name, value in self.pending.items()}

    def gather(self, terms: dict[str, Tensor]) -> None:
        """Adds a step's loss terms to the pending sums."""
        for name, term in terms.items():
            self.pending[name] = self.pending.get(name, torch.zeros_like(term)) + term.detach()
        self.pending_steps += 1

    def report(self, images: int) -> dict[str, float]:
        """Moves the means of the pending terms to the curve."""
        means = {name: float(total) / self.pending_steps for name, total in self.pending.items()}
        self.pending, self.pending_steps = {}, 0
        self.curve.append({"images": images, **means})
        return means


class Guard:
    """Takes optimisation steps, and none with a loss or a gradient that is not finite.

    On a CPU it says so at once. On other devices, where asking would stall every step, the optimiser itself skips the
    step and `trip` tells at the next log point.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.at_once = runtime, runtime.device.type == "cpu"
        self.clear()

    def clear(self) -> None:
        """Forgets what happened."""
        self.tripped: dict[str, Tensor] = {}

    def step(self, what: str, loss: Tensor, module: nn.Module, optimiser: Optimizer, clip: float = 0.0) -> None:
        """Backward and one step of `module`, its gradient scaled down to the norm `clip` if that is above 0.

        Raises:
            NotFiniteError: the loss or a gradient is not finite; the weights are as before.
        """
        optimiser.zero_grad()
        loss.backward()
        self.runtime.average(module)
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        seen = self.runtime.mean(loss) + 0 * norm  # NaN where either is not finite
        if self.at_once:
            if not torch.isfinite(seen):
                raise NotFiniteError(what, float(seen))
        else:
            optimiser.found_inf = (~torch.isfinite(seen)).float()  # type: ignore[attr-defined]  # fused ones skip the step
            self.tripped[what] = torch.maximum(self.tripped.get(what, torch.zeros_like(seen)), optimiser.found_inf)  # type: ignore[attr-defined]
        if clip and not (self.at_once and norm < clip):  # a gradient is not multiplied by 1, where asking costs nothing
            nn.utils.clip_grads_with_norm_(module.parameters(), clip, norm)
        optimiser.step()
        optimiser.zero_grad()  # so that no gradients lie about while the next batch goes forward

    def trip(self) -> None:
        """Tells of the steps that were skipped.

        Raises:
            NotFiniteError: there were some.
        """
        for what, happened in self.tripped.items():
            if happened:
                raise NotFiniteError(what, float("nan"))


class NotFiniteError(Exception):
    """A loss or a gradient is not finite; `spend` catches it."""

    def __init__(self, what: str, value: float) -> None:
        super().__init__(what, value)
        self.what, self.value = what, value


Step = Callable[[float], dict[str, Tensor]]
"""Takes the share of the budget that is spent, does one optimisation step, gives back its loss terms."""


def spend(
    budget: Budget, batch_size: int, state: State, step: Step, runtime: Runtime, guard: Guard,
    inspect: Callable[[], None] | None = None,
) -> State:  # fmt: skip
    """Steps until the budget is spent, from the newest checkpoint where there is one.

    Args:
        inspect: called before each checkpoint is saved, to look at the model; it may change `state.values`.

    Raises:
        DivergenceError: a loss is not finite, again and again.
        StorageError: a checkpoint cannot be written.
    """
    safe, snapshot = None, runtime.checkpoints and runtime.checkpoints.newest()
    runtime.wait()  # all have looked before one of them keeps the first
    if snapshot:
        state.restore(snapshot)
    else:
        safe = _keep(state, runtime)
    clock = _Clock(state)
    every, save_every = (max(n // batch_size, 1) for n in (runtime.log_every_images, runtime.checkpoint_every_images))
    spent = budget.spent(state.images, state.seconds)
    while spent < 1:
        try:
            state.gather(step(spent))
            state.images, state.steps = state.images + batch_size, state.steps + 1
            state.seconds = clock.seconds()
            spent = runtime.agree(budget.spent(state.images, state.seconds))
            saves = state.steps % save_every == 0 or spent >= 1
            if state.steps % every == 0 or saves:
                guard.trip()
            if state.steps % every == 0 or spent >= 1:
                _tell(state, budget, spent, clock, runtime)
            if saves:
                if inspect is not None:
                    inspect()
                safe = _keep(state, runtime)
        except NotFiniteError as met:
            safe = _roll_back(state, safe, met, clock.seconds(), runtime)
            guard.clear()
            clock, spent = _Clock(state), runtime.agree(budget.spent(state.images, state.seconds))
    if not state.images:
        raise DivergenceError(
            f"all {budget.seconds:g} seconds went by before the first checkpoint, since a loss was not finite; lower the "
            "learning rate, raise the seconds, or look at the data"
        )
    if state.pending_steps:  # the seconds were over after a rollback, to between two log points
        _tell(state, budget, spent, clock, runtime)
    return state


class _Clock:
    """Time spent on training, and the speed since the last time it was asked for."""

    def __init__(self, state: State) -> None:
        self._before, self._start = state.seconds, time.perf_counter()
        self._lap, self._images = self._start, state.images

    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._start

    def speed(self, state: State) -> float:
        now, images = time.perf_counter(), state.images - self._images
        lap, self._lap, self._images = now - self._lap, now, state.images
        return images / max(lap, 1e-9)


def _tell(state: State, budget: Budget, spent: float, clock: "_Clock", runtime: Runtime) -> None:
    """Means of the loss terms since the last log point, over all processes."""
    state.pending = {name: runtime.mean(total) for name, total in state.pending.items()}
    means = state.report(min(state.images, budget.images))
    runtime.monitor.log(state.images, spent, means, clock.speed(state))


def _keep(state: State, runtime: Runtime) -> dict[str, Any] | None:
    """Saves a checkpoint; gives back a copy in memory where no checkpoints are kept."""
    if runtime.checkpoints is None:
        return deepcopy(state.snapshot())
    if runtime.rank == 0:
        runtime.checkpoints.save(state.images, state.snapshot())
    runtime.wait()
    return None


def _roll_back(
    state: State, safe: dict[str, Any] | None, met: NotFiniteError, seconds: float, runtime: Runtime
) -> dict[str, Any] | None:
    """Goes back to the last checkpoint, and keeps it anew with the rate and the seconds that this cost."""
    images, rate, rollbacks = state.images, state.rate / 2, state.rollbacks + 1
    what = f"{met.what} loss is {met.value} after {images:,} images"
    if rollbacks > ROLLBACKS:
        raise DivergenceError(
            f"{what}; lower its learning rate, or look at the data ({ROLLBACKS} times back to the last checkpoint, "
            "each time with half the learning rate, did not help)"
        ) from None
    snapshot = safe if safe is not None else runtime.checkpoints and runtime.checkpoints.newest()
    assert snapshot, "a checkpoint was kept before the first step"
    state.restore(snapshot)
    state.seconds, state.rate, state.rollbacks = seconds, rate, rollbacks
    runtime.monitor.warn(
        f"{what}; back to {state.images:,} images with {rate:g} of the learning rate ({rollbacks} of {ROLLBACKS})"
    )
    runtime.wait()  # all have read the checkpoint before it is written anew
    return _keep(state, runtime)
