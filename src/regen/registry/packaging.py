"""Trained networks as MLflow models: safetensors and config under a models-from-code pyfunc, our code bundled."""

import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import regen
from regen.core import files
from regen.core.errors import DataError, RegistryError
from regen.models import storage
from regen.registry.tracking import Run, speaking_plainly

REQUIREMENTS = tuple(
    f"{name}=={version(name).split('+')[0]}"
    for name in ("mlflow", "torch", "numpy", "pandas", "safetensors", "jaxtyping", "pydantic", "pyyaml", "filelock")
)
"""What a packaged model needs where it is loaded; Regen's own code travels with it."""
NETWORK = {"vae": "vae", "gan": "generator", "extractor": "extractor", "judge": "judge"}
"""The network of each kind of model that is used once trained; the judge travels with the extractor."""
BESIDE = {"extractor": ("curve.csv", "admission.json")}
"""What travels with the networks of a kind, so that they can be taken up again elsewhere."""
CARD = "MODEL_CARD.md"


def log_model(run: Run, kind: str, name: str, folder: Path, shape: tuple[int, int, int], card: str) -> str:
    """Logs the trained networks in `folder` to the run as a pyfunc; gives back the logged model's address.

    Args:
        kind: vae, gan or extractor.
        shape: channels, height and width.
        card: the model card, as markdown.
    """
    import mlflow

    with TemporaryDirectory() as temporary, speaking_plainly(f"logging {name}"):
        model = Path(temporary) / "model"
        model.mkdir()
        for file in folder.glob("*"):
            weights = file.with_suffix(".safetensors")
            if file == weights or weights.exists() or file.name in BESIDE.get(kind, ()):
                shutil.copy(file, model)
        (model / CARD).write_text(card)
        with mlflow.start_run(run_id=run.id):
            info = mlflow.pyfunc.log_model(
                name=name,
                python_model=str(Path(__file__).with_name(f"{kind}_model.py")),
                artifacts={"model": str(model)},
                code_paths=[str(code(Path(temporary)))],
                signature=_signature(kind, shape, folder),
                input_example=_example(kind, shape),
                pip_requirements=list(REQUIREMENTS),
            )
    return str(info.model_uri)


def code(temporary: Path, parts: tuple[str, ...] = ("core", "models")) -> Path:
    """A copy of the parts of our own code that a package needs."""
    source = Path(regen.__file__).parent
    target = temporary / "code" / "regen"
    for part in parts:
        shutil.copytree(source / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source / "__init__.py", target)
    return target


def _example(kind: str, shape: tuple[int, int, int]) -> Any:
    import pandas as pd

    channels, height, width = shape
    if kind in ("vae", "extractor"):
        return np.zeros((1, height, width, channels), np.uint8)
    return pd.DataFrame({"n": [4], "seed": [0]})


def _signature(kind: str, shape: tuple[int, int, int], folder: Path) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    channels, height, width = shape
    pixels = (-1, height, width, channels)
    if kind == "vae":
        return ModelSignature(
            Schema([TensorSpec(np.dtype(np.uint8), pixels)]),
            Schema([
                TensorSpec(np.dtype(np.float32), (-1,), "anomaly_score"),
                TensorSpec(np.dtype(np.bool_), (-1,), "is_anomaly"),
                TensorSpec(np.dtype(np.uint8), pixels, "reconstruction"),
            ]),
        )  # fmt: skip
    if kind == "extractor":
        features = files.read_json(folder / "extractor.json")["arguments"]["features"]
        return ModelSignature(
            Schema([TensorSpec(np.dtype(np.uint8), pixels)]), Schema([TensorSpec(np.dtype(np.float32), (-1, features))])
        )
    return ModelSignature(
        Schema(
            [ColSpec("long", "n"), *(ColSpec(*of, required=False) for of in (("long", "seed"), ("string", "class")))]
        ),
        Schema([TensorSpec(np.dtype(np.uint8), pixels)]),
    )


def load_network(kind: str, source: str) -> Any:
    """The network behind a registered model's address, rebuilt by our own factory for measuring and sampling.

    Raises:
        RegistryError: there is no such model, or its files are gone or damaged.
    """
    return whole(source, lambda folder: storage.load(folder, NETWORK[kind]))


def whole(source: str, load: Callable[[Path], Any]) -> Any:
    """What `load` makes of the files behind a registered model's address.

    Raises:
        RegistryError: there is no such model, or its files are gone or damaged.
    """
    try:
        return load(artifacts(source))
    except DataError as error:
        reason = str(error).partition(";")[0]
        raise RegistryError(
            f"the files of {source} are damaged ({reason}); bring mlruns/ back from a backup, or go to another version with "
            "'regen rollback' or 'regen promote'"
        ) from error


def shape_of(kind: str, source: str) -> tuple[int, int, int]:
    """Channels, height and width of the images that a registered model knows.

    Raises:
        RegistryError: there is no such model, or its files are gone.
    """
    arguments = files.read_json(artifacts(source) / f"{NETWORK[kind]}.json")["arguments"]
    channels, height, width = arguments["shape"]
    return int(channels), int(height), int(width)


def fetch(source: str, into: Path) -> None:
    """Copies what was logged of a registered model into `into`, its card left out.

    Raises:
        RegistryError: there is no such model, or its files are gone.
    """
    for file in artifacts(source).iterdir():
        if file.name != CARD:
            shutil.copy(file, into)


def artifacts(source: str) -> Path:
    """The folder of what was logged of a registered model.

    Raises:
        RegistryError: there is no such model, or its files are gone.
    """
    import mlflow

    with speaking_plainly(f"loading {source}"):
        return Path(mlflow.artifacts.download_artifacts(source)) / "artifacts" / "model"
