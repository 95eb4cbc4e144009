"""New data in: what is sound is appended, what is not is set aside with its reasons, the new version is recorded."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from regen.core.config import Config
from regen.data.ingest import Incoming, Ingested
from tasks.ingest import ingest as take_in


@flow(name="ingest", validate_parameters=True)
def ingest(
    config: Config,
    path: Annotated[str, Field(description="A folder of images with a subfolder a class, or a CSV or Parquet file.")],
    source: Annotated[
        Incoming | None, Field(description="How the path is read; told by what lies there when left out.")
    ] = None,
) -> Ingested:
    """Take new images or rows into a project's data; a new version is recorded, or nothing is changed."""
    return take_in(config, path, source)
