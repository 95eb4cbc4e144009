"""Promotion: by the gate, right after the figures are there, or by a person; one at a time, all or nothing."""

from typing import Annotated, Literal

from prefect import flow
from pydantic import Field

from regen.registry.promotion import Event
from regen.stages.summary import Summary
from tasks.common import Project
from tasks.promote import decide as carry_out
from tasks.promote import leave_summary
from tasks.promote import promote as judge_and_promote


@flow(name="promote")
def promote(config: Project) -> Summary:
    """Judge the registered candidates by the gate and promote those that win, or let them wait for approval.

    Args:
        config: the project file's path in the workspace, or the project itself.
    """
    summary = judge_and_promote(config)
    leave_summary(config, summary)
    return summary


@flow(name="decide", flow_run_name="{decision} {model} {version}")
def decide(
    model: str,
    version: Annotated[int, Field(ge=1)],
    decision: Literal["promote", "reject"],
    by: Annotated[str, Field(min_length=1)],
    reason: str = "by hand",
    *,
    force: bool = False,
) -> Event:
    """Promote or reject a version because a person says so; it is loaded and tried first.

    Args:
        model: the registered model, such as digits-vae.
        version: its version.
        decision: whether it becomes the champion.
        by: who decides, for the history.
        reason: why, for the history.
        force: promote although the gate rejected it or its approval has expired.
    """
    return carry_out(model, version, decision, by, reason, force=force)
