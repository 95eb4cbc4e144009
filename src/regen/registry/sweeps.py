"""Sweeps in MLflow: a parent run, a nested run for each trial, and finished trials found again by their keys."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from regen.core import files
from regen.core.workspace import Workspace
from regen.registry.tracking import Run, experiment_id, speaking_plainly

PARENT = "mlflow.parentRunId"
TRIAL = "regen.trial"
"""The tag that holds what a trial's figure follows from, whatever sweep it belongs to."""
BOUNDS = ("", "_low", "_high")


def experiment(project: str) -> str:
    """Where a project's sweeps are kept, apart from its trainings."""
    return f"{project}-sweeps"


def open_sweep(workspace: Workspace, project: str, name: str, key: str, params: Mapping[str, object]) -> Run:
    """The sweep's parent run; the same key finds it again."""
    run = Run.of_key(workspace, experiment(project), name, key, {"regen.kind": "sweep"})
    run.log_params(params)
    return run


def open_trial(
    workspace: Workspace, project: str, parent: Run, name: str, key: str, params: Mapping[str, object]
) -> Run:
    """The nested run of a trial in this sweep."""
    own = files.digest([parent.id, key])
    run = Run.of_key(workspace, experiment(project), name, own, {PARENT: parent.id, TRIAL: key})
    run.log_params(params)
    return run


def finished(workspace: Workspace, project: str, key: str, metric: str) -> tuple[float, float, float] | None:
    """A finished trial's figure with its interval, from whatever sweep; None where none with this key has measured it."""
    import mlflow

    owner = experiment_id(workspace, experiment(project))
    with speaking_plainly("looking for finished trials"):
        found = mlflow.MlflowClient().search_runs(
            [owner], f"tags.`{TRIAL}` = '{key}' and attributes.status = 'FINISHED'", max_results=1
        )
    metrics: dict[str, Any] = found[0].data.metrics if found else {}
    if any(metric + bound not in metrics for bound in BOUNDS):
        return None
    value, low, high = (float(metrics[metric + bound]) for bound in BOUNDS)
    return (value, low, high) if isfinite(value) else None


def record(run: Run, metric: str, figure: tuple[float, float, float]) -> None:
    """Records a figure with its interval."""
    run.log_metrics({metric + bound: value for bound, value in zip(BOUNDS, figure, strict=True)})
