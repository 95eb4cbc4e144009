"""One trial of a sweep, in a thread here or on a machine of a Ray cluster."""

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from regen.core.config import Config
from regen.core.workspace import Workspace
from regen.stages import sweep
from regen.stages.base import Context


@task(name="trial", task_run_name="trial {number}", cache_policy=NO_CACHE)
def trial(
    root: str, config: Config, plan: sweep.Plan, parent: str, number: int, settings: dict[str, Any]
) -> sweep.Trial:
    """Trains and measures a candidate with settings of its own, in a process of its own.

    Args:
        root: the project's folder, which lies at the same path on every machine of a cluster.
        parent: the sweep's MLflow run.
    """
    return sweep.run_trial(Context(Workspace(Path(root)), config), plan, parent, number, settings)
