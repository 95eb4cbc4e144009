"""Networks: any image size gets the right shapes, and pixels survive the way in and out."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from regen.models.conv import resolutions
from regen.models.mlp import mlp
from regen.models.networks import HEADS, STEMS, Shape, count_parameters, to_pixels, to_tensor

SHAPES: list[Shape] = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 9, 7)]
IMAGES = npst.arrays(np.uint8, npst.array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=6))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_a_head_turns_images_into_vectors(network: str, shape: Shape) -> None:
    head = HEADS[network](shape, 4, 5)

    assert head(torch.rand(3, *shape)).shape == (3, 5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_a_stem_turns_vectors_into_images(network: str, shape: Shape) -> None:
    stem = STEMS[network](shape, 4, 5)

    assert stem(torch.randn(3, 5)).shape == (3, *shape)


@pytest.mark.parametrize("nets", [HEADS, STEMS], ids=["head", "stem"])
@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_every_parameter_has_a_say(nets: dict, network: str) -> None:
    torch.manual_seed(0)
    net = nets[network]((1, 8, 8), 4, 5)
    given_ = torch.rand(16, 1, 8, 8) if nets is HEADS else torch.randn(16, 5)

    net(given_).square().sum().backward()

    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())


@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_an_images_vector_does_not_depend_on_its_batch(network: str) -> None:
    head, images = HEADS[network]((1, 8, 8), 4, 5), torch.rand(6, 1, 8, 8)

    torch.testing.assert_close(head(images)[2:3], head(images[2:3]))


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((8, 8), [(8, 8), (4, 4)]),
        ((32, 32), [(32, 32), (16, 16), (8, 8), (4, 4)]),
        ((9, 7), [(9, 7)]),
        ((1, 1), [(1, 1)]),
        ((16, 8), [(16, 8), (8, 4)]),
    ],
)
def test_an_image_is_halved_while_even_and_at_least_four_wide(size: tuple, sizes: list) -> None:
    assert resolutions(*size) == sizes


def test_a_fully_connected_network_ends_in_a_linear_layer() -> None:
    net = mlp(3, 4, 2)

    assert [type(layer).__name__ for layer in net] == ["Linear", "LeakyReLU", "Linear"]


@given(IMAGES)
def test_pixels_survive_the_way_in_and_out(images: np.ndarray) -> None:
    tensor = to_tensor(images)

    assert tensor.shape == (images.shape[0], images.shape[3], *images.shape[1:3])
    np.testing.assert_array_equal(to_pixels(tensor), images)


def test_every_grey_level_survives_the_way_in_and_out() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)

    np.testing.assert_array_equal(to_pixels(to_tensor(levels)), levels)


def test_tensors_lie_between_0_and_1() -> None:
    tensor = to_tensor(np.array([[[[0], [255]]]], np.uint8))

    assert tensor.dtype == torch.float32
    assert tensor.flatten().tolist() == [0, 1]


def test_channels_and_places_stay_where_they_belong() -> None:
    images = np.zeros((1, 2, 3, 3), np.uint8)
    images[0, 1, 2, 0] = 255

    tensor = to_tensor(images)

    assert tensor[0, 0, 1, 2] == 1
    assert tensor.sum() == 1


@given(st.floats(-5, 5))
def test_what_lies_outside_0_and_1_is_clipped(value: float) -> None:
    pixels = to_pixels(torch.full((1, 1, 1, 1), value))

    assert pixels.item() == round(min(max(np.float32(value), 0), 1) * 255)


def test_parameters_are_counted() -> None:
    assert count_parameters(mlp(3, 4, 2)) == 3 * 4 + 4 + 4 * 2 + 2
