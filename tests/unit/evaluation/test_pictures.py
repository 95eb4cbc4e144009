"""Pictures: grids that lose no pixel."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regen.evaluation.pictures import grid, joined, panels, png, sheet, thumbnails


def images(n: int, height: int = 8, width: int = 8, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize(
    ("shape", "columns", "size"),
    [
        ((5, 8, 8, 1), 3, (2 * 32 + 2, 3 * 32 + 2 * 2, 1)),
        ((2, 8, 8, 1), 16, (32, 2 * 32 + 2, 1)),
        ((16, 32, 32, 3), 4, (4 * 32 + 3 * 2, 4 * 32 + 3 * 2, 3)),
        ((1, 64, 50, 1), 16, (64, 50, 1)),
        ((4, 4, 2, 1), 2, (2 * 32 + 4, 2 * 16 + 4, 1)),
    ],
)
def test_a_grid_has_room_for_every_image_and_the_gaps(shape: tuple, columns: int, size: tuple) -> None:
    assert grid(images(*shape), columns).shape == size


@given(st.integers(1, 20), st.integers(1, 6), st.sampled_from([(8, 8), (5, 9), (40, 3)]))
def test_every_image_stands_in_its_place(n: int, columns: int, size: tuple[int, int]) -> None:
    given_ = images(n, *size)
    scale = max(1, -(-32 // max(size)))
    gap = max(2, scale // 2)

    sheet = grid(given_, columns)

    for i, image in enumerate(given_):
        top = (i // min(columns, n)) * (size[0] * scale + gap)
        left = (i % min(columns, n)) * (size[1] * scale + gap)
        found = sheet[top : top + size[0] * scale : scale, left : left + size[1] * scale : scale]
        np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("channels", [1, 3])
def test_panels_stand_side_by_side_each_under_its_name(channels: int) -> None:
    one, other = images(20, 8, 8, channels), images(8, 8, 8, channels)

    sheet = panels({"real": one, "GAN": other})

    wide, tall = 8 * 40 + 7 * 2, 3 * 40 + 2 * 2
    assert sheet.shape == (tall + 34 + 16, 2 * wide + 3 * 16, 3)
    np.testing.assert_array_equal(sheet[34 : 34 + 40 : 5, 16 : 16 + 40 : 5], np.broadcast_to(one[0], (8, 8, 3)))
    np.testing.assert_array_equal(
        sheet[34 : 34 + 40 : 5, wide + 2 * 16 : wide + 2 * 16 + 40 : 5], np.broadcast_to(other[0], (8, 8, 3))
    )
    assert (sheet[:34, :wide] < 200).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_pixels(channels: int) -> None:
    pixels = images(1, 9, 7, channels)[0]

    opened = np.asarray(Image.open(BytesIO(png(pixels))))

    np.testing.assert_array_equal(opened.reshape(pixels.shape), pixels)


def test_joined_images_stand_side_by_side_with_a_transparent_seam() -> None:
    one, other = images(3), images(3)[::-1]

    tiles = joined(one, other)

    assert tiles.shape == (3, 8, 17, 2)
    np.testing.assert_array_equal(tiles[:, :, :8, :1], one)
    np.testing.assert_array_equal(tiles[:, :, 9:, :1], other)
    assert (tiles[:, :, 8, 1] == 0).all()
    assert (tiles[:, :, [7, 9], 1] == 255).all()


def test_joined_images_stand_one_below_the_other() -> None:
    parts = [images(2, channels=3)] * 3

    tiles = joined(*parts, axis=1)

    assert tiles.shape == (2, 26, 8, 4)
    np.testing.assert_array_equal(tiles[:, 18:, :, :3], parts[2])


def test_one_image_alone_is_opaque() -> None:
    assert (joined(images(2))[..., 1] == 255).all()


@pytest.mark.parametrize(("channels", "mode"), [(1, "LA"), (3, "RGBA")])
def test_a_sheet_is_transparent_between_its_tiles(channels: int, mode: str) -> None:
    given_ = images(3, channels=channels)

    with Image.open(BytesIO(sheet(joined(given_), columns=2))) as opened:
        pixels = np.asarray(opened)
        assert opened.mode == mode

    assert pixels.shape == (17, 17, channels + 1)
    np.testing.assert_array_equal(pixels[:8, :8, :channels], given_[0])
    np.testing.assert_array_equal(pixels[9:, :8, :channels], given_[2])
    assert (pixels[8, :, -1] == 0).all()
    assert (pixels[9:, 8:, -1] == 0).all()  # the place left over


def test_tiles_of_several_images_stand_wider_apart_than_their_images() -> None:
    with Image.open(BytesIO(sheet(joined(images(2), images(2)), columns=2))) as opened:
        assert opened.size == (17 + 2 + 17, 8)


@given(st.integers(1, 3), st.integers(8, 90), st.integers(8, 90), st.sampled_from([1, 3]))
def test_a_thumbnail_fits_and_keeps_the_mean_of_what_it_shows(n: int, height: int, width: int, channels: int) -> None:
    given_ = images(n, height, width, channels)
    factor = -(-max(height, width) // 32)

    found = thumbnails(given_, most=32)

    assert max(found.shape[1:3]) <= 32
    shown = given_[:, : height // factor * factor, : width // factor * factor]
    assert abs(found.mean() - shown.mean()) < 0.5


def test_a_small_image_is_its_own_thumbnail() -> None:
    given_ = images(2)

    assert thumbnails(given_) is given_
