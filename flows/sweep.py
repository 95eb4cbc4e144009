"""Sweeps: candidates with other seeds and settings beside each other, in threads here or on a Ray cluster."""

import logging
import os
from typing import Any

from prefect import flow
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from regen.core.config import Config
from regen.core.environment import embedded
from regen.core.workspace import Workspace
from regen.stages.sweep import Plan, Sweep, Trial, begin, end, proposals
from tasks.common import context_of
from tasks.sweep import trial

LOCAL = "local"
"""Instead of a Ray cluster's address: one that is started here and ends with the sweep."""
PASSED_ON = ("PREFECT_", "MLFLOW_", "AWS_", "REGEN_", "DVC_", "PYTHON", "OMP_", "OPENBLAS_", "MKL_")
"""Variables that Ray's workers need as this process has them."""


@flow(name="sweep", validate_parameters=False)
def sweep(config: Config, plan: Plan) -> Sweep:
    """Train and measure a candidate for each setting, then name the best; what has finished before is not redone."""
    context = context_of(config)
    parent, proposing, done = begin(context, plan), proposals(plan), list[Trial]()
    while settings := proposing.ask():
        root = str(context.workspace.root)
        waiting = [trial.submit(root, config, plan, parent.id, len(done) + n, one) for n, one in enumerate(settings)]
        trials = [future.result() for future in waiting]
        proposing.tell(trials)
        done += trials
    return end(parent, plan, done)


def runner(workspace: Workspace, plan: Plan, ray: str | None) -> TaskRunner[Any]:
    """Who runs the trials: threads, a Ray cluster of this machine's own, or the one at an address."""
    if ray is None:
        return ThreadPoolTaskRunner(max_workers=plan.at_once)
    from prefect_ray import RayTaskRunner

    variables = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PASSED_ON) or name in embedded(workspace)
    }  # fmt: skip
    kwargs: dict[str, Any] = {
        "runtime_env": {"env_vars": variables}, "log_to_driver": False, "logging_level": logging.ERROR,
    }  # fmt: skip
    if ray == LOCAL:
        kwargs |= {"num_cpus": plan.at_once, "include_dashboard": False}
    found: TaskRunner[Any] = RayTaskRunner(address=None if ray == LOCAL else ray, init_kwargs=kwargs)
    return found
