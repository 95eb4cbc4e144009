"""Registers both candidates, each once for its training's key, with figures, report, model card and lineage."""

from pathlib import Path
from typing import Any

from regen.core import files
from regen.evaluation.report import LABELS, frechet_note
from regen.registry import packaging, tracking, versions
from regen.registry.tracking import Run
from regen.registry.versions import Version
from regen.stages import earlier, evaluate, train
from regen.stages.base import Context, Outcome, perform
from regen.stages.evaluate import KINDS, estimates
from regen.stages.prepare import dataset as prepared
from regen.stages.prepare import table as prepared_table

USES = {
    "vae": "Reconstructs images and flags those unlike its training rows.",
    "gan": "Synthesises images like its training rows.",
}


def register(context: Context, prefect_run: str = "") -> Outcome:
    """Writes registration.json: each kind's registered model and version."""
    tracking.open_store(context.workspace)

    def body(work: Path, out: Path) -> None:
        context.progress.say("  register: packaging both candidates for MLflow")
        found = {kind: _register(context, kind, prefect_run) for kind in KINDS}
        files.write_json(
            out / "registration.json",
            {kind: {"model": version.model, "version": version.number} for kind, version in found.items()},
        )

    return perform(context, "register", body, lambda out: candidates(context) is not None)


def candidates(context: Context) -> dict[str, Version] | None:
    """The registered versions of these trainings; None unless all are there."""
    found = {kind: versions.by_key(context.config.model_name(kind), context.key(f"train_{kind}")) for kind in KINDS}
    present = {kind: version for kind, version in found.items() if version is not None}
    return present if len(present) == len(found) else None


def _register(context: Context, kind: str, prefect_run: str) -> Version:
    config, key = context.config, context.key(f"train_{kind}")
    found, results = evaluate.result(context), context.results("evaluate")
    run = train.open_run(context, kind)
    measured = estimates(found["models"][kind]["estimates"]) or {}
    run.log_metrics({
        f"test/{name}{suffix}": value
        for name, estimate in measured.items()
        for suffix, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
    })  # fmt: skip
    left = ["report.html", "evaluation.json"]
    if not config.data.is_table:
        reference = evaluate.REFERENCES[kind]
        left += ["samples.png", f"{reference}.npz", f"{reference}.json"]
    run.log_files({results / name: "evaluation" for name in left})
    run.tag({"regen.prefect_run": prefect_run} if prefect_run else {})
    warnings = "; ".join(found["models"][kind]["warnings"])
    run.tag({"regen.warning": warnings} if warnings else {})
    judged_by = found["models"][kind]["judged_by"]
    measured_by = {earlier.EXTRACTOR: judged_by["sha256"], earlier.REFERENCE: judged_by["rows"]}
    if version := versions.by_key(config.model_name(kind), key):
        versions.tag(version, measured_by)
        return version
    tags = train.lineage(context, kind) | measured_by | {"regen.run": run.id, "regen.prefect_run": prefect_run}
    uri, card = (_log_table if config.data.is_table else _log)(context, kind, run, found, tags)
    return versions.register(config.model_name(kind), kind, run, uri, key, tags, card)


def _log(context: Context, kind: str, run: Run, found: dict[str, Any], tags: dict[str, str]) -> tuple[str, str]:
    """The logged model's address, and its card."""
    card = model_card(context, kind, found, tags)
    results, shape = context.results(f"train_{kind}"), prepared(context).shape
    return packaging.log_model(run, kind, context.config.model_name(kind), results, shape, card), card


def _log_table(context: Context, kind: str, run: Run, found: dict[str, Any], tags: dict[str, str]) -> tuple[str, str]:
    """The same of a table's model."""
    from regen.registry.table_packaging import log_table_model
    from regen.stages.tables import card as table_card
    from regen.stages.tables.rows import TableRows

    config, rows = context.config, TableRows(prepared_table(context), context.config)
    card, results = table_card.model_card(config, kind, found, tags), context.results(f"train_{kind}")
    uri = log_table_model(run, kind, config.model_name(kind), results, rows.raw_schema, rows.synthesised, card)
    return uri, card


def model_card(context: Context, kind: str, found: dict[str, Any], tags: dict[str, str]) -> str:
    """What a user of the model should know (Mitchell et al., *Model Cards*, 2019), as markdown."""
    config, name = context.config, context.config.model_name(kind)
    measured = estimates(found["models"][kind]["estimates"]) or {}
    rows, judged_by = found["rows"], found["models"][kind]["judged_by"]
    trained_on = f"{rows['train']} rows"
    if kind == "vae" and config.data.anomaly_class is not None:
        trained_on += f", those of class {config.data.anomaly_class} left out"
    lines = [
        f"# {name}", "", USES[kind], "",
        "| figure | value, with its interval |", "|---|---|",
        *(f"| {label} | {measured[metric]} |" for metric, label in LABELS.items() if metric in measured), "",
        *(f"**{warning}.**" for warning in found["models"][kind]["warnings"]),
        f"{frechet_note(found)}.",
        f"Measured on {judged_by['n']} test rows (`{judged_by['rows'][:8]}`) that no training saw, in the space of "
        f"{judged_by['extractor']} version {judged_by['version']}; trained on {trained_on}.",
        f"Network: {getattr(config, kind).network}, {found['parameters'][kind]:,} parameters. Seed {config.seed}.", "",
        "Lineage: " + ", ".join(f"{key.removeprefix('regen.')} `{value}`" for key, value in sorted(tags.items()) if value), "",
        "Limits: it knows only data like its training rows; the figures hold for such data alone. "
        "Samples may resemble training rows.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
