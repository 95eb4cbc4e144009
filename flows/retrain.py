"""The main job: from data to candidates, measured, compared and, when they win, promoted."""

import os

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.promote import promote
from regen.stages.base import NOT_OF_TABLES
from regen.stages.summary import Summary
from tasks.common import Project
from tasks.data import prepare, pull_data
from tasks.evaluate import evaluate
from tasks.promote import find_finished, leave_summary, register
from tasks.train import train, train_on_pool

KINDS = ("gan", "extractor", "vae")
"""What is trained, the longest first; as many at a time as there are cores."""


@flow(name="retrain", task_runner=ThreadPoolTaskRunner(max_workers=os.cpu_count() or 1))  # type: ignore[arg-type]
def retrain(config: Project) -> Summary | State[Summary]:
    """Train candidates, measure them against the champions, promote those that win; the same work is never done twice.

    Args:
        config: the project file's path in the workspace, or the project itself.
    """
    pull_data(config)
    if (earlier := find_finished(config)) is not None:
        leave_summary(config, earlier)
        return Completed(name="Cached", message=f"nothing to do: {earlier.same_as_before}", data=earlier)
    prepare(config)
    start = train if config.training.pool is None else train_on_pool
    kinds = [kind for kind in KINDS if not (config.data.is_table and f"train_{kind}" == NOT_OF_TABLES)]
    for trained in [start.submit(config, kind) for kind in kinds]:
        trained.result()
    evaluate(config)
    register(config)
    summary = promote(config)
    leave_summary(config, summary)
    return summary
