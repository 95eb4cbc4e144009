"""The page about a tuned model: what people preferred, every arm with its interval, classes, safety, before beside after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from regen.core import files
from regen.core.config import Config
from regen.evaluation import charts, pictures
from regen.evaluation.glossary import GLOSSARY
from regen.evaluation.report import NAMES, environment
from regen.evaluation.report_tables import FigureRow, outcome, plain, say

Images = UInt8[np.ndarray, "n h w c"]
PLACES = 8
"""Pairs of images in a row."""


ARMS = ("base", "tuned", "best_of_4", "best_of_16", "lambda0", "shuffled")
"""Every way of sampling that is measured, in the order of the table."""


@dataclass(frozen=True)
class BeforeAfter:
    """Images of the same latents before and after tuning, those that were liked least before first."""

    before: Images
    after: Images
    reward_before: Sequence[float]
    """In sd of the base's samples."""
    reward_after: Sequence[float]

    @property
    def tiles(self) -> UInt8[np.ndarray, "n h w a"]:
        """Each image before, above the same after."""
        return pictures.joined(self.before, self.after, axis=1)


@dataclass(frozen=True)
class ShareRow:
    """One class's share of the samples, as the classifier names them, its mistakes corrected."""

    name: str
    declared: str
    before: str
    after: str


def write(out: Path, config: Config, proof: Mapping[str, Any], verdict: Mapping[str, Any], shown: BeforeAfter) -> None:
    """Writes report.html and before_after.png into `out`.

    Args:
        proof: what proof.json holds.
        verdict: what verdict.json holds.
    """
    page = environment().get_template("alignment.html.j2").render(
        config=config, proof=proof, verdict=verdict, shown=shown, name=NAMES[proof["kind"]], say=say, plain=plain,
        arms=arm_rows(proof), shares=share_rows(proof), figures=figure_rows(proof), places=PLACES,
        drawings=curve(proof), origin=provenance(proof), simulated=simulated_among(proof),
    )  # fmt: skip
    files.write_text(out / "report.html", page)
    panels = pictures.panels({"before": shown.before, "after tuning": shown.after})
    with files.replacing(out / "before_after.png") as temporary:
        temporary.write_bytes(pictures.png(panels))


def arm_rows(proof: Mapping[str, Any]) -> list[tuple[str, str, str, str, str, str]]:
    """Each arm: what it is, win rate, distance and its multiple of the base's, class shift, unacceptable samples."""
    base = proof["arms"]["base"]["frechet_distance"]
    return [
        (
            arm["label"], say(arm["win_rate"]),
            f"{plain(arm['frechet_distance'], '.1f')} ({plain(arm['frechet_distance'] / base)} ×)",
            plain(arm["bias"]["shift"], ".3f"), disallowed(arm["safety"]), plain(arm["reward"]),
        )
        for arm in in_order(proof["arms"])
    ]  # fmt: skip


def in_order(arms: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The arms as the table lists them."""
    return [arms[name] for name in ARMS if name in arms]


def disallowed(safety: Mapping[str, Any]) -> str:
    """How many samples are unacceptable, and the bound of their share.

    Example:
        >>> disallowed({"unacceptable": 0, "n": 4096, "upper": 0.000731})
        '0 of 4,096, under 0.07 %'
    """
    return f"{safety['unacceptable']:,} of {safety['n']:,}, under {100 * safety['upper']:.2f} %"


def share_rows(proof: Mapping[str, Any]) -> list[ShareRow]:
    """The classes' shares, before and after, beside what was declared."""
    before, after = (proof["arms"][name]["bias"]["shares"] for name in ("base", "tuned"))
    rows = zip(proof["classes"], proof["declared"], before, after, strict=True)
    return [ShareRow(name, *(f"{100 * share:.1f} %" for share in shares)) for name, *shares in rows]


def figure_rows(proof: Mapping[str, Any]) -> list[FigureRow]:
    """The ordinary evaluation's figures of the tuned model beside the base's, in the glossary's order."""
    mine, base = proof["figures"]["estimates"], proof["figures"]["base"]
    return [
        FigureRow(
            entry.label, entry.meaning, entry.better, say(mine[name]),
            say(base["estimates"][name]) if name in base["estimates"] else "",
            say(base["difference"][name]) if name in base["difference"] else "",
            outcome(name, base["difference"][name]) if name in base["difference"] else None,
        )
        for name, entry in GLOSSARY.items()
        if name in mine
    ]  # fmt: skip


def curve(proof: Mapping[str, Any]) -> dict[str, str]:
    """The looks along the tuning: what the judge expected, and the distance."""
    looks = proof["tuning"]["looks"]
    images = [float(look["images"]) for look in looks]
    drawn = {
        "Fréchet distance": ("frechet_distance", "distance"),
        "Win rate that the judge expects": ("win_rate", "win rate"),
    }
    return {
        title: charts.lines(
            {unit: (images, [float(look.get(key, float("nan"))) for look in looks])}, title, "images seen", unit
        )
        for title, (key, unit) in drawn.items()
        if any(key in look for look in looks)
    }


def provenance(proof: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the tuned model was made from."""
    judged = proof["judged_by"]
    return [
        ("Base", proof["base"]),
        ("Campaigns", ", ".join(proof["campaigns"])),
        ("Votes (digest)", proof["digest"]),
        ("Votes, people", f"{proof['votes']:,}, {proof['people']:,}{simulated_among(proof)}"),
        ("Extractor (SHA-256)", f"{judged['extractor']} {judged['version']} ({judged['sha256']})"),
        ("Test rows", f"{judged['n']:,} ({judged['rows']})"),
    ]


def simulated_among(proof: Mapping[str, Any]) -> str:
    """How many of those who voted are no people, in brackets; nothing where none is.

    Example:
        >>> simulated_among({"simulated": 2})
        ' (2 of them simulated)'
    """
    return f" ({proof['simulated']} of them simulated)" if proof.get("simulated") else ""
