"""Holds new rows against what the champion was trained on: columns, features, anomaly scores; then decides what follows.

New are the rows that were taken in since the champion's version of the data, or those at a path.
"""

from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from regen.core import files
from regen.core.errors import DataError, RegistryError
from regen.core.seeds import derive
from regen.data import growth, versions
from regen.data.shards import open_input
from regen.evaluation import drift, drift_report
from regen.evaluation.drift import Drift
from regen.registry import tracking, watch
from regen.registry import versions as registered
from regen.registry.versions import CHAMPION, Version
from regen.stages import sides
from regen.stages.base import Context, jsonable

CHAMPIONS = ("vae", "gan")
"""Whose champion's data new rows are held against: the first one that there is."""
MOST_PICTURE_BYTES = 512 * 1024
"""A larger picture is left to the report: an artifact lies in the server's database."""
Action = Literal["start a retraining", "none"]


@dataclass(frozen=True)
class Watched:
    """What monitoring came to."""

    project: str
    champion: str
    """Model and version that new rows were held against."""
    data_version: str
    """What it was trained on."""
    looked_at: str
    """The version of the project's data when it was looked at; that of the new rows, unless they lie at a path."""
    new: str
    """Where the new rows come from."""
    drift: Drift
    action: Action
    why: str
    """Why that follows, in words."""
    report: str
    """Path of the page, from the project's root."""
    run: str
    """The MLflow run that keeps all this."""
    unreadable: int | None = None
    """New images that could not be read."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        plain: dict[str, Any] = jsonable(self)
        return plain


def monitor(context: Context, path: Path | None = None, *, may_retrain: bool = True) -> Watched:
    """Compares new rows with the champion's, writes the report, and says whether a retraining shall start.

    A retraining that shall start is recorded as started here, under a lock, so that no other monitor starts a second one
    within `monitor.cooldown_hours`.

    Args:
        path: a folder of images or a table to look at, instead of the rows taken in since the champion's data.
        may_retrain: whether drift may start a retraining at all.

    Raises:
        RegistryError: there is no champion.
        DataError: its data's version is unknown here, or the path cannot be read.
    """
    config, workspace = context.config, context.workspace
    versions.pull(workspace, config.project, config.data, context.progress.say)
    tracking.open_store(workspace)
    with workspace.lock(f"monitor-{config.project}"):
        champion = _champion(context)
        folder, now = workspace.data(config.project), context.data_version
        manifest = growth.manifest_of(folder)
        known = growth.rows_at(manifest, champion.tags.get("regen.data", ""), now)
        if known is None:
            raise DataError(
                f"{champion.model} {champion.number} was trained on version {champion.tags.get('regen.data', 'unknown')}, and "
                f"{now} is neither that nor grown from it by 'regen ingest', so there is nothing to hold new rows against; "
                "run 'regen run' for a champion of the present data"
            )
        new = None if path is None else open_input(path)
        count = int(manifest["count"]) - known if new is None else len(new)
        if count < config.monitor.min_rows:
            found, looked = drift.too_few(known, count, config.monitor), None
        else:
            context.progress.say(f"  monitor: {count:,} new rows beside {known:,} that {champion.model} was trained on")
            looked = sides.look(context, champion, known, new)
            found = drift.judge(known, count - looked.unreadable, *_tests(context, looked), config.monitor)
        last = watch.last_start(workspace, config.project)
        action, why = decide(found, last, config.monitor.cooldown_hours, may_retrain=may_retrain)
        out = workspace.outputs(config.project) / "monitor"
        called, origin = f"{champion.model} {champion.number}", "rows taken in since" if path is None else str(path)
        about = {"regen.champion": called, "regen.data": now, "regen.new": origin}
        with watch.opened(workspace, config.project, about) as run:
            watched = Watched(
                config.project, called, champion.tags["regen.data"], now, origin, found, action, why,
                (out / drift_report.PAGE).relative_to(workspace.root).as_posix(), run.id,
                looked.unreadable if looked else None,
            )  # fmt: skip
            with files.replacing_folder(out) as temporary:
                gallery = looked.gallery if looked else None
                files.write_json(temporary / "drift.json", watched.to_json())
                drift_report.write(temporary, watched.to_json(), found, gallery, config.monitor)
            started = {} if action == "none" else {watch.STARTED: "started"}
            watch.record(run, found.figures, {watch.OUTCOME: found.outcome, **started}, out)
    return watched


def failed_to_start(context: Context, watched: Watched) -> None:
    """Takes back that a retraining was started, so that the next monitor may start one."""
    tracking.open_store(context.workspace)
    tracking.Run(watched.run).tag({watch.STARTED: "failed"})


def decide(found: Drift, last: datetime | None, cooldown_hours: float, *, may_retrain: bool) -> tuple[Action, str]:
    """Whether a retraining shall start, and why.

    Args:
        last: when drift last started one.
    """
    if found.outcome != "drift":
        return "none", "there is no drift" if found.outcome == "no drift" else "there are too few new rows"
    if not may_retrain:
        return "none", "drift is told and not acted on"
    if last is not None and datetime.now(UTC) < (until := last + timedelta(hours=cooldown_hours)):
        return (
            "none",
            f"drift started a retraining at {last:%Y-%m-%d %H:%M} UTC, and starts none before {until:%Y-%m-%d %H:%M}",
        )
    return "start a retraining", "the data has drifted"


def _champion(context: Context) -> Version:
    for kind in CHAMPIONS:
        if version := registered.by_alias(context.config.model_name(kind), CHAMPION):
            return version
    names = [context.config.model_name(kind) for kind in CHAMPIONS]
    there = [version for name in names for version in registered.all_versions(name)]
    way = f"'regen promote {there[0].model} {there[0].number}' makes one" if there else "run 'regen run' first"
    raise RegistryError(f"{context.config.project} has no champion to hold new rows against; {way}")


def _tests(
    context: Context, looked: sides.Sides
) -> tuple[dict[str, drift.Shift], drift.Distance | None, drift.ScoreShift | None]:
    """What each test says of the two sides."""
    rules, seed = context.config.monitor, derive(context.config.seed, "monitor")
    before, after = looked.columns
    columns = {str(name): drift.shift(str(name), before[name], after[name]) for name in before}
    features = scores = None
    if looked.features is not None:
        features = drift.feature_distance(*looked.features, looked.space, rules.permutations, seed)
    if looked.scores is not None:
        (old, flags), (new, others) = looked.scores
        scores = drift.score_shift(old, new, (flags, others))
    return columns, features, scores


def markdown(watched: Watched, out: Path) -> str:
    """What was found, as Prefect's page shows it.

    Args:
        out: the folder of the report.
    """
    found = watched.drift
    lines = [
        f"# {watched.project}: {found.outcome}", "", *(f"- {reason}" for reason in found.reasons), "",
        f"{found.new_rows:,} new rows ({watched.new}) beside {found.reference_rows:,} of {watched.champion}. "
        f"Action: **{watched.action}**, {watched.why}.", "",
    ]  # fmt: skip
    if found.figures:
        lines += ["| figure | value |", "|---|---:|", *(f"| {n} | {v:.4g} |" for n, v in found.figures.items()), ""]
    picture = out / drift_report.PICTURE
    if picture.is_file() and picture.stat().st_size <= MOST_PICTURE_BYTES:
        lines += [
            f"![Trained on, new, and the strangest](data:image/png;base64,{b64encode(picture.read_bytes()).decode()})",
            "",
        ]
    return "\n".join([*lines, f"The whole report: `{watched.report}`, and in MLflow run `{watched.run}`.", ""])
