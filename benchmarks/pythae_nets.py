"""pythae's networks, built from the same layers, as both sides of a benchmark train them; Regen need not be installed."""

from math import prod

from torch import Tensor, nn

LATENTS = 16


class Head(nn.Module):
    """pythae's default encoder, `n c h w` to `n d`, mean and log-variance in one last layer."""

    def __init__(self, shape: tuple[int, int, int], width: int, out: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), 512), nn.ReLU(), nn.Linear(512, out))

    def forward(self, images: Tensor) -> Tensor:
        """Vectors of images."""
        vectors: Tensor = self.net(images)
        return vectors


class Stem(nn.Module):
    """pythae's default decoder without its sigmoid, `n d` to `n c h w`."""

    def __init__(self, shape: tuple[int, int, int], width: int, latent_dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(latent_dim, 512), nn.ReLU(), nn.Linear(512, prod(shape)), nn.Unflatten(1, shape)
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Images of latents."""
        images: Tensor = self.net(latents)
        return images


class ConvHead(Head):
    """pythae's encoder of its MNIST benchmark, `n 1 28 28` to `n d`."""

    def __init__(self, shape: tuple[int, int, int], width: int, out: int) -> None:
        super().__init__(shape, width, out)
        layers: list[nn.Module] = []
        for n_in, n_out in ((1, 128), (128, 256), (256, 512), (512, 1024)):
            layers += [nn.Conv2d(n_in, n_out, 4, 2, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, out))


class ConvStem(Stem):
    """pythae's decoder of its MNIST benchmark without its sigmoid, `n d` to `n 1 28 28`."""

    def __init__(self, shape: tuple[int, int, int], width: int, latent_dim: int) -> None:
        super().__init__(shape, width, latent_dim)
        self.net = nn.Sequential(
            nn.Linear(latent_dim, 1024 * 16), nn.Unflatten(1, (1024, 4, 4)),
            nn.ConvTranspose2d(1024, 512, 3, 2, padding=1), nn.BatchNorm2d(512), nn.ReLU(),
            nn.ConvTranspose2d(512, 256, 3, 2, padding=1, output_padding=1), nn.BatchNorm2d(256), nn.ReLU(),
            nn.ConvTranspose2d(256, 1, 3, 2, padding=1, output_padding=1),
        )  # fmt: skip
