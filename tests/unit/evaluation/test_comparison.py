"""What is said of GANs and VAEs, measured: sharpness, diversity, class balance, evenness of the latent path."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from regen.evaluation.comparison import (
    PATHS,
    STEPS,
    class_shift,
    diversity,
    measure_class_shift,
    path_unevenness,
    sharpness,
)  # fmt: skip

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=30).map(np.array)


def checkerboard(side: int = 6) -> Tensor:
    return ((torch.arange(side)[:, None] + torch.arange(side)) % 2).float().expand(2, 1, side, side)


def test_a_flat_or_evenly_sloping_image_has_no_sharpness() -> None:
    slope = torch.linspace(0, 1, 6).expand(2, 1, 6, 6)

    assert sharpness(torch.full((2, 1, 6, 6), 0.3)) == pytest.approx(0, abs=1e-6)
    assert sharpness(slope) == pytest.approx(0, abs=1e-6)


def test_a_checkerboard_has_the_greatest_sharpness() -> None:
    assert sharpness(checkerboard()) == pytest.approx(4)


def test_sharpness_scales_with_contrast_and_is_a_mean_over_channels() -> None:
    both = torch.cat([checkerboard(), torch.zeros(2, 1, 6, 6)], dim=1)

    assert sharpness(checkerboard() / 2) == pytest.approx(2)
    assert sharpness(both) == pytest.approx(2)


def test_blur_lowers_sharpness_and_noise_raises_it() -> None:
    image = torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(0))

    blurred = torch.nn.functional.avg_pool2d(image, 3, 1, 1)

    assert sharpness(blurred) < sharpness(image) < sharpness(image + torch.randn_like(image))


def test_diversity_is_the_mean_distance_between_rows() -> None:
    assert diversity(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])) == pytest.approx((5 + 0 + 5) / 3)


def test_one_image_repeated_has_no_diversity() -> None:
    assert diversity(torch.ones(5, 3)) == 0


@given(LABELS, LABELS)
def test_the_shift_of_classes_is_the_same_both_ways_and_lies_between_0_and_1(
    one: np.ndarray, other: np.ndarray
) -> None:
    shift = class_shift(one, other, 5)

    assert 0 <= shift <= 1
    assert shift == class_shift(other, one, 5)
    assert class_shift(one, np.random.default_rng(0).permutation(one), 5) == 0
    assert class_shift(one, np.tile(one, 3), 5) == pytest.approx(0)


@pytest.mark.parametrize(
    ("fake", "shift"), [([0, 1, 2, 3], 0.0), ([4, 4], 1.0), ([0, 0, 1, 1], 0.5), ([0, 1, 2, 4], 0.25)]
)
def test_the_shift_of_classes_takes_known_values(fake: list[int], shift: float) -> None:
    assert class_shift(np.array([0, 1, 2, 3]), np.array(fake), 5) == pytest.approx(shift)


def ends(n: int = 8) -> Tensor:
    return torch.rand(2 * n, 3, generator=torch.Generator().manual_seed(0))


def as_images(latents: Tensor) -> Tensor:
    return latents.reshape(-1, 1, 1, 3)


def as_features(images: Tensor) -> Tensor:
    return images.flatten(1)


def test_a_straight_path_is_even() -> None:
    assert path_unevenness(as_images, as_features, ends()) == pytest.approx(1, abs=1e-3)


def test_a_path_of_one_jump_is_as_uneven_as_it_has_steps() -> None:
    latents = torch.tensor([[0.0, 0, 0], [1.0, 1, 1]])

    found = path_unevenness(lambda z: as_images((z > 0.47).float()), as_features, latents)

    assert found == pytest.approx(STEPS)


@given(st.integers(0, 1000))
def test_no_path_is_more_even_than_a_straight_one(seed: int) -> None:
    mixing = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed))

    assert path_unevenness(lambda z: as_images(torch.sigmoid(3 * z @ mixing)), as_features, ends()) >= 1 - 1e-4


def test_scale_does_not_matter() -> None:
    def bent(images: Tensor) -> Tensor:
        return as_features(images).square()

    one, other = (path_unevenness(as_images, f, ends()) for f in (bent, lambda images: 100 * bent(images)))

    assert one == pytest.approx(other, rel=1e-4)


def test_paths_run_between_consecutive_rows_and_are_as_many_as_allowed() -> None:
    latents, seen = ends(PATHS + 10), []

    def decode(points: Tensor) -> Tensor:
        seen.append(points.unflatten(0, (STEPS + 1, -1)))
        return as_images(points)

    path_unevenness(decode, as_features, latents)

    assert seen[0].shape == (STEPS + 1, PATHS, 3)
    torch.testing.assert_close(seen[0][0], latents[0::2][:PATHS])
    torch.testing.assert_close(seen[0][-1], latents[1::2][:PATHS])


@given(st.integers(0, 2**16), st.sampled_from([0.0, 0.1, 0.4]))
def test_the_interval_of_a_class_shift_holds_the_truth(seed: int, truth: float) -> None:
    rng = np.random.default_rng(seed)
    shares = np.full(10, 0.1) + np.repeat([truth / 5, -truth / 5], 5)

    found = measure_class_shift(
        rng.integers(10, size=400), rng.choice(10, 400, p=shares), n_classes=10, draws=100, seed=seed
    ).estimate(0.9999)

    assert found.low - 0.02 <= truth <= found.high + 0.02
    assert found.low <= found.value <= found.high


def test_equal_shares_are_told_from_others_by_the_interval() -> None:
    even, odd = np.arange(500) % 10, np.arange(500) % 5

    assert measure_class_shift(even, even, 10, draws=200, seed=0).estimate(0.95).low == 0
    assert measure_class_shift(even, odd, 10, draws=200, seed=0).estimate(0.95).low > 0.3
