"""A packaged model runs wherever MLflow does: safetensors and our own code inside, no pickle, nothing to install."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from regen.core.errors import RegistryError
from regen.registry import packaging, promotion
from tests.unit.registry.conftest import use_store

CONSUME = """\
import importlib, json, sys
sys.meta_path = [finder for finder in sys.meta_path if "__editable__" not in repr(finder)]
importlib.invalidate_caches()
assert importlib.util.find_spec("regen") is None, "regen must not be importable by itself here"
import mlflow, numpy
model = mlflow.pyfunc.load_model("models:/digits-vae@champion")
given = model.predict(numpy.arange(3 * 64, dtype=numpy.uint8).reshape(3, 8, 8, 1))
import regen
print(json.dumps({
    "code": regen.__file__,
    "shapes": {name: list(value.shape) for name, value in given.items()},
    "dtypes": {name: str(value.dtype) for name, value in given.items()},
    "finite": bool(numpy.isfinite(given["anomaly_score"]).all()),
}))
"""


@pytest.fixture(scope="module")
def consumed(made_store, tmp_path_factory):
    """What a fresh process says that knows MLflow's address alone."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_store(made_store.workspace, monkeypatch)
        promotion.promote(made_store.workspace, made_store.register("digits-vae"), "ada", "first")
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        environment["MLFLOW_TRACKING_URI"] = os.environ["MLFLOW_TRACKING_URI"]
    done = subprocess.run(
        [sys.executable, "-c", CONSUME], cwd=tmp_path_factory.mktemp("elsewhere"), env=environment,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def artifacts(uri):
    """The folder of a logged model."""
    import mlflow

    return Path(mlflow.artifacts.download_artifacts(uri))


def test_a_fresh_process_elsewhere_gets_score_flag_and_reconstruction(consumed):
    assert consumed["shapes"] == {"anomaly_score": [3], "is_anomaly": [3], "reconstruction": [3, 8, 8, 1]}
    assert consumed["dtypes"] == {"anomaly_score": "float32", "is_anomaly": "bool", "reconstruction": "uint8"}
    assert consumed["finite"]


def test_the_code_comes_from_the_model_itself(consumed, made_store):
    assert Path(consumed["code"]).is_relative_to(made_store.workspace.mlruns / "artifacts")


@pytest.mark.parametrize("kind", ["vae", "gan", "extractor"])
def test_nothing_in_a_package_is_a_pickle(store, kind):
    found = [path for path in artifacts(store.uris[kind]).rglob("*") if path.is_file()]

    assert any(path.suffix == ".safetensors" for path in found)
    assert not [path for path in found if path.suffix in (".pkl", ".pickle", ".pt", ".pth", ".bin")]
    assert not [path for path in found if path.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05", b"PK")]


@pytest.mark.parametrize("kind", ["vae", "gan", "extractor"])
def test_a_package_has_a_signature_an_example_a_card_and_pinned_requirements(store, kind):
    import mlflow

    info = mlflow.models.get_model_info(store.uris[kind])
    folder = artifacts(store.uris[kind])

    assert info.signature.inputs
    assert info.signature.outputs
    assert info.saved_input_example_info
    assert (folder / "artifacts" / "model" / "MODEL_CARD.md").read_text() == "# card"
    assert all("==" in line for line in (folder / "requirements.txt").read_text().splitlines())


def test_only_what_the_model_needs_of_our_code_travels_with_it(store):
    folder = artifacts(store.uris["vae"]) / "code" / "regen"

    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == [
        "__init__.py", "core", "models",
    ]  # fmt: skip


def test_the_gan_gives_the_same_pixels_for_the_same_seed(store):
    import mlflow
    import pandas as pd

    model = mlflow.pyfunc.load_model(store.uris["gan"])

    first, again, other = (model.predict(pd.DataFrame({"n": [3], "seed": [seed]})) for seed in (7, 7, 8))

    assert first.shape == (3, 8, 8, 1)
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != other).any()


def test_the_gan_takes_seed_0_when_none_is_given(store):
    import mlflow
    import pandas as pd

    model = mlflow.pyfunc.load_model(store.uris["gan"])

    without, zero = model.predict(pd.DataFrame({"n": [2]})), model.predict(pd.DataFrame({"n": [2], "seed": [0]}))

    assert (without == zero).all()


def test_a_class_that_is_asked_for_is_given_and_without_one_classes_are_drawn(store):
    import mlflow
    import pandas as pd
    import torch

    from regen.models.networks import to_pixels

    model, generator = mlflow.pyfunc.load_model(store.uris["gan"]), packaging.load_network("gan", store.uris["gan"])

    given = model.predict(pd.DataFrame({"n": [3, 3, 3], "seed": [1, 1, 1], "class": ["shoe", "shirt", None]}))

    drawn = [
        to_pixels(generator.sample(3, torch.Generator().manual_seed(1), classes))
        for classes in (torch.ones(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), None)
    ]
    assert (given == np.concatenate(drawn)).all()
    assert (given[:3] != given[3:6]).any()


def test_a_class_that_is_not_there_is_refused_by_name(store):
    import mlflow
    import pandas as pd

    model = mlflow.pyfunc.load_model(store.uris["gan"])

    with pytest.raises(Exception, match="has no class 'hat'; its classes are shirt, shoe"):
        model.predict(pd.DataFrame({"n": [1], "class": ["hat"]}))


def test_rows_of_a_gan_request_are_answered_one_after_the_other(store):
    import mlflow
    import pandas as pd

    model = mlflow.pyfunc.load_model(store.uris["gan"])

    both = model.predict(pd.DataFrame({"n": [2, 1], "seed": [3, 4]}))

    assert both.shape == (3, 8, 8, 1)
    assert (both[:2] == model.predict(pd.DataFrame({"n": [2], "seed": [3]}))).all()


def test_images_of_another_size_are_refused_by_the_signature(store):
    import mlflow

    model = mlflow.pyfunc.load_model(store.uris["vae"])

    with pytest.raises(mlflow.exceptions.MlflowException, match="shape"):
        model.predict(np.zeros((1, 9, 9, 1), np.uint8))


def test_the_network_behind_a_version_is_rebuilt_by_our_own_factory(store):
    version = store.register("rebuilt", "gan")

    network = packaging.load_network(version.kind, version.uri)

    assert type(network).__name__ == "Generator"
    assert not network.training


def test_a_model_that_is_not_there_is_a_registry_error(store):
    with pytest.raises(RegistryError, match="loading models:/nowhere/1"):
        packaging.load_network("vae", "models:/nowhere/1")


def test_damaged_weights_tell_the_way_back(store, monkeypatch, tmp_path):
    (tmp_path / "vae.json").write_text('{"arguments": {"shape": [1, 8, 8]}}')
    monkeypatch.setattr(packaging, "artifacts", lambda source: tmp_path)

    with pytest.raises(
        RegistryError, match=r"the files of models:/some/1 are damaged \(.*; bring mlruns/ back .*rollback"
    ):
        packaging.load_network("vae", "models:/some/1")


def test_the_extractor_gives_as_many_features_as_its_signature_says(store):
    import mlflow

    model = mlflow.pyfunc.load_model(store.uris["extractor"])

    given = model.predict(np.arange(2 * 64, dtype=np.uint8).reshape(2, 8, 8, 1))

    assert given.shape == (2, 3)
    assert given.dtype == np.float32
    assert mlflow.models.get_model_info(store.uris["extractor"]).signature.outputs.inputs[0].shape == (-1, 3)


def test_an_extractor_is_taken_up_again_with_its_judge_and_what_was_recorded_of_it(store, tmp_path):
    packaging.fetch(store.uris["extractor"], tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {
        "extractor.json", "extractor.safetensors", "judge.json", "judge.safetensors", "curve.csv", "admission.json",
    }  # fmt: skip
    assert packaging.load_network("judge", store.uris["extractor"]).classifier.out_features == 2


@pytest.mark.parametrize("kind", ["vae", "gan", "extractor"])
def test_a_package_tells_the_shape_of_its_images(store, kind):
    assert packaging.shape_of(kind, store.uris[kind]) == (1, 8, 8)
