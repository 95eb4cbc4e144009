"""What images look like in a few numbers that need no class and no network, so that people can see what has changed."""

import numpy as np
import pandas as pd
from jaxtyping import UInt8

CHUNK = 1024
"""Images that are looked at together."""


def appearance(images: UInt8[np.ndarray, "n h w c"]) -> pd.DataFrame:
    """One row an image: brightness, contrast, sharpness, where its light lies and, of colour images, saturation.

    Brightness is the mean pixel, contrast the standard deviation, sharpness the mean difference of neighbours, each of grey
    values from 0 to 1; the light's place is its centre of mass from 0 (left, top) to 1, ½ of a black image; saturation is the
    mean span of a pixel's channels.

    Example:
        >>> appearance(np.full((1, 2, 2, 1), 255, np.uint8)).round(2).to_dict("records")
        [{'brightness': 1.0, 'contrast': 0.0, 'sharpness': 0.0, 'light from left': 0.5, 'light from top': 0.5}]
    """
    parts = [_of_some(images[at : at + CHUNK]) for at in range(0, len(images), CHUNK)]
    return pd.concat(parts, ignore_index=True) if parts else _of_some(images)


def _of_some(images: UInt8[np.ndarray, "n h w c"]) -> pd.DataFrame:
    pixels = np.asarray(images, np.float64) / 255
    grey = pixels.mean(axis=3)
    height, width = grey.shape[1:]
    down, right = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=2))
    edges = down.shape[1] * width + right.shape[2] * height
    light = grey.sum(axis=(1, 2))

    def centre(axis: int, size: int) -> np.ndarray:
        along = grey.sum(axis=axis) @ ((np.arange(size) + 0.5) / size)
        middle: np.ndarray = np.divide(along, light, out=np.full(len(light), 0.5), where=light > 0)
        return middle

    table = pd.DataFrame({
        "brightness": grey.mean(axis=(1, 2)), "contrast": grey.std(axis=(1, 2)),
        "sharpness": (down.sum(axis=(1, 2)) + right.sum(axis=(1, 2))) / max(edges, 1),
        "light from left": centre(1, width), "light from top": centre(2, height),
    })  # fmt: skip
    if pixels.shape[3] > 1:
        table["saturation"] = (pixels.max(axis=3) - pixels.min(axis=3)).mean(axis=(1, 2))
    return table
