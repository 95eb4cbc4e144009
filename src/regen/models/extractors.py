"""What turns images into the features that they are compared in, and the one way in which images are brought to size.

A distance means something only beside others in the same space, so a space's name holds a digest of all that shapes it:
weights, input size, resizing.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from PIL import Image

DEFAULT = "random-conv-v1"
"""The extractor that needs no file."""
ORIGINAL = "inception-2015-12-05"
"""The extractor whose Fréchet distance is called FID."""
OFFSET = 0.225
"""Where the fixed picture's values are cut: all lie at least 0.001 of a grey level away."""


@dataclass(frozen=True)
class Spec:
    """All that shapes an extractor's features."""

    id: str
    version: str
    sha256: str
    """Digest of the weights, or of the file that holds them."""
    dim: int
    """How many features an image has."""
    resolution: int
    """Height and width in pixels that images are brought to."""
    channels: int
    """1 for grey images, 3 for colour."""
    resize: str
    """The filter, with a digest of what it makes of a fixed picture."""

    @property
    def digest(self) -> str:
        """One digest of everything here."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def space(self) -> str:
        """What the space of these features is called."""
        return f"{self.id}@{self.digest[:8]}"


class Extractor(Protocol):
    """Whoever gives features of images."""

    @property
    def spec(self) -> Spec:
        """What the features depend on."""

    def features(self, images: UInt8[np.ndarray, "n h w c"]) -> Float64[np.ndarray, "n d"]:
        """Each image's features; images of any size, with the channels that `spec` names."""


def resized(images: UInt8[np.ndarray, "n h w c"], resolution: int) -> Float32[np.ndarray, "n r r c"]:
    """Images brought to a square of `resolution` pixels, in [0, 255], without rounding to whole values.

    Pillow's bicubic filter, antialiased where it shrinks (Parmar et al., *On Aliased Resizing and Surprising Subtleties in
    GAN Evaluation*, 2022); what overshoots the range is clipped. Images of that size already keep their pixels.
    """
    if images.shape[1:3] == (resolution, resolution):
        return images.astype(np.float32)
    planes = images.transpose(0, 3, 1, 2).reshape(-1, *images.shape[1:3]).astype(np.float32)
    size = (resolution, resolution)
    brought = [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)) for plane in planes]
    stacked = np.array(brought, np.float32).reshape(len(images), images.shape[3], *size)
    return np.clip(stacked.transpose(0, 2, 3, 1), 0, 255)


def fixed_picture() -> UInt8[np.ndarray, "1 h w c"]:
    """A fixed picture of 23×31 pixels with smooth parts and sharp edges, which a resizing is known by."""
    rows, columns = np.mgrid[:23, :31]
    planes = (rows * 11 % 256, columns * 53 % 256, (rows // 4 + columns // 4) % 2 * 255)
    return np.stack(planes, axis=-1)[None].astype(np.uint8)


@cache
def resize_digest() -> str:
    """The filter's name with eight digits of a digest of what it makes of the fixed picture, smaller and larger.

    Values are cut to quarters at bounds that none of them is near, so the last bits of a machine's arithmetic do not show.
    """
    made = b"".join(np.floor(resized(fixed_picture(), side) * 4 + OFFSET).astype("<i4").tobytes() for side in (12, 40))
    return f"bicubic-antialiased@{hashlib.sha256(made).hexdigest()[:8]}"
