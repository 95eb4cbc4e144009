"""Pictures for people: grids of images as pixels and as PNG bytes."""

from collections.abc import Mapping
from io import BytesIO

import numpy as np
from jaxtyping import UInt8


def grid(
    images: UInt8[np.ndarray, "n h w c"],
    columns: int = 16,
    least_side: int = 32,
    *,
    gap: int | None = None,
    fill: int = 128,
) -> UInt8[np.ndarray, "h w c"]:
    """One picture of many: rows of `columns`, a gap between them, small images enlarged without smoothing.

    Args:
        least_side: pixels that an image's longer side has at least.
        gap: its pixels; without it, half an enlarged pixel's, 2 at least.
        fill: what gaps, and places left over, are filled with, in every channel.
    """
    n, height, width, channels = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    scale = max(1, -(-least_side // max(height, width)))
    big = images.repeat(scale, axis=1).repeat(scale, axis=2)
    gap = max(2, scale // 2) if gap is None else gap
    canvas = np.full(
        (rows * (height * scale + gap) - gap, columns * (width * scale + gap) - gap, channels), fill, np.uint8
    )
    for i, image in enumerate(big):
        top, left = (i // columns) * (height * scale + gap), (i % columns) * (width * scale + gap)
        canvas[top : top + height * scale, left : left + width * scale] = image
    return canvas


def sheet(tiles: UInt8[np.ndarray, "n h w a"], columns: int) -> bytes:
    """A PNG of tiles with an alpha channel, as `grid` lays them out, pixel for pixel, the gaps transparent.

    Whoever shows it enlarges it, so that it stays small. Between tiles of several images the gap is wider than their seams.
    """
    height, width = tiles.shape[1:3]
    return png(grid(tiles, columns, 1, gap=max(1 if height == width else 2, min(height, width) // 8), fill=0))


def joined(*parts: UInt8[np.ndarray, "n h w c"], axis: int = 2) -> UInt8[np.ndarray, "n h w a"]:
    """Tiles with an alpha channel: each part's image beside the next part's, or below it (axis 1), a seam between them."""
    small = [thumbnails(part) for part in parts]
    opaque = [np.concatenate([part, np.full((*part.shape[:3], 1), 255, np.uint8)], axis=3) for part in small]
    narrow = max(1, opaque[0].shape[axis] // 16)
    seam = np.zeros_like(opaque[0].take(range(narrow), axis=axis))
    return np.concatenate([one for part in opaque for one in (seam, part)][1:], axis=axis)


def panels(groups: Mapping[str, UInt8[np.ndarray, "n h w c"]], columns: int = 8) -> UInt8[np.ndarray, "h w c"]:
    """Grids side by side, each under its name."""
    from PIL import Image, ImageDraw, ImageFont

    margin, head = 16, 34
    grids = {name: grid(images, columns, least_side=40) for name, images in groups.items()}
    height = max(len(sheet) for sheet in grids.values()) + head + margin
    width = sum(sheet.shape[1] + margin for sheet in grids.values()) + margin
    canvas = Image.new("RGB", (width, height), "white")
    drawing, left = ImageDraw.Draw(canvas), margin
    for name, sheet in grids.items():
        drawing.text((left, 6), name, fill="#1d2126", font=ImageFont.load_default(18))
        canvas.paste(Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet), (left, head))
        left += sheet.shape[1] + margin
    return np.asarray(canvas)


def png(pixels: UInt8[np.ndarray, "h w c"]) -> bytes:
    """A picture as a PNG file's bytes."""
    from PIL import Image

    squeezed = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    buffer = BytesIO()
    Image.fromarray(squeezed).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def thumbnails(images: UInt8[np.ndarray, "n h w c"], most: int = 64) -> UInt8[np.ndarray, "n h w c"]:
    """The images with no side over `most`, each pixel the mean of a square of theirs; small ones as they are.

    Example:
        >>> thumbnails(np.array([0, 2, 4, 6], np.uint8).reshape(1, 2, 2, 1), most=1).ravel()
        array([3], dtype=uint8)
    """
    n, height, width, channels = images.shape
    factor = -(-max(height, width) // most)
    if factor == 1:
        return images
    rows, columns = height // factor, width // factor
    cut = images[:, : rows * factor, : columns * factor]
    blocks = cut.reshape(n, rows, factor, columns, factor, channels)
    means: np.ndarray = blocks.mean(axis=(2, 4)).round().astype(np.uint8)
    return means
