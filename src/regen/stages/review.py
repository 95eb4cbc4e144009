"""Opens a review: samples drawn from a registered model, pairs made of them, everything named by its digest."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from regen.core import files
from regen.core.environment import store_uri
from regen.core.errors import ConfigError
from regen.core.seeds import derive
from regen.core.workspace import Workspace
from regen.preferences import campaigns, export, imports, pairs, people
from regen.preferences.campaigns import Campaign, Sample
from regen.preferences.export import FORMATS, Format
from regen.preferences.pairs import GOLD_SHARE, Disagreement
from regen.preferences.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    Disagrees = Callable[[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]], Float[Tensor, " n"]]

PAIRS, NEED = 200, 1
BATCH = 1024
"""Pairs that are scored at a time."""
LEAST_SAMPLES = 16
SUFFIXES: dict[Format, str] = {"parquet": ".parquet", "jsonl": ".jsonl", "trl": ".jsonl", "labelstudio": ".json"}
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


def images_folder(workspace: Workspace) -> Path:
    """Where the pictures lie that reviews show."""
    return workspace.state / "review"


def open_store(workspace: Workspace) -> Store:
    """The project's store of votes: .regen/votes.db, or what the environment variable REGEN_VOTES names.

    Raises:
        ConfigError: the variable names no database.
        StorageError: the database is out of reach or refuses.
    """
    return Store.open(os.environ.get(ADDRESS) or store_uri(workspace.state / "votes.db"))


def open_review(
    workspace: Workspace, store: Store, reference: str, seed: int, n_pairs: int | None = None, need: int | None = None,
    guidelines: str | None = None, disagreement: "Disagrees | None" = None,
) -> Opened:  # fmt: skip
    """The open campaign about a registered model's version; a new one where there is none.

    Args:
        reference: the model, as NAME, NAME@ALIAS or NAME/NUMBER.
        n_pairs: pairs in a new campaign, gold ones and repeats included; 200 if left out.
        need: how many people judge each pair; 1 if left out.
        guidelines: what people are told to look for.
        disagreement: how much a vote on pairs of pictures would teach, given those of one side and of the other, as
            `reward.disagreement` of a reward ensemble says; half the pairs are chosen by it.

    Raises:
        RegistryError: there is no such model.
        ConfigError: the campaign is open already with other numbers.
    """
    from regen.registry import tracking, versions

    tracking.open_store(workspace)
    version = versions.resolve(reference)
    subject = f"{version.model}/{version.number}"
    about = [campaign for campaign in campaigns.every(store) if campaign.subject == subject]
    if about and about[0].closed is None:
        _require_same(about[0], n_pairs, need)
        return Opened(about[0], is_new=False, reviewer="", token="")
    round_seed = derive(seed, "review", version.model, version.number, len(about))
    n_pairs, need = n_pairs or PAIRS, need or NEED
    samples, spoilt = draw_samples(images_folder(workspace), version, max(n_pairs, LEAST_SAMPLES), n_pairs, round_seed)
    rng = np.random.default_rng(derive(round_seed, "pairs"))
    scores = None if disagreement is None else _of_numbers(disagreement, images_folder(workspace), samples)
    planned = pairs.plan(pairs.split_samples(len(samples), rng), n_pairs, rng, scores, _gold(spoilt, samples, rng))
    name = f"{version.model}-{version.number}-{len(about) + 1}"
    every = [*samples, *(copy for _, copy in spoilt)]
    number = campaigns.create(store, name, subject, guidelines or GUIDELINES, every, planned, need)
    reviewer = f"reviewer-{len(people.everyone(store)) + 1}"
    return Opened(campaigns.get(store, number), is_new=True, reviewer=reviewer, token=people.add(store, reviewer))


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
    met = campaign.pairs, campaign.wanted // max(campaign.pairs, 1)
    if (n_pairs or met[0], need or met[1]) != met:
        raise ConfigError(
            f"campaign {campaign.id} about this version is open with {met[0]} pairs for {met[1]} each; leave --pairs and "
            f"--need out to go on with it, or close it first: regen votes close {campaign.id}"
        )


def draw_samples(
    folder: Path, version: Any, n: int, n_pairs: int, seed: int
) -> tuple[list[Sample], list[tuple[int, Sample]]]:
    """`n` samples of a registered version, and copies of some with their pixels shuffled, each with its original's number.

    Each sample has a seed of its own, which draws it again.
    """
    import torch

    from regen.models.networks import to_pixels
    from regen.registry import packaging

    network = packaging.load_network(version.kind, version.uri)
    seeds = [derive(seed, "sample", i) for i in range(n)]
    drawn = [to_pixels(network.sample(1, torch.Generator().manual_seed(one)))[0] for one in seeds]
    samples = [
        write_picture(folder, pixels, version.model, version.number, one)
        for pixels, one in zip(drawn, seeds, strict=True)
    ]
    rng = np.random.default_rng(derive(seed, "spoilt"))
    varied = [i for i, pixels in enumerate(drawn) if pixels.std() > 0][: round(n_pairs * GOLD_SHARE)]
    spoilt = [
        (i, write_picture(folder, shuffled(drawn[i], rng), version.model, version.number, seeds[i], spoilt=True))
        for i in varied
    ]
    return samples, spoilt


def write_picture(
    folder: Path, pixels: UInt8[np.ndarray, "h w c"], model: str, number: int, seed: int, **meta: Any
) -> Sample:
    """Writes a picture to the file that its digest names."""
    from regen.evaluation.pictures import png

    content = png(pixels)
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{digest}.png"
    if not path.exists():
        with files.replacing(path) as temporary:
            temporary.write_bytes(content)
    height, width, _ = pixels.shape
    return Sample(digest, model, number, seed, meta={"width": width, "height": height, **meta})


def shuffled(pixels: UInt8[np.ndarray, "h w c"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w c"]:
    """The same pixels in another order: a picture that anybody looking at it will find worse."""
    flat = pixels.reshape(-1, pixels.shape[-1])
    return flat[rng.permutation(len(flat))].reshape(pixels.shape)


def _gold(
    spoilt: Sequence[tuple[int, Sample]], samples: Sequence[Sample], rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Pairs whose answer is known: a sample and a spoilt copy of it, in either order."""
    found = []
    for place, (original, _) in enumerate(spoilt):
        copy = len(samples) + place
        found.append((original, copy, -1) if rng.random() < 0.5 else (copy, original, 1))
    return found


def read_pictures(folder: Path, digests: Iterable[str]) -> "dict[str, Float[Tensor, 'c h w']]":
    """The pictures of these digests, in [0, 1]; one whose file is gone is left out."""
    from PIL import Image

    from regen.models.networks import to_tensor

    found = {}
    for digest in digests:
        path = folder / f"{digest}.png"
        if path.is_file():
            pixels = np.array(Image.open(path))
            found[digest] = to_tensor(pixels.reshape(1, *pixels.shape[:2], -1))[0]
    return found


def export_votes(
    workspace: Workspace, store: Store, campaign: int | None, form: Format, out: Path | None, *, training: bool
) -> tuple[Path, int, int]:
    """Writes a campaign's votes to a file; gives back the file, how many votes it holds, and of how many people.

    Raises:
        VoteError: there is no such campaign.
        DataError: only what a reward may learn from is wanted, and there is nothing.
    """
    assert form in FORMATS
    number = campaigns.choose(store, campaign).id
    found = export.votes(store, number)
    kept = export.for_training(found) if training else found
    target = out or workspace.root / "votes" / f"campaign-{number}{SUFFIXES[form]}"
    with files.replacing(target) as temporary:
        temporary.write_bytes(export.write(kept, form))
    return target, len(kept), kept.annotator.nunique()


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
