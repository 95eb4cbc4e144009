"""Registers the candidates, judges them, promotes the winners, and carries out what people decide."""

from typing import Literal

from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from regen.core.config import Config
from regen.core.environment import bootstrap
from regen.core.workspace import Workspace
from regen.registry.promotion import Event
from regen.stages import decide as stage
from regen.stages.base import Outcome
from regen.stages.promote import promote as promote_stage
from regen.stages.register import register as register_stage
from regen.stages.summary import Summary, summarise, summary_markdown
from regen.stages.summary import find_finished as find_finished_summary
from tasks.common import context_of, picture_markdown, shown


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
    return summarise(context, reused=False)


def leave_summary(config: Config, summary: Summary) -> None:
    """Leaves verdicts, figures and, of images, samples as an artifact of the flow."""
    told = summary_markdown(summary)
    if not config.data.is_table:
        samples = context_of(config).results("evaluate") / "samples.png"
        told += f"\n{picture_markdown(samples, 'Real images, samples of the GAN and of the VAE')}\n"
    create_markdown_artifact(
        told,
        key=f"{config.project.replace('_', '-')}-verdicts",
        description="What became of each model",
    )


@task(name="decide", cache_policy=NO_CACHE)
def decide(
    model: str, version: int, decision: Literal["promote", "reject"], by: str, reason: str, *, force: bool
) -> Event:
    """Promotes or rejects a version, and leaves what the gate had said of it as an artifact."""
    workspace = Workspace.find()
    bootstrap(workspace)
    if decision == "promote":
        event = stage.promote_by_hand(workspace, model, version, by, reason, force=force)
    else:
        event = stage.reject_by_hand(workspace, model, version, by, reason)
    create_markdown_artifact(
        stage.decision_markdown(workspace, event),
        key=f"{model.replace('_', '-')}-decision",
        description=f"{decision} {model} {version}",
    )
    return event
