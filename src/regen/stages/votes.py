"""The votes on a registered model's samples as a reward learns from them, and the pictures that people saw."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float64

from regen.core import files
from regen.core.errors import DataError, TooFewVotesError
from regen.core.sections.alignment import RewardConfig
from regen.core.workspace import Workspace
from regen.preferences import export
from regen.preferences.pairs import VALIDATION_SHARE
from regen.preferences.store import Store
from regen.stages.drawing import images_folder, read_pictures, samples_of, write_picture

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regen.preferences.votes import Votes

SIMULATED = "simulated-"
"""What the names of simulated people begin with."""
SAYS = ("sample_a", "sample_b", "choice", "both_bad", "split", "strategy", "annotator")
"""The columns that decide what is learned from a vote."""
LEAST_HELD_OUT = 20
"""Fewest votes on held-out samples that a judge of the tuned model is learned from."""


@dataclass(frozen=True)
class Collected:
    """The votes that a reward may learn from, on samples of one registered model, whichever version made them."""

    model: str
    table: pd.DataFrame
    """As `export.for_training` gives them, in the order of their keys."""

    @cached_property
    def digest(self) -> str:
        """What they come to, in hex: who said what of which samples."""
        return files.digest(self.table[list(SAYS)].astype(str).to_numpy().tolist())

    @property
    def campaigns(self) -> tuple[str, ...]:
        """The names of the campaigns they were cast in."""
        return tuple(sorted(set(self.table["campaign"])))

    @property
    def people(self) -> int:
        """How many people cast them."""
        return int(self.table["annotator"].nunique())

    @property
    def simulated(self) -> int:
        """How many of the people are simulated."""
        return sum(str(name).startswith(SIMULATED) for name in self.table["annotator"].unique())

    @property
    def held_out(self) -> int:
        """How many are on held-out samples."""
        return int((self.table["split"] == "validation").sum())


def collect(store: Store, model: str) -> Collected:
    """The votes on pairs of a model's own pictures."""
    found = export.votes(store)
    mine = found[(found["model_a"] == model) & (found["model_b"] == model) & found["values_a"].isna()]
    within = mine[mine["version_a"] == mine["version_b"]]
    try:
        table = export.for_training(within)
    except DataError:  # none is left, which `require_enough` tells with the number that is missing
        table = within.iloc[:0]
    return Collected(model, table.sort_values("key").reset_index(drop=True))


def require_enough(votes: Collected, config: RewardConfig) -> None:
    """Makes sure that a reward, and a judge of what it leads to, can be learned from these votes.

    Raises:
        TooFewVotesError: they are too few.
    """
    missing, apart = missing_votes(votes, config), missing_held_out(votes)
    if not missing and not apart:
        return
    lacking = f"{missing} are missing" + (f", {apart} of them on held-out samples" if apart else "")
    if missing < apart:
        lacking = (
            f"{apart} on held-out samples are missing, which about {ceil(apart / VALIDATION_SHARE)} votes bring, since a "
            "fifth of the samples are held out"
        )
    raise TooFewVotesError(
        f"{len(votes.table)} votes on {votes.model} can be learned from and {config.min_votes} (reward.min_votes) are "
        f"needed, and {LEAST_HELD_OUT} on held-out samples, of which there are {votes.held_out}: {lacking}; "
        f"'regen review --model {votes.model}' collects more, once 'regen votes close' has ended a full campaign"
    )


def missing_votes(votes: Collected, config: RewardConfig) -> int:
    """How many more are needed."""
    return max(config.min_votes - len(votes.table), 0)


def missing_held_out(votes: Collected) -> int:
    """How many more are needed on held-out samples."""
    return max(LEAST_HELD_OUT - votes.held_out, 0)


def training_votes(workspace: Workspace, votes: Collected) -> "Votes":
    """The votes with the pictures they are on; pictures whose files are gone are drawn again from their seeds.

    Raises:
        DataError: a picture is gone, and its seed draws another one now.
    """
    from regen.preferences.votes import Votes

    return Votes.of_table(votes.table, pictures(workspace, votes.table))


def pictures(workspace: Workspace, table: pd.DataFrame) -> "dict[str, Float[Tensor, 'c h w']]":
    """Every picture that the votes are on, by its digest."""
    folder = images_folder(workspace)
    sides = [
        table[[f"{name}_{side}" for name in ("sample", "model", "version", "seed")]].set_axis(
            ["sample", "model", "version", "seed"], axis=1
        )
        for side in ("a", "b")
    ]
    wanted = pd.concat(sides).drop_duplicates("sample")
    gone = wanted[[not (folder / f"{digest}.png").is_file() for digest in wanted["sample"]]]
    for (model, number), some in gone.groupby(["model", "version"]):
        _draw_again(workspace, f"{model}/{number}", dict(zip(some["sample"], some["seed"], strict=True)))
    return read_pictures(folder, wanted["sample"])


def _draw_again(workspace: Workspace, reference: str, seeds: dict[str, int]) -> None:
    from regen.registry import packaging, versions

    version = versions.resolve(reference)
    network = packaging.load_network(version.kind, version.uri)
    folder = images_folder(workspace)
    drawn = [
        write_picture(folder, pixels, version.model, version.number, seed).sha256
        for pixels, seed in zip(samples_of(network, list(seeds.values())), seeds.values(), strict=True)
        if not isinstance(pixels, dict)
    ]
    if changed := seeds.keys() - set(drawn):
        raise DataError(
            f"{len(seeds)} pictures that were voted on are gone from {folder}, and {reference} draws others from the seeds of "
            f"{len(changed)} of them now, such as {min(changed)[:12]}; bring the files back"
        )


def head_to_head(store: Store, model: str, number: int, base: int) -> dict[str, Float64[np.ndarray, " n"]]:
    """What people said of a version's samples beside its base's: each person's wins (1), ties (½) and losses (0)."""
    found = export.votes(store)
    versions = found[["version_a", "version_b"]]
    mine = found[
        (found["model_a"] == model) & (found["model_b"] == model) & ~(found["skipped"] | found["gold"] | found["repeat"])
        & ~found["fast"] & (versions.min(axis=1) == min(number, base)) & (versions.max(axis=1) == max(number, base))
        & (found["version_a"] != found["version_b"])
    ]  # fmt: skip
    sides = np.where(mine["version_a"] == number, -1, 1)
    wins = 0.5 + 0.5 * sides * mine["choice"].to_numpy(np.float64)
    people = mine["annotator"].to_numpy()
    return {str(name): wins[people == name] for name in sorted(set(people))}
