"""Bringing images to size: Pillow's filter without rounding; and what a space's name depends on."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regen.models.extractors import OFFSET, Spec, fixed_picture, resize_digest, resized

SPEC = Spec("some", "1", "ab" * 32, 128, 64, 3, "bicubic@00000000")
SIDES = st.integers(1, 40)


def images(n: int, height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), np.uint8)


def test_images_of_the_size_keep_their_pixels() -> None:
    given_ = images(3, 8, 8)

    found = resized(given_, 8)

    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, given_)


@given(SIDES, SIDES, SIDES, st.sampled_from([1, 3]))
def test_values_stay_in_the_range_of_pixels(height: int, width: int, resolution: int, channels: int) -> None:
    found = resized(images(2, height, width, channels), resolution)

    assert found.shape == (2, resolution, resolution, channels)
    assert found.min() >= 0 and found.max() <= 255


@given(SIDES, SIDES, SIDES, st.integers(0, 255))
def test_one_colour_stays_that_colour(height: int, width: int, resolution: int, value: int) -> None:
    found = resized(np.full((1, height, width, 3), value, np.uint8), resolution)

    np.testing.assert_allclose(found, value, atol=1e-4)


@pytest.mark.parametrize(("side", "resolution"), [(40, 16), (16, 40), (30, 8)])
def test_it_is_pillows_filter_before_rounding(side: int, resolution: int) -> None:
    given_ = (
        images(1, side, side) // 3 + 80
    )  # so that nothing overshoots the range, which Pillow clips between its passes

    rounded = np.asarray(Image.fromarray(given_[0]).resize((resolution, resolution), Image.Resampling.BICUBIC))

    assert np.abs(resized(given_, resolution)[0] - rounded).max() < 1.5  # it rounds after each pass
    assert np.abs(resized(given_, resolution)[0] % 1).max() > 0


@pytest.mark.parametrize(("side", "resolution"), [(40, 16), (16, 40), (31, 8)])
def test_it_agrees_with_torchs_antialiased_filter(side: int, resolution: int) -> None:
    given_ = images(2, side, side)

    expected = torch.nn.functional.interpolate(
        torch.from_numpy(given_).permute(0, 3, 1, 2).double(), (resolution, resolution), mode="bicubic", antialias=True
    )

    np.testing.assert_allclose(resized(given_, resolution), expected.clamp(0, 255).permute(0, 2, 3, 1), atol=0.05)


def test_the_resizing_is_known_by_a_digest_that_rounding_errors_do_not_touch() -> None:
    assert resize_digest() == "bicubic-antialiased@a243c50e"
    for side in (12, 40):
        quarters = resized(fixed_picture(), side).astype(np.float64) * 4 + OFFSET
        assert np.abs(quarters - np.rint(quarters)).min() > 4e-3


@pytest.mark.parametrize("name", [field.name for field in fields(Spec)])
def test_a_space_has_another_name_when_anything_that_shapes_it_is_another(name: str) -> None:
    value = getattr(SPEC, name)

    other = replace(SPEC, **{name: value + 1 if isinstance(value, int) else value + "x"})

    assert SPEC.space == f"some@{SPEC.digest[:8]}"
    assert other.digest != SPEC.digest
    assert other.space != SPEC.space
