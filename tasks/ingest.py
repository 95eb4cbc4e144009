"""Takes new data in and leaves what that came to as an artifact."""

from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from regen.core.config import Config
from regen.data.ingest import Incoming, Ingested
from regen.stages import ingest as stage
from tasks.common import context_of


@task(name="ingest", cache_policy=NO_CACHE)
def ingest(config: Config, path: str, source: Incoming | None = None) -> Ingested:
    """Appends what is sound, sets aside what is not, and records the new version."""
    context = context_of(config)
    found = stage.ingest(context, Path(path).expanduser(), source)
    create_markdown_artifact(
        stage.markdown(found, stage.picture(context, found)),
        key=f"{config.project.replace('_', '-')}-ingest",
        description="What new data came in",
    )
    return found
