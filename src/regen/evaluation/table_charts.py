"""Charts of tables: how often each value comes, and how like the pairs of columns are; drawn as `charts` draws."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from regen.evaluation.charts import BOTTOM, HEIGHT, LEFT, RIGHT, STYLES, TOP, WIDTH, Axis, drawing, legend

MOST_BARS = 8
"""Categories that are drawn; the rest are drawn together."""
CELL, NAMES = 22, 150
"""A heat map's units: of a cell, and of the space for its words."""


def bars(groups: Mapping[str, Mapping[str, float]], title: str, x_label: str) -> str:
    """Each value's share in each group, side by side, the most frequent of the first group first."""
    first = next(iter(groups.values()))
    order = sorted(first, key=lambda value: -first[value])
    kept, rest = order[:MOST_BARS], order[MOST_BARS:]
    shares = {
        name: [mine.get(value, 0.0) for value in kept] + ([sum(mine.get(value, 0.0) for value in rest)] if rest else [])
        for name, mine in groups.items()
    }
    values = kept + ([f"{len(rest)} others"] if rest else [])
    y = Axis("share of the rows", 0.0, max(max(max(s) for s in shares.values()), 1e-9), HEIGHT - BOTTOM, TOP)
    x = Axis(x_label, 0.0, float(len(values)), LEFT, WIDTH - RIGHT)
    width, ground = (WIDTH - RIGHT - LEFT) / len(values), HEIGHT - BOTTOM
    marks = []
    for place, (name, some) in enumerate(shares.items()):
        each = 0.8 * width / len(shares)
        for i, share in enumerate(some):
            left, top = LEFT + (i + 0.1) * width + place * each, float(y.at([share])[0])
            marks.append(
                f'<path class="area s{place % STYLES}" d="M{left:.1f} {ground}V{top:g}H{left + each:.1f}V{ground}Z">'
                f"<title>{escape(values[i])}, {escape(name)}: {share:.1%}</title></path>"
            )
    words = [
        f'<text x="{LEFT + (i + 0.5) * width:.1f}" y="{ground + 17}" text-anchor="middle">{escape(_cut(value, width))}</text>'
        for i, value in enumerate(values)
    ]
    return drawing(title, x, y, [*marks, *words], list(groups), x_ticks=False) + legend(list(groups), "area")


def _cut(text: str, width: float) -> str:
    """As much of the text as fits."""
    most = max(int(width / 7.2), 1)
    return text if len(text) <= most else text[: max(most - 1, 1)] + "…"


def heat_map(names: Sequence[str], scores: Mapping[tuple[str, str], float], title: str) -> str:
    """A cell for each pair of columns, the stronger in colour the less alike the pair's trends are."""
    n, lost = len(names), {pair: 1 - score for pair, score in scores.items()}
    most = max(max(lost.values(), default=0.0), 1e-9)
    cells = []
    for (a, b), gone in lost.items():
        row, column = sorted((names.index(a), names.index(b)), reverse=True)
        cells.append(
            f'<rect class="heat" x="{NAMES + column * CELL}" y="{row * CELL}" width="{CELL - 2}" height="{CELL - 2}" '
            f'fill-opacity="{max(gone / most, 0.04):.2f}"><title>{escape(a)} and {escape(b)}: {1 - gone:.3f}</title></rect>'
        )
    rows = [
        f'<text x="{NAMES - 8}" y="{(i + 0.5) * CELL + 3:g}" text-anchor="end">{escape(_cut(name, NAMES - 8))}</text>'
        for i, name in enumerate(names)
        if i
    ]
    columns = [
        f'<text transform="translate({NAMES + (i + 0.5) * CELL:g} {n * CELL + 4}) rotate(-60)" text-anchor="end">'
        f"{escape(_cut(name, NAMES - 20))}</text>"
        for i, name in enumerate(names[:-1])
    ]
    (a, b), worst = max(lost.items(), key=lambda pair: pair[1], default=(("", ""), 0.0))
    spoken = f"{title}: {len(lost)} pairs of {n} columns; the least alike is {a} and {b}, {1 - worst:.3f}"
    return (
        f'<svg viewBox="0 0 {NAMES + n * CELL} {n * CELL + NAMES - 30}" role="img" aria-label="{escape(spoken)}">'
        f"{''.join([*cells, *rows, *columns])}</svg>"
    )


def shares(codes: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """How often each code comes, by its name.

    Example:
        >>> shares(np.array([0, 0, 1, 0]), ["fuel", "travel"])
        {'fuel': 0.75, 'travel': 0.25}
    """
    counts = np.bincount(codes[(codes >= 0) & (codes < len(names))], minlength=len(names))
    return {name: float(count / max(len(codes), 1)) for name, count in zip(names, counts, strict=True)}
