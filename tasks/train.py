"""Trains a network in a process of its own; one that is killed is started again from its last checkpoint."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from regen.core.config import Config
from regen.stages.base import Outcome
from regen.stages.worker import run_in_process
from tasks.common import context_of, shown, was_killed


@task(
    name="train", task_run_name="train {kind}", cache_policy=NO_CACHE,
    retries=2, retry_delay_seconds=1, retry_condition_fn=was_killed,
)  # fmt: skip
def train(config: Config, kind: str) -> Outcome | State[Outcome]:
    """Trains the extractor, the VAE or the GAN."""
    return shown(run_in_process(context_of(config), f"train_{kind}"))
