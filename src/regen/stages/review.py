"""Opens a review: samples drawn from a registered model, or from two, and pairs made of them; votes come and go as files."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from regen.core import files
from regen.core.environment import store_uri
from regen.core.errors import ConfigError
from regen.core.seeds import derive
from regen.core.workspace import Workspace
from regen.preferences import campaigns, export, imports, pairs, people
from regen.preferences.campaigns import Campaign, Sample
from regen.preferences.export import FORMATS, Format
from regen.preferences.pairs import Disagreement
from regen.preferences.store import Store
from regen.preferences.tables import Kind
from regen.stages.drawing import draw_samples, images_folder, read_pictures

if TYPE_CHECKING:
    from torch import Tensor

    from regen.models.reward import RewardEnsemble

    Disagrees = Callable[[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]], Float[Tensor, " n"]]

PAIRS, NEED = 200, 1
BATCH = 1024
"""Pairs that are scored at a time."""
LEAST_SAMPLES = 16
ENDINGS: dict[Format, str] = {
    "parquet": ".parquet", "jsonl": ".jsonl", "trl": "-trl.jsonl", "labelstudio": "-labelstudio.json",
}  # fmt: skip
"""How the name of an export's file ends: no two formats overwrite each other."""
GUIDELINES = """\
You will see two samples side by side. Choose the one that you would rather have: the one that looks more real, is easier \
to recognise, and has fewer flaws.

Judge each pair by itself, and at your own pace. When you cannot tell the two apart, say that they are equally good; when \
you would want neither, say that both are bad. Skip a pair only when you cannot judge it at all.
"""
ADDRESS = "REGEN_VOTES"
"""The environment variable that names another store of votes."""


@dataclass(frozen=True)
class Opened:
    """A campaign that can be served."""

    campaign: Campaign
    is_new: bool
    reviewer: str
    """Who the token is for; empty when none was made."""
    token: str
    """A reviewer's token, made with the campaign and never to be read again; empty later."""


def open_store(workspace: Workspace) -> Store:
    """The project's store of votes: .regen/votes.db, or what the environment variable REGEN_VOTES names.

    To be opened by `with`, which gives its connections back: a server has only so many.

    Raises:
        ConfigError: the variable names no database.
        StorageError: the database is out of reach or refuses.
    """
    return Store.open(os.environ.get(ADDRESS) or store_uri(workspace.state / "votes.db"))


def open_review(
    workspace: Workspace, store: Store, reference: str, seed: int, n_pairs: int | None = None, need: int | None = None,
    guidelines: str | None = None, disagreement: "Disagrees | None" = None, against: str | None = None,
    *, invites: bool = True,
) -> Opened:  # fmt: skip
    """The open campaign about a registered model's version; a new one where there is none.

    Args:
        reference: the model, as NAME, NAME@ALIAS or NAME/NUMBER.
        n_pairs: pairs in a new campaign, gold ones and repeats included; 200 if left out.
        need: how many people judge each pair; 1 if left out.
        guidelines: what people are told to look for.
        disagreement: how much a vote on pairs of pictures would teach, given those of one side and of the other, as
            `reward.disagreement` of a reward ensemble says; half the pairs are chosen by it.
        against: another version, whose samples stand beside this one's in every pair, in either place.
        invites: whether a reviewer is made with a new campaign, who can vote by the token that is given back.

    Raises:
        RegistryError: there is no such model.
        ConfigError: the campaign is open already with other numbers, or a version would stand against itself.
    """
    from regen.registry import tracking, versions

    tracking.open_store(workspace)
    shown = [versions.resolve(name) for name in (reference, against) if name is not None]
    named = [f"{version.model}/{version.number}" for version in shown]
    if against is not None and named[0] == named[1]:
        raise ConfigError(
            f"{reference} and {against} are one version, {named[0]}; name another by --against, or leave it out to judge "
            "this one's samples among themselves"
        )
    subject = " against ".join(named)
    about = [campaign for campaign in campaigns.every(store) if campaign.subject == subject]
    if about and about[0].closed is None:
        _require_same(about[0], n_pairs, need)
        return Opened(about[0], is_new=False, reviewer="", token="")
    numbers = [part for version in shown for part in (version.model, version.number)]
    round_seed = derive(seed, "review", *numbers, len(about))
    n_pairs, need, folder = n_pairs or PAIRS, need or NEED, images_folder(workspace)
    rng = np.random.default_rng(derive(round_seed, "pairs"))
    if against is None:
        samples, spoilt = draw_samples(folder, shown[0], max(n_pairs, LEAST_SAMPLES), n_pairs, round_seed)
        are_pictures = samples[0].kind is Kind.IMAGE
        scores = _of_numbers(disagreement, folder, samples) if disagreement and are_pictures else None
        planned = pairs.plan(pairs.split_samples(len(samples), rng), n_pairs, rng, scores, _gold(spoilt, samples, rng))
    else:
        mine, spoilt = draw_samples(folder, shown[0], n_pairs, n_pairs, round_seed)
        theirs, _ = draw_samples(folder, shown[1], n_pairs, 0, derive(round_seed, "against"))
        samples = [*mine, *theirs]
        planned = pairs.plan_between(len(mine), n_pairs, rng, _gold(spoilt, samples, rng))
    name = "-".join([*(f"{version.model}-{version.number}" for version in shown), str(len(about) + 1)])
    every = [*samples, *(copy for _, copy in spoilt)]
    number = campaigns.create(store, name, subject, guidelines or GUIDELINES, every, planned, need)
    if not invites:
        return Opened(campaigns.get(store, number), is_new=True, reviewer="", token="")
    reviewer = f"reviewer-{len(people.everyone(store)) + 1}"
    return Opened(campaigns.get(store, number), is_new=True, reviewer=reviewer, token=people.add(store, reviewer))


@dataclass(frozen=True)
class Taught:
    """What a vote on pairs of pictures would teach the reward in a folder, which is read when it is first asked."""

    folder: Path

    @cached_property
    def reward(self) -> "RewardEnsemble":
        """The reward."""
        from regen.models import storage

        found: RewardEnsemble = storage.load(self.folder, "reward")
        return found

    def __call__(
        self, images_a: "Float[Tensor, 'n c h w']", images_b: "Float[Tensor, 'n c h w']"
    ) -> "Float[Tensor, ' n']":
        """How much a vote on each pair would teach, in nats."""
        from regen.preferences.reward import disagreement

        return disagreement(self.reward, images_a, images_b)


def newest_reward(workspace: Workspace, project: str, reference: str) -> Taught | None:
    """The reward that was learned last from votes on a model's samples; None before there is one."""
    model = reference.partition("@")[0].partition("/")[0]
    for kind in ("gan", "vae"):
        report = workspace.outputs(project) / f"learn_{kind}" / "report.json"
        if report.is_file() and files.read_json(report)["model"] == model:
            return Taught(report.parent)
    return None


def _of_numbers(disagreement: "Disagrees", folder: Path, samples: Sequence[Sample]) -> Disagreement:
    """A disagreement on pictures as one on the numbers of samples."""
    import torch

    seen = read_pictures(folder, {sample.sha256 for sample in samples})
    pictures = torch.stack([seen[sample.sha256] for sample in samples])

    def on_numbers(chosen: pairs.Numbers) -> Float[np.ndarray, " n"]:
        batches = torch.from_numpy(chosen).split(BATCH)
        scores: np.ndarray = torch.cat([disagreement(pictures[of[:, 0]], pictures[of[:, 1]]) for of in batches]).numpy()
        return scores

    return on_numbers


def _require_same(campaign: Campaign, n_pairs: int | None, need: int | None) -> None:
    met = campaign.pairs, campaign.need
    if (asked := (n_pairs or met[0], need or met[1])) != met:
        raise ConfigError(
            f"campaign {campaign.id} about {campaign.subject} is open with {met[0]} pairs for {met[1]} each, not {asked[0]} "
            f"for {asked[1]}; leave --pairs and --need out to go on with it, or end it by 'regen votes close {campaign.id}' "
            "and open another"
        )


def _gold(
    spoilt: Sequence[tuple[int, Sample]], samples: Sequence[Sample], rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Pairs whose answer is known: a sample and a spoilt copy of it, in either order."""
    found = []
    for place, (original, _) in enumerate(spoilt):
        copy = len(samples) + place
        found.append((original, copy, -1) if rng.random() < 0.5 else (copy, original, 1))
    return found


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    file: Path
    campaign: int
    votes: int
    """Votes of the campaign."""
    written: int
    """Votes that the file holds."""
    people: int
    """How many people cast those."""
    is_recorded: bool
    """Whether the file lies in the folder that votes.dvc records."""


def export_votes(
    workspace: Workspace, store: Store, campaign: int | None, form: Format, out: Path | None, *, training: bool
) -> Exported:
    """Writes a campaign's votes to a file.

    Args:
        out: the file; campaign-NUMBER in the current folder if left out, since DVC records what votes/ holds.

    Raises:
        VoteError: there is no such campaign.
        DataError: only what a reward may learn from is wanted, and there is nothing.
        ConfigError: `out` is a folder.
    """
    assert form in FORMATS
    number = campaigns.choose(store, campaign).id
    found = export.votes(store, number)
    chosen = export.for_training(found) if training else found
    kept = chosen[export.kept_by(chosen, form)]
    name = f"campaign-{number}{ENDINGS[form]}"
    target = out or Path(name)
    if target.is_dir():
        raise ConfigError(f"{target} is a folder; name a file, such as {target / name}")
    with files.replacing(target) as temporary:
        temporary.write_bytes(export.write(chosen, form))
    root = workspace.root
    recorded = target.absolute().is_relative_to(root / "votes") and (root / "votes.dvc").exists()
    return Exported(target, number, len(found), len(kept), kept.annotator.nunique(), recorded)


def import_votes(store: Store, path: Path) -> tuple[int, int]:
    """Records the votes of a file, all or none; gives back how many are new, and how many it holds.

    Raises:
        DataError: a row is broken or contradicts what is recorded; nothing is imported.
    """
    rows = imports.read(path)
    return imports.record(store, rows), len(rows)


def read_guidelines(path: Path) -> str:
    """The guidelines in a text file.

    Raises:
        ConfigError: it cannot be read, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the guidelines {path} cannot be read ({error}); name a text file in UTF-8") from error
    if not text.strip() or "\x00" in text:
        raise ConfigError(f"the guidelines {path} are empty or no text; write what people shall look for")
    return text
