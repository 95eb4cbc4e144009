"""What the report shows: picked by rule from the right rows, in the right order."""

import numpy as np
import pytest
import torch

from regen.core.sections.models import ExtractorConfig, GanConfig
from regen.data.splits import Dataset
from regen.evaluation import latent
from regen.evaluation.exhibits import Exhibits, Pairs, Rebuilt, pair_up, shown
from regen.evaluation.measure import Measured, features_of
from regen.models.extractor import Extractor
from regen.models.vae import Vae
from regen.training import extractor as extractor_loop
from regen.training import gan as gan_loop


def noise(n: int, side: int = 8, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return extractor_loop.build(ExtractorConfig(width=2, features=4), (1, 8, 8), 3, seed=0).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Sixty test rows, of which every third is an anomaly, and thirty training rows."""
    split = np.where(np.arange(90) < 60, "test", "train")
    return Dataset(noise(90), np.arange(90) % 3, split, anomaly_class=2)


@pytest.fixture(scope="module")
def picked(dataset: Dataset, extractor: Extractor) -> Exhibits:
    errors = np.where(np.arange(60) % 3 == 2, 9.0, np.arange(60) / 60)
    samples = dataset.pixels("train")[[4, 2, 7]]
    found = {"vae": Measured({}, samples, scores=np.arange(60.0), errors=errors), "gan": Measured({}, samples)}
    champions = {"gan": Measured({}, noise(60, seed=1))}
    generator = gan_loop.build(GanConfig(network="mlp", width=1, latent_dim=4), dataset.shape, seed=0)[0]
    torch.manual_seed(0)
    return Exhibits.of(dataset, generator, Vae((1, 8, 8), "mlp", 1, 2), extractor, found, champions, seed=0)


def test_the_worst_reconstructions_are_picked_from_the_normal_rows(dataset: Dataset, picked: Exhibits) -> None:
    normal = np.flatnonzero(np.arange(60) % 3 != 2)

    np.testing.assert_array_equal(picked.worst.images, dataset.pixels("test")[normal[::-1][:16]])
    assert picked.worst.rebuilt.shape == (16, 8, 8, 1)


def test_reconstructions_show_the_normal_classes_in_turn(dataset: Dataset, picked: Exhibits) -> None:
    np.testing.assert_array_equal(picked.reconstructed.images[:4], dataset.pixels("test")[[0, 1, 3, 4]])


def test_scores_are_grouped_by_what_a_row_is(picked: Exhibits) -> None:
    assert {name: len(scores) for name, scores in picked.scores.items()} == {"normal": 40, "anomaly": 20}
    assert (picked.scores["anomaly"] % 3 == 2).all()


def test_a_sample_that_is_a_training_image_has_itself_as_its_nearest(dataset: Dataset, picked: Exhibits) -> None:
    copies = picked.samples["gan"]

    np.testing.assert_array_equal(copies.nearest, copies.images)
    np.testing.assert_array_equal(copies.images, dataset.pixels("train")[[4, 2, 7]])
    np.testing.assert_allclose(copies.distances, 0, atol=1e-6)
    assert picked.closest["gan"].distances.max() < picked.closest["real"].distances.min()


def test_a_champion_is_shown_by_its_first_samples(picked: Exhibits) -> None:
    np.testing.assert_array_equal(picked.champions["gan"], noise(60, seed=1)[:40])
    assert "vae" not in picked.champions


def test_paths_are_there_of_both_kinds(picked: Exhibits) -> None:
    assert {kind: len(images) for kind, images in picked.paths.items()} == dict.fromkeys(
        ("gan", "vae"), latent.ROWS * latent.STEPS
    )


def test_the_nearest_training_image_is_the_one_of_a_plain_search(dataset: Dataset, extractor: Extractor) -> None:
    images, train = dataset.pixels("test"), dataset.pixels("train")
    queries, reference = features_of(extractor, images), features_of(extractor, train)

    found = pair_up(images, train, extractor, reference)

    apart = np.linalg.norm(queries[:, None] - reference, axis=2)
    np.testing.assert_array_equal(found.nearest, train[apart.argmin(axis=1)])
    np.testing.assert_allclose(found.distances, apart.min(axis=1), rtol=1e-6)


def test_the_closest_pairs_come_first() -> None:
    images = noise(4)
    found = Pairs(images, images[::-1], np.array([3.0, 1.0, 2.0, 0.5])).closest(3)

    np.testing.assert_array_equal(found.distances, [0.5, 1.0, 2.0])
    np.testing.assert_array_equal(found.images, images[[3, 1, 2]])
    np.testing.assert_array_equal(found.nearest, images[[0, 2, 1]])


def test_an_error_is_absolute_and_its_largest_is_white() -> None:
    images = np.array([10, 200, 90], np.uint8).reshape(3, 1, 1, 1)
    rebuilt = np.array([30, 160, 90], np.uint8).reshape(3, 1, 1, 1)

    assert Rebuilt(images, rebuilt).error.ravel().tolist() == [128, 255, 0]
    assert Rebuilt(images, images).error.max() == 0


@pytest.mark.parametrize(
    ("n", "side", "channels", "wanted"),
    [(500, 8, 1, 40), (500, 32, 3, 24), (500, 64, 3, 8), (500, 256, 3, 8), (5, 8, 1, 5)],
)
def test_large_images_are_fewer(n: int, side: int, channels: int, wanted: int) -> None:
    assert shown(np.broadcast_to(np.uint8(0), (n, side, side, channels)), 40) == wanted
