"""Models on disk: what is loaded does what was saved did, and nothing damaged is loaded."""

import pickletools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from regen.core.errors import DataError
from regen.models import storage
from regen.models.extractor import Extractor
from regen.models.gan import Discriminator, Generator
from regen.models.vae import Vae

SHAPE = (1, 9, 7)
VAE = {
    "shape": SHAPE, "network": "mlp", "width": 2, "latent_dim": 4, "n_reference": 6, "neighbours": 2, "draws": 2,
    "likelihood": "bernoulli", "classes": ("a", "b"),
}  # fmt: skip
MODELS: dict[str, tuple[Callable, dict]] = {
    "vae": (Vae, VAE),
    "generator": (
        Generator,
        {"shape": SHAPE, "network": "transformer", "width": 2, "latent_dim": 4, "classes": ("a", "b")},
    ),
    "discriminator": (Discriminator, {"shape": SHAPE, "network": "conv", "width": 2, "classes": ("a", "b")}),
    "extractor": (Extractor, {"shape": SHAPE, "width": 2, "features": 3, "n_classes": 4}),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds one model of each kind."""
    torch.manual_seed(0)
    for kind, (make, arguments) in MODELS.items():
        storage.save(tmp_path, kind, make(**arguments), **arguments)
    return tmp_path


@pytest.mark.parametrize("kind", MODELS)
def test_a_loaded_model_holds_the_same_numbers(tmp_path: Path, kind: str) -> None:
    make, arguments = MODELS[kind]
    saved = make(**arguments)
    for buffer in saved.buffers():
        buffer.copy_(200 * torch.rand(buffer.shape))
    storage.save(tmp_path, kind, saved, **arguments)

    loaded = storage.load(tmp_path, kind)

    assert saved.state_dict().keys() == loaded.state_dict().keys()
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in saved.state_dict().items())


def test_loaded_models_give_equal_outputs(tmp_path: Path) -> None:
    saved = {kind: make(**arguments).eval() for kind, (make, arguments) in MODELS.items()}
    for kind, (_, arguments) in MODELS.items():
        storage.save(tmp_path, kind, saved[kind], **arguments)
    images = torch.rand(5, *SHAPE)

    loaded = {kind: storage.load(tmp_path, kind) for kind in MODELS}

    assert torch.equal(loaded["vae"].anomaly_score(images), saved["vae"].anomaly_score(images))
    assert torch.equal(loaded["vae"].sample(3, torch.Generator()), saved["vae"].sample(3, torch.Generator()))
    assert torch.equal(
        loaded["generator"].sample(3, torch.Generator()), saved["generator"].sample(3, torch.Generator())
    )
    of = torch.tensor([0, 1, 1, 0, 1])
    assert torch.equal(loaded["discriminator"](images, of), saved["discriminator"](images, of))
    assert loaded["vae"].classes == loaded["generator"].classes == loaded["discriminator"].classes == ("a", "b")
    assert loaded["vae"].likelihood == "bernoulli"
    assert torch.equal(loaded["extractor"](images), saved["extractor"](images))


def test_a_loaded_model_is_frozen_and_ready(folder: Path) -> None:
    loaded = storage.load(folder, "vae")

    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_loading_leaves_the_global_generator_alone(folder: Path) -> None:
    before = torch.get_rng_state()

    storage.load(folder, "vae")

    assert torch.equal(torch.get_rng_state(), before)


def test_there_is_no_pickle_in_the_folder(folder: Path) -> None:
    found = sorted(path.name for path in folder.iterdir())

    assert found == sorted(f"{kind}.{ending}" for kind in MODELS for ending in ("json", "safetensors"))
    for path in folder.iterdir():
        with pytest.raises((ValueError, IndexError)):
            list(pickletools.genops(path.read_bytes()))


def test_equal_models_make_equal_files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for kind, (_, arguments) in MODELS.items():
        storage.save(other, kind, storage.load(folder, kind), **arguments)

    assert {path.name: path.read_bytes() for path in other.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


@pytest.mark.parametrize("left", [0, 5, 100, -1])
def test_truncated_weights_are_refused(folder: Path, left: int) -> None:
    path = folder / "vae.safetensors"
    path.write_bytes(path.read_bytes()[:left])

    with pytest.raises(DataError, match=r"the vae in .* cannot be loaded \(.+\); remove the folder and run again"):
        storage.load(folder, "vae")


@pytest.mark.parametrize("name", ["vae.json", "vae.safetensors"])
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(DataError, match=rf"the vae in .* cannot be loaded \(.*{name}.*\)"):
        storage.load(folder, "vae")


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "{}", '{"arguments": 3}', '{"arguments": {}}', '{"arguments": {"shape": 3}}',
        '{"arguments": {"shape": [1, 9, 7], "layers": 3}}',
    ],
)  # fmt: skip
def test_a_corrupt_description_is_refused(folder: Path, content: str) -> None:
    (folder / "vae.json").write_text(content)

    with pytest.raises(DataError, match=r"the vae in .* cannot be loaded"):
        storage.load(folder, "vae")


def test_weights_of_another_architecture_are_refused(folder: Path) -> None:
    text = (folder / "vae.json").read_text()
    (folder / "vae.json").write_text(text.replace('"latent_dim": 4', '"latent_dim": 5'))

    with pytest.raises(DataError, match=r"the vae in .* cannot be loaded .*size mismatch"):
        storage.load(folder, "vae")
