"""Folders of images as features: which extractor is meant, what size the images come to, and which cannot be read."""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from regen.core.errors import DataError, EvaluationError
from regen.core.seeds import derive
from regen.data.folder import BATCH, ENDINGS, FORMATS, find, read_image
from regen.evaluation.space import FeatureSet, Judge
from regen.models.extractors import DEFAULT, Extractor
from regen.stages.progress import Watch

NAMED = 5
"""How many bad images an error names."""
SMALLEST = 8
"""Pixels on a side under which an image holds too little to compare."""


@dataclass(frozen=True)
class Pictures:
    """The image files of a folder, in the order in which they are taken."""

    called: str
    """What the user calls the folder."""
    root: Path
    files: tuple[str, ...]
    n: int | None = None
    """How many sound ones to take; all when absent."""

    def drawn(self, n: int, seed: int) -> "Pictures":
        """The same files shuffled by the seed, of which `n` shall be taken."""
        order = np.random.default_rng(derive(seed, "metrics", self.called)).permutation(len(self.files))
        return Pictures(self.called, self.root, tuple(self.files[i] for i in order), n)


@dataclass(frozen=True)
class Embedded:
    """The features of a folder's images."""

    features: FeatureSet
    skipped: tuple[tuple[str, str], ...]
    """Files that gave no image, each with the reason."""


def open_extractor(name: str) -> Extractor:
    """The extractor that a name means: `random-conv-v1`, `inception:FILE` for FID, or a registered one such as MODEL@ALIAS.

    Raises:
        EvaluationError: there is no such extractor, or the file is not the one.
        RegistryError: there is no such registered model.
    """
    kind, colon, file = name.partition(":")
    if colon and kind == "inception":
        import torch

        from regen.models.inception import Inception

        device = "cuda" if torch.cuda.is_available() else "cpu"
        return Inception.load(Path(file).expanduser(), device=device)
    if name == DEFAULT:
        from regen.models.random_features import RandomConv

        return RandomConv()
    if "-extractor" in name:
        from regen.stages.freeze import open_registered

        return open_registered(name)
    raise EvaluationError(
        f"there is no extractor {name}; name {DEFAULT}, inception:FILE for FID, or a project's own, PROJECT-extractor"
    )


def pictures(called: str, root: Path) -> Pictures:
    """The images in a folder and all below it; hidden files are passed over.

    Raises:
        DataError: there are none.
    """
    found = find(root)
    files = sorted([*(path for path, _ in found.files), *found.strays])
    if not files:
        kinds = ", ".join(ending[1:] for ending in ENDINGS)
        raise DataError(
            f"{called}, {root}, holds no images ({found.ignored} files of other kinds); wanted {kinds} files"
        )
    return Pictures(called, root, tuple(files))


def common_side(folders: Sequence[Pictures]) -> int:
    """The shorter side that all images share.

    Raises:
        EvaluationError: they differ, so that someone must say which size to compare them at.
    """
    found = {one.root / file: _side(one.root / file) for one in folders for file in one.files[: one.n]}
    for path, side in found.items():
        if side is not None and side < SMALLEST:
            raise EvaluationError(
                f"{path} is {side} pixels across, too little to compare; remove it, or enlarge all to --resolution {SMALLEST}"
            )
    sides = {side for side in found.values() if side}
    if len(sides) > 1:
        raise EvaluationError(
            f"the images are from {min(sides)} to {max(sides)} pixels across, and a score needs one size; --resolution "
            f"{min(sides)} cuts each to its centre square and brings it to {min(sides)}×{min(sides)}"
        )
    return max(sides, default=SMALLEST)  # none can be read, which reading them will tell


def _side(file: Path) -> int | None:
    """The shorter side of an image by the head of its file; None if it has none that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=FORMATS) as image:
                return min(image.size)
    except Exception:  # decoders raise anything when they meet damaged bytes; reading names the file with the reason
        return None


def embed(folder: Pictures, extractor: Extractor, resolution: int, watch: Watch, *, skip_bad: bool) -> Embedded:
    """The features of the folder's images, as many as shall be taken.

    Images that cannot be read end the work once all are known, unless they shall be skipped.

    Raises:
        DataError: images cannot be read.
        EvaluationError: the resolution is under 8 pixels.
    """
    if resolution < SMALLEST:
        raise EvaluationError(f"images of {resolution} pixels hold too little to compare; wanted at least {SMALLEST}")
    features = FeatureSet(Judge(extractor.spec.space, extractor.spec.digest))
    bad, done, taken = list[tuple[str, str]](), 0, 0
    wanted = len(folder.files) if folder.n is None else folder.n
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        warnings.simplefilter("ignore")  # of odd palettes and EXIF
        while taken < wanted and done < len(folder.files):
            files = folder.files[done : done + min(BATCH, wanted - taken)]
            paths = [folder.root / file for file in files]
            read = list(pool.map(lambda path: read_image(path, resolution, extractor.spec.channels), paths))
            bad += [(file, one) for file, one in zip(files, read, strict=True) if isinstance(one, str)]
            sound = [one for one in read if not isinstance(one, str)]
            done, taken = done + len(files), taken + (len(sound) if skip_bad else len(files))
            if sound and (skip_bad or not bad):
                features = features.update(extractor.features(np.stack(sound)))
            watch(f"images of {folder.called}", min(taken, wanted), wanted)
    if bad and not skip_bad:
        raise DataError(_told(folder, bad))
    return Embedded(features, tuple(bad))


def _told(folder: Pictures, bad: list[tuple[str, str]]) -> str:
    named = "; ".join(f"{file}: {reason}" for file, reason in bad[:NAMED])
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return (
        f"{len(bad)} of the images in {folder.called}, {folder.root}, cannot be read ({named}{more}); mend or remove them, "
        "or leave them out with --skip-bad"
    )
