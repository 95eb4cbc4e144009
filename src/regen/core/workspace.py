"""Where a project keeps what: its root, the data, the results of its stages, the tracking store.

A stage's results lie in a folder named after its key, so equal work is found again and never done twice.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from regen.core import files
from regen.core.errors import ConfigError, StorageError, writes_to

DONE = "done.json"
SHARED = "REGEN_STORE"
"""The variable that names a folder which several machines share, for results, checkpoints and locks."""


@dataclass(frozen=True)
class Workspace:
    """The folder that holds params.yaml and dvc.yaml, and all that lies under it."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> "Workspace":
        """The nearest folder, from `start` upward, with a dvc.yaml or params.yaml.

        Raises:
            ConfigError: there is none.
        """
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / "dvc.yaml").is_file() or (folder / "params.yaml").is_file():
                return cls(folder)
        raise ConfigError(f"{here} is in no Regen project; go to the folder that holds params.yaml and dvc.yaml")

    @property
    def state(self) -> Path:
        """.regen/, everything that is state and not a result a person looks for."""
        return self.root / ".regen"

    @property
    def mlruns(self) -> Path:
        """The embedded MLflow store."""
        return self.root / "mlruns"

    def data(self, project: str) -> Path:
        """The project's own subtree of data/."""
        return self.root / "data" / project

    @property
    def shared(self) -> Path:
        """What machines that work together share: .regen/, or the folder that REGEN_STORE names."""
        return self.root / (os.environ.get(SHARED) or self.state)

    @property
    def store(self) -> Path:
        """The results of all stages, and what unfinished ones go on from."""
        return self.shared / "store"

    def stage(self, name: str, key: str) -> "StageFolder":
        """Where the stage `name` with this key keeps its results."""
        return StageFolder(self.store / name / key[:16])

    def outputs(self, project: str) -> Path:
        """The newest results of a project, at fixed names, for people and for dvc.yaml."""
        return self.root / "outputs" / project

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Holds the lock `name` across processes, and across machines where they share their store."""
        path = self.shared / "locks" / f"{name}.lock"
        with writes_to(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


LEAST_FREE_MIB = 64
"""What a run of the smallest project writes: two databases, checkpoints, results, artifacts."""


def require_room(workspace: Workspace) -> None:
    """Makes sure that a run has room to start.

    Raises:
        StorageError: less than 64 MiB are free.
    """
    free = shutil.disk_usage(workspace.root).free / 2**20
    if free < LEAST_FREE_MIB:
        raise StorageError(
            f"the disk of {workspace.root} is full: {free:.0f} MiB are free, and a run needs at least {LEAST_FREE_MIB}; "
            "free some space, then run the command again"
        )


@dataclass(frozen=True)
class StageFolder:
    """One stage's results: `out/` holds them once done.json does, `work/` what an unfinished run goes on from."""

    path: Path

    @property
    def out(self) -> Path:
        """The results."""
        return self.path / "out"

    @property
    def work(self) -> Path:
        """Checkpoints and the like."""
        return self.path / "work"

    def is_done(self) -> bool:
        """Whether the results are there, whole, with the digests they were written with."""
        try:
            recorded = files.read_json(self.path / DONE)["sha256"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False
        return bool(recorded == digests(self.out))

    def finish(self) -> None:
        """Marks the results as whole."""
        files.write_json(self.path / DONE, {"sha256": digests(self.out)})


def digests(folder: Path) -> dict[str, str]:
    """Each file's sha256 by its path inside `folder`."""
    return {str(file.relative_to(folder)): files.sha256(file) for file in sorted(folder.rglob("*")) if file.is_file()}
