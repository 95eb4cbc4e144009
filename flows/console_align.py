"""What `regen align` runs and prints."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, cast

from rich.console import Console
from rich.table import Column, Table

from flows import console
from flows.cli_base import persons
from flows.console import STYLES
from regen.core.workspace import require_room
from regen.data import versions
from regen.evaluation.alignment_report import in_order
from regen.evaluation.gate import Decision
from regen.evaluation.intervals import Estimate
from regen.preferences import campaigns
from regen.preferences.refusals import NotFoundError
from regen.registry import tracking
from regen.registry.versions import resolve
from regen.stages import alignment, conclude, fresh, progress, review
from regen.stages.base import Context
from regen.stages.collect import Collection
from regen.stages.conclude import AlignSummary


def run_align(context: Context, models: Sequence[str], kind: str | None, *, controls: bool) -> list[AlignSummary]:
    """Runs the align flow against the server of `regen up` if there is one, else an ephemeral one.

    Votes are counted, and work that was done before is found, before a flow is started.
    """
    from flows.up import use_running_server

    workspace, project = context.workspace, context.config.project
    versions.pull(workspace, project, context.config.data, progress.current().say)
    with review.open_store(workspace) as store:
        opened = alignment.open_all(context, store, models, kind, controls=controls)
        finished = [conclude.find_finished(one, store) for one in opened]
        notes = [fresh.uncounted(one, store) for one, done in zip(opened, finished, strict=True) if done is None]
    found = [one for one in finished if one is not None]
    if len(found) == len(opened):
        return found
    for note in chain.from_iterable(notes):
        progress.current().say(f"  align: {note}")
    require_room(workspace)
    use_running_server(workspace)
    from flows.align import align

    bases = [one.name for one in opened]
    return console.run_flow(
        context, lambda: cast(list[AlignSummary], align(context.config, bases, kind, controls=controls))
    )


def run_review(context: Context, campaign: int | None, model: str | None, **options: Any) -> Collection:
    """Runs the review flow, which ends when there are votes enough or the deadline is past.

    Args:
        campaign: its number; the project's newest where neither it nor a model is named.

    Raises:
        NotFoundError: there is no such campaign, or none at all.
        RegistryError: there is no such model.
    """
    from flows.up import use_running_server

    if model is None:
        campaign = _campaign(context, campaign)
    else:
        tracking.open_store(context.workspace)
        resolve(model)
    require_room(context.workspace)
    use_running_server(context.workspace)
    from flows.review import review as flow

    return console.run_flow(
        context, lambda: cast(Collection, flow(context.config, model, campaign=campaign, **options))
    )


def _campaign(context: Context, number: int | None) -> int:
    project = context.config.project
    with review.open_store(context.workspace) as store:
        if number is not None:
            return campaigns.get(store, number).id
        mine = [one.id for one in campaigns.every(store) if one.subject.startswith(f"{project}-")]
    if not mine:
        raise NotFoundError(f"there is no campaign about a model of {project} yet; 'regen review' opens one")
    return mine[0]


def print_collection(found: Collection) -> None:
    """What came of a campaign, and where its votes are."""
    out = Console(highlight=False)
    alpha = "" if found.alpha is None else f", Krippendorff's α {found.alpha:.3f}"
    out.print(
        f"Campaign {found.campaign} about {found.subject} is closed: {found.votes:,} of {found.wanted:,} votes of "
        f"{persons(found.people)}{alpha}", soft_wrap=True,
    )  # fmt: skip
    for note in found.notes:
        out.print(f"  note: {note}", markup=False, soft_wrap=True)
    if found.file:
        out.print(
            f"Votes: {found.file}, recorded in votes.dvc as {found.version}; commit it to keep the version",
            soft_wrap=True,
        )


def print_alignments(found: Sequence[AlignSummary]) -> None:
    """A table of arms a model, its verdict with the reasons, and where to look further."""
    out = Console(highlight=False)
    for summary in found:
        if summary.reused:
            out.print(
                f"Nothing to do: {summary.base or summary.model} was tuned toward these very {summary.votes:,} votes "
                f"({summary.digest[:12]}) before. What that came to:\n", soft_wrap=True,
            )  # fmt: skip
        if summary.arms:
            out.print(_arms(summary))
        if summary.win_rate:
            told = f"Win rate over {summary.base}: {Estimate(**summary.win_rate)}, {summary.by}"
            out.print(told, markup=False, soft_wrap=True)
        by_hand = ", promoted by hand" if summary.decision == Decision.REJECT else ""
        champion = f"it is {summary.model}@champion{by_hand}"
        state = champion if summary.promoted else "it is registered, and not the champion"
        style = STYLES.get(summary.decision, "dim")
        out.print(f"[{style}]{summary.decision or 'not judged'}[/]: {state}", soft_wrap=True)
        for reason in summary.reasons:
            out.print(f"  · {reason}", markup=False, soft_wrap=True)
        for note in summary.notes:
            out.print(f"  note: {note}", markup=False, soft_wrap=True)
        if summary.report:
            out.print(f"Report: {summary.report}", soft_wrap=True)
        if summary.is_current and not summary.by.endswith(conclude.BY_PEOPLE):
            asked = f"regen review --model {summary.model}/{summary.version} --against {summary.base}"
            out.print(
                f"Ask people which they prefer: {asked}, then regen align --model {summary.base}\n", soft_wrap=True
            )


def _arms(summary: AlignSummary) -> Table:
    table = Table(
        Column("arm", overflow="fold"), "win rate", Column("Fréchet distance", justify="right"),
        Column("class shift", justify="right"), Column("disallowed", justify="right"),
        title=f"{summary.model}, version {summary.version}: {summary.base} tuned", title_justify="left",
    )  # fmt: skip
    for arm in in_order(summary.arms):
        safety = arm["safety"]
        table.add_row(
            arm["label"], str(Estimate(**arm["win_rate"])), f"{arm['frechet_distance']:.1f}", f"{arm['bias']['shift']:.3f}",
            f"{safety['unacceptable']} of {safety['n']}",
        )  # fmt: skip
    return table
