"""Brings the data to its recorded version, then validates and splits it."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from regen.core.config import Config
from regen.data import versions
from regen.stages.base import Outcome
from regen.stages.prepare import prepare as prepare_stage
from tasks.common import context_of, shown


@task(name="pull data", cache_policy=NO_CACHE)
def pull_data(config: Config) -> str:
    """Brings data/PROJECT to what data.dvc records, and says its version."""
    context = context_of(config)
    versions.pull(context.workspace, config.project, config.data)
    return context.data_version


@task(name="prepare", cache_policy=NO_CACHE)
def prepare(config: Config) -> Outcome | State[Outcome]:
    """Validates the rows, drops duplicates, splits them."""
    return shown(prepare_stage(context_of(config)))
