"""Figures class by class: which classes a model makes too rarely, badly, or reconstructs badly.

The extractor names the classes of real and generated images alike, so that its mistakes fall on both sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from regen.core.sections.evaluation import EvaluationConfig
from regen.core.seeds import derive
from regen.data.splits import Dataset
from regen.evaluation.frechet import Features, measure_frechet
from regen.evaluation.intervals import Estimate, bootstrap
from regen.evaluation.measure import Sampler, features_of
from regen.models.extractor import Extractor
from regen.models.networks import to_pixels, to_tensor

SETS, DRAWS = 4, 100
"""Sets of samples, each as large as the test split, and resamples at most: classes are many, and the figures a hint."""
NOTHING = Estimate(nan, nan, nan)
"""The figure of a class with too few rows."""


@dataclass(frozen=True)
class Generated:
    """One model's figures for a class."""

    share: float
    """Share of its samples that the extractor puts into the class."""
    frechet: Estimate
    """Distance between those samples and the class's real rows, as many of each; NaN where there are too few."""


@dataclass(frozen=True)
class ClassFigures:
    """One class's figures."""

    name: str
    rows: int
    """Test rows that the extractor puts into the class."""
    share: float
    """Their share of the test rows."""
    frechet_floor: Estimate
    """What as many training rows reach, the distance to hold the models' against."""
    generated: Mapping[str, Generated]
    """Kind of model to its figures."""
    reconstruction_mse: Estimate
    """The VAE's mean error on the test rows labelled so."""


@dataclass(frozen=True)
class _Named:
    """Features with the classes that the extractor gives them."""

    features: Features
    classes: Int64[np.ndarray, " n"]

    @classmethod
    def of(cls, extractor: Extractor, pixels: UInt8[np.ndarray, "n h w c"]) -> "_Named":
        return cls(features_of(extractor, pixels), extractor.classes(to_tensor(pixels)).numpy())

    def share(self, position: int) -> float:
        return float((self.classes == position).mean())


def measure_classes(
    dataset: Dataset,
    models: Mapping[str, Sampler],
    extractor: Extractor,
    errors: np.ndarray,
    config: EvaluationConfig,
    seed: int,
) -> list[ClassFigures]:
    """Every class's figures, in the order of the labels; of an extractor that knows no classes, none.

    Args:
        errors: mean squared error of each test row's reconstruction.
    """
    labels = sorted(set(dataset.labels.tolist()))
    if len(labels) != extractor.classifier.out_features or len(labels) < 2:
        return []
    test, train = (_Named.of(extractor, dataset.pixels(split)) for split in ("test", "train"))
    samples = {kind: _Named.of(extractor, _sample(model, len(test.classes), seed)) for kind, model in models.items()}
    true = dataset.labels[dataset.rows("test")]
    return [
        ClassFigures(
            dataset.name(label),
            int((test.classes == position).sum()),
            test.share(position),
            _distance(test, train, position, config, seed),
            {
                kind: Generated(named.share(position), _distance(test, named, position, config, seed))
                for kind, named in samples.items()
            },
            _mean(errors[true == label], config, seed),
        )
        for position, label in enumerate(labels)
    ]


def _sample(model: Sampler, n: int, seed: int) -> UInt8[np.ndarray, "n h w c"]:
    return to_pixels(model.sample(SETS * n, torch.Generator().manual_seed(derive(seed, "evaluation", "classes"))))


def _distance(real: _Named, fake: _Named, position: int, config: EvaluationConfig, seed: int) -> Estimate:
    """The distance within a class; NaN unless each set has more rows than features, which a covariance needs."""
    ours, theirs = (named.features[named.classes == position] for named in (real, fake))
    n, rng = min(len(ours), len(theirs)), np.random.default_rng(derive(seed, "classes", str(position)))
    if n <= ours.shape[1]:
        return NOTHING
    fakes = [theirs[rng.permutation(len(theirs))[:n]] for _ in range(SETS)]
    draws = min(config.bootstrap_draws, DRAWS)
    return measure_frechet(ours[:n], fakes, draws, derive(seed, "frechet")).estimate(config.confidence)


def _mean(values: np.ndarray, config: EvaluationConfig, seed: int) -> Estimate:
    if len(values) < 2:
        return NOTHING
    return bootstrap(
        lambda rows: float(values[rows].mean()), [np.arange(len(values))], config.bootstrap_draws, derive(seed, "classes")
    ).estimate(config.confidence)  # fmt: skip
