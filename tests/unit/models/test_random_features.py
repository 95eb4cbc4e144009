"""Random features: the same everywhere, for images of any size, and they order what is ever less like the data."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from regen.evaluation.frechet import Gaussian, frechet_distance
from regen.models.random_features import DIM, RandomConv


@pytest.fixture(scope="module")
def extractor() -> RandomConv:
    return RandomConv()


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """Digits in colour, in an order of no meaning."""
    pixels = (load_digits().images * 255 / 16).round().astype(np.uint8)[..., None].repeat(3, axis=-1)
    return pixels[np.random.default_rng(0).permutation(len(pixels))][:360]


def test_the_weights_are_the_same_on_every_machine(extractor: RandomConv) -> None:
    assert extractor.spec.sha256 == "a4e159d2b3d55972b90a0165535d1628c2587aa7289389a9abcf56477d779a3b"
    assert extractor.spec.space == "random-conv-v1@43cf043b"


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (64, 64), (120, 90)])
def test_images_of_any_size_have_features(extractor: RandomConv, size: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, *size, 3), np.uint8)

    found = extractor.features(images)

    assert found.shape == (5, DIM)
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[3:], RandomConv().features(images[3:]), atol=1e-4)


def test_no_images_have_no_features(extractor: RandomConv) -> None:
    assert extractor.features(np.zeros((0, 8, 8, 3), np.uint8)).shape == (0, DIM)


def noisy(images: np.ndarray, sd: float) -> np.ndarray:
    return np.clip(images + np.random.default_rng(1).normal(0, sd, images.shape), 0, 255).astype(np.uint8)


def blurred(images: np.ndarray, sd: float) -> np.ndarray:
    return np.stack([gaussian_filter(image.astype(float), (sd, sd, 0)) for image in images]).round().astype(np.uint8)


def without_modes(images: np.ndarray, share: float) -> np.ndarray:
    """The brightest images are left out, and others stand in for them."""
    kept = images[np.argsort(images.mean(axis=(1, 2, 3)))][: round(len(images) * (1 - share))]
    return kept[np.arange(len(images)) % len(kept)]


@pytest.mark.parametrize(
    ("harm", "steps"), [(noisy, (0, 20, 40, 80)), (blurred, (0, 0.5, 0.8, 1.5)), (without_modes, (0, 0.2, 0.4, 0.8))]
)
def test_the_more_harm_the_larger_the_distance(extractor: RandomConv, digits: np.ndarray, harm, steps) -> None:
    real, others = Gaussian.fit(extractor.features(digits[:180])), digits[180:]

    distances = [frechet_distance(real, Gaussian.fit(extractor.features(harm(others, step)))) for step in steps]

    assert distances == sorted(distances)
    assert distances[-1] > 4 * distances[0]
