"""Scores registered models anew: on the project's test rows, in its frozen extractor's space, beside one another if asked.

Nothing in the registry changes by it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from regen.core import files
from regen.core.config import Config, load
from regen.core.errors import ConfigError, EvaluationError, RegistryError
from regen.core.sections.evaluation import EvaluationConfig, Metric
from regen.core.workspace import Workspace
from regen.data.splits import Dataset
from regen.evaluation import measure
from regen.evaluation.gate import HIGHER_IS_BETTER
from regen.evaluation.intervals import Estimate
from regen.evaluation.measure import Measured, features_of
from regen.evaluation.reference import Reference, require_comparable
from regen.models.extractor import Extractor
from regen.registry import packaging, tracking, versions
from regen.registry.tracking import Run
from regen.registry.versions import Version
from regen.stages import freeze
from regen.stages.base import Context, jsonable
from regen.stages.prepare import dataset as prepared
from regen.stages.prepare import prepare
from regen.stages.train import train_from

RUN_ID = re.compile(r"[0-9a-f]{32}")
LEAST_ROWS = 50
"""Test rows that any figure needs."""
KINDS = ("vae", "gan")


@dataclass(frozen=True)
class Subject:
    """A model to be scored."""

    label: str
    """What people call it, such as digits-gan 3."""
    kind: str
    project: str
    uri: str
    split: str
    """Which rows it was trained on, as `train_from` says it; empty where nobody recorded it."""
    run: str = ""
    """The MLflow run that logged it."""


@dataclass(frozen=True)
class Line:
    """One figure of one or two models."""

    metric: Metric
    mine: Estimate
    theirs: Estimate | None
    difference: Estimate | None
    """Mine minus theirs, paired."""

    @property
    def word(self) -> str:
        """Better, worse or no difference, by the whole interval; empty without another model."""
        if self.difference is None:
            return ""
        low, high = self.difference.low, self.difference.high
        if not self.difference.is_finite or low <= 0 <= high:
            return "no difference"
        return "better" if (low > 0) == HIGHER_IS_BETTER[self.metric] else "worse"


@dataclass(frozen=True)
class Reevaluation:
    """What scoring anew came to."""

    model: str
    against: str | None
    judged_by: dict[str, str | int]
    confidence: float
    lines: tuple[Line, ...]
    run: str | None = None
    """The MLflow run that holds the figures, if they were recorded."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        lines = {
            line.metric: {
                "model": jsonable(line.mine), "against": jsonable(line.theirs), "difference": jsonable(line.difference),
                "word": line.word or None,
            }
            for line in self.lines
        }  # fmt: skip
        return {
            "model": self.model, "against": self.against, "judged_by": self.judged_by, "confidence": self.confidence,
            "figures": lines, "run": self.run,
        }  # fmt: skip


def reevaluate(
    workspace: Workspace,
    reference: str,
    against: str | None = None,
    n: int | None = None,
    config: Path | None = None,
    out: Path | None = None,
    *,
    record: bool = False,
) -> Reevaluation:
    """Scores one model, or two side by side on the same rows and latents.

    Args:
        reference: NAME, NAME@ALIAS, NAME/NUMBER or the id of an MLflow run that logged a model.
        against: the same of another model of the project.
        n: how many test rows to use, evenly spaced; all if left out.
        config: the project file; found by the model's project if left out.
        out: a folder for evaluation.json and the reference's statistics.
        record: whether the figures also go to an MLflow run of their own.

    Raises:
        RegistryError: there is no such model, or no extractor for the project yet.
        ConfigError: the project file is not found, the models are of another project, shape or split than it, or both
            names stand for one model.
        EvaluationError: the test rows are too few.
    """
    tracking.open_store(workspace)
    subjects = [find(name) for name in (reference, against) if name is not None]
    if against is not None:
        _require_two(reference, against, *subjects)
    context = Context(workspace, _project(workspace, subjects, config))
    prepare(context)
    if context.config.data.is_table:
        from regen.stages.tables.reevaluate import reevaluate_rows

        for subject in subjects:
            _require_unseen(subject, context.config)
        return reevaluate_rows(context, subjects, n, out, record=record)
    dataset = prepared(context)
    for subject in subjects:
        require_fit(subject, dataset, context.config)
    frozen = freeze.frozen(context, dataset)
    if frozen is None:
        raise RegistryError(
            f"{context.config.model_name('extractor')} has no version for this project file; run 'regen run' or "
            "'regen stage train-extractor' first"
        )
    extractor: Extractor = packaging.load_network("extractor", frozen.uri)
    rows = thinned(dataset, n, context.config)
    alike = len({subject.kind for subject in subjects}) == 1
    scored = [_measure(subject, rows, extractor, context.config, alike=alike) for subject in subjects]
    judged_by = [_reference(frozen, rows, extractor, kind) for kind in _kinds(subjects, alike=alike)]
    for other in judged_by[1:]:
        require_comparable(judged_by[0].name, other.name)
    found = Reevaluation(
        subjects[0].label, subjects[1].label if against else None, judged_by[0].name,
        context.config.evaluation.confidence, _lines(scored, context.config.evaluation),
    )  # fmt: skip
    if record:
        found = replace(found, run=record_lines(context, found))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        files.write_json(out / "evaluation.json", found.to_json())
        judged_by[0].save(out)
    return found


def find(reference: str) -> Subject:
    """The model that a reference or a run's id stands for.

    Raises:
        RegistryError: there is none, the run has logged none, or it makes no images.
    """
    if RUN_ID.fullmatch(reference):
        return _of_run(reference)
    version = versions.resolve(reference)
    project = version.tags.get("regen.project") or version.model.removesuffix(f"-{version.kind}")
    return _subject(
        f"{version.model} {version.number}", version.kind, project, version.uri, version.tags, version.run_id
    )


def _require_two(reference: str, against: str, one: Subject, other: Subject) -> None:
    if one.uri == other.uri or one.run == against or other.run == reference:
        raise ConfigError(
            f"{reference} and {against} are one model, {one.label}, which differs from itself in nothing; name another by "
            "--against, or leave it out"
        )


def _of_run(run_id: str) -> Subject:
    run = Run.find(run_id)
    if run is None:
        known = ", ".join(
            f"{version.run_id} ({version.model} {version.number})" for version in versions.all_versions()[:5]
        )
        raise RegistryError(f"there is no MLflow run {run_id}; runs with a registered model are: {known or 'none yet'}")
    tags = run.data().tags
    if not (uris := run.model_uris()):
        raise RegistryError(
            f"run {run_id} has logged no model; name a training run that was registered, 'regen models --json' lists them"
        )
    kind, project = tags.get("regen.kind", ""), tags.get("regen.project", "")
    return _subject(f"run {run_id[:8]}", kind, project, uris[0], tags, run_id)


def _subject(label: str, kind: str, project: str, uri: str, tags: Mapping[str, str], run: str) -> Subject:
    if kind not in KINDS:
        raise RegistryError(f"{label} makes no images ({kind or 'not one of ours'}); name a VAE or a GAN")
    return Subject(label, kind, project, uri, tags.get("regen.split", ""), run)


def _project(workspace: Workspace, subjects: list[Subject], config: Path | None) -> Config:
    projects = {subject.project for subject in subjects}
    if len(projects) > 1:
        raise ConfigError(
            f"{' and '.join(subject.label for subject in subjects)} are of the projects {', '.join(sorted(projects))}; "
            "models compare within one project only"
        )
    (project,) = projects
    path = project_file(workspace, project) if config is None else config
    found = load(path if path.exists() else workspace.root / path)
    if found.project != project:
        raise ConfigError(
            f"{path} is the project {found.project}, and {subjects[0].label} is of {project}; name its file"
        )
    return found


def project_file(workspace: Workspace, project: str) -> Path:
    """The file of a project by its name: params.yaml, or one in configs/.

    Raises:
        ConfigError: there is none.
    """
    candidates = [workspace.root / "params.yaml", *sorted((workspace.root / "configs").glob("*.yaml"))]
    named = {
        path: re.search(r"^project:\s*['\"]?(\w+)", path.read_text(errors="replace"), re.MULTILINE)
        for path in candidates
        if path.is_file()
    }
    for path, match in named.items():
        if match and match[1] == project:
            return path
    met = ", ".join(f"{path.relative_to(workspace.root)} ({match[1]})" for path, match in named.items() if match)
    raise ConfigError(f"no project file is of {project}; there are: {met or 'none'}; name it by --config")


def require_fit(subject: Subject, dataset: Dataset, config: Config) -> None:
    """Makes sure that a model can be measured on the project's test rows.

    Raises:
        ConfigError: it knows images of another shape, or may have been trained on rows which are test rows now.
    """
    _require_shape(subject, dataset, config)
    _require_unseen(subject, config)


def _require_shape(subject: Subject, dataset: Dataset, config: Config) -> None:
    shape = packaging.shape_of(subject.kind, subject.uri)
    if shape != dataset.shape:
        raise ConfigError(
            f"{subject.label} knows images of {_size(shape)}, the data of {config.project} are of "
            f"{_size(dataset.shape)}; name the project file that it was trained with by --config"
        )


def _require_unseen(subject: Subject, config: Config) -> None:
    """Refuses a model that may have been trained on rows which are test rows now."""
    seed, _, start = subject.split.partition(":")
    now, _, end = train_from(config).partition(":")
    if subject.split and (seed != now or float(start) < float(end)):
        raise ConfigError(
            f"{subject.label} was trained with other splits, so it may have seen these test rows; name the project file that "
            "it was trained with by --config, or bring back data.split_seed and the shares"
        )


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}×{width} pixels in {'colour' if channels == 3 else 'grey'}"


def thinned(dataset: Dataset, n: int | None, config: Config) -> Dataset:
    """The dataset with `n` test rows, evenly spaced over all; with all of them if `n` is None.

    Raises:
        EvaluationError: there are fewer, or those are too few for any figure.
    """
    rows = dataset.rows("test")
    if n is None:
        n = len(rows)
    if n > len(rows):
        raise EvaluationError(f"{n} test rows were asked for, and there are {len(rows)}; lower --n or leave it out")
    least = max(LEAST_ROWS, config.extractor.features + 1)
    chosen = rows[np.linspace(0, len(rows) - 1, n).round().astype(np.int64)]
    of_each = np.bincount(dataset.is_anomaly[chosen], minlength=2)
    if n < least or of_each[0] < least or (dataset.anomaly_class is not None and of_each[1] < 2):
        with_anomalies = "" if dataset.anomaly_class is None else f", {of_each[1]} of them anomalies"
        raise EvaluationError(
            f"not enough samples: {n} test rows{with_anomalies}, and figures need at least {least} normal ones"
            + ("" if dataset.anomaly_class is None else " and 2 anomalies")
            + "; raise --n or add data"
        )
    split = np.where(dataset.split == "test", "left out", dataset.split)
    split[chosen] = "test"
    return replace(dataset, split=split)


def _measure(subject: Subject, rows: Dataset, extractor: Extractor, config: Config, *, alike: bool) -> Measured:
    """All figures or, of models of different kinds, those that samples alone have, on all test rows."""
    model = packaging.load_network(subject.kind, subject.uri)
    if not alike:
        return measure.measure_samples(
            model, rows.pixels("test"), rows.pixels("train"), extractor, config.evaluation, config.seed
        )
    measured_by = measure.measure_vae if subject.kind == "vae" else measure.measure_gan
    return measured_by(model, rows, extractor, config.evaluation, config.seed)


def _kinds(subjects: list[Subject], *, alike: bool) -> list[str]:
    return [subject.kind if alike else "both" for subject in subjects]


def _reference(frozen: Version, rows: Dataset, extractor: Extractor, kind: str) -> Reference:
    pixels = rows.pixels("test", normal_only=kind == "vae")
    return Reference.of(
        frozen.model, frozen.number, frozen.tags["regen.sha256"], pixels, features_of(extractor, pixels)
    )


def _lines(scored: list[Measured], rules: EvaluationConfig) -> tuple[Line, ...]:
    mine = scored[0].estimates(rules)
    if len(scored) == 1:
        return tuple(Line(metric, mine[metric], None, None) for metric in get_args(Metric) if metric in mine)
    theirs, difference = scored[1].estimates(rules), scored[0].difference(scored[1], rules)
    return tuple(
        Line(metric, mine[metric], theirs[metric], difference[metric])
        for metric in get_args(Metric)
        if metric in difference
    )


def record_lines(context: Context, found: Reevaluation) -> str:
    """The MLflow run that now holds the figures."""
    tags = {
        "regen.evaluates": found.model, "regen.against": found.against or "",
        **{f"regen.judged_by.{name}": str(value) for name, value in found.judged_by.items()},
    }  # fmt: skip
    run = Run.new(context.workspace, context.config.project, "evaluate", tags)
    run.log_metrics(_figures(found.lines))
    run.close()
    return run.id


def _figures(lines: tuple[Line, ...]) -> Mapping[str, float]:
    return {
        f"test/{line.metric}{suffix}": value
        for line in lines
        for suffix, value in (("", line.mine.value), ("_low", line.mine.low), ("_high", line.mine.high))
    }
