"""The networks by the word that the project file uses, and pixels on their way into and out of them."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from regen.core.sections.base import Network
from regen.models.conv import ConvHead, ConvStem
from regen.models.mlp import MlpHead, MlpStem
from regen.models.transformer import TransformerHead, TransformerStem

Shape = tuple[int, int, int]
HEADS: dict[Network, Callable[[Shape, int, int], nn.Module]] = {
    "conv": ConvHead, "mlp": MlpHead, "transformer": TransformerHead,
}  # fmt: skip
STEMS: dict[Network, Callable[[Shape, int, int], nn.Module]] = {
    "conv": ConvStem, "mlp": MlpStem, "transformer": TransformerStem,
}  # fmt: skip


def to_tensor(images: UInt8[np.ndarray, "n h w c"]) -> Float[Tensor, "n c h w"]:
    """Images as networks take them, in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255


def to_pixels(images: Float[Tensor, "n c h w"]) -> UInt8[np.ndarray, "n h w c"]:
    """Images in [0, 1] as pixels from 0 to 255; what lies outside is clipped."""
    pixels: np.ndarray = (
        (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    )
    return pixels


def count_parameters(module: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in module.parameters())
