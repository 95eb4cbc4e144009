"""Features of an untrained convolutional network with fixed weights, which need no download and know no data set.

Naeem et al. (2020, https://arxiv.org/abs/2002.09797) find random embeddings to tell samples from data better than trained
ones where the images are unlike ImageNet's.
"""

import hashlib
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor, nn

from regen.models.extractors import DEFAULT, Spec, resize_digest, resized

SEED = 20_261_125
RESOLUTION = 64
WIDTHS = (3, 32, 64, 128)
"""Channels from the image to the last convolution; each layer halves the size."""
DIM = 128
BATCH = 256


class RandomConv:
    """Three strided convolutions, the mean over each quarter of the image, and one random projection to 128 features.

    Weights are uniform with He's variance (2015), taken from the raw bits of PCG64, whose stream NumPy promises never to
    change: so they are the same on every machine.
    """

    def __init__(self) -> None:
        bits = np.random.PCG64(SEED)
        shapes = [(out, into, 5, 5) for into, out in pairwise(WIDTHS)]
        weights = [_uniform(bits, shape) for shape in [*shapes, (DIM, 4 * WIDTHS[-1])]]
        digest = hashlib.sha256(b"".join(weight.astype("<f4").tobytes() for weight in weights)).hexdigest()
        self.spec = Spec(DEFAULT, "1", digest, DIM, RESOLUTION, 3, resize_digest())
        *self._kernels, self._projection = (torch.from_numpy(weight) for weight in weights)

    @torch.no_grad()
    def features(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float64[np.ndarray, "n d"]:
        """Each image's features."""
        parts = [self._embedded(images[at : at + BATCH]) for at in range(0, len(images), BATCH)]
        return torch.cat(parts).double().numpy() if parts else np.zeros((0, DIM))

    def _embedded(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n d"]:
        x = torch.from_numpy(resized(images, RESOLUTION)).permute(0, 3, 1, 2) / 127.5 - 1
        for kernel in self._kernels:
            x = nn.functional.conv2d(x, kernel, stride=2, padding=2).relu()
        pooled: Tensor = nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)
        return pooled @ self._projection.T


def _uniform(bits: np.random.PCG64, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Uniform numbers of mean 0 whose variance is 2 over the inputs of one output (He et al., 2015)."""
    unit = (bits.random_raw(int(np.prod(shape))) >> np.uint64(11)) * 2.0**-53
    bound = np.sqrt(6 / np.prod(shape[1:]))
    weights: np.ndarray = ((2 * unit - 1) * bound).reshape(shape).astype(np.float32)
    return weights
