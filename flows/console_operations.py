"""What the commands of daily operation print; with a server to run on they are flows, else they are done here and now."""

import logging
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from flows import console_metrics
from regen.core.workspace import Workspace, require_room
from regen.data.ingest import SHOWN, Ingested, counts
from regen.stages.base import Context
from regen.stages.score import Scored


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
        console.print(f"  · {count:,} times: {reason}", markup=False, soft_wrap=True)
    if found.quarantine:
        console.print(f"Set aside in {found.quarantine}", markup=False, soft_wrap=True)
    sent = ", sent to the remote" if found.pushed else ""
    if found.added:
        console.print(
            f"Version {found.version}{sent}; commit data.dvc to keep it, regen run to train on it", soft_wrap=True
        )
    else:
        console.print(f"Nothing new: it is still version {found.version}{sent}", soft_wrap=True)


def run_score(workspace: Workspace, source: Path, model: str, output: Path, shard_rows: int) -> Scored:
    """Scores a batch."""
    if has_server(workspace):
        from flows.score import score as flow

        os.chdir(workspace.root)
        return flow(str(source), model, str(output), shard_rows)
    from regen.stages.score import score

    with console_metrics.watching() as watch:
        return score(workspace, source, model, output, shard_rows, watch)


def print_scored(found: Scored) -> None:
    """How many were scored, flagged and not to be scored, and where the scores are."""
    rate = found.rows / max(found.seconds, 1e-9)
    told = f"{found.rows:,} scored by {found.model} {found.version}, {found.flagged:,} flagged"
    failed = f", {found.failed:,} not to be scored (the column error says why)" if found.failed else ""
    again = f"; {found.found} of {found.shards} shards had been done before" if found.found else ""
    console = Console(highlight=False)
    console.print(f"{told}{failed}, {rate:,.0f} a second{again}", markup=False, soft_wrap=True)
    console.print(f"Scores: {found.output}", markup=False, soft_wrap=True)
