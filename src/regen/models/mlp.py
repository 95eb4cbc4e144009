"""Fully connected networks, for small images."""

from itertools import pairwise
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

UNITS_PER_WIDTH = 16


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers of the given sizes with LeakyReLU(0.2) between them, none after the last."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


class MlpHead(nn.Module):
    """Images to a vector, `n c h w` to `n d`, through two hidden layers."""

    def __init__(self, shape: tuple[int, int, int], width: int, out: int) -> None:
        super().__init__()
        units = UNITS_PER_WIDTH * width
        self.net = nn.Sequential(nn.Flatten(), *mlp(prod(shape), units, units, out))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        vectors: Tensor = self.net(images)
        return vectors


class MlpStem(nn.Module):
    """A vector to images, `n d` to `n c h w`, unbounded, through two hidden layers."""

    def __init__(self, shape: tuple[int, int, int], width: int, latent_dim: int) -> None:
        super().__init__()
        units = UNITS_PER_WIDTH * width
        self.shape = shape
        self.net = mlp(latent_dim, units, units, prod(shape))

    def forward(self, latents: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        pixels: Tensor = self.net(latents)
        return pixels.reshape(-1, *self.shape)
