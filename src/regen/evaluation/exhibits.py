"""The images and scores that the report shows, picked by rule and not by eye."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8

from regen.core.seeds import derive
from regen.data.splits import Dataset
from regen.evaluation import latent
from regen.evaluation.frechet import Features
from regen.evaluation.measure import Measured, features_of
from regen.models.extractor import Extractor
from regen.models.gan import Generator
from regen.models.neighbours import nearest
from regen.models.networks import to_pixels, to_tensor
from regen.models.vae import Vae

Images = UInt8[np.ndarray, "n h w c"]
SHOWN, PAIRS = 40, 16
"""Images of a grid at most, and pairs that stand for all."""
BUDGET = 80_000
"""Bytes of pixels in a grid at most, so that large images leave the page small."""
CHUNK = 1024
"""Queries whose distances to all training rows are held at once."""


@dataclass(frozen=True)
class Pairs:
    """Images, and the training image nearest to each in the extractor's space, in one order."""

    images: Images
    nearest: Images
    distances: Float64[np.ndarray, " n"]

    def closest(self, n: int) -> "Pairs":
        """The `n` pairs that lie closest together, the closest first."""
        order = np.argsort(self.distances, kind="stable")[:n]
        return Pairs(self.images[order], self.nearest[order], self.distances[order])

    def first(self, n: int) -> "Pairs":
        """The first `n` pairs."""
        return Pairs(self.images[:n], self.nearest[:n], self.distances[:n])


@dataclass(frozen=True)
class Rebuilt:
    """Images, and what the VAE makes of them."""

    images: Images
    rebuilt: Images

    @property
    def error(self) -> Images:
        """Absolute difference of each pixel, amplified so that the largest one is white."""
        apart = np.abs(self.images.astype(np.int16) - self.rebuilt.astype(np.int16))
        return (apart * (255 / max(int(apart.max()), 1))).round().astype(np.uint8)


@dataclass(frozen=True)
class Exhibits:
    """All that the report shows besides figures."""

    real: Images
    samples: Mapping[str, Pairs]
    """Kind to its first samples beside their nearest training images."""
    closest: Mapping[str, Pairs]
    """The pairs that lie closest together, of all test images (`real`, the control) and of as many samples of each kind."""
    reconstructed: Rebuilt
    """Normal test rows, one class after the other."""
    worst: Rebuilt
    """The normal test rows that the VAE reconstructs worst."""
    scores: Mapping[str, np.ndarray]
    """Anomaly scores of each group of test rows."""
    threshold: float
    paths: Mapping[str, Images] = field(default_factory=dict)
    """Kind to images along straight latent paths, `latent.STEPS` a path."""
    champions: Mapping[str, Images] = field(default_factory=dict)
    """Kind to the champion's samples, from the latents that the candidate's first samples come from."""

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        generator: Generator,
        vae: Vae,
        extractor: Extractor,
        measured: Mapping[str, Measured],
        champions: Mapping[str, Measured],
        seed: int,
    ) -> "Exhibits":
        """Picks them from the test rows and from what was measured."""
        test, is_anomaly = dataset.pixels("test"), dataset.is_anomaly[dataset.rows("test")]
        scores, errors = measured["vae"].scores, measured["vae"].errors
        assert scores is not None and errors is not None  # measured on a VAE
        n, pairs = shown(test, SHOWN), shown(test, PAIRS)
        rows = min(latent.ROWS, max(2, BUDGET // (latent.STEPS * test[0].size)))
        normal = np.flatnonzero(~is_anomaly)
        turns = normal[latent.spread_over_classes(dataset.labels[dataset.rows("test")][normal].tolist(), len(normal))]
        worst = normal[np.argsort(-errors[normal], kind="stable")[:pairs]]
        train = dataset.pixels("train")
        reference = features_of(extractor, train)
        found = {
            "real": pair_up(test, train, extractor, reference),
            **{kind: pair_up(measured[kind].samples, train, extractor, reference) for kind in ("gan", "vae")},
        }
        groups = {"normal": scores[~is_anomaly], "anomaly": scores[is_anomaly]}
        return cls(
            test[:n],
            {kind: found[kind].first(n) for kind in ("gan", "vae")},
            {kind: one.closest(pairs) for kind, one in found.items()},
            _rebuild(vae, test[turns[:pairs]]),
            _rebuild(vae, test[worst]),
            {name: values for name, values in groups.items() if len(values)},
            float(vae.threshold),
            {
                "gan": latent.gan_paths(generator, derive(seed, "report", "paths"), rows),
                "vae": latent.vae_paths(vae, to_tensor(test[turns[: 2 * rows]])),
            },
            {kind: one.samples[:n] for kind, one in champions.items()},
        )


def shown(images: Images, most: int) -> int:
    """How many images of this size a grid holds: at most `most`, at least a row of 8, within the budget of bytes.

    Example:
        >>> shown(np.zeros((500, 8, 8, 1), np.uint8), 40), shown(np.zeros((500, 64, 64, 3), np.uint8), 40)
        (40, 8)
    """
    affordable = BUDGET // max(int(np.prod(images.shape[1:])), 1) // 8 * 8
    return min(most, max(affordable, 8), len(images))


def pair_up(images: Images, train: Images, extractor: Extractor, reference: Features) -> Pairs:
    """Each image with the training image whose features are nearest.

    Args:
        reference: the training images' features.
    """
    rows, distances = _nearest(features_of(extractor, images), reference)
    return Pairs(images, train[rows], distances)


def _nearest(queries: Features, reference: Features) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    found = [
        nearest(torch.from_numpy(queries[at : at + CHUNK]), torch.from_numpy(reference), 1)
        for at in range(0, len(queries), CHUNK)
    ]
    rows = np.concatenate([one.rows[:, 0].numpy() for one in found])
    return rows, np.concatenate([one.distances[:, 0].numpy() for one in found])


def _rebuild(vae: Vae, images: Images) -> Rebuilt:
    return Rebuilt(images, to_pixels(vae.reconstruct(to_tensor(images))))
