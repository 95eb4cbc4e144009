"""What the tasks share: the project they work on, and how a task shows that its work was done before."""

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed

from regen.core.config import Config
from regen.core.errors import KilledError
from regen.core.workspace import Workspace
from regen.stages.base import Context, Outcome


def context_of(config: Config) -> Context:
    """The project in the workspace of the current folder."""
    return Context(Workspace.find(), config)


def shown(outcome: Outcome) -> Outcome | State[Outcome]:
    """The outcome, as a state named Cached when its key had been done before."""
    if not outcome.reused:
        return outcome
    return Completed(name="Cached", message=f"{outcome.stage} was done before, key {outcome.key[:16]}", data=outcome)


def was_killed(task: Any, run: Any, state: State[Any]) -> bool:
    """Whether a retry helps: a killed process goes on from its checkpoint, any other failure would repeat itself."""
    return isinstance(state.result(raise_on_failure=False), KilledError)
