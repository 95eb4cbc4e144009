"""The extractor: features and classes of each image, whatever its batch."""

from typing import get_args

import pytest
import torch

from regen.core.sections.base import Network
from regen.models.extractor import Extractor


@pytest.mark.parametrize("network", get_args(Network))
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 9, 7)])
def test_every_image_size_has_features_and_classes(shape: tuple[int, int, int], network: Network) -> None:
    extractor, images = Extractor(shape, 2, 6, 10, network), torch.rand(3, *shape)

    assert extractor(images).shape == (3, 10)
    assert extractor.features(images).shape == (3, 6)
    assert extractor.classes(images).shape == (3,)


def test_an_images_features_do_not_depend_on_its_batch() -> None:
    extractor, images = Extractor((1, 8, 8), 2, 6, 10), torch.rand(1100, 1, 8, 8)

    rows = [0, 1023, 1024, 1099]

    torch.testing.assert_close(extractor.features(images)[rows], extractor.features(images[rows]))
    assert torch.equal(extractor.classes(images)[rows], extractor.classes(images[rows]))


def test_the_class_is_the_likeliest() -> None:
    extractor, images = Extractor((1, 8, 8), 2, 6, 10), torch.rand(50, 1, 8, 8)

    assert torch.equal(extractor.classes(images), extractor(images).argmax(dim=1))
    assert not extractor.features(images).requires_grad
