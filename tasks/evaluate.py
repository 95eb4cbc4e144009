"""Measures the candidates beside the champions and leaves the figures as an artifact."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from regen.core.config import Config
from regen.stages.base import Outcome
from regen.stages.evaluate import evaluate as evaluate_stage
from regen.stages.summary import report_markdown
from tasks.common import context_of, shown


@task(name="evaluate", cache_policy=NO_CACHE)
def evaluate(config: Config) -> Outcome | State[Outcome]:
    """Measures both candidates, and the champions on the same rows and latents."""
    context = context_of(config)
    outcome = evaluate_stage(context)
    create_markdown_artifact(
        report_markdown(context), key=f"{config.project.replace('_', '-')}-report", description="What was measured"
    )
    return shown(outcome)
