"""Watches over drift, leaves what it found as an artifact, and tells the server when the data has drifted."""

from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from regen.core.config import Config
from regen.stages import monitor as stage
from regen.stages.monitor import Watched
from tasks.common import DRIFT, context_of


@task(name="monitor", cache_policy=NO_CACHE)
def watch(config: Config, path: str | None, *, may_retrain: bool) -> Watched:
    """Compares new rows with those that the champion was trained on."""
    context = context_of(config)
    found = stage.monitor(context, None if path is None else Path(path).expanduser(), may_retrain=may_retrain)
    out = context.workspace.outputs(config.project) / "monitor"
    create_markdown_artifact(
        stage.markdown(found, out), key=f"{config.project.replace('_', '-')}-drift", description="Has the data changed?"
    )
    return found


@task(name="tell of drift", cache_policy=NO_CACHE)
def tell(config: Config, found: Watched) -> None:
    """Sends the event; what follows it is the server's automations' to say."""
    emit_event(
        event=DRIFT,
        resource={"prefect.resource.id": f"regen.project.{config.project}", "prefect.resource.name": config.project},
        payload={
            "project": config.project, "champion": found.champion, "data_version": found.data_version,
            "new_rows": found.drift.new_rows, "reasons": list(found.drift.reasons), "report": found.report,
            "mlflow_run": found.run,
        },
    )  # fmt: skip


@task(name="note a failed start", cache_policy=NO_CACHE)
def note_failure(config: Config, found: Watched) -> None:
    """Takes back that a retraining was started, so that the next monitor may start one."""
    stage.failed_to_start(context_of(config), found)
