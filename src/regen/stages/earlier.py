"""What earlier work adds to an evaluation: how trainings that differ in the seed alone spread, and what people preferred."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regen.core import files
from regen.evaluation import agreement
from regen.evaluation.agreement import Agreement
from regen.registry import tracking, versions
from regen.registry.versions import Version
from regen.stages.base import Context, jsonable
from regen.stages.train import lineage

EXTRACTOR, REFERENCE = "regen.extractor", "regen.reference"
"""The tags that say in which space and against which rows a version was measured."""
ALIKE = ("regen.data", "regen.recipe")
"""The tags of lineage that trainings which differ in the seed alone have in common."""


def figures_of(version: Version) -> dict[str, float]:
    """The test figures that were recorded with a version."""
    recorded = tracking.Run(version.run_id).data().metrics
    return {name.removeprefix("test/"): value for name, value in recorded.items() if name.startswith("test/")}


def spread_over_seeds(
    context: Context, kind: str, judged_by: Mapping[str, Any], distance: float
) -> dict[str, Any] | None:
    """How the Fréchet distances of trainings with other seeds spread; None with fewer than two.

    Those count that share the data's version, the kind's section of the project file, the extractor's weights and the
    reference rows with this one; of several with one seed the newest.

    Args:
        judged_by: what this training was measured against.
        distance: its own Fréchet distance.
    """
    mine = lineage(context, kind)
    wanted = {name: mine[name] for name in ALIKE} | {EXTRACTOR: judged_by["sha256"], REFERENCE: judged_by["rows"]}
    found = {context.config.seed: distance}
    for version in versions.all_versions(context.config.model_name(kind)):  # newest first
        if "regen.seed" in version.tags and all(version.tags.get(name) == value for name, value in wanted.items()):
            seed, figures = int(version.tags["regen.seed"]), figures_of(version)
            if "frechet_distance" in figures:
                found.setdefault(seed, figures["frechet_distance"])
    if len(found) < 2:
        return None
    spread = float(np.std(list(found.values()), ddof=1))
    return {"trainings": len(found), "frechet_sd": spread, "seeds": sorted(found)}


def vote_files(context: Context) -> list[Path]:
    """Every exported file of votes on this project's models."""
    return sorted((context.workspace.root / "votes" / context.config.project).rglob("*.parquet"))


def votes_digest(context: Context) -> str | None:
    """What the votes come to, in hex; None where there are none."""
    found = vote_files(context)
    return files.digest([files.sha256(path) for path in found]) if found else None


def preferences(context: Context) -> list[dict[str, Any]]:
    """How far each metric agrees with the votes; empty without votes.

    Raises:
        DataError: a file of votes cannot be read, or holds what is no vote.
    """
    if not (paths := vote_files(context)):
        return []
    votes = agreement.read_votes(paths)
    known = {
        (version.model, version.number): version
        for model in sorted({*votes["model_a"], *votes["model_b"]})
        for version in versions.all_versions(str(model))
    }
    comparable = [
        _comparable(known.get((str(a), int(m))), known.get((str(b), int(n))))
        for a, m, b, n in votes[["model_a", "version_a", "model_b", "version_b"]].itertuples(index=False)
    ]
    if not any(comparable):
        return []
    rules = context.config.evaluation
    found: list[Agreement] = agreement.measure_agreement(
        votes[comparable], {name: figures_of(version) for name, version in known.items()}, rules.bootstrap_draws,
        rules.confidence, context.config.seed,
    )  # fmt: skip
    return [jsonable(one) for one in found]


def _comparable(one: Version | None, other: Version | None) -> bool:
    """Whether these are two versions, measured in one space and against the same rows."""
    if one is None or other is None or one == other:
        return False
    return all(one.tags.get(tag, "") == other.tags.get(tag) for tag in (EXTRACTOR, REFERENCE))
