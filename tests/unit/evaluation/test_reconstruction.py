"""How well images are reconstructed: known values, and agreement with torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from regen.evaluation.reconstruction import mse, psnr, ssim

SHAPES = st.sampled_from([(1, 8, 8), (1, 28, 28), (3, 16, 16), (1, 9, 7), (2, 3, 5), (1, 1, 1)])
SEEDS = st.integers(0, 2**31)


def pair(shape: tuple[int, ...] = (1, 28, 28), n: int = 6, seed: int = 0, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    real = torch.rand(n, *shape, generator=rng)
    return real, (real + noise * torch.randn(n, *shape, generator=rng)).clamp(0, 1)


def test_the_error_takes_known_values() -> None:
    real = torch.zeros(2, 1, 2, 2)
    rebuilt = torch.stack([torch.full((1, 2, 2), 0.5), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])])

    np.testing.assert_allclose(mse(real, rebuilt), [0.25, 0.25])


@given(SHAPES, SEEDS)
def test_the_error_of_each_image_is_the_same_both_ways_and_0_only_to_itself(shape: tuple, seed: int) -> None:
    real, rebuilt = pair(shape, seed=seed)

    np.testing.assert_array_equal(mse(real, rebuilt), mse(rebuilt, real))
    np.testing.assert_array_equal(mse(real, real), np.zeros(6))
    assert (mse(real, real + 0.1) > 0).all()


def test_a_tenth_of_the_error_is_10_decibels_more() -> None:
    np.testing.assert_allclose(psnr(np.array([1.0, 0.1, 0.01, 0.001])), [0, 10, 20, 30], atol=1e-12)


@pytest.mark.parametrize("error", [0.0, 1e-12])
def test_a_perfect_image_has_100_decibels(error: float) -> None:
    assert psnr(np.array([error])) == pytest.approx(100)


@given(SHAPES, SEEDS)
def test_psnr_agrees_with_torchmetrics(shape: tuple, seed: int) -> None:
    real, rebuilt = pair(shape, seed=seed)
    reference = PeakSignalNoiseRatio(data_range=1.0, reduction="none", dim=(1, 2, 3))

    np.testing.assert_allclose(psnr(mse(real, rebuilt)), reference(rebuilt, real).numpy(), rtol=1e-4)


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 24)])
def test_ssim_agrees_with_torchmetrics(shape: tuple, noise: float) -> None:
    real, rebuilt = pair(shape, noise=noise)
    reference = StructuralSimilarityIndexMeasure(
        gaussian_kernel=False, kernel_size=7, data_range=1.0, reduction="none", return_full_image=True
    )
    _, everywhere = reference(rebuilt, real)

    inside = everywhere[..., 3:-3, 3:-3].flatten(1).mean(dim=1)  # it pads the border, which we leave out

    np.testing.assert_allclose(ssim(real, rebuilt), inside.numpy(), atol=1e-4)


@given(SHAPES, SEEDS)
def test_the_similarity_of_an_image_with_itself_is_1(shape: tuple, seed: int) -> None:
    real, _ = pair(shape, seed=seed)

    np.testing.assert_allclose(ssim(real, real), np.ones(6))


@given(SHAPES, SEEDS)
def test_the_similarity_is_the_same_both_ways_and_lies_between_minus_1_and_1(shape: tuple, seed: int) -> None:
    real, rebuilt = pair(shape, seed=seed, noise=0.5)

    found = ssim(real, rebuilt)

    np.testing.assert_allclose(found, ssim(rebuilt, real))
    assert (np.abs(found) <= 1 + 1e-12).all()


def test_the_similarity_of_flat_images_is_that_of_their_luminance() -> None:
    dark, bright = torch.full((1, 1, 8, 8), 0.2), torch.full((1, 1, 8, 8), 0.6)

    expected = (2 * 0.2 * 0.6 + 0.01**2) / (0.2**2 + 0.6**2 + 0.01**2)

    assert ssim(dark, bright)[0] == pytest.approx(expected, rel=1e-4)


def test_more_noise_is_worse_by_every_figure() -> None:
    real, little = pair(noise=0.05)
    _, much = pair(noise=0.3)

    assert (mse(real, little) < mse(real, much)).all()
    assert (psnr(mse(real, little)) > psnr(mse(real, much))).all()
    assert (ssim(real, little) > ssim(real, much)).all()
