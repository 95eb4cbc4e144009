"""Networks: any image size gets the right shapes, and pixels survive the way in and out."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from regen.core.sections.base import Network
from regen.models.conv import resolutions
from regen.models.mlp import mlp
from regen.models.networks import HEADS, STEMS, Shape, count_parameters, to_pixels, to_tensor
from regen.models.transformer import TransformerHead, TransformerStem, patch_side

SHAPES: list[Shape] = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 9, 7), (1, 1, 1)]
NETWORKS = list(get_args(Network))
IMAGES = npst.arrays(np.uint8, npst.array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=6))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_head_turns_images_into_vectors(network: str, shape: Shape) -> None:
    head = HEADS[network](shape, 4, 5)

    assert head(torch.rand(3, *shape)).shape == (3, 5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_stem_turns_vectors_into_images(network: str, shape: Shape) -> None:
    stem = STEMS[network](shape, 4, 5)

    assert stem(torch.randn(3, 5)).shape == (3, *shape)


@pytest.mark.parametrize("nets", [HEADS, STEMS], ids=["head", "stem"])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_parameter_has_a_say(nets: dict, network: str) -> None:
    torch.manual_seed(0)
    net = nets[network]((1, 8, 8), 4, 5)
    given_ = torch.rand(16, 1, 8, 8) if nets is HEADS else torch.randn(16, 5)

    net(given_).square().sum().backward()

    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())


@pytest.mark.parametrize("width", [1, 2, 3, 7])
@pytest.mark.parametrize("network", NETWORKS)
def test_any_width_will_do(network: str, width: int) -> None:
    assert HEADS[network]((1, 8, 8), width, 5)(torch.rand(2, 1, 8, 8)).shape == (2, 5)
    assert STEMS[network]((1, 8, 8), width, 5)(torch.randn(2, 5)).shape == (2, 1, 8, 8)


def test_every_word_of_the_project_file_has_its_networks() -> None:
    assert list(HEADS) == list(STEMS) == NETWORKS


@pytest.mark.parametrize("network", NETWORKS)
def test_a_head_has_a_second_derivative_for_the_gradient_penalties(network: str) -> None:
    torch.manual_seed(0)
    head, images = HEADS[network]((1, 8, 8), 2, 1), torch.rand(4, 1, 8, 8, requires_grad=True)

    (slope,) = torch.autograd.grad(head(images).sum(), images, create_graph=True)
    slope.square().sum().backward()

    weights = {name: p.grad for name, p in head.named_parameters() if name.endswith("weight")}
    assert [name for name, gradient in weights.items() if gradient is None or not gradient.abs().sum() > 0] == []
    assert all(torch.isfinite(gradient).all() for gradient in weights.values())


def test_the_transformers_second_derivative_is_the_numerical_one() -> None:
    torch.manual_seed(0)
    head = TransformerHead((1, 2, 3), 1, 1).double()
    images = torch.rand(2, 1, 2, 3, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradgradcheck(head, images)


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40))
def test_patches_are_joined_to_the_images_they_were_split_from(c: int, h: int, w: int) -> None:
    stem = TransformerStem((c, h, w), 1, 2)
    images = torch.arange(2.0 * c * h * w).reshape(2, c, h, w)

    patches = stem.split(images)

    assert torch.equal(stem.join(patches), images)
    assert patches.shape == (2, stem.rows * stem.columns, c * stem.side**2)
    assert stem.rows * stem.columns <= 64


def test_a_patch_holds_neighbouring_pixels_of_every_channel() -> None:
    stem = TransformerStem((2, 4, 4), 1, 2)

    patches = stem.split(torch.arange(32.0).reshape(1, 2, 4, 4))

    assert stem.side == 2
    assert patches[0, 0].tolist() == [0, 1, 4, 5, 16, 17, 20, 21]
    assert patches[0, 1].tolist() == [2, 3, 6, 7, 18, 19, 22, 23]
    assert patches[0, 2].tolist() == [8, 9, 12, 13, 24, 25, 28, 29]


@given(st.integers(1, 300), st.integers(1, 300))
def test_at_most_eight_patches_cover_a_side(height: int, width: int) -> None:
    side = patch_side(height, width)

    assert side >= 1
    assert max(-(-height // side), -(-width // side)) <= 8


def test_a_patchs_place_counts() -> None:
    torch.manual_seed(0)
    head, images = TransformerHead((1, 8, 8), 2, 3), torch.rand(2, 1, 8, 8)

    assert not torch.allclose(head(images), head(images.flip(3)), atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
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
