"""Convolutional networks without normalisation: channels double wherever the image is halved (Radford et al., 2016).

Normalisation is left out since the gradient penalties of the GAN act on single images. Any image size works: it is
halved while it stays even and at least 4 pixels wide.
"""

from jaxtyping import Float
from torch import Tensor, nn


def resolutions(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes an image passes through, the largest first.

    Example:
        >>> resolutions(28, 28)
        [(28, 28), (14, 14), (7, 7)]
    """
    sizes = [(height, width)]
    while all(side % 2 == 0 and side >= 8 for side in sizes[-1]):
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


class ConvHead(nn.Module):
    """Images to a vector, `n c h w` to `n d`: a convolution a resolution, then one hidden layer."""

    def __init__(self, shape: tuple[int, int, int], width: int, out: int) -> None:
        super().__init__()
        sizes, channels = resolutions(*shape[1:]), width
        layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, padding=1), nn.LeakyReLU(0.2)]
        for _ in sizes[1:]:
            layers += [nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            channels *= 2
        layers += [nn.Flatten(), nn.Linear(channels * sizes[-1][0] * sizes[-1][1], 8 * width), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Linear(8 * width, out))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        vectors: Tensor = self.net(images)
        return vectors


class ConvStem(nn.Module):
    """A vector to images, `n d` to `n c h w`, unbounded: one hidden layer, then a convolution a resolution."""

    def __init__(self, shape: tuple[int, int, int], width: int, latent_dim: int) -> None:
        super().__init__()
        sizes = resolutions(*shape[1:])
        channels = width * 2 ** (len(sizes) - 1)
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, 8 * width), nn.LeakyReLU(0.2),
            nn.Linear(8 * width, channels * sizes[-1][0] * sizes[-1][1]), nn.Unflatten(1, (channels, *sizes[-1])),
            nn.LeakyReLU(0.2),
        ]  # fmt: skip
        for _ in sizes[1:]:
            layers += [nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            channels //= 2
        self.net = nn.Sequential(*layers, nn.Conv2d(channels, shape[0], 3, padding=1))

    def forward(self, latents: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        images: Tensor = self.net(latents)
        return images
