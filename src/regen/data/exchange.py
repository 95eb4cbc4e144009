"""One folder put in another's place, all of it or nothing, whatever ends the process in between.

The folder that comes in is written in full beside the one that goes, then both are renamed and the new state is recorded.
A journal says what was under way, so that the next process which holds the lock takes back what was left half done.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EXDEV
from pathlib import Path

from regen.core import files
from regen.core.errors import StorageError, writes_to
from regen.core.workspace import Workspace

Version = Callable[[Path], str]


@dataclass(frozen=True)
class Exchange:
    """The place where the exchange of one project's data is prepared."""

    folder: Path
    """Holds all that is here; nothing when no exchange is under way."""
    target: Path
    """The folder that is replaced."""

    @classmethod
    def of(cls, workspace: Workspace, project: str) -> "Exchange":
        """The exchange of data/PROJECT."""
        return cls(workspace.state / "exchange" / project, workspace.data(project))

    @property
    def fresh(self) -> Path:
        """The folder that comes in."""
        return self.folder / "new"

    @property
    def old(self) -> Path:
        """The folder that goes."""
        return self.folder / "old"

    @property
    def journal(self) -> Path:
        """What was under way."""
        return self.folder / "journal.json"

    @contextmanager
    def prepared(self) -> Iterator[Path]:
        """Gives an empty folder to fill with what comes in; nothing is left of it on an error."""
        try:
            with writes_to(self.folder):
                self.fresh.mkdir(parents=True)
                yield self.fresh
        finally:
            if not self.old.exists():  # else it could not be put back, which the next process will try
                shutil.rmtree(self.folder, ignore_errors=True)

    def switch(self, version: Version, record: Callable[[], None]) -> None:
        """Puts the new folder in the old one's place and records it; on an error the old one is back.

        Args:
            version: names a folder by its content.
            record: records the new state; once it has returned, there is no way back.

        Raises:
            StorageError: the two lie on different disks, so that neither can be renamed to the other.
        """
        files.write_json(self.journal, {"after": version(self.fresh)})
        try:
            self._rename(self.target, self.old)
            self._rename(self.fresh, self.target)
            record()
        except BaseException:
            self.recover(version, is_recorded=False)
            raise
        self.journal.unlink()
        shutil.rmtree(self.old)

    def recover(self, version: Version, *, is_recorded: bool) -> bool:
        """Takes back an exchange that never came to its end; whether there was one to take back.

        What somebody has changed since then is left alone.

        Args:
            is_recorded: whether the target is what its record says, so that there is nothing left to do.
        """
        undone = False
        if self.journal.exists() and self.old.exists() and not is_recorded:
            after = files.read_json(self.journal)["after"]
            if not self.target.exists() or version(self.target) == after:
                if self.target.exists():
                    self._rename(self.target, self.folder / "undone")
                self._rename(self.old, self.target)
                undone = True
        self.journal.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        return undone

    @staticmethod
    def _rename(source: Path, target: Path) -> None:
        try:
            source.rename(target)
        except OSError as error:
            if error.errno == EXDEV:
                raise StorageError(
                    f"{source} and {target} lie on different disks, so neither can take the other's place whole; keep data/ "
                    "and .regen/ on one disk"
                ) from error
            raise
