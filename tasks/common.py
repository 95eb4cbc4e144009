"""What tasks and flows share: the project they work on, and how a task shows that its work was done before."""

import base64
from pathlib import Path
from typing import Annotated, Any

from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import BeforeValidator

from regen.core.config import Config, load
from regen.core.environment import bootstrap
from regen.core.errors import KilledError
from regen.core.workspace import Workspace
from regen.stages.base import Context, Outcome

DRIFT = "data.drift.detected"
"""The event by which a monitor tells of drift, on which an automation starts a retraining."""
MOST_PICTURE_BYTES = 512 * 1024
"""Larger ones are named, not shown: an artifact lies in the server's database."""


def _read(project: Any) -> Any:
    """What the project file at a path holds now; anything else is left as it is."""
    if not isinstance(project, str):
        return project
    workspace = Workspace.find()
    bootstrap(workspace)
    return load(workspace.root / project)


Project = Annotated[Config, BeforeValidator(_read, json_schema_input_type=str | Config)]
"""A flow's project: given as its file's path in the workspace, read when the flow starts, or whole."""


def context_of(config: Config) -> Context:
    """The project in the workspace of the current folder, its environment made ready."""
    workspace = Workspace.find()
    bootstrap(workspace)
    return Context(workspace, config)


def picture_markdown(picture: Path, title: str) -> str:
    """A picture as an artifact shows it, wherever it is looked at; a large one's path instead."""
    if picture.stat().st_size > MOST_PICTURE_BYTES:
        return f"{title}: `{picture}`"
    return f"![{title}](data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()})"


def shown(outcome: Outcome) -> Outcome | State[Outcome]:
    """The outcome, as a state named Cached when its key had been done before."""
    if not outcome.reused:
        return outcome
    return Completed(name="Cached", message=f"{outcome.stage} was done before, key {outcome.key[:16]}", data=outcome)


def was_killed(task: Any, run: Any, state: State[Any]) -> bool:
    """Whether a retry helps: a killed process goes on from its checkpoint, any other failure would repeat itself."""
    return isinstance(state.result(raise_on_failure=False), KilledError)
