"""Measures both candidates and, on the same rows and latents, the champions they would replace; writes the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from regen.core import files
from regen.core.errors import RegenError
from regen.core.sections.evaluation import EvaluationConfig, Metric
from regen.data.splits import Dataset
from regen.evaluation import diversity, measure, per_class, report
from regen.evaluation.exhibits import Exhibits
from regen.evaluation.intervals import Estimate
from regen.evaluation.measure import Measured, features_of
from regen.evaluation.ranking import Scores
from regen.evaluation.reference import Reference
from regen.models import storage
from regen.models.extractor import Extractor
from regen.models.networks import to_tensor
from regen.registry import packaging, promotion, tracking, versions
from regen.stages import earlier, freeze
from regen.stages.base import Context, Outcome, jsonable, perform
from regen.stages.prepare import dataset as prepared
from regen.stages.train import origins
from regen.training import gan

KINDS = ("vae", "gan")
REFERENCES = {"vae": "reference-normal", "gan": "reference"}
"""The file of the reference that each kind is measured against."""


def champions(context: Context) -> dict[str, int | None]:
    """The number of each kind's champion version; None where there is none."""
    tracking.open_store(context.workspace)
    names = {kind: context.config.model_name(kind) for kind in KINDS}
    for name in names.values():
        promotion.settle(context.workspace, name)
    found = {kind: versions.by_alias(name, versions.CHAMPION) for kind, name in names.items()}
    return {kind: version.number if version else None for kind, version in found.items()}


def evaluate(context: Context) -> Outcome:
    """Writes evaluation.json, metrics.json, plots/*.csv and report.html, and of images reference.npz and samples.png.

    Raises:
        EvaluationError: a figure cannot be computed.
        DataError: votes are there and cannot be read.
    """
    against = champions(context)

    def still_holds(out: Path) -> bool:
        found = files.read_json(out / "evaluation.json")
        if context.config.data.is_table:
            return bool(found["against"] == against)
        return bool(
            found["against"] == against
            and found["extractor"]["sha256"] == freeze.record(context)["sha256"]
            and found.get("votes") == earlier.votes_digest(context)
        )

    def body(work: Path, out: Path) -> None:
        context.progress.say(
            "  evaluate: measuring the candidates" + (" and the champions" if any(against.values()) else "")
        )
        if context.config.data.is_table:
            from regen.stages.tables.evaluate import evaluate as evaluate_table

            evaluate_table(context, against, out)
        else:
            _evaluate(context, against, out)

    return perform(context, "evaluate", body, still_holds)


def result(context: Context) -> dict[str, Any]:
    """What `evaluate` wrote to evaluation.json."""
    found: dict[str, Any] = files.read_json(context.results("evaluate") / "evaluation.json")
    return found


def estimates(raw: Mapping[str, Mapping[str, float]] | None) -> dict[str, Estimate] | None:
    """Estimates as evaluation.json holds them."""
    return None if raw is None else {name: Estimate(**values) for name, values in raw.items()}


def _measure(context: Context, kind: str, model: Any, dataset: Dataset, extractor: Extractor) -> Measured:
    measured_by = measure.measure_vae if kind == "vae" else measure.measure_gan
    return measured_by(model, dataset, extractor, context.config.evaluation, context.config.seed)


def _evaluate(context: Context, against: dict[str, int | None], out: Path) -> None:
    config, dataset = context.config, prepared(context)
    rules, seed = config.evaluation, config.seed
    extractor: Extractor = storage.load(context.results("train_extractor"), "extractor")
    frozen = freeze.record(context)
    references = reference_sets(dataset, extractor, frozen)
    for stem, reference in references.items():
        reference.save(out, stem)
    candidates = {kind: storage.load(context.results(f"train_{kind}"), packaging.NETWORK[kind]) for kind in KINDS}
    measured = {kind: _measure(context, kind, model, dataset, extractor) for kind, model in candidates.items()}
    real_rows = {
        name: figure.estimate(rules.confidence)
        for name, figure in measure.real_rows(dataset, extractor, rules, seed).items()
    }
    models, champions_measured = _models(
        context, against, measured, references, real_rows["coverage"], dataset, extractor
    )
    untrained = measure.measure_frechet_of(
        gan.build(config.gan, dataset.shape, seed)[0], dataset.pixels("test"), extractor, rules, seed
    )
    vae_on_all = measured["vae"]
    if dataset.anomaly_class is not None:
        vae_on_all = measure.measure_samples(
            candidates["vae"], dataset.pixels("test"), dataset.pixels("train"), extractor, rules, seed
        )
    baselines = measure.measure_baselines(dataset, rules, seed)
    found = {
        "against": against,
        "models": models,
        "rows": {split: len(dataset.rows(split)) for split in ("train", "validation", "test", "extractor")},
        "anomaly_class": config.data.anomaly_class,
        "anomaly_name": None if config.data.anomaly_class is None else dataset.name(config.data.anomaly_class),
        "extractor": {
            **{name: frozen[name] for name in ("name", "version", "sha256")}, "features": config.extractor.features,
            "accuracy": _accuracy(extractor, dataset),
        },
        "admission": files.read_json(context.results("train_extractor") / "admission.json"),
        "judge": _second_opinion(context, candidates, dataset, frozen),
        "real_rows": real_rows,
        "frechet_floor": measure.real_floor(dataset, extractor, rules, seed).estimate(rules.confidence),
        "frechet_untrained": untrained.estimate(rules.confidence),
        "vae_on_all_classes": {"estimates": vae_on_all.estimates(rules), "side": vae_on_all.side},
        "gan_minus_vae": measured["gan"].difference(vae_on_all, rules),
        "baselines": {name: baseline.estimates for name, baseline in baselines.items()},
        "per_class": _per_class(candidates, measured["vae"], dataset, extractor, context),
        **origins(context),
        **_if_any(
            seeds=_seeds(context, models), preferences=earlier.preferences(context), votes=earlier.votes_digest(context)
        ),
    }  # fmt: skip
    plain = jsonable(found)
    files.write_json(out / "evaluation.json", plain)
    files.write_json(out / "metrics.json", _metrics(plain))
    detectors = {} if measured["vae"].scores is None else {"VAE": measured["vae"].scores}
    detectors |= {name: baseline.scores for name, baseline in baselines.items()}
    curves = _write_plots(context, dataset, detectors, out / "plots")
    shown = Exhibits.of(
        dataset, candidates["gan"], candidates["vae"], extractor, measured, champions_measured, config.seed
    )
    report.write(out, config, plain, shown, curves)


def _models(
    context: Context,
    against: Mapping[str, int | None],
    measured: Mapping[str, Measured],
    references: Mapping[str, Reference],
    real_coverage: Estimate,
    dataset: Dataset,
    extractor: Extractor,
) -> tuple[dict[str, Any], dict[str, Measured]]:
    """What is told of each candidate, and the champions that were measured beside them."""
    config = context.config
    models: dict[str, Any] = {}
    champions: dict[str, Measured] = {}
    for kind, number in against.items():
        mine = measured[kind]
        entry: dict[str, Any] = {
            "estimates": mine.estimates(config.evaluation), "side": mine.side,
            "warnings": _warnings(mine, real_coverage, dataset, config.evaluation), "champion": None,
            "difference": None, "judged_by": references[REFERENCES[kind]].name, "unmeasured": mine.unmeasured,
            "flagging": mine.flagging,
        }  # fmt: skip
        if number is not None:
            compared, champion = _against(context, kind, number, mine, dataset, extractor)
            entry |= compared
            champions |= {} if champion is None else {kind: champion}
        models[kind] = entry
        for warning in entry["warnings"]:
            context.progress.say(f"  evaluate: {config.model_name(kind)}: {warning}")
    return models, champions


def _accuracy(extractor: Extractor, dataset: Dataset) -> float:
    """The share of the test rows whose class the extractor tells."""
    classes, of = sorted(set(dataset.labels.tolist())), dataset.labels[dataset.rows("test")]
    told = extractor.classes(to_tensor(dataset.pixels("test"))).numpy()
    return float((told == np.searchsorted(classes, of)).mean())


def _if_any(**found: Any) -> dict[str, Any]:
    """What there is."""
    return {name: value for name, value in found.items() if value}


def _per_class(
    candidates: Mapping[str, Any], vae: Measured, dataset: Dataset, extractor: Extractor, context: Context
) -> list[per_class.ClassFigures]:
    assert vae.errors is not None  # measured on a VAE
    rules, seed = context.config.evaluation, context.config.seed
    return per_class.measure_classes(dataset, candidates, extractor, vae.errors, rules, seed)


def reference_sets(dataset: Dataset, extractor: Extractor, frozen: Mapping[str, Any]) -> dict[str, Reference]:
    """The test rows as the extractor sees them: all of them, and those without the anomaly class."""
    return {
        stem: Reference.of(
            frozen["name"], frozen["version"], frozen["sha256"],
            pixels := dataset.pixels("test", normal_only=normal_only), features_of(extractor, pixels),
        )
        for stem, normal_only in (("reference", False), ("reference-normal", True))
    }  # fmt: skip


def _second_opinion(
    context: Context, candidates: Mapping[str, Any], dataset: Dataset, frozen: Mapping[str, Any]
) -> dict[str, Any]:
    """What the second judge, whom no gate asks, says of the same samples."""
    rules, seed = context.config.evaluation, context.config.seed
    judge: Extractor = storage.load(context.results("train_extractor"), "judge")
    distances = {
        kind: measure.measure_frechet_of(model, dataset.pixels("test", normal_only=kind == "vae"), judge, rules, seed)
        for kind, model in candidates.items()
    }
    return {
        "name": f"{context.config.project}-judge", "network": context.config.extractor.judge,
        "sha256": frozen["judge_sha256"],
        "frechet": {kind: distance.estimate(rules.confidence) for kind, distance in distances.items()},
        "frechet_floor": measure.real_floor(dataset, judge, rules, seed).estimate(rules.confidence),
    }  # fmt: skip


def _seeds(context: Context, models: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        kind: earlier.spread_over_seeds(context, kind, entry["judged_by"], entry["estimates"]["frechet_distance"].value)
        for kind, entry in models.items()
    }
    return {kind: spread for kind, spread in found.items() if spread is not None}


def _warnings(measured: Measured, coverage_of_real: Estimate, dataset: Dataset, rules: EvaluationConfig) -> list[str]:
    found, labels = measured.estimates(rules), sorted(set(dataset.labels.tolist()))
    return diversity.collapse_warnings(
        found["recall"], found["coverage"], coverage_of_real, measured.missing,
        name=lambda position: dataset.name(labels[position]),
    )  # fmt: skip


def _against(
    context: Context, kind: str, number: int, candidate: Measured, dataset: Dataset, extractor: Extractor
) -> tuple[dict[str, Any], Measured | None]:
    rules, name = context.config.evaluation, context.config.model_name(kind)
    try:
        model = packaging.load_network(kind, versions.by_number(name, number).uri)
        champion = _measure(context, kind, model, dataset, extractor)
        champion_estimates: Mapping[Metric, Estimate] = champion.estimates(rules)
        difference = candidate.difference(champion, rules)
    except (RegenError, RuntimeError) as error:  # an unusable champion must not pass for a missing one
        return {"champion": {"version": number, "error": str(error)}, "difference": {}}, None
    compared = {"champion": {"version": number, "estimates": champion_estimates}, "difference": difference}
    return compared, champion


def _metrics(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers alone, for `dvc metrics`; nothing in it depends on a clock or on a champion."""
    figures: dict[str, Any] = {
        kind: {name: round(values["value"], 6) for name, values in model["estimates"].items()}
        for kind, model in plain["models"].items()
    }
    for kind, model in plain["models"].items():
        figures[kind]["collapse_warnings"] = len(model["warnings"])
        figures[kind]["frechet_distance_by_judge"] = round(plain["judge"]["frechet"][kind]["value"], 6)
    figures["coverage_of_real_rows"] = round(plain["real_rows"]["coverage"]["value"], 6)
    figures["frechet_floor"] = round(plain["frechet_floor"]["value"], 6)
    figures["extractor_accuracy"] = round(plain["extractor"]["accuracy"], 6)
    return figures


def _write_plots(
    context: Context, dataset: Dataset, detectors: Mapping[str, Scores], folder: Path
) -> dict[str, pd.DataFrame]:
    """The trainings' curves, and the curves of each detector's scores of the test rows."""
    folder.mkdir()
    tables = {kind: pd.read_csv(context.results(f"train_{kind}") / "curve.csv") for kind in ("vae", "gan", "extractor")}
    if not detectors:
        return tables
    is_anomaly = dataset.is_anomaly[dataset.rows("test")]
    rows: dict[str, list[pd.DataFrame]] = {"roc": [], "precision_recall": []}
    for name, values in detectors.items():
        false_positives, true_positives, _ = roc_curve(is_anomaly, values)
        precision, recall, _ = precision_recall_curve(is_anomaly, values)
        roc = {"detector": name, "false_positive_rate": false_positives, "true_positive_rate": true_positives}
        rows["roc"].append(pd.DataFrame(roc))
        rows["precision_recall"].append(pd.DataFrame({"detector": name, "recall": recall, "precision": precision}))
    tables |= {name: pd.concat(parts) for name, parts in rows.items()}
    for name in rows:
        tables[name].to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    return tables
