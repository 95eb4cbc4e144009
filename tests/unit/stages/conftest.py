"""A project with recorded data, made once and copied for each test."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from regen.core.config import DataConfig, load
from regen.core.workspace import Workspace
from regen.data import sources, versions
from regen.stages import progress
from regen.stages.base import Context
from tests.conftest import make_project

Open = Callable[..., Context]


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

    def update(self, task: str, done: int, total: int, terms: Mapping[str, float], rate: float) -> None:
        self.updates.append((task, done, total, dict(terms), rate))

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    kept = Shown()
    monkeypatch.setattr(progress, "_current", kept)
    return kept
