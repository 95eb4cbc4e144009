"""A loop's state: what is restored is what was saved, wherever it was."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from regen.training.checkpoints import Checkpoints
from regen.training.engine import Budget, Guard, State, spend
from regen.training.runtime import Runtime
from tests.unit.training.engines import assert_same_state, fitting, flat, fresh


def taken(n: int, seed: int = 0) -> State:
    """A state after `n` steps, with something in each of its places."""
    state, guard = fresh(seed), Guard(Runtime())
    spend(Budget(10 * n), 10, state, fitting(state, guard), Runtime(log_every_images=20), guard)
    state.values["dial"].fill_(0.5)
    state.rate, state.rollbacks = 0.25, 2
    state.gather({"loss": torch.tensor(2.0)})
    return state


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
