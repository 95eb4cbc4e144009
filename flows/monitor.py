"""Has the data drifted from what the champion was trained on? Where it has, the project is retrained."""

from prefect import flow
from prefect.settings import get_current_settings

from flows.ingest import ingest
from flows.retrain import retrain
from regen.stages.monitor import Watched
from tasks.common import Project
from tasks.monitor import note_failure, tell, watch


@flow(name="monitor")
def monitor(config: Project, path: str | None = None, start_retraining: bool | None = None) -> Watched:
    """Compare new rows with the champion's; on drift tell the server, whose automation retrains, or retrain here without one.

    Rows at a path that shall be retrained on are taken into the data first.

    Args:
        config: the project file's path in the workspace, or the project itself.
        path: a folder of images or a table to look at, instead of the rows taken in since the champion's data.
        start_retraining: whether drift starts a retraining; left out, it does for rows taken in, and not for a path's.
    """
    may_retrain = path is None if start_retraining is None else start_retraining
    found = watch(config, path, may_retrain=may_retrain)
    if found.action == "none":
        return found
    try:
        if path is not None:
            ingest(config, path)
        if get_current_settings().api.url is not None:
            tell(config, found)
        else:
            retrain(config)
    except BaseException:
        note_failure(config, found)
        raise
    return found
