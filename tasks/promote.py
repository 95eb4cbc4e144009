"""Registers the candidates, judges them, promotes the winners."""

from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from regen.core.config import Config
from regen.stages.base import Outcome
from regen.stages.promote import promote as promote_stage
from regen.stages.register import register as register_stage
from regen.stages.summary import Summary, summarise, summary_markdown
from regen.stages.summary import find_finished as find_finished_summary
from tasks.common import context_of, shown


@task(name="look for finished work", cache_policy=NO_CACHE)
def find_finished(config: Config) -> Summary | None:
    """The summary of an earlier run on these very inputs, if there was one."""
    return find_finished_summary(context_of(config))


@task(name="register", cache_policy=NO_CACHE)
def register(config: Config) -> Outcome | State[Outcome]:
    """Registers both candidates, each once."""
    return shown(register_stage(context_of(config), prefect_run=str(runtime.flow_run.id or "")))


@task(name="promote", cache_policy=NO_CACHE)
def promote(config: Config) -> Summary:
    """Judges both candidates by the gate and promotes those that win."""
    context = context_of(config)
    promote_stage(context)
    summary = summarise(context, reused=False)
    create_markdown_artifact(
        summary_markdown(summary),
        key=f"{config.project.replace('_', '-')}-verdicts",
        description="What became of each model",
    )
    return summary
