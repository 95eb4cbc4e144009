"""A project with recorded data, made once and copied for each test."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from regen.core.config import load
from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import sources, versions
from regen.registry import tracking
from regen.stages import prepare, progress
from regen.stages.base import Context
from tests.conftest import make_project
from tests.unit.registry.conftest import use_store

Open = Callable[..., Context]
TINY = {
    "gan.images": "640", "gan.batch_size": "64", "gan.width": "1", "gan.augment_probability": "0.0",
    "vae.images": "640", "vae.width": "1", "vae.latent_dim": "4", "extractor.images": "640",
    "training.log_every_images": "128", "training.checkpoint_every_images": "320",
}  # fmt: skip
"""Overrides under which a training takes a second."""


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("recorded") / "project"
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_project(root, monkeypatch)
        sources.materialise(DataConfig(), Workspace(root).data("digits"))
        versions.add(Workspace(root))
    return root


@pytest.fixture
def root(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of this test's own, as current folder, its data recorded."""
    copy = tmp_path / "project"
    shutil.copytree(recorded, copy, symlinks=True)
    monkeypatch.chdir(copy)
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "MLFLOW_")):
            monkeypatch.delenv(name)
    return copy


@pytest.fixture
def open_project(root: Path) -> Open:
    """Opens the project, with values of its project file replaced: `open_project({"vae.width": "8"})`."""

    def call(overrides: dict[str, str] | None = None) -> Context:
        return Context(Workspace(root), load(root / "params.yaml", overrides))

    return call


class Shown:
    """Progress that is kept instead of shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.updates: list[tuple[str, int, int, dict[str, float], float]] = []
        self.units: set[str] = set()

    def update(
        self, task: str, done: int, total: int, terms: Mapping[str, float], rate: float, of: str = "images"
    ) -> None:
        self.units.add(of)
        self.updates.append((task, done, total, dict(terms), rate))

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    kept = Shown()
    monkeypatch.setattr(progress, "_current", kept)
    return kept


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty tracking database; making one takes longer than these trainings."""
    workspace = Workspace(tmp_path_factory.mktemp("database"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_store(workspace, monkeypatch)
        tracking.open_store(workspace)
    with sqlite3.connect(workspace.mlruns / "mlflow.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return workspace.mlruns / "mlflow.db"


def make_ready(root: Path, monkeypatch: pytest.MonkeyPatch, database: Path, **overrides: str) -> Context:
    """Opens the project in `root` with its rows prepared and a tracking store of its own."""
    settings = TINY | {name.replace("__", "."): value for name, value in overrides.items()}
    context = Context(Workspace(root), load(root / "params.yaml", settings))
    use_store(context.workspace, monkeypatch)
    if not context.workspace.mlruns.exists():
        context.workspace.mlruns.mkdir()
        shutil.copy(database, context.workspace.mlruns)
    threads = torch.get_num_threads()
    prepare.prepare(context)
    torch.set_num_threads(threads)
    return context


@pytest.fixture
def ready(root: Path, monkeypatch: pytest.MonkeyPatch, database: Path) -> Open:
    """Opens this test's own project, ready for training."""

    def call(**overrides: str) -> Context:
        return make_ready(root, monkeypatch, database, **overrides)

    return call
