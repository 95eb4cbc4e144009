"""Pictures for people: grids of images and plots of curves, as PNG bytes or vector drawings."""

from collections.abc import Mapping, Sequence
from io import BytesIO, StringIO

import numpy as np
from jaxtyping import UInt8

COLOURS = ("#3b7dd8", "#d9622b", "#2f9e63", "#9257c2", "#8a8f98")
"""Readable on white and on black."""
INK = "#7c828c"


def grid(images: UInt8[np.ndarray, "n h w c"], columns: int = 16, least_side: int = 32) -> UInt8[np.ndarray, "h w c"]:
    """One picture of many: rows of `columns`, a gap between them, small images enlarged without smoothing."""
    n, height, width, channels = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    scale = max(1, -(-least_side // max(height, width)))
    big = images.repeat(scale, axis=1).repeat(scale, axis=2)
    gap = max(2, scale // 2)
    sheet = np.full(
        (rows * (height * scale + gap) - gap, columns * (width * scale + gap) - gap, channels), 128, np.uint8
    )
    for i, image in enumerate(big):
        top, left = (i // columns) * (height * scale + gap), (i % columns) * (width * scale + gap)
        sheet[top : top + height * scale, left : left + width * scale] = image
    return sheet


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


Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def lines(series: Series, x_label: str, y_label: str, *, log_y: bool = False, square: bool = False) -> str:
    """A line plot as SVG: each name with its x and y values."""
    figure, axes = _axes(x_label, y_label, square)
    for (name, (x, y)), colour in zip(series.items(), COLOURS * 2, strict=False):
        axes.plot(x, y, label=name, color=colour, linewidth=1.8)
    if log_y:
        axes.set_yscale("log")
    if square:
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
    return _svg(figure, axes)


def histogram(groups: Mapping[str, np.ndarray], x_label: str, mark: float | None = None, mark_label: str = "") -> str:
    """Overlaid histograms as SVG, with a vertical mark."""
    figure, axes = _axes(x_label, "share of the group", square=False)
    everything = np.concatenate(list(groups.values()))
    bins = np.linspace(everything.min(), np.quantile(everything, 0.995), 40)
    for (name, values), colour in zip(groups.items(), COLOURS, strict=False):
        weights = np.full(len(values), 1 / len(values))
        axes.hist(np.clip(values, None, bins[-1]), bins, weights=weights, alpha=0.6, label=name, color=colour)
    if mark is not None:
        axes.axvline(mark, color=INK, linestyle="--", linewidth=1.5, label=mark_label)
    return _svg(figure, axes)


def _axes(x_label: str, y_label: str, square: bool):  # type: ignore[no-untyped-def]  # noqa: ANN202  # matplotlib's types
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 4.0) if square else (5.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.tick_params(colors=INK)
    axes.grid(visible=True, color=INK, alpha=0.2, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    return figure, axes


def _svg(figure, axes) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001  # matplotlib's types
    from matplotlib import rc_context

    axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    buffer = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "regen", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
