"""An exponential moving average of weights, its memory given as a half-life in images (Karras et al., 2020)."""

from collections.abc import Iterable
from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def averaged_copy(module: M) -> M:
    """A frozen copy to average into."""
    return deepcopy(module).requires_grad_(False).eval()


@torch.no_grad()
def update(average: nn.Module, module: nn.Module, images: int, half_life_images: float) -> None:
    """Moves `average` toward `module` by what `images` more images are worth; buffers stay."""
    weight = 1 - 0.5 ** (images / max(half_life_images, 1e-8))
    torch._foreach_lerp_(_tensors(average.parameters()), _tensors(module.parameters()), weight)


def _tensors(parameters: Iterable[nn.Parameter]) -> list[torch.Tensor]:
    return [parameter.data for parameter in parameters]
