"""Class by class: a copy of the data is good everywhere, and what a model leaves out shows in its own class."""

import numpy as np
import pytest
import torch
from torch import Tensor

from regen.core.sections.evaluation import EvaluationConfig
from regen.core.sections.models import ExtractorConfig
from regen.data.splits import Dataset
from regen.evaluation.per_class import ClassFigures, measure_classes
from regen.models.extractor import Extractor
from regen.models.networks import to_tensor
from regen.training import extractor as extractor_loop

CONFIG = EvaluationConfig(bootstrap_draws=50, sample_sets=1)


class Replay:
    """A sampler that draws from given images."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = to_tensor(images)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.images[torch.randint(len(self.images), (n,), generator=generator)]


class Positions(Extractor):
    """An extractor that names the band that is bright; its features are means of parts of the image."""

    def features(self, images: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, (3, 1)).flatten(1)

    def classes(self, images: Tensor) -> Tensor:
        return self.features(images).argmax(dim=1)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Bright bands at three heights, 40 rows of each among the test and among the training rows."""
    images = np.random.default_rng(0).integers(0, 60, (240, 9, 9, 1), dtype=np.uint8)
    labels = np.arange(240) % 3
    for row, label in enumerate(labels):
        images[row, 3 * label : 3 * label + 3] += 150
    return Dataset(images, labels, np.where(np.arange(240) < 120, "test", "train"), 2, {0: "top"})


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Positions((1, 9, 9), 1, 3, 3)


@pytest.fixture(scope="module")
def found(dataset: Dataset, extractor: Extractor) -> list[ClassFigures]:
    train = dataset.pixels("train")
    labels = dataset.labels[dataset.rows("train")]
    models = {"gan": Replay(train), "vae": Replay(train[labels != 2])}
    return measure_classes(dataset, models, extractor, np.arange(120.0), CONFIG, seed=0)


def test_classes_come_by_their_names_with_their_rows_and_shares(found: list[ClassFigures]) -> None:
    assert [(one.name, one.rows, one.share) for one in found] == [
        ("top", 40, 1 / 3),
        ("1", 40, 1 / 3),
        ("2", 40, 1 / 3),
    ]


def test_a_model_of_the_data_reaches_what_training_rows_reach(found: list[ClassFigures]) -> None:
    for one in found:
        assert abs(one.generated["gan"].share - 1 / 3) < 0.1
        assert one.generated["gan"].frechet.low <= one.frechet_floor.high


def test_a_class_that_a_model_leaves_out_has_no_share_and_not_enough_samples(found: list[ClassFigures]) -> None:
    assert found[2].generated["vae"].share == 0
    assert not found[2].generated["vae"].frechet.is_finite
    assert found[1].generated["vae"].share > 0.4


def test_the_error_is_the_mean_over_the_classs_own_rows(found: list[ClassFigures]) -> None:
    assert [one.reconstruction_mse.value for one in found] == [58.5, 59.5, 60.5]
    assert found[0].reconstruction_mse.low < 58.5 < found[0].reconstruction_mse.high


def test_the_same_seed_gives_the_same_figures(
    dataset: Dataset, extractor: Extractor, found: list[ClassFigures]
) -> None:
    train = dataset.pixels("train")
    models = {"gan": Replay(train), "vae": Replay(train[dataset.labels[dataset.rows("train")] != 2])}

    again = measure_classes(dataset, models, extractor, np.arange(120.0), CONFIG, seed=0)

    assert again[0] == found[0]


def test_a_class_of_one_row_has_no_error_to_speak_of(dataset: Dataset, extractor: Extractor) -> None:
    labels = np.where(np.arange(240) == 0, 1, dataset.labels % 2 * 2)
    labels[0] = 1

    found = measure_classes(
        Dataset(dataset.images, labels, dataset.split, None), {}, extractor, np.arange(120.0), CONFIG, seed=0
    )

    assert not found[1].reconstruction_mse.is_finite


def test_an_extractor_of_other_classes_says_nothing(dataset: Dataset) -> None:
    other = extractor_loop.build(ExtractorConfig(width=1, features=3), dataset.shape, 1, seed=0)

    assert measure_classes(dataset, {}, other, np.arange(120.0), CONFIG, seed=0) == []
