"""What the commands of daily operation print; with a server to run on they are flows, else they are done here and now."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from flows import console_metrics
from flows.console import run_retrain
from regen.core.workspace import Workspace, require_room
from regen.data.ingest import SHOWN, Ingested, counts
from regen.stages import progress
from regen.stages.base import Context

if TYPE_CHECKING:  # they load torch or MLflow's models, which other commands do without
    from regen.stages.monitor import Watched
    from regen.stages.score import Scored

MOST_COLUMNS = 12
"""Columns that are listed; the report has them all."""


def has_server(workspace: Workspace) -> bool:
    """Whether there is a Prefect server: one that the user has named, or that of `regen up`."""
    from flows.up import use_running_server

    use_running_server(workspace)
    if "PREFECT_API_URL" not in os.environ:
        return False
    if not logging.getLogger("prefect").isEnabledFor(logging.DEBUG):
        for name in ("prefect", "prefect.flow_runs", "prefect.task_runs", "prefect.flow_engine", "prefect.task_engine"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return True


def run_ingest(context: Context, path: Path, source: Any) -> Ingested:
    """Takes new data in."""
    require_room(context.workspace)
    if has_server(context.workspace):
        from flows.ingest import ingest as flow

        return flow(context.config, str(path), source)
    from regen.stages.ingest import ingest

    return ingest(context, path, source)


def print_ingested(found: Ingested) -> None:
    """A table of what became of the new data, why some was set aside, and the version."""
    console = Console(highlight=False)
    table = Table(f"{found.project} from {found.origin}", Column("", justify="right"))
    for name, count in counts(found).items():
        table.add_row(name, f"{count:,}")
    console.print(table)
    for reason, count in list(found.reasons.items())[:SHOWN]:
        console.print(f"  · {count:,} {'time' if count == 1 else 'times'}: {reason}", markup=False, soft_wrap=True)
    if found.quarantine:
        console.print(f"Set aside in {found.quarantine}", markup=False, soft_wrap=True)
    sent = ", sent to the remote" if found.pushed else ""
    if found.added:
        console.print(
            f"Version {found.version}{sent}; commit data.dvc to keep it, regen run to train on it", soft_wrap=True
        )
    else:
        console.print(f"Nothing new: it is still version {found.version}{sent}", soft_wrap=True)


def run_score(workspace: Workspace, source: Path, model: str, output: Path, shard_rows: int) -> "Scored":
    """Scores a batch."""
    if has_server(workspace):
        from flows.score import score as flow

        os.chdir(workspace.root)
        return flow(str(source), model, str(output), shard_rows)
    from regen.stages.score import score

    with console_metrics.watching() as watch:
        return score(workspace, source, model, output, shard_rows, watch)


def print_scored(found: "Scored") -> None:
    """How many were scored, flagged and not to be scored, and where the scores are."""
    rate = found.rows / max(found.seconds, 1e-9)
    told = f"{found.rows:,} scored by {found.model} {found.version}, {found.flagged:,} flagged"
    failed = f", {found.failed:,} not to be scored (the column error says why)" if found.failed else ""
    again = f"; {found.found} of {found.shards} shards had been done before" if found.found else ""
    console = Console(highlight=False)
    console.print(f"{told}{failed}, {rate:,.0f} a second{again}", markup=False, soft_wrap=True)
    if found.spread:
        console.print(f"from the lowest to the highest: {found.spread}", markup=False, soft_wrap=True)
    console.print(f"Scores: {found.output}", markup=False, soft_wrap=True)


def run_monitor(context: Context, path: Path | None, start_retraining: bool | None) -> "Watched":
    """Watches over drift; without a server a retraining that follows is run here and now."""
    require_room(context.workspace)
    if has_server(context.workspace):
        from flows.monitor import monitor as flow

        return flow(context.config, None if path is None else str(path), start_retraining)
    from regen.stages.ingest import ingest
    from regen.stages.monitor import failed_to_start, monitor

    may_retrain = path is None if start_retraining is None else start_retraining
    found = monitor(context, path, may_retrain=may_retrain)
    if found.action == "none":
        return found
    progress.current().say(f"regen: {found.drift.outcome}; {'; '.join(found.drift.reasons)}; retraining")
    try:
        if path is not None:
            ingest(context, path)
        run_retrain(Context(context.workspace, context.config))  # a fresh one, which reads the data's new version
    except BaseException:
        failed_to_start(context, found)
        raise
    return found


def print_watched(found: "Watched") -> None:
    """The verdict with its reasons, the figures, what follows, and where the report is."""
    console, drift = Console(highlight=False), found.drift
    if drift.columns:
        table = Table("column", Column("PSI", justify="right"), Column("p", justify="right"))
        for one in drift.columns[:MOST_COLUMNS]:
            table.add_row(one.name, f"{one.psi:.3f}", f"{one.p_value:.2g}")
        console.print(table)
    if drift.features:
        told = f"{drift.features.space}: squared MMD {drift.features.squared_mmd:.3g}, p = {drift.features.p_value:.2g}"
        console.print(told, markup=False, soft_wrap=True)
    if drift.scores:
        told = f"anomaly scores: PSI {drift.scores.shift.psi:.3f}, KS {drift.scores.statistic:.3f}"
        console.print(f"{told}, p = {drift.scores.p_value:.2g}", markup=False, soft_wrap=True)
    style = {"drift": "yellow", "no drift": "green", "too few rows": "dim"}[drift.outcome]
    told = f"{drift.new_rows:,} new rows beside {drift.reference_rows:,} of {found.champion}"
    console.print(f"[{style}]{drift.outcome.upper()}[/]: {told}", soft_wrap=True)
    for reason in drift.reasons:
        console.print(f"  · {reason}", markup=False, soft_wrap=True)
    if found.unreadable:
        console.print(f"  · {found.unreadable:,} of the new images could not be read", markup=False, soft_wrap=True)
    console.print(f"Action: {found.action}, {found.why}", markup=False, soft_wrap=True)
    console.print(f"Report: {found.report}", markup=False, soft_wrap=True)
