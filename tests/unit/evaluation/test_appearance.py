"""What images look like: known pictures have known numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regen.evaluation.appearance import CHUNK, appearance


def test_a_checkerboard_is_half_bright_and_as_sharp_as_can_be():
    board = (np.indices((4, 4)).sum(axis=0) % 2 * 255).astype(np.uint8)[None, ..., None]

    found = appearance(board).iloc[0]

    assert found.to_dict() == pytest.approx(
        {"brightness": 0.5, "contrast": 0.5, "sharpness": 1, "light from left": 0.5, "light from top": 0.5}
    )


def test_light_in_a_corner_is_found_there():
    image = np.zeros((1, 8, 8, 1), np.uint8)
    image[0, 0, 7] = 255

    found = appearance(image).iloc[0]

    assert found["light from left"] == 15 / 16
    assert found["light from top"] == 1 / 16


def test_only_colour_images_have_a_saturation():
    red = np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 255

    assert appearance(red)["saturation"][0] == 1
    assert "saturation" not in appearance(red[..., :1])


@given(arrays(np.uint8, (3, 4, 5, 3)), st.permutations(range(3)))
def test_every_number_lies_between_0_and_1_whatever_the_order(images, order):
    found = appearance(images)

    assert found.to_numpy().min() >= 0
    assert found.to_numpy().max() <= 1
    assert np.allclose(appearance(images[order]), found.iloc[order])


def test_many_images_are_looked_at_in_parts():
    images = np.random.default_rng(0).integers(0, 256, (CHUNK + 2, 2, 2, 1), dtype=np.uint8)

    assert np.allclose(appearance(images).iloc[CHUNK:], appearance(images[CHUNK:]))
