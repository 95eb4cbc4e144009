"""What people are shown: a registered model's samples, drawn from seeds of their own, as files or rows named by digests."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8

from regen.core import files
from regen.core.seeds import derive
from regen.core.workspace import Workspace
from regen.preferences.campaigns import Sample
from regen.preferences.pairs import GOLD_SHARE
from regen.preferences.tables import Kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Pixels = UInt8[np.ndarray, "h w c"]
Row = dict[str, Any]
"""A table's row: values by column, as JSON has them."""
DIGITS = 6
"""Significant digits of the numbers that people are shown."""


class Draws(Protocol):
    """A model that people can judge: of images, or of a table's rows."""

    def sample(self, n: int, generator: "torch.Generator") -> "Tensor | pd.DataFrame":
        """`n` images in [0, 1], or `n` rows."""


def images_folder(workspace: Workspace) -> Path:
    """Where the pictures lie that reviews show."""
    return workspace.state / "review"


def samples_of(model: Draws, seeds: Sequence[int]) -> list[Pixels | Row]:
    """A sample from each seed, the same whenever it is drawn."""
    import torch

    return [_as_shown(model.sample(1, torch.Generator().manual_seed(seed))) for seed in seeds]


def _as_shown(drawn: "Tensor | pd.DataFrame") -> Pixels | Row:
    from regen.models.networks import to_pixels

    if isinstance(drawn, pd.DataFrame):
        return {str(column): _plain(value) for column, value in drawn.iloc[0].items()}
    pixels: Pixels = to_pixels(drawn)[0]
    return pixels


def _plain(value: Any) -> Any:
    """A cell as JSON has it; nothing where it is missing."""
    if pd.isna(value):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}")
    return str(value)


def draw_samples(
    folder: Path, version: Any, n: int, n_pairs: int, seed: int
) -> tuple[list[Sample], list[tuple[int, Sample]]]:
    """`n` samples of a registered version, and spoilt copies of some, each with its original's number.

    Each sample has a seed of its own, which draws it again.
    """
    from regen.registry import packaging

    seeds = [derive(seed, "sample", i) for i in range(n)]
    drawn = samples_of(packaging.load_network(version.kind, version.uri), seeds)
    return recorded(folder, version.model, version.number, drawn, seeds, n_pairs, derive(seed, "spoilt"))


def recorded(
    folder: Path, model: str, number: int, drawn: Sequence[Pixels | Row], seeds: Sequence[int], n_pairs: int, seed: int
) -> tuple[list[Sample], list[tuple[int, Sample]]]:
    """Samples as a campaign shows them, and as many spoilt copies as `n_pairs` pairs have known ones."""
    rng = np.random.default_rng(seed)

    def record(one: Pixels | Row, seed: int, **meta: Any) -> Sample:
        if isinstance(one, dict):
            return row_sample(one, model, number, seed)
        return write_picture(folder, one, model, number, seed, **meta)

    samples = [record(one, of) for one, of in zip(drawn, seeds, strict=True)]
    can_be_spoilt = [i for i, one in enumerate(drawn) if isinstance(one, dict) or one.std() > 0]
    chosen = can_be_spoilt[: round(n_pairs * GOLD_SHARE)]
    return samples, [(i, record(_spoilt(drawn[i], rng), seeds[i], spoilt=True)) for i in chosen]


def _spoilt(one: Pixels | Row, rng: np.random.Generator) -> Pixels | Row:
    """What anybody looking at it will find worse: pixels in another order, or a row with every second value missing."""
    if isinstance(one, dict):
        return {column: None if i % 2 == 0 else value for i, (column, value) in enumerate(one.items())}
    return shuffled(one, rng)


def shuffled(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The same pixels in another order."""
    flat = pixels.reshape(-1, pixels.shape[-1])
    return flat[rng.permutation(len(flat))].reshape(pixels.shape)


def row_sample(row: Row, model: str, number: int, seed: int) -> Sample:
    """A row as a sample, known by the digest of its values."""
    content = json.dumps(row, sort_keys=True, allow_nan=False).encode()
    return Sample(hashlib.sha256(content).hexdigest(), model, number, seed, Kind.ROW, row)


def write_picture(folder: Path, pixels: Pixels, model: str, number: int, seed: int, **meta: Any) -> Sample:
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
