"""Charts as inline SVG: they take their colours from the page, so that they are readable on light and dark alike.

Written here and not by a plotting library, whose drawings carry fixed colours, and sizes made for paper.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10

import numpy as np

WIDTH, HEIGHT = 360, 250
"""The drawing's own units, about a phone's width in CSS pixels, so that its text stays legible there."""
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 12, 46
BESIDE, LONGEST = 146, 17
"""Where a bar begins, and the letters of its label that there is room for beside it."""
STYLES = 5
"""Line styles that the page defines, each with a colour and a dash pattern of its own."""
Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class Axis:
    """One axis: its words, its range, and where it runs on the page."""

    label: str
    low: float
    high: float
    start: float
    end: float

    def at(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Where values lie, to half a unit; what lies outside the range is drawn at its edge."""
        share = (np.clip(np.asarray(values, float), self.low, self.high) - self.low) / (self.high - self.low)
        placed: np.ndarray = np.round(2 * (self.start + share * (self.end - self.start))) / 2
        return placed

    @property
    def ticks(self) -> list[float]:
        """Round values within the range."""
        return ticks(self.low, self.high)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, about as many as asked for.

    Example:
        >>> ticks(0, 1)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / about
    power = 10 ** floor(log10(rough))
    step = power * min((1, 2, 5, 10), key=lambda factor: abs(factor * power - rough))
    return [round(step * i, 12) + 0.0 for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def lines(
    series: Series, title: str, x_label: str, y_label: str, *, unit_square: bool = False, shares: bool = False
) -> str:
    """A line chart with its legend: each name with its x and y values; what is not finite leaves a gap.

    Args:
        unit_square: both axes run from 0 to 1.
        shares: the y axis runs from 0 to 1.
    """
    span = (0.0, 1.0)
    x = _axis(x_label, [values for values, _ in series.values()], LEFT, WIDTH - RIGHT, span if unit_square else None)
    y = _axis(
        y_label,
        [values for _, values in series.values()],
        HEIGHT - BOTTOM,
        TOP,
        span if unit_square or shares else None,
    )
    marks = [
        f'<path class="line s{i % STYLES}" d="{_path(x.at(xs), y.at(ys), np.isfinite(ys))}"/>'
        for i, (xs, ys) in enumerate(series.values())
    ]
    return drawing(title, x, y, marks, list(series)) + legend(list(series), "line")


def histogram(
    groups: Mapping[str, np.ndarray], title: str, x_label: str, mark: float | None = None, mark_label: str = ""
) -> str:
    """Overlaid histograms with their legend, each group's bars adding up to 1, and a vertical mark.

    The 0.5 % farthest to the right share the last bar.
    """
    everything = np.concatenate(list(groups.values()))
    marked = [] if mark is None or not isfinite(mark) else [mark]
    low = min(float(everything.min()), *marked) if marked else float(everything.min())
    high = max(float(np.quantile(everything, 0.995)), *marked) if marked else float(np.quantile(everything, 0.995))
    edges = np.linspace(low, high if high > low else low + 1, 36)
    shares = [np.histogram(np.clip(v, low, edges[-1]), edges)[0] / len(v) for v in groups.values()]
    x = Axis(x_label, float(edges[0]), float(edges[-1]), LEFT, WIDTH - RIGHT)
    y = _axis("share of the group", [np.append(np.concatenate(shares), 0)], HEIGHT - BOTTOM, TOP)
    marks = [f'<path class="area s{i % STYLES}" d="{_steps(x, y, edges, share)}"/>' for i, share in enumerate(shares)]
    if marked:
        at = x.at(marked)[0]
        anchor, dx = ("end", -4) if at > (LEFT + WIDTH) / 2 else ("start", 4)
        marks.append(
            f'<line class="mark" x1="{at:g}" x2="{at:g}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
            f'<text x="{at + dx:g}" y="{TOP + 10}" text-anchor="{anchor}">{escape(mark_label)}</text>'
        )
    return drawing(title, x, y, marks, list(groups)) + legend(list(groups), "area")


def bars(groups: Mapping[str, Sequence[float]], labels: Sequence[str], title: str) -> str:
    """Horizontal bars with their legend: for each label a bar of each group, shares of the group's rows."""
    most = max(max(shares) for shares in groups.values()) or 1.0
    height, thick = 26 * len(labels) + 24, 20 / len(groups)
    x = Axis("share", 0.0, most, BESIDE, WIDTH - 24)
    marked = ticks(0.0, most, about=3)
    parts = [
        f'<line class="grid" x1="{at:g}" x2="{at:g}" y1="4" y2="{height - 20}"/>'
        f'<text x="{at:g}" y="{height - 4}" text-anchor="middle">{100 * tick:g} %</text>'
        for tick, at in zip(marked, x.at(marked).tolist(), strict=True)
    ]
    for row, label in enumerate(labels):
        top = 26 * row + 6
        shown = label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"
        parts.append(f'<text x="{BESIDE - 6}" y="{top + 14}" text-anchor="end">{escape(shown)}</text>')
        for i, shares in enumerate(groups.values()):
            end, above, below = x.at([shares[row]])[0], top + i * thick, top + (i + 1) * thick
            parts.append(f'<path class="area s{i % STYLES}" d="M{BESIDE} {above:g}H{end:g}V{below:g}H{BESIDE}Z"/>')
    spoken = f"{title}: shares of {', '.join(groups)} in {len(labels)} parts"
    drawn = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(spoken)}">{"".join(parts)}</svg>'
    return drawn + legend(list(groups), "area")


def _axis(
    label: str, values: Sequence[Sequence[float] | np.ndarray], start: float, end: float,
    span: tuple[float, float] | None = None,
) -> Axis:  # fmt: skip
    everything = np.concatenate([np.asarray(some, float) for some in values])
    finite = everything[np.isfinite(everything)]
    low, high = span or ((float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return Axis(label, low, high, start, end)


def _path(x: np.ndarray, y: np.ndarray, there: np.ndarray) -> str:
    """SVG's path through the points that are there, without those that lie on a straight stretch of it."""
    points = np.stack([x, y], axis=1)
    there = there & np.isfinite(x)
    keep = np.ones(len(points), bool)
    if len(points) > 2:
        before, after = points[1:-1] - points[:-2], points[2:] - points[1:-1]
        onwards = ((before == 0) & (after == 0)).any(axis=1) & (before * after >= 0).all(axis=1)
        straight = onwards & there[:-2] & there[1:-1] & there[2:]
        keep[1:-1] = ~straight
    parts, started = [], False
    for point, is_there in zip(points[keep].tolist(), there[keep].tolist(), strict=True):
        if is_there:
            parts.append(f"{'L' if started else 'M'}{point[0]:g} {point[1]:g}")
        started = is_there
    return "".join(parts)


def _steps(x: Axis, y: Axis, edges: np.ndarray, shares: np.ndarray) -> str:
    left, right = x.at(edges[:-1]), x.at(edges[1:])
    ground, tops = y.at([0.0])[0], y.at(shares)
    across = "".join(f"V{top:g}H{to:g}" for top, to in zip(tops.tolist(), right.tolist(), strict=True))
    return f"M{left[0]:g} {ground:g}{across}V{ground:g}Z"


def drawing(title: str, x: Axis, y: Axis, marks: Sequence[str], names: Sequence[str], *, x_ticks: bool = True) -> str:
    """The chart with its axes, and what it says to those who cannot see it."""
    middle_x, middle_y = (x.start + x.end) / 2, (y.start + y.end) / 2
    grid = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:g}" y2="{at:g}"/>'
        f'<text x="{LEFT - 6}" y="{at + 4.5:g}" text-anchor="end">{short(value)}</text>'
        for value, at in zip(y.ticks, y.at(y.ticks).tolist(), strict=True)
    ] + [
        f'<text x="{at:g}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{short(value)}</text>'
        for value, at in zip(x.ticks, x.at(x.ticks).tolist(), strict=True)
        if x_ticks
    ]
    spoken = f"{title}: {y.label} by {x.label}, for {', '.join(names)}"
    words = (
        f'<text x="{middle_x:g}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.label)}</text>'
        f'<text transform="translate(13 {middle_y:g}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>'
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(spoken)}">'
        f"{''.join(grid)}{words}{''.join(marks)}</svg>"
    )


def legend(names: Sequence[str], shape: str) -> str:
    """What each line or area is."""
    swatch = '<svg viewBox="0 0 24 10" aria-hidden="true"><path class="{} s{}" d="{}"/></svg>'
    drawn = {"line": "M0 5H24", "area": "M2 1H22V9H2Z"}[shape]
    items = (f"<li>{swatch.format(shape, i % STYLES, drawn)}{escape(name)}</li>" for i, name in enumerate(names))
    return f'<ul class="legend">{"".join(items)}</ul>'


def short(value: float) -> str:
    """A tick's number, thousands as k and millions as M.

    Example:
        >>> short(0.2), short(-12000), short(1500000)
        ('0.2', '−12k', '1.5M')
    """
    size = abs(value)
    text = f"{value / 1e6:g}M" if size >= 1e6 else f"{value / 1e3:g}k" if size >= 1e4 else f"{value:g}"
    return text.replace("-", "−")
