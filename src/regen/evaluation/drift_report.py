"""The drift report: one page that works offline, in the style of the evaluation's, and a picture of what came in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from regen.core import files
from regen.core.sections.operations import FAMILIES, MonitorConfig
from regen.evaluation import charts, pictures
from regen.evaluation.drift import Drift, Shift
from regen.evaluation.report import environment

PAGE, PICTURE = "drift.html", "drift.png"
CHARTS = 6
"""Columns that are drawn, the most shifted ones."""
TRAINED, NEW = "trained on", "new"


@dataclass(frozen=True)
class Gallery:
    """Images of both sides."""

    before: UInt8[np.ndarray, "n h w c"]
    """What the champion was trained on, spread evenly over all."""
    after: UInt8[np.ndarray, "m h w c"]
    """New ones, spread evenly over all."""
    strangest: UInt8[np.ndarray, "k h w c"]
    """The new ones with the highest anomaly scores, the highest first; none where nobody gives scores."""

    @property
    def groups(self) -> dict[str, UInt8[np.ndarray, "n h w c"]]:
        """Each group by what people call it."""
        found = {TRAINED: self.before, NEW: self.after}
        return found | ({"new, the strangest": self.strangest} if len(self.strangest) else {})


def write(out: Path, watched: Mapping[str, Any], found: Drift, gallery: Gallery | None, rules: MonitorConfig) -> None:
    """Writes drift.html and, of images, drift.png into `out`.

    Args:
        watched: what drift.json holds.
    """
    columns = [(one, one.drifted(rules, len(found.columns))) for one in found.columns]
    page = environment().get_template("drift.html.j2").render(
        watched=watched, found=found, columns=columns, gallery=gallery.groups if gallery else {}, rules=rules,
        alone=pictures.joined, level=rules.p_value / FAMILIES, charts=_charts(found),
    )  # fmt: skip
    files.write_text(out / PAGE, page)
    if gallery is not None:
        with files.replacing(out / PICTURE) as temporary:
            temporary.write_bytes(pictures.png(pictures.panels(gallery.groups)))


def _charts(found: Drift) -> dict[str, dict[str, str]]:
    """Title to drawing, of the columns and of the scores."""
    columns = {one.name: _drawn(one) for one in found.columns[:CHARTS]}
    scores = {"Anomaly scores": _drawn(found.scores.shift)} if found.scores else {}
    return {"columns": columns, "scores": scores}


def _drawn(one: Shift) -> str:
    return charts.bars({TRAINED: one.reference, NEW: one.new}, one.labels, one.name)
