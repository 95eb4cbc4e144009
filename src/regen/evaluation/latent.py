"""Straight paths through a latent space, decoded: what lies between two images if the model has learnt what varies."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64, UInt8
from numpy import ndarray
from torch import Tensor

from regen.models.gan import Generator
from regen.models.networks import to_pixels
from regen.models.vae import Vae

ROWS, STEPS = 6, 9
"""Paths, and images of each, both ends counted."""


@torch.no_grad()
def straight_paths(
    decode: Callable[[Float[Tensor, "m d"]], Float[Tensor, "m c h w"]],
    starts: Float[Tensor, "k d"],
    ends: Float[Tensor, "k d"],
    steps: int = STEPS,
) -> UInt8[ndarray, "m h w c"]:
    """`steps` images from each start to its end, evenly spaced, path after path.

    Example:
        >>> straight_paths(lambda z: z[:, :, None, None], torch.zeros(1, 1), torch.ones(1, 1), 3).ravel()
        array([  0, 128, 255], dtype=uint8)
    """
    along = torch.linspace(0, 1, steps)[None, :, None]
    points = starts[:, None] + (ends - starts)[:, None] * along
    return to_pixels(decode(points.flatten(0, 1)))


def gan_paths(generator: Generator, seed: int, rows: int = ROWS, steps: int = STEPS) -> UInt8[ndarray, "m h w c"]:
    """Paths between latents drawn from N(0, I), one class a path where the generator has classes."""
    starts, ends = torch.randn(2, rows, generator.latent_dim, generator=torch.Generator().manual_seed(seed))
    of: Int64[Tensor, " m"] = (torch.arange(rows) % max(len(generator.classes), 1)).repeat_interleave(steps)
    return straight_paths(lambda latents: generator(latents, of), starts, ends, steps)


@torch.no_grad()
def vae_paths(vae: Vae, images: Float[Tensor, "n c h w"], steps: int = STEPS) -> UInt8[ndarray, "m h w c"]:
    """Paths between the encodings of images, each image in the first half leading to its partner in the second."""
    means = vae.encode(images)[0]
    half = len(means) // 2
    return straight_paths(vae.decode, means[:half], means[half : 2 * half], steps)


def spread_over_classes(labels: Sequence[int], wanted: int) -> list[int]:
    """Places of up to `wanted` rows that take the classes in turn, so that few rows show many classes.

    Example:
        >>> spread_over_classes([0, 0, 0, 1, 2, 2], 4)
        [0, 3, 4, 1]
    """
    seen: dict[int, int] = {}
    turns = []
    for place, label in enumerate(labels):
        seen[label] = seen.get(label, -1) + 1
        turns.append((seen[label], label, place))
    return [place for _, _, place in sorted(turns)[:wanted]]
