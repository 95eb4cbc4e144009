"""Promotion and rollback: one at a time, checked before they count, undone when the check fails, written to a history.

The history is the MLflow experiment `promotions`, one run an event, only ever appended to. Read as a stack, a promotion
puts a version on top and a rollback takes one off; the champion is what lies on top. Rejections and deletions of versions
stand there too, and move nothing. A switch whose process is killed before its event is written never happened: whoever
looks next puts the aliases back.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from regen.core import files
from regen.core.errors import RegenError, RegistryError
from regen.core.workspace import Workspace
from regen.registry import approvals, versions
from regen.registry.approvals import APPROVAL, State
from regen.registry.tracking import experiment_id, speaking_plainly
from regen.registry.versions import CHAMPION, PREVIOUS, Version, by_alias, by_number

HISTORY = "promotions"


@dataclass(frozen=True)
class Event:
    """One line of the history."""

    action: str
    """promote, rollback, reject or delete."""
    model: str
    version: int
    before: int | None
    """The champion until then."""
    by: str
    reason: str
    when: int
    """Milliseconds since 1970."""


def history(workspace: Workspace, model: str) -> list[Event]:
    """The model's promotions and rollbacks, oldest first."""
    import mlflow

    owner = experiment_id(workspace, HISTORY)
    with speaking_plainly("reading the history of promotions"):
        runs = mlflow.MlflowClient().search_runs([owner], f"tags.model = '{model}'", max_results=5000)
    events = [
        (
            int(run.data.tags["sequence"]),
            Event(
                run.data.tags["action"], model, int(run.data.tags["version"]),
                int(run.data.tags["before"]) if run.data.tags["before"] else None,
                run.data.tags["by"], run.data.tags["reason"], run.info.start_time,
            ),
        )
        for run in runs
    ]  # fmt: skip
    return [event for _, event in sorted(events, key=lambda pair: (pair[0], pair[1].when))]


def stack(events: list[Event]) -> list[int]:
    """The versions from the first champion to the present one, rolled-back ones taken off.

    A champion that was set by hand in MLflow has no event of its own; the next promotion tells of it.

    Example:
        >>> stack(
        ...     [Event("promote", "m", n, None, "", "", 0) for n in (1, 2)] + [Event("rollback", "m", 1, 2, "", "", 0)]
        ... )
        [1]
    """
    champions: list[int] = []
    for event in events:
        if event.action == "promote":
            if event.before is not None and champions[-1:] != [event.before]:
                champions.append(event.before)
            champions.append(event.version)
        elif event.action == "rollback":
            while champions and champions[-1] != event.version:
                champions.pop()
            if not champions:
                champions.append(event.version)
    return champions


def those_before(champions: list[int], champion: int) -> list[int]:
    """The champions before this one; one that was made it by hand in MLflow, past the history, came after them all.

    Example:
        >>> those_before([1, 2, 3], 3), those_before([1, 2, 3], 2), those_before([1, 2, 3], 4)
        ([1, 2], [1], [1, 2, 3])
    """
    if champion not in champions:
        return champions
    return champions[: len(champions) - 1 - champions[::-1].index(champion)]


def promote(
    workspace: Workspace, version: Version, by: str, reason: str, expected_champion: int | str | None = "any"
) -> Event:
    """Makes a version the champion: aliases set, the model loaded and tried through them, else all put back.

    Args:
        expected_champion: the champion that the candidate was compared with, None for none, "any" not to check.

    Raises:
        RegistryError: the champion has changed since the comparison, or the version cannot be loaded or used.
    """
    with workspace.lock("promotion"):
        _settle(workspace, version.model)
        champion = by_alias(version.model, CHAMPION)
        before = champion.number if champion else None
        if expected_champion not in ("any", before):
            raise RegistryError(
                f"{version.model} was compared with champion {expected_champion or 'none'}, but it is {before or 'none'} "
                "now; run 'regen run' to compare anew"
            )
        if before == version.number:
            raise RegistryError(f"{version.model} {version.number} is the champion already")
        return _switch(workspace, "promote", version, before, before, by, reason)


def rollback(workspace: Workspace, model: str, number: int | None, by: str, reason: str) -> Event:
    """Goes back to the champion before this one, or to an earlier one by its number.

    Raises:
        RegistryError: there is no earlier champion, or that version never was one.
    """
    with workspace.lock("promotion"):
        _settle(workspace, model)
        champion = by_alias(model, CHAMPION)
        if champion is None:
            raise RegistryError(f"{model} has no champion to roll back from; 'regen models' lists what there is")
        there = {version.number for version in versions.all_versions(model)}  # others were deleted by hand in MLflow
        earlier = [one for one in those_before(stack(history(workspace, model)), champion.number) if one in there]
        if not earlier:
            raise RegistryError(f"{model} {champion.number} is the first champion, there is none before it")
        target = earlier[-1] if number is None else number
        if target not in earlier:
            raise RegistryError(
                f"{model} {target} was no champion before {champion.number}; earlier ones: {', '.join(map(str, earlier))}"
            )
        left = those_before(earlier, target)
        return _switch(
            workspace, "rollback", by_number(model, target), champion.number, left[-1] if left else None, by, reason
        )


def reject(workspace: Workspace, version: Version, by: str, reason: str) -> Event:
    """Says no to a version that waits for approval.

    Raises:
        RegistryError: it does not wait for any.
    """
    with workspace.lock("promotion"):
        _settle(workspace, version.model)
        current = by_number(version.model, version.number)
        if approvals.state(current) is not State.PENDING or CHAMPION in current.aliases:
            raise RegistryError(
                f"{version.model} {version.number} does not wait for approval; 'regen models' lists what does"
            )
        versions.tag(version, {APPROVAL: State.REJECTED})
        return _note(workspace, "reject", version, approvals.champion_of(version.model), by, reason)


def delete(workspace: Workspace, version: Version, by: str, reason: str) -> Event:
    """Takes a version out of the registry for good; the history keeps that it was there.

    Raises:
        RegistryError: it carries an alias, or a rollback could lead to it.
    """
    with workspace.lock("promotion"):
        _settle(workspace, version.model)
        current, name = by_number(version.model, version.number), f"{version.model} {version.number}"
        if current.aliases:
            raise RegistryError(f"{name} is {', '.join(current.aliases)}; promote another version or roll back first")
        if version.number in stack(history(workspace, version.model)):
            raise RegistryError(f"{name} was a champion that 'regen rollback' may go back to; it stays")
        event = _note(workspace, "delete", version, approvals.champion_of(version.model), by, reason)
        versions.delete(version)
        return event


def _switch(
    workspace: Workspace, action: str, version: Version, before: int | None, previous: int | None, by: str, reason: str
) -> Event:
    held = {alias: was.number if (was := by_alias(version.model, alias)) else None for alias in (CHAMPION, PREVIOUS)}
    with _journalled(workspace, version.model, held):
        try:
            _point(version.model, CHAMPION, version.number)
            _point(version.model, PREVIOUS, previous)
            smoke_test(version)
        except BaseException as error:
            _put_back(version.model, held)
            if isinstance(error, RegenError):
                raise RegistryError(
                    f"{version.model} {version.number} was not promoted, all is as before: {error}"
                ) from error
            raise
        if approvals.state(version) is not None:
            versions.tag(version, {APPROVAL: State.APPROVED})
        return _note(workspace, action, version, before, by, reason)


def _note(workspace: Workspace, action: str, version: Version, before: int | None, by: str, reason: str) -> Event:
    event = Event(action, version.model, version.number, before, by, reason, int(time.time() * 1000))
    _append(workspace, event)
    return event


def settle(workspace: Workspace, model: str) -> None:
    """Undoes a switch that a killed process left half-way, so that the aliases are again those of the last event."""
    with workspace.lock("promotion"):
        _settle(workspace, model)


def _settle(workspace: Workspace, model: str) -> None:
    journal = _journal(workspace, model)
    if not journal.exists():
        return
    try:
        begun = files.read_json(journal)
    except ValueError:
        raise RegistryError(
            f"{journal}, which says what {model}'s aliases were before an interrupted switch, is damaged; look at 'regen "
            "models', then delete it"
        ) from None
    if len(history(workspace, model)) == begun["events"]:  # else its event was written, and it did happen
        _put_back(model, begun["held"])
    journal.unlink()


@contextmanager
def _journalled(workspace: Workspace, model: str, held: Mapping[str, int | None]) -> Iterator[None]:
    """Keeps on disk, until the block ends, what the aliases named before it."""
    journal = _journal(workspace, model)
    files.write_json(journal, {"held": dict(held), "events": len(history(workspace, model))})
    try:
        yield
    finally:
        journal.unlink(missing_ok=True)


def _journal(workspace: Workspace, model: str) -> Path:
    return workspace.shared / "switching" / f"{model}.json"


def _put_back(model: str, held: Mapping[str, int | None]) -> None:
    for alias, number in held.items():
        _point(model, alias, number)


def _point(model: str, alias: str, number: int | None) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    with speaking_plainly(f"setting {model}@{alias}"):
        if number is not None:
            client.set_registered_model_alias(model, alias, str(number))
        elif by_alias(model, alias):
            client.delete_registered_model_alias(model, alias)


def smoke_test(version: Version) -> None:
    """Loads the champion by its alias as a consumer would and uses it once.

    Raises:
        RegistryError: it does not load, or what it gives is not finite.
    """
    import mlflow
    import numpy as np
    import pandas as pd

    with speaking_plainly(f"trying {version.model}@{CHAMPION}"):
        model = mlflow.pyfunc.load_model(f"models:/{version.model}@{CHAMPION}")
        given = model.predict(model.input_example)
    if isinstance(given, pd.DataFrame):  # of rows: values may be missing, but not infinite
        given = {name: given[name].dropna() for name in given.select_dtypes(["number", "bool"])}
    values = given.values() if isinstance(given, dict) else [given]
    use: Callable[[object], bool] = lambda v: bool(np.isfinite(np.asarray(v, dtype=float)).all())  # noqa: E731
    if not all(map(use, values)):
        raise RegistryError(f"{version.model} {version.number} gives values that are not finite")


def _append(workspace: Workspace, event: Event) -> None:
    import mlflow

    owner = experiment_id(workspace, HISTORY)
    client = mlflow.MlflowClient()
    with speaking_plainly("writing the history of promotions"):
        earlier = client.search_runs([owner], f"tags.model = '{event.model}'", max_results=5000)
        sequence = max((int(run.data.tags["sequence"]) for run in earlier), default=0) + 1
        tags = {
            "action": event.action, "model": event.model, "version": str(event.version),
            "before": "" if event.before is None else str(event.before), "by": event.by, "reason": event.reason,
            "sequence": str(sequence),
        }  # fmt: skip
        run = client.create_run(
            owner, start_time=event.when, tags=tags, run_name=f"{event.action} {event.model} {event.version}"
        )
        client.set_terminated(run.info.run_id)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event.when / 1000))
        client.set_model_version_tag(
            event.model,
            str(event.version),
            f"regen.{event.action}.{sequence}",
            f"{stamp} by {event.by}: {event.reason}",
        )
