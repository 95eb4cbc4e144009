"""Self-tests that admit a feature extractor: what is plainly worse must lie further from the real rows.

Real rows are halved. One half is the reference; the other is spoilt step by step, with rising noise, with rising blur, and by
leaving out ever more of its classes, as Heusel et al. (2017, https://arxiv.org/abs/1706.08500, figure 3) spoil images to show
that a distance follows. An extractor in whose space one of these ladders does not rise at every rung judges nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from regen.core.errors import EvaluationError
from regen.core.seeds import derive
from regen.evaluation.frechet import Features, Gaussian, frechet_distance

LARGEST = 1200
"""Rows that are used at most."""
HALVINGS = 8
"""Ways to halve the rows; each half is the reference once, and a rung is the mean over all.

With a single halving, chance puts the two halves apart in a direction that weak noise may undo."""
NOISE = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Standard deviations of the noise, 1 being the range of the pixels."""
BLUR = (1 / 16, 1 / 8, 1 / 4)
"""Standard deviations of the Gaussian filter, as shares of the image's height."""
DROPPED = (0.1, 0.25, 0.5)
"""Shares of the classes that are left out, rounded to whole classes."""
CLUSTERS = 10
"""Groups of similar images that stand for classes where there is one class only."""

Pixels = UInt8[np.ndarray, "n h w c"]


@dataclass(frozen=True)
class Ladder:
    """Distances to the reference as one kind of damage rises."""

    name: str
    levels: tuple[float, ...]
    distances: tuple[float, ...]

    @property
    def in_order(self) -> bool:
        """Whether each rung lies above the one before it."""
        return all(below < above for below, above in pairwise(self.distances))

    def __str__(self) -> str:
        return f"{self.name} gives {', '.join(f'{distance:.4g}' for distance in self.distances)}"


@dataclass(frozen=True)
class Admission:
    """What the self-tests found."""

    floor: float
    """Fréchet distance between two sets of real rows."""
    rows: int
    """Rows in each of the two sets."""
    modes: str
    """What the ladder of dropped modes left out: classes, or clusters of similar images where there is one class only."""
    ladders: tuple[Ladder, ...]

    @property
    def failed(self) -> list[Ladder]:
        """The ladders that do not rise."""
        return [ladder for ladder in self.ladders if not ladder.in_order]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        ladders = [{**asdict(ladder), "in_order": ladder.in_order} for ladder in self.ladders]
        return {"floor": self.floor, "rows": self.rows, "modes": self.modes, "ladders": ladders}


def examine(
    features: Callable[[Pixels], Features], pixels: Pixels, labels: Int64[np.ndarray, " n"], seed: int
) -> Admission:
    """Climbs every ladder in the space of `features`.

    Args:
        pixels: real rows that the extractor was not trained on.
        labels: the class of each.

    Raises:
        EvaluationError: there are too few rows, or a feature is not finite.
    """
    rng = np.random.default_rng(derive(seed, "admission"))
    if len(pixels) > LARGEST:
        few = np.linspace(0, len(pixels) - 1, LARGEST).round().astype(np.int64)
        pixels, labels = pixels[few], labels[few]
    unit, half = rng.standard_normal(pixels.shape), len(pixels) // 2
    real = features(pixels)
    noisy = [real, *(features(_noisy(pixels, unit, level)) for level in NOISE)]
    blurred = [real, *(features(_blurred(pixels, level)) for level in BLUR)]
    modes, kind = _modes(pixels, labels, seed)
    counts = _dropped(len(set(modes.tolist())))
    climbs: dict[str, list[list[float]]] = {"rising noise": [], "rising blur": [], f"dropped {kind}": []}
    for _ in range(HALVINGS):
        rows = rng.permutation(len(pixels))
        for first, second in ((rows[:half], rows[half:]), (rows[half:], rows[:half])):
            reference, order = Gaussian.fit(real[first]), rng.permutation(np.unique(modes))
            sets = (
                [spoilt[second] for spoilt in noisy],
                [spoilt[second] for spoilt in blurred],
                [real[kept] for kept in _without(modes, order, counts, second)],
            )
            for climb, rungs in zip(climbs.values(), sets, strict=True):
                climb.append([frechet_distance(reference, Gaussian.fit(rung)) for rung in rungs])
    levels = ((0.0, *NOISE), (0.0, *BLUR), tuple(map(float, counts)))
    ladders = tuple(
        Ladder(name, of, tuple(np.mean(climb, axis=0).tolist()))
        for (name, climb), of in zip(climbs.items(), levels, strict=True)
    )
    return Admission(ladders[0].distances[0], half, kind, ladders)


def require_admitted(admission: Admission, images: int) -> None:
    """Refuses an extractor whose ladders do not all rise.

    Args:
        images: the budget it was trained with.

    Raises:
        EvaluationError: one does not.
    """
    if admission.failed:
        raise EvaluationError(
            f"the extractor is not fit to judge: {'; '.join(map(str, admission.failed))}, where each distance should be "
            f"above the one before; raise extractor.images, now {images:,}, or extractor.features"
        )


def _noisy(pixels: Pixels, unit: np.ndarray, level: float) -> Pixels:
    """The same noise at every level, only stronger, so that rungs differ by its strength alone."""
    spoilt: np.ndarray = np.clip(np.rint(pixels + 255 * level * unit), 0, 255).astype(np.uint8)
    return spoilt


def _blurred(pixels: Pixels, level: float) -> Pixels:
    from scipy.ndimage import gaussian_filter

    sigma = level * pixels.shape[1]
    spoilt: np.ndarray = np.rint(gaussian_filter(pixels.astype(np.float32), (0, sigma, sigma, 0))).astype(np.uint8)
    return spoilt


def _modes(pixels: Pixels, labels: Int64[np.ndarray, " n"], seed: int) -> tuple[Int64[np.ndarray, " n"], str]:
    """Each row's class or, where there is one class only, its cluster of images alike in their pixels."""
    if len(set(labels.tolist())) > 1:
        return labels, "classes"
    from sklearn.cluster import KMeans

    clusters = KMeans(min(CLUSTERS, len(pixels)), n_init=1, random_state=derive(seed, "clusters") % 2**32)
    found: np.ndarray = clusters.fit_predict(pixels.reshape(len(pixels), -1) / 255.0)
    return found, "clusters"


def _dropped(n_modes: int) -> list[int]:
    """How many modes each rung leaves out; none first.

    Example:
        >>> _dropped(10), _dropped(2)
        ([0, 1, 2, 5], [0, 1])
    """
    return sorted({0, *(min(max(round(share * n_modes), 1), n_modes - 1) for share in DROPPED)})


def _without(modes: np.ndarray, order: np.ndarray, counts: list[int], rows: np.ndarray) -> Iterator[np.ndarray]:
    """The rows that each rung keeps, as many at each, since the distance falls with their number."""
    left = [rows[~np.isin(modes[rows], order[:count])] for count in counts]
    return (kept[: len(left[-1])] for kept in left)
