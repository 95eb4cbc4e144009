"""What the tests of the engine share: a state of one line to fit, its steps, and a clock that is told the time."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from regen.training.engine import Guard, State

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


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


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
