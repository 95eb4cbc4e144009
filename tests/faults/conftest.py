"""A project whose data is there and whose training takes some seconds, and what every failure must look like."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import sources, versions
from tests.conftest import make_project

Done = subprocess.CompletedProcess[str]
PASSING = (".regen/locks", ".regen/prefect", ".git", "mlruns/mlflow.db-shm", "mlruns/mlflow.db-wal")
"""What may come and go without being a result."""


@dataclass(frozen=True)
class Project:
    """A project in a folder of its own."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """This process's, without what would point elsewhere."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        return kept | {"COLUMNS": "200", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}

    def regen(self, *arguments: str, cwd: Path | None = None, **environment: str) -> Done:
        """Runs `regen` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments], cwd=cwd or self.root,
            env=self.environment | environment, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip

    def start(self, *arguments: str, **environment: str) -> "Started":
        """Starts `regen` as a terminal does, in a process group of its own."""
        return Started(
            subprocess.Popen(
                [sys.executable, "-m", "flows.cli", *arguments], cwd=self.root, env=self.environment | environment,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            )
        )  # fmt: skip

    def files(self) -> dict[str, int]:
        """Every file that matters, with its size."""
        found = {str(path.relative_to(self.root)): path for path in self.root.rglob("*") if path.is_file()}
        return {name: path.stat().st_size for name, path in found.items() if not name.startswith(PASSING)}

    def store(self, stage: str) -> list[Path]:
        """The folders in which a stage keeps its work and its results, one for each key."""
        return sorted((self.root / ".regen" / "store" / stage).glob("*"))


@dataclass
class Started:
    """A `regen` that is running."""

    process: "subprocess.Popen[str]"
    said: str = ""

    def wait_for(self, text: str) -> None:
        """Reads its standard error until a line holds `text`."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            if text in line:
                return
        raise AssertionError(f"it ended without saying {text!r}:\n{self.said}")

    def family(self) -> list[psutil.Process]:
        """All processes that it started, and theirs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        """The processes that train."""
        return [child for child in self.family() if "regen.stages.worker" in child.cmdline()]

    def finish(self, timeout: float = 400) -> Done:
        """Waits for its end."""
        out, err = self.process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, self.said + err)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run a moment later."""
    _, left = psutil.wait_procs(processes, timeout=10)
    return [process for process in left if process.status() != psutil.STATUS_ZOMBIE]


def errors(done: Done) -> list[str]:
    """The lines of standard error that are neither progress nor warnings."""
    told = [line for line in done.stderr.splitlines() if line.strip()]
    return [line for line in told if not line.startswith(("  ", "regen: project", "warning: "))]


def assert_fails_in_one_line(done: Done, *words: str, code: int = 1) -> None:
    """One line that begins with error:, with all these words in it, and nothing else but progress."""
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    assert done.returncode == code, done.stderr
    assert len(errors(done)) == 1, done.stderr
    assert errors(done)[0].startswith("error: ")
    for word in words:
        assert word in errors(done)[0]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose data is recorded, nothing else done."""
    root = tmp_path_factory.mktemp("template") / "project"
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_project(root, monkeypatch)
        sources.materialise(DataConfig(), Workspace(root).data("digits"))
        versions.add(Workspace(root))
    return root


def copy(template: Path, root: Path) -> Project:
    """A project like the template, in `root`."""
    shutil.copytree(template, root, symlinks=True)
    return Project(root)


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One project for all failures of a file: none of them may leave a trace in it."""
    return copy(template, tmp_path_factory.mktemp("shared") / "project")


@pytest.fixture
def unchanged(project: Project) -> Iterator[Project]:
    """The project, in which nothing may be different afterwards."""
    before = project.files()
    yield project
    assert project.files() == before


@pytest.fixture
def own_project(template: Path, tmp_path: Path) -> Project:
    """A project of this test's own."""
    return copy(template, tmp_path / "project")


Here = Callable[..., Done]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    """Runs `regen` in this very process, for failures that come before any work and whose imports would take longest."""
    from flows.cli import main

    def call(project: Project, *arguments: str, cwd: Path | None = None, **environment: str) -> Done:
        before, wanted = dict(os.environ), project.environment | environment
        with pytest.MonkeyPatch.context() as around:
            around.chdir(cwd or project.root)
            around.setattr(sys, "path", list(sys.path))
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
def started() -> Iterator[Callable[[Started], Started]]:
    """Sees to it that what a test starts does not outlive it."""
    watched: list[Started] = []

    def call(one: Started) -> Started:
        watched.append(one)
        return one

    yield call
    for one in watched:
        with suppress(ProcessLookupError):  # the group outlives its leader as long as a child of it runs
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()
