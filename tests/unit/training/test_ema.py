"""The moving average of weights: its half-life, its buffers, and that it is a copy of its own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from regen.training import ema


def weights(value: float) -> nn.Module:
    module = nn.BatchNorm1d(1)
    nn.init.constant_(module.weight, value)
    nn.init.constant_(module.bias, 2 * value)
    module.running_mean.fill_(value)
    return module


def test_a_copy_is_frozen_and_apart() -> None:
    module = weights(1.0)

    average = ema.averaged_copy(module)
    nn.init.constant_(module.weight, 5.0)

    assert average.weight.item() == 1.0
    assert not average.training
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert module.weight.requires_grad


@pytest.mark.parametrize(
    ("images", "half_life", "value"),
    [(100, 100, 4.0), (200, 100, 6.0), (50, 100, 8 - 8 * 0.5**0.5), (100, 0, 8.0), (0, 100, 0.0)],
)
def test_after_a_half_life_the_old_weights_share_has_halved(images: int, half_life: float, value: float) -> None:
    average, module = weights(0.0), weights(8.0)

    ema.update(average, module, images, half_life)

    assert average.weight.item() == pytest.approx(value)
    assert average.bias.item() == pytest.approx(2 * value)
    assert module.weight.item() == 8.0


@given(st.integers(1, 500), st.integers(1, 500), st.floats(1, 1000))
def test_two_small_steps_are_as_much_as_a_large_one(one: int, other: int, half_life: float) -> None:
    small, large, module = weights(0.0), weights(0.0), weights(8.0)

    ema.update(small, module, one, half_life)
    ema.update(small, module, other, half_life)
    ema.update(large, module, one + other, half_life)

    torch.testing.assert_close(small.weight, large.weight)


def test_buffers_stay() -> None:
    average, module = weights(0.0), weights(8.0)
    before = average.running_mean.item()

    ema.update(average, module, 1, 1e9)

    assert average.running_mean.item() == before != module.running_mean.item()
