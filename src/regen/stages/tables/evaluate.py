"""Measures both models of a table and, on the same rows, the champions they would replace; writes the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import precision_recall_curve, roc_curve

from regen.core import files
from regen.core.errors import RegenError
from regen.core.seeds import derive
from regen.data import table_splits
from regen.data.codebook import Codebook
from regen.data.raw import spread
from regen.data.tables import Table
from regen.evaluation import alerts, table_measure, table_report
from regen.evaluation.intervals import Estimate
from regen.evaluation.table_measure import RealRows, TableMeasured, TestRows
from regen.evaluation.table_report import TableExhibits
from regen.evaluation.tables import column_shapes
from regen.models.cells import Cells
from regen.models.table_gan import TableGenerator
from regen.models.table_scorer import TableScorer
from regen.registry import versions
from regen.stages.base import Context, jsonable
from regen.stages.prepare import table as prepared
from regen.stages.tables.models import load_model, registered
from regen.stages.tables.rows import TableRows

MOST_SYNTHETIC = 20_000
"""Rows that the GAN is asked for."""
EXPLAINED = 10
"""Rows of the highest scores whose columns are told."""
CURVE_POINTS = 400
"""Points of a curve that are kept."""
FOREST = "isolation forest"


@dataclass(frozen=True)
class Test:
    """What models are measured on."""

    __test__ = False  # its name is no test's

    context: Context
    rows: TableRows

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The test rows as models see them."""
        return self.rows.frame("test")

    @cached_property
    def seconds(self) -> np.ndarray | None:
        """When each came to be; None without a time."""
        return self.rows.seconds("test")

    @cached_property
    def detection(self) -> TestRows | None:
        """Which of the rows whose label is known are anomalies, and their days; None without a label."""
        if self.rows.schema.label is None:
            return None
        self.rows.require_judges()
        labels = self.rows.labels("test")
        known = np.flatnonzero(labels != table_splits.UNKNOWN)
        days = None if self.seconds is None else alerts.days_of(self.seconds[known])
        return TestRows(labels[known] == 1, days, known)

    @property
    def unknown(self) -> int:
        """How many test rows have no known label, and so no part in what is told of detection."""
        return 0 if self.detection is None else len(self.frame) - len(self.detection.is_anomaly)

    def tell_unknown(self) -> None:
        """Says how many test rows have no part in what is told of detection, if any."""
        if self.unknown:
            self.context.progress.say(
                f"  evaluate: {self.unknown:,} of {len(self.frame):,} test rows have no known label and are left out of "
                "detection"
            )

    @cached_property
    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """What the GAN learnt from, what was kept from it, and test rows."""
        train, control = self.rows.for_gan
        return train, control, self.rows.labelled("test")

    def measure(self, kind: str, model: Any) -> TableMeasured:
        """All figures of a model of this kind."""
        return self.measure_vae(model) if kind == "vae" else self.measure_gan(model)

    def measure_vae(self, scorer: TableScorer) -> TableMeasured:
        """Detection on all test rows whose label is known, reconstruction on those that are not known to be anomalies."""
        config, seed = self.context.config.evaluation, self.context.config.seed
        normal = np.flatnonzero(self.rows.labels("test") != 1)
        kept = normal[spread(len(normal), table_measure.MOST_TEST_ROWS)]
        table = scorer.book.table(self.frame.iloc[kept])
        rebuilt = _as_table(scorer.vae.reconstruct(Cells.of(table)), table)
        found = table_measure.measure_reconstruction(table, rebuilt, config, seed)
        scores = scorer.scores(self.frame)
        if self.detection is None:
            return TableMeasured(found.figures, errors=found.errors, scores=scores)
        detected = table_measure.measure_detector(scores, float(scorer.vae.threshold), self.detection, config, seed)
        return TableMeasured(
            {**detected.figures, **found.figures}, errors=found.errors, scores=scores, unmeasured=detected.unmeasured,
            flagging=detected.flagging,
        )  # fmt: skip

    def measure_gan(self, generator: TableGenerator) -> TableMeasured:
        """All figures of its rows."""
        config = self.context.config
        n = min(len(self.frames[0]), MOST_SYNTHETIC)
        drawn = torch.Generator().manual_seed(derive(config.seed, "evaluation", "latents"))
        fake = generator.sample(n, drawn)
        _, tables = self.encoded(fake)
        found = table_measure.measure_synthesis(tables[0], self.real(tables), config.evaluation, config.seed)
        return TableMeasured(found.figures, found.side, rows=fake)

    def encoded(self, fake: pd.DataFrame) -> tuple[Codebook, list[Table]]:
        """Synthetic rows and the real ones with codes of one meaning."""
        every = [fake, *self.frames]
        book = Codebook.of(every, self.rows.synthesised)
        return book, [book.table(frame) for frame in every]

    def real(self, tables: list[Table]) -> RealRows:
        """The real rows among what `encoded` gave."""
        _, train, control, test = tables
        return RealRows(train, control, test, self.rows.schema.label)


def _as_table(cells: Cells, like: Table) -> Table:
    return Table(like.names, cells.numbers.numpy(), like.category_names, cells.codes.numpy(), like.sizes)


def evaluate(context: Context, against: Mapping[str, int | None], out: Path) -> None:
    """Writes evaluation.json, metrics.json, plots/*.csv and report.html.

    Raises:
        EvaluationError: a figure cannot be computed.
    """
    from regen.stages.train import origins

    config = context.config
    rules, seed, rows = config.evaluation, config.seed, TableRows(prepared(context), config)
    test = Test(context, rows)
    test.tell_unknown()
    candidates = {kind: load_model(kind, context.results(f"train_{kind}")) for kind in ("vae", "gan")}
    measured = {kind: test.measure(kind, model) for kind, model in candidates.items()}
    models, champions = _models(test, against, measured)
    baselines = _baselines(test)
    fake = measured["gan"].rows
    assert fake is not None  # measured on a GAN
    book, tables = test.encoded(fake)
    real = test.real(tables)
    shapes = column_shapes(real.control, tables[0])
    errors = measured["vae"].errors
    found = {
        "of": "rows", "against": dict(against), "models": models,
        "rows": {split: rows.dataset.sizes[split] for split in ("train", "validation", "test", "gap")},
        "begins": dict(rows.dataset.begins), "label": rows.schema.label,
        "label_delay_days": rows.schema.label_delay_days if rows.schema.label is not None else 0.0,
        "anomalies": None if test.detection is None else int(test.detection.is_anomaly.sum()),
        "unknown_labels": test.unknown,
        "semi_supervised": bool(candidates["vae"].vae.supervised_weight),
        "baselines": {name: one.estimates(rules) for name, one in baselines.items()},
        "real_rows": {
            name: figure.estimate(rules.confidence)
            for name, figure in table_measure.real_rows(real, rules, seed).items()
        },
        "columns": [
            {"name": column.name, "kind": column.kind, "shape": shapes[column.name], "error": errors.get(column.name)}
            for column in rows.synthesised
        ],
        "pairs": [
            {"a": a, "b": b, "score": score} for (a, b), score in table_measure.pairs_of(tables[0], real).items()
        ],
        "alerts": _alerts(test, measured["vae"], champions.get("vae"), baselines),
        "weeks": _weeks(test, measured["vae"], champions.get("vae"), baselines),
        "explained": _explained(test, candidates["vae"], measured["vae"]),
        **origins(context),
    }  # fmt: skip
    found["note"] = note(jsonable(found))
    plain = jsonable(found)
    files.write_json(out / "evaluation.json", plain)
    files.write_json(out / "metrics.json", _metrics(plain))
    curves = {kind: pd.read_csv(context.results(f"train_{kind}") / "curve.csv") for kind in candidates}
    curves |= _curves(test, {"VAE": measured["vae"], **baselines}, out / "plots")
    groups = _groups(test, measured["vae"].scores)
    shown = TableExhibits(real, tables[0], book, groups, float(candidates["vae"].vae.threshold))
    table_report.write(out, config, plain, shown, curves)


def _models(
    test: Test, against: Mapping[str, int | None], measured: Mapping[str, TableMeasured]
) -> tuple[dict[str, Any], dict[str, TableMeasured]]:
    """What is told of each candidate, and the champions that were measured beside them."""
    models: dict[str, Any] = {}
    champions: dict[str, TableMeasured] = {}
    for kind, number in against.items():
        mine = measured[kind]
        entry: dict[str, Any] = {
            "estimates": mine.estimates(test.context.config.evaluation), "side": mine.side, "warnings": [],
            "champion": None, "difference": None, "judged_by": judged_by(test.rows), "unmeasured": mine.unmeasured,
            "flagging": mine.flagging,
        }  # fmt: skip
        if number is not None:
            compared, champion = _against(test, kind, number, mine)
            entry |= compared
            champions |= {} if champion is None else {kind: champion}
        models[kind] = entry
    return models, champions


def _groups(test: Test, scores: np.ndarray | None) -> dict[str, np.ndarray]:
    """The scores of normal rows and of anomalies; none where it is not known which are which."""
    if test.detection is None or scores is None:
        return {}
    judged, is_anomaly = test.detection.of(scores), test.detection.is_anomaly
    return {"normal": judged[~is_anomaly], "anomaly": judged[is_anomaly]}


def judged_by(rows: TableRows) -> dict[str, str | int]:
    """What figures were measured on; no extractor has a part in them."""
    used = rows.taken("test")
    whole = len(used) == rows.dataset.sizes["test"]
    told = rows.dataset.digests["test"] if whole else files.digest([rows.dataset.digests["test"], len(used)])
    return {"extractor": "", "version": "", "sha256": "", "rows": told, "n": len(used)}


def _against(
    test: Test, kind: str, number: int, candidate: TableMeasured
) -> tuple[dict[str, Any], TableMeasured | None]:
    config = test.context.config
    try:
        model = registered(kind, versions.by_number(config.model_name(kind), number).uri)
        champion = test.measure(kind, model)
        estimates: Mapping[Any, Estimate] = champion.estimates(config.evaluation)
        difference = candidate.difference(champion, config.evaluation)
    except (RegenError, RuntimeError) as error:  # an unusable champion must not pass for a missing one
        return {"champion": {"version": number, "error": str(error)}, "difference": {}}, None
    return {"champion": {"version": number, "estimates": estimates}, "difference": difference}, champion


def _baselines(test: Test) -> dict[str, TableMeasured]:
    """The other detectors on the same columns; none without a label."""
    if test.detection is None:
        return {}
    rows, config = test.rows, test.context.config
    train = rows.frame("train")
    book = Codebook.of([train, test.frame], rows.schema.modelled)
    return table_measure.measure_baselines(
        book.table(train), rows.known("train"), book.table(test.frame), test.detection, config.evaluation, config.seed
    )


def _scores(
    rows: TestRows, vae: TableMeasured, champion: TableMeasured | None, baselines: Mapping[str, TableMeasured]
) -> dict[str, np.ndarray]:
    """The scores that are drawn over time, by what the report calls them."""
    found = {"candidate": vae, "champion": champion, "forest": baselines.get(FOREST)}
    return {name: rows.of(one.scores) for name, one in found.items() if one is not None and one.scores is not None}


def _alerts(
    test: Test, vae: TableMeasured, champion: TableMeasured | None, baselines: Mapping[str, TableMeasured]
) -> dict[str, Any] | None:
    if test.detection is None or test.detection.days is None:
        return None
    k, days, is_anomaly = test.context.config.evaluation.alerts_a_day, test.detection.days, test.detection.is_anomaly
    daily = {
        name: alerts.daily_alerts(scores, is_anomaly, days, k)
        for name, scores in _scores(test.detection, vae, champion, baselines).items()
    }
    possible = daily["candidate"].possible
    by_day = [
        {"day": day, "champion": None, "possible": float(possible[day])}
        | {name: float(one.precision[day]) for name, one in daily.items()}
        for day in range(len(possible))
    ]
    return {"k": k, "possible": float(possible.mean()), "days": by_day}


def _weeks(
    test: Test, vae: TableMeasured, champion: TableMeasured | None, baselines: Mapping[str, TableMeasured]
) -> list[dict[str, Any]]:
    """The average precision of each week."""
    if test.detection is None or test.seconds is None:
        return []
    rows, seconds = test.detection, test.detection.of(test.seconds)
    weekly = {
        name: alerts.by_week(scores, rows.is_anomaly, seconds)
        for name, scores in _scores(rows, vae, champion, baselines).items()
    }
    return [
        {"week": week.week, "rows": week.rows, "anomalies": week.anomalies, "champion": None}
        | {name: found[place].average_precision for name, found in weekly.items()}
        for place, week in enumerate(weekly["candidate"])
    ]


def _explained(test: Test, scorer: TableScorer, vae: TableMeasured) -> list[dict[str, Any]]:
    """The rows of the highest scores, and the columns that say so."""
    assert vae.scores is not None  # measured on a VAE
    highest = np.argsort(-vae.scores, kind="stable")[:EXPLAINED]
    schema, every = test.rows.schema, test.rows.whole("test")
    names = [name for name in (schema.key, schema.time) if name is not None]
    told = scorer.explained(test.frame.iloc[highest])
    labels = test.rows.labels("test")
    return [
        {
            "name": ", ".join(str(every[int(row)][name].item()) for name in names) or f"row {int(row)}",
            "score": float(vae.scores[row]), "columns": columns,
            "is_anomaly": None if labels[row] == table_splits.UNKNOWN else bool(labels[row] == 1),
        }
        for row, columns in zip(highest, told, strict=True)
    ]  # fmt: skip


def _curves(test: Test, detectors: Mapping[str, TableMeasured], folder: Path) -> dict[str, pd.DataFrame]:
    """ROC and precision-recall curves of all detectors, also as CSV files."""
    folder.mkdir()
    if test.detection is None:
        return {}
    rows: dict[str, list[pd.DataFrame]] = {"roc": [], "precision_recall": []}
    for name, one in detectors.items():
        assert one.scores is not None  # of a detector
        scores = test.detection.of(one.scores)
        false_positives, true_positives, _ = roc_curve(test.detection.is_anomaly, scores)
        precision, recall, _ = precision_recall_curve(test.detection.is_anomaly, scores)
        roc = {"detector": name, "false_positive_rate": false_positives, "true_positive_rate": true_positives}
        rows["roc"].append(_thinned(pd.DataFrame(roc)))
        rows["precision_recall"].append(
            _thinned(pd.DataFrame({"detector": name, "recall": recall, "precision": precision}))
        )
    tables = {name: pd.concat(parts) for name, parts in rows.items()}
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    return tables


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """The curve with its ends, of points that are close together but a few."""
    kept = np.unique(np.append(spread(len(curve), CURVE_POINTS), len(curve) - 1))
    return curve.iloc[kept]


def note(found: Mapping[str, Any]) -> str:
    """What the figures were measured on, and what to hold them against."""
    rows = f"{found['rows']['test']:,} test rows"
    if found["label"] is None:
        return f"Measured on {rows}; the schema names no label, so no detector is judged."
    judged = found["rows"]["test"] - found["unknown_labels"]
    if found["unknown_labels"]:
        rows += f", detection on the {judged:,} of them whose label is known"
    share = found["anomalies"] / judged
    beside = [
        f"{name} {Estimate(**figures['anomaly_ap']).value:.3f}"
        for name, figures in found["baselines"].items()
        if "anomaly_ap" in figures
    ]
    return (
        f"Measured on {rows}, {share:.2%} of them anomalies, which is the average precision of a guess; that of other "
        f"detectors on the same columns: {', '.join(beside)}."
    )


def _metrics(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers alone, for `dvc metrics`; nothing in it depends on a clock or on a champion."""
    figures: dict[str, Any] = {
        kind: {name: round(values["value"], 6) for name, values in model["estimates"].items()}
        for kind, model in plain["models"].items()
    }
    figures["baselines"] = {
        name: {metric: round(values["value"], 6) for metric, values in one.items()}
        for name, one in plain["baselines"].items()
    }
    return figures
