"""What people decide about registered models, and the list they decide from."""

import time
from typing import Any

from regen.core.errors import RegistryError
from regen.core.workspace import Workspace
from regen.data import versions as data_versions
from regen.evaluation.gate import Decision
from regen.registry import approvals, promotion, tracking, versions
from regen.registry.promotion import Event
from regen.registry.versions import Version
from regen.stages.base import jsonable

SHOWN = (
    "test/anomaly_auc", "test/anomaly_ap", "test/frechet_distance", "test/column_shapes", "test/utility_auc", "test/accuracy",
)  # fmt: skip


def promote_by_hand(workspace: Workspace, model: str, number: int, by: str, reason: str, *, force: bool) -> Event:
    """Makes a version the champion because someone says so.

    Raises:
        RegistryError: the gate or a person rejected the version or its approval has expired, and `force` was not said; it
            fails its smoke test; or it is an extractor, which the project file chooses.
    """
    tracking.open_store(workspace)
    version = versions.by_number(model, number)
    if version.kind == "extractor":
        raise RegistryError(
            f"{model} is not promoted by hand: its champion is the one that the project file's data and extractor sections "
            "ask for; change those and run 'regen run'"
        )
    if version.verdict == Decision.REJECT and not force:
        raise RegistryError(
            f"the gate rejected {model} {number}: {'; '.join(version.reasons)}; --force promotes it all the same"
        )
    if not force:
        approvals.require_standing(version, recorded_data(workspace, version))
    waits = approvals.state(version) is approvals.State.PENDING and not force
    against = version.tags.get("regen.against") or None
    return promotion.promote(
        workspace, version, by, reason, (None if against is None else int(against)) if waits else "any"
    )


def reject_by_hand(workspace: Workspace, model: str, number: int, by: str, reason: str) -> Event:
    """Says no to a version that waits for approval.

    Raises:
        RegistryError: it does not wait for any.
    """
    tracking.open_store(workspace)
    return promotion.reject(workspace, versions.by_number(model, number), by, reason)


def delete_by_hand(workspace: Workspace, model: str, number: int, by: str, reason: str) -> Event:
    """Takes a version out of the registry for good.

    Raises:
        RegistryError: it carries an alias, or a rollback could lead to it.
    """
    tracking.open_store(workspace)
    return promotion.delete(workspace, versions.by_number(model, number), by, reason)


def decision_markdown(workspace: Workspace, event: Event) -> str:
    """A decision with the gate's ledger, as Prefect's page shows it."""
    version = versions.by_number(event.model, event.version)
    lines = [
        f"# {event.action} {event.model} {event.version}", "",
        f"By {event.by}: {event.reason}. The champion before was {event.before or 'none'}.", "",
        f"The gate had said {version.verdict or 'nothing'}.", *(f"- {reason}" for reason in version.reasons),
    ]  # fmt: skip
    if version.ledger:
        lines += ["", "| check | wanted | met | passed |", "|---|---|---|---|"]
        lines += [f"| {c['kind']} {c['metric']} | {c['wanted']} | {c['met']} | {c['passed']} |" for c in version.ledger]
    return "\n".join(lines) + "\n"


def recorded_data(workspace: Workspace, version: Version) -> str | None:
    """The recorded version of the data of a model's project; None when it cannot be told here."""
    project = version.tags.get("regen.project")
    return data_versions.status(workspace, project).version if project else None


def rollback_by_hand(workspace: Workspace, model: str, number: int | None, by: str, reason: str) -> Event:
    """Goes back to an earlier champion."""
    tracking.open_store(workspace)
    return promotion.rollback(workspace, model, number, by, reason)


def describe_models(workspace: Workspace, model: str | None) -> dict[str, Any]:
    """Versions with aliases, figures, verdicts, lineage, and each model's history, as plain values.

    Raises:
        RegistryError: `model` is named and not registered.
    """
    tracking.open_store(workspace)
    found = versions.all_versions(model)
    if model is not None and not found:
        known = sorted({version.model for version in versions.all_versions()})
        raise RegistryError(
            f"there is no model {model}; registered are: {', '.join(known) or 'none yet, run regen run'}"
        )
    rows = []
    for version in found:
        figures = tracking.Run(version.run_id).data().metrics
        rows.append({
            "model": version.model, "version": version.number, "aliases": list(version.aliases),
            "verdict": version.verdict, "reasons": list(version.reasons), "ledger": version.ledger,
            "approval": _approval(workspace, version), "created": version.created,
            "figures": {name.removeprefix("test/"): figures[name] for name in SHOWN if name in figures},
            "run": version.run_id, "tags": version.tags,
        })  # fmt: skip
    names = sorted({version.model for version in found})
    return {"versions": rows, "history": {name: jsonable(promotion.history(workspace, name)) for name in names}}


def _approval(workspace: Workspace, version: Version) -> dict[str, Any] | None:
    """Where a version stands with people; None for one that nobody was asked about."""
    found = approvals.state(version)
    if found is None:
        return None
    why = None
    if found is approvals.State.PENDING:
        champion, now = approvals.champion_of(version.model), int(time.time() * 1000)
        why = approvals.why_stale(version, champion, recorded_data(workspace, version), now)
    until = int(version.tags.get(approvals.UNTIL, 0))
    return {"state": str(approvals.State.EXPIRED if why else found), "until": until, "why": why}
