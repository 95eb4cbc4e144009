"""New data in: what is sound is appended, what is not is set aside with its reasons, the new version is recorded."""

from prefect import flow

from regen.data.ingest import Incoming, Ingested
from tasks.common import Project
from tasks.ingest import ingest as take_in


@flow(name="ingest")
def ingest(config: Project, path: str, source: Incoming | None = None) -> Ingested:
    """Take new images or rows into a project's data; a new version is recorded, or nothing is changed.

    Args:
        config: the project file's path in the workspace, or the project itself.
        path: a folder of images with a subfolder a class, or a CSV or Parquet file.
        source: how the path is read; told by what lies there when left out.
    """
    return take_in(config, path, source)
