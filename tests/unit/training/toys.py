"""What the training tests share: images that any network learns in seconds, and a monitor that writes down what it hears."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from regen.training.rows import Rows


def halves(n: int = 64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images that are bright on the left (class 0) or on the right (class 1), and which of the two."""
    rng = torch.Generator().manual_seed(seed)
    classes = torch.arange(n) % 2
    images = 0.2 * torch.rand(n, 1, 8, 8, generator=rng)
    images[classes == 0, :, :, :4] += 0.7
    images[classes == 1, :, :, 4:] += 0.7
    return images, classes


def half_rows(n: int = 64, seed: int = 0) -> Rows:
    """The same as rows to train on."""
    return Rows.of(*halves(n, seed))


def is_left(images: Tensor) -> Tensor:
    """Whether each image is brighter on the left."""
    return images[..., :4].mean(dim=(1, 2, 3)) > images[..., 4:].mean(dim=(1, 2, 3))


def weights_of(**modules: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, by name."""
    return {f"{kind}.{name}": t.clone() for kind, m in modules.items() for name, t in m.state_dict().items()}


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that are not equal bit for bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


class Heard:
    """A monitor that writes down what it hears, and interrupts at the log point `stops_at`."""

    def __init__(self, stops_at: int | None = None) -> None:
        self.stops_at = stops_at
        self.logged: list[tuple[int, float, dict[str, float]]] = []
        self.speeds: list[float] = []
        self.measured: list[tuple[int, dict[str, float]]] = []
        self.pictures: list[tuple[str, tuple[int, ...]]] = []
        self.warnings: list[str] = []

    def log(self, images: int, spent: float, terms: Mapping[str, float], images_per_second: float) -> None:
        if images == self.stops_at:
            raise KeyboardInterrupt
        self.logged.append((images, spent, dict(terms)))
        self.speeds.append(images_per_second)

    def measure(self, images: int, figures: Mapping[str, float]) -> None:
        self.measured.append((images, dict(figures)))

    def picture(self, images: int, name: str, pixels: np.ndarray) -> None:
        self.pictures.append((name, pixels.shape))

    def warn(self, text: str) -> None:
        self.warnings.append(text)
