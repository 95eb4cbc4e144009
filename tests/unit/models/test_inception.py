"""FID's Inception: the structure of the published network, the original's resizing, and files that are refused."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from regen.core import files
from regen.core.errors import EvaluationError
from regen.models.inception import Inception, InceptionV3, prepared


@pytest.fixture(scope="module")
def network() -> InceptionV3:
    """Weights of He's variance, so that signals neither vanish nor explode."""
    torch.manual_seed(0)
    made = InceptionV3()
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return made


@pytest.fixture(scope="module")
def file(network: InceptionV3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like the original's: no counters of batches, and the classifier's weights beside those of features."""
    weights = {name: value for name, value in network.state_dict().items() if "num_batches" not in name}
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(weights | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, path)
    return path


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 40, 30, 3), np.uint8)


def test_it_has_as_many_weights_as_the_published_network(network: InceptionV3) -> None:
    """Inception-v3 has 27,161,264 in all: 3,326,696 of them the auxiliary classifier's, 2,049,000 the classifier's."""
    assert sum(weight.numel() for weight in network.parameters()) == 27_161_264 - 3_326_696 - 2_049_000
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 94


def test_every_block_gives_the_sizes_of_the_paper() -> None:
    wanted = {
        "Conv2d_2b_3x3": (64, 147, 147), "Conv2d_4a_3x3": (192, 71, 71), "Mixed_5b": (256, 35, 35),
        "Mixed_5d": (288, 35, 35), "Mixed_6a": (768, 17, 17), "Mixed_6e": (768, 17, 17),
        "Mixed_7a": (1280, 8, 8), "Mixed_7b": (2048, 8, 8), "Mixed_7c": (2048, 8, 8),
    }  # fmt: skip
    with torch.device("meta"):
        network, met = InceptionV3(), {}
        for name in wanted:
            keep = lambda module, given, made, name=name: met.update({name: tuple(made.shape[1:])})  # noqa: E731
            network.get_submodule(name).register_forward_hook(keep)
        assert network(torch.zeros(1, 3, 299, 299)).shape == (1, 2048)

    assert met == wanted


def test_average_pools_leave_padding_out_and_the_last_block_pools_by_the_maximum(network: InceptionV3) -> None:
    ones, met = torch.ones(1, 2048, 8, 8), []
    for block in (network.Mixed_7b, network.Mixed_7c):
        block.branch_pool.register_forward_pre_hook(lambda _, given: met.append(given[0]))
    network.Mixed_7b(ones[:, :1280])
    network.Mixed_7c(ones + torch.eye(8))

    assert met[0].unique().tolist() == [1]
    assert met[1].max() == 2 and met[1][0, 0, 0, 1] == 2


def test_features_are_finite_and_the_same_each_time(file: Path, images: np.ndarray) -> None:
    one, other = (Inception.load(file, files.sha256(file)) for _ in range(2))

    found = one.features(images)

    assert found.shape == (2, 2048)
    assert found.dtype == np.float64
    assert np.isfinite(found).all() and found.std() > 0
    np.testing.assert_array_equal(found, other.features(images))
    np.testing.assert_allclose(found[1:], one.features(images[1:]), rtol=1e-3, atol=1e-3)


def test_other_weights_than_the_original_are_called_by_another_name(file: Path) -> None:
    spec = Inception.load(file, files.sha256(file)).spec

    assert (spec.id, spec.dim, spec.resolution, spec.channels) == ("inception-v3", 2048, 299, 3)
    assert spec.sha256 == files.sha256(file)


def test_the_file_is_known_by_its_digest_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "sha256", lambda path: "6726825d" + "0" * 56)

    assert Inception.load(file).spec.id == "inception-2015-12-05"


def test_images_are_resized_as_tensorflow_1_did_it() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 50, 20, 3), np.uint8)

    found = prepared(torch.from_numpy(image))[0].numpy()

    for y, x in [(0, 0), (1, 1), (150, 77), (298, 298)]:
        row, column = y * 50 / 299, x * 20 / 299
        top, left = int(row), int(column)
        bottom, right = min(top + 1, 49), min(left + 1, 19)
        a, b = row - top, column - left
        pixel = (1 - a) * ((1 - b) * image[0, top, left] + b * image[0, top, right])
        pixel = pixel + a * ((1 - b) * image[0, bottom, left] + b * image[0, bottom, right])
        np.testing.assert_allclose(found[:, y, x], (pixel - 128) / 128, atol=1e-4)


def test_an_image_of_the_networks_size_keeps_its_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 299, 299, 3), np.uint8)

    found = prepared(torch.from_numpy(image))[0].permute(1, 2, 0).numpy()

    np.testing.assert_allclose(found * 128 + 128, image[0], atol=1e-3)


def test_a_file_of_another_digest_is_refused(file: Path) -> None:
    met = files.sha256(file)[:8]

    with pytest.raises(EvaluationError, match=f"has the sha256 {met}…, wanted 6726825d…, .*fetch that file anew"):
        Inception.load(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"nowhere is no file; name pt_inception-2015-12-05-6726825d\.pth"):
        Inception.load(tmp_path / "nowhere")


def saved(path: Path, content: object) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no weights", "holds no weights that torch can read"),
        ({"a": Path()}, "holds no weights that torch can read"),
        ([1, 2], "holds no table of weights by name"),
        ({"a": 1}, "holds no table of weights by name"),
    ],
    ids=["other bytes", "code", "a list", "no tensors"],
)
def test_a_file_without_weights_is_refused(tmp_path: Path, content: object, words: str) -> None:
    path = saved(tmp_path / "weights.pth", content)

    with pytest.raises(EvaluationError, match=words):
        Inception.load(path, files.sha256(path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weights: weights.pop("Mixed_5b.branch1x1.conv.weight"), "1 differences: Mixed_5b.branch1x1.conv.weight is missing"),
        (lambda weights: weights.update(more=torch.zeros(1)), "1 differences: more is not of it"),
        (lambda weights: weights.update({"Conv2d_1a_3x3.bn.bias": torch.zeros(5)}), "Conv2d_1a_3x3.bn.bias is (5,), wanted (32,)"),
        (lambda weights: weights.clear(), "470 differences"),
    ],
    ids=["one missing", "one more", "another shape", "none"],
)  # fmt: skip
def test_weights_of_another_network_are_refused_in_one_line(
    network: InceptionV3, tmp_path: Path, change: Callable[[dict], None], words: str
) -> None:
    weights = {name: torch.zeros(()).expand(value.shape) for name, value in network.state_dict().items()}  # small files
    change(weights)
    path = saved(tmp_path / "weights.pth", weights)

    with pytest.raises(EvaluationError, match=f"another network than FID's .*{re.escape(words)}"):
        Inception.load(path, files.sha256(path))
