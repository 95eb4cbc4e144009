"""The report of a table's models: one self-contained HTML page that works offline, in the look of that of images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regen.core import files
from regen.core.config import Config
from regen.data.codebook import MISSING, Codebook
from regen.data.tables import Table
from regen.evaluation import charts, report_tables, table_charts
from regen.evaluation.glossary import GLOSSARY
from regen.evaluation.report import CURVES, LABELS, NAMES, detection_charts, environment
from regen.evaluation.report_tables import FigureRow, say
from regen.evaluation.table_measure import RealRows

SHOWN_COLUMNS = 8
"""Columns whose distributions are drawn: those least like the real ones."""
SHOWN_PAIRS = 8
"""Pairs that are listed: those least like the real ones."""
MOST_NAMES = 32
"""Columns up to which a map of all pairs is drawn."""
TABLE_CURVES = {
    "GAN: losses": CURVES["GAN: losses"],
    "GAN: gradient penalty": CURVES["GAN: gradient penalty"],
    "VAE: −ELBO and its two parts": (*CURVES["VAE: −ELBO and its two parts"][:2], "nats a row"),
}
KEY_FIGURES = {
    "gan": ("column_shapes", "pair_trends", "utility_auc", "closer_than_control"),
    "vae": ("anomaly_ap", "anomaly_auc", "anomaly_precision_top_k", "column_error"),
}
"""What the summary shows of each kind of model."""
REAL_CONTROL, REAL_TRAINING, SYNTHETIC = "real, unseen", "real training", "synthetic"


@dataclass(frozen=True)
class TableExhibits:
    """All that the report shows besides figures."""

    real: RealRows
    synthetic: Table
    book: Codebook
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Anomaly scores of each group of test rows."""
    threshold: float = float("nan")


def write(
    out: Path, config: Config, found: Mapping[str, Any], shown: TableExhibits, curves: Mapping[str, pd.DataFrame]
) -> None:
    """Writes report.html into `out`.

    Args:
        found: what evaluation.json holds.
        curves: of both trainings (`vae`, `gan`) and, with a label, `roc` and `precision_recall`.
    """
    detectors = {"VAE": found["models"]["vae"]["estimates"], **found["baselines"]}
    page = environment().get_template("table_report.html.j2").render(
        config=config, found=found, names=NAMES, labels=LABELS, say=say, tables=report_tables,
        figure_rows=lambda kind: figure_rows(kind, found), key_rows=lambda kind: key_rows(kind, found),
        standing=lambda kind: report_tables.standing_of(found["models"][kind], figure_rows(kind, found)),
        charts=_charts(shown, found, curves), detectors=detectors, provenance=provenance(config, found),
        columns=sorted(found["columns"], key=lambda column: column["shape"])[:SHOWN_COLUMNS],
        pairs=sorted(found["pairs"], key=lambda pair: pair["score"])[:SHOWN_PAIRS],
        detection_metrics=[name for name in GLOSSARY if any(name in f for f in detectors.values()) and "anomaly" in name],
    )  # fmt: skip
    files.write_text(out / "report.html", page)


def figure_rows(kind: str, found: Mapping[str, Any]) -> list[FigureRow]:
    """All figures of one model, in the glossary's order, with what real rows reach."""
    model = found["models"][kind]
    champion, differences = (model["champion"] or {}).get("estimates", {}), model["difference"] or {}
    rows = []
    for name, entry in GLOSSARY.items():
        if name not in model["estimates"] and name not in model["unmeasured"]:
            continue
        rows.append(
            FigureRow(
                entry.label,
                " ".join((entry.meaning, *_to_hold_against(name, model, found))),
                entry.better,
                say(model["estimates"][name]) if name in model["estimates"] else model["unmeasured"][name],
                say(champion[name]) if name in champion else "",
                say(differences[name]) if name in differences else "",
                report_tables.outcome(name, differences[name]) if name in differences else None,
            )
        )
    return rows + report_tables.flagging_rows(model, "tables.vae.flag_quantile")


def _to_hold_against(name: str, model: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What real rows, or a perfect ranking, come to."""
    side = model["side"]
    if name in found["real_rows"] and name in model["estimates"]:
        return [f"Real training rows reach {say(found['real_rows'][name])}."]
    if f"{name}_of_real" in side:
        return [f"Trees that learnt from as many real rows reach {side[f'{name}_of_real']:.3f}."]
    if name == "copies" and "copies_in_control" in side:
        return [f"Of unseen real rows {side['copies_in_control']:.3f} are."]
    if name == "closer_than_control" and "closest_record" in side:
        mine, theirs = side["closest_record"], side["closest_record_of_control"]
        return [f"Median distances to the closest training row: synthetic {mine:.3f}, unseen {theirs:.3f}."]
    if name == "anomaly_precision_top_k" and found["alerts"]:
        alerts = found["alerts"]
        return [f"With {alerts['k']} alerts a day a perfect ranking reaches {alerts['possible']:.3f}."]
    return []


def key_rows(kind: str, found: Mapping[str, Any]) -> list[FigureRow]:
    """The few figures that the summary shows."""
    rows = {row.label: row for row in figure_rows(kind, found)}
    labels = [GLOSSARY[name].label for name in KEY_FIGURES[kind]]
    return [rows[label] for label in labels if label in rows]


def _charts(
    shown: TableExhibits, found: Mapping[str, Any], curves: Mapping[str, pd.DataFrame]
) -> dict[str, dict[str, str]]:
    """Title to drawing, for each section that has some."""
    worst = sorted(found["columns"], key=lambda column: column["shape"])[:SHOWN_COLUMNS]
    shapes = {f"{column['name']}: {column['shape']:.3f}": _marginal(column["name"], shown) for column in worst}
    drawn = {"columns": shapes, "pairs": _pairs(found), "alerts": _alerts(found), "weeks": _weeks(found)}
    return drawn | {
        "detection": detection_charts("test rows", shown.scores, shown.threshold, curves),
        "training": _training(curves),
    }


def _marginal(name: str, shown: TableExhibits) -> str:
    """How often each value comes among real and synthetic rows."""
    groups = {REAL_CONTROL: shown.real.control.column(name), SYNTHETIC: shown.synthetic.column(name)}
    if name in shown.book.categories:
        known = [*shown.book.categories[name], *([MISSING] if name in shown.book.missing else [])]
        return table_charts.bars({group: table_charts.shares(c, known) for group, c in groups.items()}, name, name)
    present = {group: values[~np.isnan(values)] for group, values in groups.items()}
    distinct = np.unique(present[REAL_CONTROL])
    if 0 < len(distinct) <= table_charts.MOST_BARS:
        codes = {  # the last is of values that no real row has
            g: np.where(np.isin(values, distinct), np.searchsorted(distinct, values), len(distinct))
            for g, values in present.items()
        }
        new = ["not among real rows"] if not np.isin(present[SYNTHETIC], distinct).all() else []
        words = [*(shown.book.shown(name, float(value)) for value in distinct), *new]
        return table_charts.bars({g: table_charts.shares(c.astype(int), words) for g, c in codes.items()}, name, name)
    return charts.histogram({g: v for g, v in present.items() if len(v)}, name, name)


def _pairs(found: Mapping[str, Any]) -> dict[str, str]:
    names = [column["name"] for column in found["columns"]]
    if not found["pairs"] or len(names) > MOST_NAMES:
        return {}
    scores = {(pair["a"], pair["b"]): pair["score"] for pair in found["pairs"]}
    return {"How unlike the pairs are": table_charts.heat_map(names, scores, "Likeness of the pairs’ trends")}


def _alerts(found: Mapping[str, Any]) -> dict[str, str]:
    if not found["alerts"]:
        return {}
    days = [float(day["day"]) for day in found["alerts"]["days"]]
    return {
        f"Precision of the day’s top {found['alerts']['k']}": charts.lines(
            _lines(days, found["alerts"]["days"]), "Precision by day", "day of the test rows", "precision", shares=True
        )
    }


def _weeks(found: Mapping[str, Any]) -> dict[str, str]:
    if len(found["weeks"]) < 2:
        return {}
    weeks = [float(week["week"]) + 1 for week in found["weeks"]]
    drawing = charts.lines(
        _lines(weeks, found["weeks"]),
        "Average precision by week",
        "week of the test rows",
        "average precision",
        shares=True,
    )
    return {"Average precision, week by week": drawing}


def _lines(at: list[float], rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """A line for each of those that have values."""
    lines = {
        "candidate": "candidate",
        "champion": "champion",
        "isolation forest": "forest",
        "a perfect ranking": "possible",
    }
    return {
        label: (at, [float(row[key]) for row in rows])
        for label, key in lines.items()
        if all(row.get(key) is not None for row in rows)
    }


def _training(curves: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    drawn = {}
    for title, (table, columns, unit) in TABLE_CURVES.items():
        there = {name: column for name, column in columns.items() if column in curves[table]}
        series = {
            name: (curves[table]["images"].tolist(), curves[table][column].tolist()) for name, column in there.items()
        }
        if series:
            drawn[title] = charts.lines(series, title, "training rows seen", unit)
    return drawn


def provenance(config: Config, found: Mapping[str, Any]) -> list[tuple[str, str | tuple[str]]]:
    """What the figures were made from; a text alone in a tuple is prose, the others are identifiers."""
    origin, rows, rules = found["provenance"], found["rows"], config.evaluation
    identifiers = {
        "Data version": origin["data_version"], "Key of this evaluation": origin["key"],
        "Git commit": origin["git_commit"], "Test rows (SHA-256)": found["models"]["vae"]["judged_by"]["rows"],
    }  # fmt: skip
    begins = ", ".join(f"{split} from {at}" for split, at in found["begins"].items())
    return [
        *identifiers.items(),
        ("Rows", (", ".join(f"{count:,} {split}" for split, count in rows.items()),)),
        *([("Splits", (begins,))] if begins else []),
        ("Seed", (str(config.seed),)),
        ("Resamples an interval", (str(rules.bootstrap_draws),)),
    ]
