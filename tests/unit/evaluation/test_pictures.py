"""Pictures: grids that lose no pixel, and plots that are the same each time."""

from io import BytesIO
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regen.evaluation.pictures import grid, histogram, lines, panels, png


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


def test_a_line_plot_is_svg_that_names_its_axes_and_series() -> None:
    plot = lines({"VAE": ([0, 1], [0, 1]), "kNN": ([0, 1], [1, 0])}, "recall", "precision", square=True)

    assert ET.fromstring(plot).tag.endswith("svg")
    assert all(word in plot for word in ("VAE", "kNN", "recall", "precision"))


def test_a_line_plot_may_be_logarithmic_and_have_more_lines_than_colours() -> None:
    plot = lines({f"line {i}": ([1, 2], [10**i, 1]) for i in range(7)}, "x", "y", log_y=True)

    assert all(f"line {i}" in plot for i in range(7))


def test_a_histogram_is_svg_that_names_its_groups_and_its_mark() -> None:
    rng = np.random.default_rng(0)
    plot = histogram({"normal": rng.normal(size=90), "class 8": rng.normal(size=9)}, "score", 1.5, "threshold")

    assert ET.fromstring(plot).tag.endswith("svg")
    assert all(word in plot for word in ("normal", "class 8", "score", "threshold"))


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_a_histogram_of_equal_values_is_drawn(value: float) -> None:
    assert "normal" in histogram({"normal": np.full(9, value), "other": np.full(3, value)}, "score")


def test_equal_plots_are_equal_files() -> None:
    one, same = (lines({"a": ([0, 1], [0, 1])}, "x", "y") for _ in range(2))
    groups = {"a": np.arange(9.0)}

    assert one == same
    assert histogram(groups, "x", 1.0, "m") == histogram(groups, "x", 1.0, "m")


def test_a_name_cannot_put_markup_into_a_plot() -> None:
    plot = lines({"<script>alert(1)</script>": ([0, 1], [0, 1])}, "x", "y")

    assert "<script" not in plot
