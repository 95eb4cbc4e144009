"""The main job: from data to candidates, measured, compared and, when they win, promoted."""

import os

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from regen.core.config import Config
from regen.stages.summary import Summary
from tasks.data import prepare, pull_data
from tasks.evaluate import evaluate
from tasks.promote import find_finished, promote, register
from tasks.train import train

KINDS = ("gan", "extractor", "vae")
"""What is trained, the longest first; as many at a time as there are cores."""


@flow(name="retrain", task_runner=ThreadPoolTaskRunner(max_workers=os.cpu_count() or 1))  # type: ignore[arg-type]
def retrain(config: Config) -> Summary:
    """Train candidates, measure them against the champions, promote those that win; the same work is never done twice."""
    pull_data(config)
    if (earlier := find_finished(config)) is not None:
        return earlier
    prepare(config)
    for trained in [train.submit(config, kind) for kind in KINDS]:
        trained.result()
    evaluate(config)
    register(config)
    return promote(config)
