"""Trains a network: here, in a process of its own, or on another machine's worker; one that is killed is started again."""

from typing import cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from regen.core.config import Config
from regen.core.errors import ConfigError, DataError, KilledError, TrainingError
from regen.stages.base import Outcome
from regen.stages.worker import run_in_process
from tasks.common import context_of, shown, was_killed

POLL_SECONDS = 2
"""Between two looks at a training elsewhere."""


@task(
    name="train", task_run_name="train {kind}", cache_policy=NO_CACHE,
    retries=2, retry_delay_seconds=1, retry_condition_fn=was_killed,
)  # fmt: skip
def train(config: Config, kind: str) -> Outcome | State[Outcome]:
    """Trains the extractor, the VAE or the GAN."""
    return shown(run_in_process(context_of(config), f"train_{kind}"))


@task(
    name="train on pool", task_run_name="train {kind} on {config.training.pool}", cache_policy=NO_CACHE,
    retries=2, retry_delay_seconds=1, retry_condition_fn=was_killed,
)  # fmt: skip
def train_on_pool(config: Config, kind: str) -> Outcome | State[Outcome]:
    """The same on a worker of `training.pool`, which leaves its results in the shared workspace.

    Raises:
        ConfigError: the server knows no deployment that trains on that pool.
        TrainingError: the training failed there, or KilledError when it was killed.
        DataError: it left no results here.
    """
    context, stage, pool = context_of(config), f"train_{kind}", config.training.pool
    folder = context.folder(stage)
    if kind != "extractor" and folder.is_done():  # whether an extractor still holds is for its own stage to say
        return shown(Outcome(stage, context.key(stage), reused=True))
    name = f"train/{config.project}"
    require_deployment(name, str(pool))
    parameters = {"config": config.model_dump(mode="json"), "kind": kind}
    called = run_deployment(name, parameters=parameters, poll_interval=POLL_SECONDS)
    state = cast(FlowRun, called).state  # no coroutine where a task calls
    said = f"{stage} on a worker of {pool}: {state.message if state else 'no state'}"
    if state is None or state.is_crashed():
        raise KilledError(f"{said}; run the command again, it goes on from its last checkpoint")
    if not state.is_completed():
        raise TrainingError(said)
    if not folder.is_done():
        raise DataError(
            f"{stage} was done on a worker of {pool}, but {folder.path} holds no results of it; share the workspace's folder, "
            "and set training.device to what its workers have"
        )
    return Outcome(stage, context.key(stage), reused=False)


def require_deployment(name: str, pool: str) -> None:
    """Makes sure that the server knows the deployment, on that pool.

    Raises:
        ConfigError: it does not.
    """
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(name).work_pool_name
        except ObjectNotFound:
            found = None
    if found != pool:
        raise ConfigError(
            f"training.pool is {pool}, but the Prefect server has {name} on {found or 'no pool'}; run 'regen deploy' against "
            "the server of 'regen up' or PREFECT_API_URL, or leave training.pool out"
        )
