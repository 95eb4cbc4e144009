"""Measuring a model: figures that pair, follow their seed, and say what is true of samplers known to be good or bad."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from regen.core.errors import EvaluationError
from regen.core.sections.evaluation import OF_TABLES, EvaluationConfig, Metric
from regen.core.sections.models import ExtractorConfig, GanConfig, VaeConfig
from regen.data.splits import SPLITS, Dataset
from regen.evaluation import measure, reconstruction
from regen.evaluation.anomaly import BASELINES
from regen.evaluation.intervals import Estimate
from regen.evaluation.measure import Measured
from regen.models.extractor import Extractor
from regen.models.gan import Generator
from regen.models.networks import to_tensor
from regen.models.vae import Vae
from regen.training import extractor as extractor_loop
from regen.training import gan as gan_loop
from regen.training import vae as vae_loop
from regen.training.rows import Rows

CONFIG = EvaluationConfig(bootstrap_draws=50, sample_sets=2)
ANOMALY = 2
SAMPLED = {
    "frechet_distance", "kid", "precision", "recall", "density", "coverage", "class_shift", "memorisation",
}  # fmt: skip
DETECTED = {"anomaly_auc", "anomaly_ap"}
TOO_FEW = {"anomaly_recall_fpr1", "anomaly_recall_fpr01"}
"""80 normal test rows do not tell a false-positive rate of 1 %."""
UNMEASURED = TOO_FEW | OF_TABLES | {"preference_win_rate"}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Bands at three heights, the lowest being the anomaly."""
    rng = np.random.default_rng(0)
    labels = np.arange(480) % 3
    images = rng.integers(0, 60, (480, 8, 8, 1), dtype=np.uint8)
    for row, label in enumerate(labels):
        images[row, 3 * label : 3 * label + 2] += 150
    return Dataset(images, labels, np.array(SPLITS)[np.arange(480) // 3 % 4], ANOMALY)


@pytest.fixture(scope="module")
def extractor(dataset: Dataset) -> Extractor:
    config = ExtractorConfig(width=2, features=4)
    return extractor_loop.build(config, dataset.shape, 3, seed=0).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def generator(dataset: Dataset) -> Generator:
    return gan_loop.build(GanConfig(network="mlp", width=1, latent_dim=4), dataset.shape, seed=0)[0]


@pytest.fixture(scope="module")
def vae(dataset: Dataset) -> Vae:
    config = VaeConfig(network="mlp", width=1, latent_dim=3, score_draws=2)
    images, held_out = (
        Rows.of(to_tensor(dataset.pixels(split, normal_only=True))) for split in ("train", "validation")
    )
    untrained = vae_loop.build(config, dataset.shape, len(images), seed=0).requires_grad_(False)
    vae_loop.calibrate(untrained, images, held_out, config, seed=0)
    return untrained


class Replaying:
    """A sampler that hands out given images in turn."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = to_tensor(images)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return self.images[torch.arange(n) % len(self.images)]


def figures(measured: Measured) -> dict[str, tuple[float, list[float]]]:
    return {name: (figure.point, figure.replicates.tolist()) for name, figure in measured.figures.items()}


def test_a_gan_has_the_figures_of_samples(generator: Generator, dataset: Dataset, extractor: Extractor) -> None:
    measured = measure.measure_gan(generator, dataset, extractor, CONFIG, seed=0)

    assert set(measured.figures) == SAMPLED
    assert measured.samples.shape == dataset.pixels("test").shape
    assert set(measured.side) >= {"sharpness_ratio", "diversity_ratio", "path_unevenness", "samples_per_second"}
    assert all(np.isfinite(list(measured.side.values())))


def test_a_vae_has_every_figure_there_is(vae: Vae, dataset: Dataset, extractor: Extractor) -> None:
    measured = measure.measure_vae(vae, dataset, extractor, CONFIG, seed=0)

    assert set(measured.figures) == set(get_args(Metric)) - UNMEASURED
    assert set(measured.unmeasured) == TOO_FEW
    assert measured.flagging is not None and measured.flagging.recall.is_finite
    assert all(estimate.is_finite for estimate in measured.estimates(CONFIG).values())
    assert measured.scores.shape == measured.errors.shape == (len(dataset.rows("test")),)
    assert len(measured.samples) == len(dataset.rows("test", normal_only=True))


def test_reconstruction_is_measured_on_the_normal_test_rows(vae: Vae, dataset: Dataset, extractor: Extractor) -> None:
    measured = measure.measure_vae(vae, dataset, extractor, CONFIG, seed=0)
    normal = to_tensor(dataset.pixels("test", normal_only=True))

    errors = reconstruction.mse(normal, vae.reconstruct(normal))

    assert measured.figures["reconstruction_mse"].point == pytest.approx(errors.mean(), rel=1e-5)
    assert measured.figures["reconstruction_psnr"].point == pytest.approx(reconstruction.psnr(errors).mean(), rel=1e-5)


def test_the_same_seed_gives_the_same_figures(vae: Vae, dataset: Dataset, extractor: Extractor) -> None:
    one, same, other = (measure.measure_vae(vae, dataset, extractor, CONFIG, seed) for seed in (0, 0, 1))

    assert figures(one) == figures(same)
    assert figures(one) != figures(other)
    np.testing.assert_array_equal(one.samples, same.samples)


def test_a_model_differs_from_itself_by_exactly_zero(vae: Vae, dataset: Dataset, extractor: Extractor) -> None:
    champion, candidate = (measure.measure_vae(vae, dataset, extractor, CONFIG, seed=0) for _ in range(2))

    difference = candidate.difference(champion, CONFIG)

    assert difference == {name: Estimate(0, 0, 0) for name in set(get_args(Metric)) - UNMEASURED}


def test_a_difference_is_taken_where_both_have_the_figure(
    vae: Vae, generator: Generator, dataset: Dataset, extractor: Extractor
) -> None:
    gan = measure.measure_gan(generator, dataset, extractor, CONFIG, seed=0)
    measured = measure.measure_vae(vae, dataset, extractor, CONFIG, seed=0)

    assert set(gan.difference(measured, CONFIG)) == SAMPLED


def test_without_an_anomaly_class_nothing_is_detected(vae: Vae, dataset: Dataset, extractor: Extractor) -> None:
    plain = replace(dataset, anomaly_class=None)

    measured = measure.measure_vae(vae, plain, extractor, CONFIG, seed=0)

    assert set(measured.figures) == set(get_args(Metric)) - DETECTED - UNMEASURED
    assert (measured.unmeasured, measured.flagging) == ({}, None)
    assert len(measured.samples) == len(plain.rows("test"))
    assert measure.measure_baselines(plain, CONFIG, seed=0) == {}


def test_the_other_detectors_are_measured_on_the_same_rows(dataset: Dataset) -> None:
    found = measure.measure_baselines(dataset, CONFIG, seed=0)

    assert set(found) == set(BASELINES)
    assert all(set(one.estimates) == DETECTED for one in found.values())
    assert found["kNN"].estimates["anomaly_auc"].value > 0.9
    is_anomaly = dataset.is_anomaly[dataset.rows("test")]
    assert all(
        roc_auc_score(is_anomaly, one.scores) == pytest.approx(one.estimates["anomaly_auc"].value)
        for one in found.values()
    )


def test_a_sampler_of_real_images_is_better_than_one_of_noise_by_every_figure(
    dataset: Dataset, extractor: Extractor
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 1), dtype=np.uint8)
    reference = dataset.pixels("test")

    good, bad = (
        measure.measure_samples(Replaying(images), reference, dataset.pixels("train"), extractor, CONFIG, seed=0)
        for images in (dataset.pixels("train"), noise)
    )

    assert good.difference(bad, CONFIG)["frechet_distance"].high < 0
    assert good.difference(bad, CONFIG)["kid"].high < 0
    assert good.figures["memorisation"].point > 0.3  # they are the training rows
    assert good.side["copies"] == 2 * len(reference)
    assert good.figures["class_shift"].point <= bad.figures["class_shift"].point
    assert good.side["sharpness_ratio"] == pytest.approx(1, abs=0.1)
    assert bad.side["sharpness_ratio"] > 1.5
    assert good.side["diversity_ratio"] == pytest.approx(1, abs=0.1)


def test_a_second_opinion_is_of_the_same_samples(generator: Generator, dataset: Dataset, extractor: Extractor) -> None:
    reference = dataset.pixels("test")

    opinion = measure.measure_frechet_of(generator, reference, extractor, CONFIG, seed=0)

    own = measure.measure_samples(generator, reference, dataset.pixels("train"), extractor, CONFIG, seed=0).figures[
        "frechet_distance"
    ]
    assert (opinion.point, opinion.replicates.tolist()) == (own.point, own.replicates.tolist())


def test_the_reference_itself_is_at_distance_zero(dataset: Dataset, extractor: Extractor) -> None:
    reference = dataset.pixels("test")

    measured = measure.measure_samples(
        Replaying(reference), reference, dataset.pixels("train"), extractor, CONFIG, seed=0
    )

    assert measured.figures["frechet_distance"].point == pytest.approx(0, abs=1e-6)
    assert measured.figures["class_shift"].point == 0
    assert measured.side["diversity_ratio"] == pytest.approx(1, abs=0.01)


def test_the_reference_itself_is_recalled_and_covered(dataset: Dataset, extractor: Extractor) -> None:
    reference = dataset.pixels("test")

    measured = measure.measure_samples(
        Replaying(reference), reference, dataset.pixels("train"), extractor, CONFIG, seed=0
    )

    assert measured.figures["recall"].point == measured.figures["coverage"].point == 1
    assert measured.figures["precision"].point == 1
    assert measured.missing == []


def test_real_rows_recall_and_cover_nearly_all(dataset: Dataset, extractor: Extractor) -> None:
    found = measure.real_rows(dataset, extractor, CONFIG, seed=0)

    assert found["coverage"].point == pytest.approx(1 - 2**-5, abs=0.06)
    assert found["recall"].point > 0.8
    assert found["density"].point == pytest.approx(1, abs=0.3)
    kid, memorised = (found[name].estimate(0.95) for name in ("kid", "memorisation"))
    assert kid.low <= 0 <= kid.high
    assert memorised.low <= 0 <= memorised.high


def test_a_collapse_to_one_class_is_seen(dataset: Dataset) -> None:
    def brightest_band(images: Tensor) -> Tensor:
        return images.mean(dim=(1, 3))[:, [0, 3, 6]].argmax(dim=1)

    trained = extractor_loop.build(ExtractorConfig(width=2, features=4), dataset.shape, 3, seed=0)
    trained.classes = brightest_band  # type: ignore[method-assign]
    images, real = dataset.images[dataset.labels == 0], dataset.pixels("test")

    measured = measure.measure_samples(Replaying(images), real, dataset.pixels("train"), trained, CONFIG, seed=0)

    assert {one.position for one in measured.missing} == {1, 2}
    assert measured.figures["coverage"].point < 0.5


def test_the_importance_weighted_bound_is_tighter_than_the_elbo(
    vae: Vae, dataset: Dataset, extractor: Extractor
) -> None:
    figures = measure.measure_vae(vae, dataset, extractor, CONFIG, seed=0).figures

    assert figures["iwae_bits"].point < figures["negative_elbo_bits"].point


def test_one_image_repeated_has_no_diversity(dataset: Dataset, extractor: Extractor) -> None:
    one = dataset.pixels("test")[:1]

    measured = measure.measure_samples(
        Replaying(one), dataset.pixels("test"), dataset.pixels("train"), extractor, CONFIG, seed=0
    )

    assert measured.side["diversity_ratio"] == pytest.approx(0, abs=1e-3)


def test_the_floor_is_near_zero_beside_an_untrained_generators_distance(
    generator: Generator, dataset: Dataset, extractor: Extractor
) -> None:
    floor = measure.real_floor(dataset, extractor, CONFIG, seed=0).estimate(0.95)
    untrained = measure.measure_gan(generator, dataset, extractor, CONFIG, seed=0).estimates(CONFIG)["frechet_distance"]

    assert floor.high < 0.2 * untrained.value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_samples_that_are_no_numbers_are_refused(dataset: Dataset, extractor: Extractor, value: float) -> None:
    broken = Replaying(dataset.pixels("train"))
    broken.images[0, 0, 0, 0] = value

    with pytest.raises(EvaluationError, match="samples hold NaN or infinity; look at the model's training"):
        measure.measure_samples(broken, dataset.pixels("test"), dataset.pixels("train"), extractor, CONFIG, seed=0)
