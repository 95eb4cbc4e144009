"""The guard: steps that are never taken."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from regen.training.engine import Guard, NotFiniteError
from regen.training.runtime import Runtime
from tests.unit.training.engines import NAN, flat
from tests.unit.training.toys import differing, weights_of

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

    def moved_by(slope: list[float]) -> Tensor:
        before = net.weight.detach().clone()
        guard.step("the line's", (net.weight * torch.tensor([slope])).sum(), net, sgd, clip=1.0)
        return before - net.weight.detach()

    torch.testing.assert_close(moved_by([3.0, 4.0]), torch.tensor([[0.6, 0.8]]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moved_by([0.3, 0.4]), torch.tensor([[0.3, 0.4]]))


def test_no_gradient_lies_about_after_a_step() -> None:
    net = nn.Linear(2, 1)

    Guard(Runtime()).step("the line's", net(torch.ones(1, 2)).sum(), net, torch.optim.SGD(net.parameters(), 1.0))

    assert all(weights.grad is None for weights in net.parameters())
