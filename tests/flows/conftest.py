"""Projects that whole flows run in: made, run and rerun once, then looked at from every side."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_project

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Project:
    """A project in a folder of its own."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """This process's, without what would point elsewhere, with our commands on the path."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        return kept | {"COLUMNS": "200", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}

    def call(self, *command: str) -> Done:
        """Runs a command in the project."""
        return subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=400, check=False
        )

    def regen(self, *arguments: str) -> Done:
        """Runs `regen` in the project."""
        return self.call(sys.executable, "-m", "flows.cli", *arguments)

    def store(self, stage: str) -> list[Path]:
        """The folders in which a stage keeps its results, one for each key."""
        return sorted((self.root / ".regen" / "store" / stage).glob("*/out"))


@dataclass(frozen=True)
class Ran:
    """A project after a run, and what the run said."""

    project: Project
    done: Done


NewProject = Callable[[str], Project]


@pytest.fixture(scope="session")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> NewProject:
    """Makes a fresh project, as a clone has it."""

    def call(name: str) -> Project:
        root = tmp_path_factory.mktemp(name) / "project"
        with pytest.MonkeyPatch.context() as monkeypatch:
            make_project(root, monkeypatch)
        return Project(root)

    return call


@pytest.fixture(scope="session")
def first_run(new_project: NewProject) -> Ran:
    """A fresh clone after its first `regen run`."""
    project = new_project("first")
    return Ran(project, project.regen("run"))


@pytest.fixture(scope="session")
def second_run(first_run: Ran) -> Ran:
    """The same again; what the store held in between is not touched by it."""
    return Ran(first_run.project, first_run.project.regen("run"))


def moved(project: Project, root: Path) -> Project:
    """A copy of a project elsewhere, mended."""
    copy = Project(root)
    shutil.copytree(project.root, copy.root, symlinks=True)
    mended = copy.regen("doctor", "--fix")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    return copy


@pytest.fixture(scope="session")
def weak_run(second_run: Ran, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """In a copy, a run with networks that hardly trained, and floors that such networks do not meet."""
    assert second_run.done.returncode == 0, second_run.done.stderr
    project = moved(second_run.project, tmp_path_factory.mktemp("weak") / "project")
    weak = (
        "vae.images=64", "gan.images=32", "gate.vae.floors={reconstruction_ssim: 0.3}",
        "gate.gan.floors={frechet_distance: 60}",
    )  # fmt: skip
    arguments = [word for setting in weak for word in ("--set", setting)]
    return Ran(project, project.regen("run", *arguments))


@pytest.fixture(scope="module")
def own_copy(weak_run: Ran, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a champion and a rejected version of each model, moved elsewhere and mended, to do things to."""
    assert weak_run.done.returncode == 0, weak_run.done.stderr
    return moved(weak_run.project, tmp_path_factory.mktemp("copy") / "project")


@pytest.fixture
def regen_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs `regen` in this very process, for commands whose imports would take longer than their work."""
    from flows.cli import main

    def call(project: Project, *arguments: str) -> Done:
        with pytest.MonkeyPatch.context() as around:
            around.chdir(project.root)
            around.setattr(sys, "path", list(sys.path))
            before, wanted = dict(os.environ), project.environment
            os.environ.clear()
            os.environ.update(wanted)
            capsys.readouterr()
            try:
                main(arguments)
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
            finally:
                os.environ.clear()
                os.environ.update(before)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return call


@pytest.fixture
def regen_json(regen_here: Callable[..., Done]) -> Callable[..., Any]:
    """Runs `regen ... --json` and reads what it prints."""

    def call(project: Project, *arguments: str) -> Any:
        done = regen_here(project, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call
