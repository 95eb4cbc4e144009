"""A store with two packaged, untrained networks, made once; registering one more version of them takes no time."""

import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from regen.core.environment import embedded
from regen.core.sections.models import GanConfig, VaeConfig
from regen.core.workspace import Workspace
from regen.models import storage
from regen.models.extractor import Extractor
from regen.registry import packaging, tracking, versions
from regen.registry.tracking import Run
from regen.registry.versions import Version
from regen.training import gan, vae

SHAPE = (1, 8, 8)
CLASSES = ("shirt", "shoe")
_keys = count()


@dataclass(frozen=True)
class Store:
    """A tracking store and the addresses of the models logged in it."""

    workspace: Workspace
    run: Run
    uris: dict[str, str]

    def register(self, model: str, kind: str = "vae") -> Version:
        """A new version of `model`, all of one kind sharing the same logged files."""
        return versions.register(model, kind, self.run, self.uris[kind], f"key-{next(_keys)}", {}, "# card")


def log_network(run: Run, kind: str, folder: Path) -> str:
    """Packages an untrained network of the smallest size."""
    folder.mkdir()
    if kind == "vae":
        small = VaeConfig(network="mlp", width=2, latent_dim=4, score_neighbours=2, score_draws=2)
        storage.save(
            folder, "vae", vae.build(small, SHAPE, n_reference=4, seed=0), shape=SHAPE, network="mlp", width=2,
            latent_dim=4, n_reference=4, neighbours=2, draws=2,
        )  # fmt: skip
    elif kind == "extractor":
        arguments = {"shape": SHAPE, "width": 1, "features": 3, "n_classes": 2}
        storage.save(folder, "extractor", Extractor(**arguments), **arguments)
        storage.save(folder, "judge", Extractor(**arguments, network="mlp"), **arguments, network="mlp")
        for name in packaging.BESIDE["extractor"]:
            (folder / name).write_text("of the training")
    else:
        generator, _ = gan.build(GanConfig(network="mlp", width=2, latent_dim=4), SHAPE, 0, CLASSES)
        arguments = {"shape": SHAPE, "network": "mlp", "width": 2, "latent_dim": 4, "classes": CLASSES}
        storage.save(folder, "generator", generator, **arguments)
    return packaging.log_model(run, kind, f"digits-{kind}", folder, SHAPE, "# card")


def use_store(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points this process at the project's embedded store."""
    for name, value in embedded(workspace).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    monkeypatch.setattr(sys, "path", list(sys.path))  # loading a pyfunc puts its bundled code in front


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = tmp_path_factory.mktemp("store") / "project"
    workspace = Workspace(root)
    root.mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_store(workspace, monkeypatch)
        tracking.open_store(workspace)
        run = Run.of_key(workspace, "digits", "digits", "key", {})
        uris = {kind: log_network(run, kind, root / kind) for kind in ("vae", "gan", "extractor")}
    return Store(workspace, run, uris)


@pytest.fixture
def store(made_store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store, with this process pointed at it."""
    use_store(made_store.workspace, monkeypatch)
    return made_store
