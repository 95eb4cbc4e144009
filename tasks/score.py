"""Scores a table or a folder of images and leaves what that came to as an artifact."""

from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from regen.core.environment import bootstrap
from regen.core.workspace import Workspace
from regen.stages import progress
from regen.stages import score as stage
from regen.stages.score import Scored


@task(name="score", cache_policy=NO_CACHE)
def score(source: str, model: str, output: str, shard_rows: int) -> Scored:
    """Scores shard by shard; what an earlier run on the same input has done is taken over."""
    workspace = Workspace.find()
    bootstrap(workspace)
    found = stage.score(
        workspace, Path(source).expanduser(), model, Path(output).expanduser(), shard_rows, progress.plainly()
    )
    create_markdown_artifact(
        stage.markdown(found), key=f"{found.model.replace('_', '-')}-scores", description="What was scored"
    )
    return found
