"""Transformer networks (Vaswani et al., 2017) on patches (Dosovitskiy et al., 2021; for GANs: Jiang et al., TransGAN, 2021).

At most 8×8 patches cover an image, so that attention stays cheap on a CPU. Attention is written out: the fused kernels
have no second derivative, which the GAN's gradient penalties need.
"""

from math import ceil

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

UNITS_PER_WIDTH = 8
PATCHES_A_SIDE = 8
BLOCKS = 3
HEADS = 4


def patch_side(height: int, width: int) -> int:
    """Height and width of a patch in pixels.

    Example:
        >>> patch_side(8, 8), patch_side(28, 28), patch_side(64, 64)
        (2, 4, 8)
    """
    return max(ceil(max(height, width) / PATCHES_A_SIDE), min(height, width, 2))


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.together, self.out = nn.Linear(units, 3 * units), nn.Linear(units, units)

    def forward(self, tokens: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        n, t, d = tokens.shape
        query, key, value = self.together(tokens).view(n, t, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-1, -2) * (d // HEADS) ** -0.5).softmax(dim=-1)
        mixed: Tensor = self.out((weights @ value).transpose(1, 2).reshape(n, t, d))
        return mixed


class Block(nn.Module):
    """Attention, then two layers a token, each normalised before and added to what came in."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(units), Attention(units))
        self.layers = nn.Sequential(
            nn.LayerNorm(units), nn.Linear(units, 2 * units), nn.GELU(), nn.Linear(2 * units, units)
        )

    def forward(self, tokens: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        tokens = tokens + self.attention(tokens)
        mixed: Tensor = tokens + self.layers(tokens)
        return mixed


class _Patched(nn.Module):
    """The grid of patches, images being padded with zeros to whole ones, and each patch's learned position."""

    def __init__(self, shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.shape, self.units = shape, UNITS_PER_WIDTH * max(ceil(width / 2) * 2, 2)
        self.side = patch_side(*shape[1:])
        self.rows, self.columns = ceil(shape[1] / self.side), ceil(shape[2] / self.side)
        self.pixels = shape[0] * self.side**2
        self.position = nn.Parameter(torch.randn(self.rows * self.columns, self.units) * 0.02)
        self.blocks = nn.Sequential(*(Block(self.units) for _ in range(BLOCKS)), nn.LayerNorm(self.units))

    def split(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n t p"]:
        """Images as their patches, row by row."""
        n, c, h, w = images.shape
        padded = F.pad(images, (0, self.columns * self.side - w, 0, self.rows * self.side - h))
        grid = padded.view(n, c, self.rows, self.side, self.columns, self.side)
        return grid.permute(0, 2, 4, 1, 3, 5).reshape(n, self.rows * self.columns, self.pixels)

    def join(self, patches: Float[Tensor, "n t p"]) -> Float[Tensor, "n c h w"]:
        """Patches as the images they came from."""
        c, h, w = self.shape
        grid = patches.view(-1, self.rows, self.columns, c, self.side, self.side).permute(0, 3, 1, 4, 2, 5)
        return grid.reshape(-1, c, self.rows * self.side, self.columns * self.side)[:, :, :h, :w]


class TransformerHead(_Patched):
    """Images to a vector, `n c h w` to `n d`: the mean over all patches, then one layer."""

    def __init__(self, shape: tuple[int, int, int], width: int, out: int) -> None:
        super().__init__(shape, width)
        self.enter, self.leave = nn.Linear(self.pixels, self.units), nn.Linear(self.units, out)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        tokens = self.blocks(self.enter(self.split(images)) + self.position)
        vectors: Tensor = self.leave(tokens.mean(dim=1))
        return vectors


class TransformerStem(_Patched):
    """A vector to images, `n d` to `n c h w`, unbounded: every patch begins as the vector's projection and its position."""

    def __init__(self, shape: tuple[int, int, int], width: int, latent_dim: int) -> None:
        super().__init__(shape, width)
        tokens = self.rows * self.columns
        self.enter = nn.Sequential(nn.Linear(latent_dim, tokens * self.units), nn.Unflatten(1, (tokens, self.units)))
        self.leave = nn.Linear(self.units, self.pixels)

    def forward(self, latents: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        return self.join(self.leave(self.blocks(self.enter(latents) + self.position)))
