"""What people decide about registered models, and the list they decide from."""

from typing import Any

from regen.core.errors import RegistryError
from regen.core.workspace import Workspace
from regen.evaluation.gate import Decision
from regen.registry import promotion, tracking, versions
from regen.registry.promotion import Event
from regen.stages.base import jsonable

SHOWN = ("test/anomaly_auc", "test/anomaly_ap", "test/frechet_distance", "test/accuracy")


def promote_by_hand(workspace: Workspace, model: str, number: int, by: str, reason: str, *, force: bool) -> Event:
    """Makes a version the champion because someone says so.

    Raises:
        RegistryError: the gate rejected the version and `force` was not said, it fails its smoke test, or it is an extractor,
            which the project file chooses.
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
    return promotion.promote(workspace, version, by, reason)


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
            "verdict": version.verdict, "reasons": list(version.reasons), "created": version.created,
            "figures": {name.removeprefix("test/"): figures[name] for name in SHOWN if name in figures},
            "run": version.run_id, "tags": version.tags,
        })  # fmt: skip
    names = sorted({version.model for version in found})
    return {"versions": rows, "history": {name: jsonable(promotion.history(workspace, name)) for name in names}}
