"""The report's tables as plain words: every figure with its interval, its meaning, and what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from regen.evaluation.glossary import GLOSSARY
from regen.evaluation.intervals import Estimate

TOO_FEW = "not enough samples"
"""What stands in place of a figure that came out as no number."""
Outcome = Literal["better", "worse", "no clear difference", "not enough samples"]
KEY_FIGURES = {
    "gan": ("frechet_distance", "recall", "coverage", "class_shift"),
    "vae": ("anomaly_auc", "anomaly_ap", "reconstruction_ssim", "frechet_distance"),
}
"""What the summary shows of each kind of model."""


@dataclass(frozen=True)
class FigureRow:
    """One line of a model's table."""

    label: str
    meaning: str
    better: str
    candidate: str
    champion: str = ""
    difference: str = ""
    outcome: Outcome | None = None
    """How the candidate does beside the champion."""


def say(values: Mapping[str, float]) -> str:
    """A figure with its interval, in words where it is no number.

    Example:
        >>> say({"value": 15.6, "low": 0.0, "high": 28.3}), say({"value": float("nan"), "low": 0.0, "high": 1.0})
        ('15.6 [0.000, 28.3]', 'not enough samples')
    """
    estimate = Estimate(**values)
    return str(estimate) if estimate.is_finite else TOO_FEW


def plain(value: float, form: str = ".2f") -> str:
    """A figure without an interval, in words where it is no number.

    Example:
        >>> plain(0.914), plain(float("nan"))
        ('0.91', 'not enough samples')
    """
    return format(value, form) if isfinite(value) else TOO_FEW


def outcome(metric: str, difference: Mapping[str, float]) -> Outcome:
    """What a paired difference says: better or worse only by the whole interval.

    Example:
        >>> outcome("frechet_distance", {"value": -4.0, "low": -6.0, "high": -2.0})
        'better'
    """
    found = Estimate(**difference)
    if not found.is_finite:
        return "not enough samples"
    if found.low <= 0 <= found.high:
        return "no clear difference"
    return "better" if (found.value > 0) == GLOSSARY[metric].higher_is_better else "worse"


def figure_rows(kind: str, found: Mapping[str, Any]) -> list[FigureRow]:
    """All figures of one model, in the glossary's order."""
    model = found["models"][kind]
    champion = (model["champion"] or {}).get("estimates", {})
    differences = model["difference"] or {}
    unmeasured = model.get("unmeasured", {})
    rows = [
        FigureRow(
            entry.label,
            " ".join((entry.meaning, *_to_hold_against(name, found))),
            entry.better,
            say(model["estimates"][name]) if name in model["estimates"] else unmeasured[name],
            say(champion[name]) if name in champion else "",
            say(differences[name]) if name in differences else "",
            outcome(name, differences[name]) if name in differences else None,
        )
        for name, entry in GLOSSARY.items()
        if name in model["estimates"] or name in unmeasured
    ]
    return rows + flagging_rows(model, "vae.flag_quantile") + _second_judge(kind, found)


def flagging_rows(model: Mapping[str, Any], quantile: str) -> list[FigureRow]:
    """What the calibrated threshold does on the test rows.

    Args:
        quantile: the key of the project file that the threshold comes from.
    """
    if not (flagging := model.get("flagging")):
        return []
    meant = f"Share of the normal rows above the calibrated threshold; nearest to 1 − {quantile} is best."
    return [
        FigureRow("False alarms at the threshold", meant, "", say(flagging["false_positive_rate"])),
        FigureRow("Recall at the threshold", "Share of the anomalies above it.", "higher", say(flagging["recall"])),
    ]


def _to_hold_against(name: str, found: Mapping[str, Any]) -> list[str]:
    """What real rows and an untrained model come to."""
    if name == "frechet_distance":
        floor, untrained = say(found["frechet_floor"]), say(found["frechet_untrained"])
        return [f"Real training images reach {floor}, the untrained generator {untrained}."]
    if name in found["real_rows"]:
        reached = found["real_rows"][name]
        which = "validation" if name == "memorisation" else "training"  # training images are copies of themselves
        return [f"Real {which} images reach {say(reached)}."]
    return []


def _second_judge(kind: str, found: Mapping[str, Any]) -> list[FigureRow]:
    judge = found.get("judge")
    if not judge or kind not in judge["frechet"]:
        return []
    meaning = f"The Fréchet distance again, in the space of {judge['name']}: a check that nothing is tuned against."
    if "frechet_floor" in judge:
        meaning += f" Real training images reach {say(judge['frechet_floor'])}."
    return [FigureRow("Second judge (never gated)", meaning, "lower", say(judge["frechet"][kind]))]


def key_rows(kind: str, found: Mapping[str, Any]) -> list[FigureRow]:
    """The few figures that the summary shows."""
    rows = {row.label: row for row in figure_rows(kind, found)}
    labels = [GLOSSARY[name].label for name in KEY_FIGURES[kind]]
    return [rows[label] for label in labels if label in rows]


def standing(kind: str, found: Mapping[str, Any]) -> str:
    """One sentence: how the candidate stands beside the champion."""
    return standing_of(found["models"][kind], figure_rows(kind, found))


def standing_of(model: Mapping[str, Any], rows: Sequence[FigureRow]) -> str:
    """One sentence, from what was found of a model and the lines of its table."""
    if not model["champion"]:
        return "When this was measured there was no champion to compare with."
    version = model["champion"]["version"]
    if "error" in model["champion"]:
        return f"Champion version {version} could not be measured: {model['champion']['error']}"
    counts: dict[str, list[str]] = {"better": [], "worse": []}
    compared = [row for row in rows if row.outcome not in (None, TOO_FEW)]
    for row in compared:
        if row.outcome and row.outcome in counts:
            counts[row.outcome].append(row.label.partition(",")[0])
    if not any(counts.values()):
        return f"Beside champion version {version}: no clear difference in any of {len(compared)} figures."
    parts = [f"{word} in {_listed(labels)}" for word, labels in counts.items() if labels]
    rest = len(compared) - sum(map(len, counts.values()))
    return f"Beside champion version {version}: {'; '.join(parts)}" + (
        f"; no clear difference in the other {rest}." if rest else "."
    )


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def stability(found: Mapping[str, Any], kind: str) -> str:
    """How much the Fréchet distance differs between trainings that differ in their seed alone; lower is steadier."""
    spread = found.get("seeds", {}).get(kind)
    return f"{spread['frechet_sd']:.2f} over {spread['trainings']} trainings" if spread else "needs 2 or more trainings"
