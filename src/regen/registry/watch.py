"""What monitoring found, as runs of the project's experiment, and when drift last started a retraining."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from regen.core.workspace import Workspace
from regen.registry.tracking import Run, experiment_id, speaking_plainly

OUTCOME, STARTED = "regen.drift", "regen.retraining"
"""Tags of a run: what the monitor said, and whether a retraining was started by it (`started`, or `failed`)."""


@contextmanager
def opened(workspace: Workspace, project: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """A run for what a monitor finds, so that its report can name it; it ends as failed where the report is not written."""
    run = Run.new(workspace, project, "monitor", tags)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    finally:
        run.close(status)


def record(run: Run, figures: Mapping[str, float], tags: Mapping[str, str], report: Path) -> None:
    """Keeps what was found, with the files of its report; the tags come last, when all else is kept."""
    run.log_metrics({f"drift/{_allowed(name)}": value for name, value in figures.items()})
    run.log_files({file: "drift" for file in sorted(report.iterdir()) if file.is_file()})
    run.tag(tags)


def _allowed(name: str) -> str:
    """The name with what MLflow takes in a metric's name."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "-" for letter in name)


def last_start(workspace: Workspace, project: str) -> datetime | None:
    """When drift last started a retraining of the project; None if it never did."""
    import mlflow

    owner = experiment_id(workspace, project)
    with speaking_plainly("looking for the last retraining that drift started"):
        found = mlflow.MlflowClient().search_runs(
            [owner], f"tags.`{STARTED}` = 'started'", max_results=1, order_by=["attributes.start_time DESC"]
        )
    return datetime.fromtimestamp(found[0].info.start_time / 1000, UTC) if found else None
