"""Versions of the data, kept by DVC (the only importer of it, by its command line).

data.dvc records the whole of data/; a project's version is the digest of its own subtree in that record, so that
another project's data neither retrains this one nor makes it dirty.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from regen.core import files
from regen.core.errors import DataError, StaleDataError, writes_to
from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import record, sources
from regen.data.exchange import Exchange
from regen.data.raw import Place, tell
from regen.data.record import below, cached, hashes, recorded_entries, recorded_md5, tree_md5

__all__ = [
    "Status", "add", "pull", "push", "recorded_md5", "recover", "replacing", "require_clean", "status", "tree_md5",
]  # fmt: skip


@dataclass(frozen=True)
class Status:
    """How data/PROJECT stands against data.dvc."""

    version: str | None
    """The recorded version; None when data.dvc records nothing of the project, or what it records cannot be told."""
    missing: tuple[str, ...] = ()
    """Recorded files that are not there."""
    changed: tuple[str, ...] = ()
    """Files that differ from their record, or have none."""

    @property
    def clean(self) -> bool:
        """Whether the files are exactly the recorded ones."""
        return self.version is not None and not self.missing and not self.changed


def status(workspace: Workspace, project: str) -> Status:
    """Compares data/PROJECT with data.dvc's record of it."""
    present = hashes(workspace.data(project))
    md5 = recorded_md5(workspace)
    entries = None if md5 is None else recorded_entries(workspace, md5)
    recorded = below(entries or {}, project)
    if not recorded:
        return Status(None, changed=tuple(sorted(present)))
    return Status(
        tree_md5(recorded),
        missing=tuple(sorted(recorded.keys() - present.keys())),
        changed=tuple(sorted(path for path, md5 in present.items() if recorded.get(path) != md5)),
    )


def require_clean(workspace: Workspace, project: str) -> str:
    """The version of the project's data.

    Raises:
        StaleDataError: data/ and data.dvc disagree.
    """
    found = status(workspace, project)
    folder = workspace.data(project).relative_to(workspace.root)
    if found.version is None:
        raise StaleDataError(
            f"data.dvc records no {folder}; run 'regen data pull' to fetch it or 'regen data add' to record it"
        )
    if found.changed:
        raise StaleDataError(
            f"{folder} differs from data.dvc in {', '.join(found.changed)}; run 'regen data add' to record it as a new "
            "version, or remove these files and run 'regen data pull' to have the recorded ones back"
        )
    if found.missing:
        raise StaleDataError(f"{folder} lacks {', '.join(found.missing)}; run 'regen data pull' to have them back")
    return found.version


def add(workspace: Workspace) -> None:
    """Records the present data/ in data.dvc and DVC's cache."""
    if not (workspace.root / "data").is_dir():
        raise DataError(f"{workspace.root / 'data'} does not exist; put a project's files there first")
    with writes_to(workspace.root / "data.dvc"):
        _dvc(workspace, "add", "data")


@contextmanager
def replacing(workspace: Workspace, project: str) -> Iterator[Path]:
    """Gives an empty folder to fill, which then takes the place of data/PROJECT and is recorded; all of it or nothing.

    The lock `data` must be held.

    Raises:
        StaleDataError: data/PROJECT, or another project's data, differs from data.dvc.
        DataError: DVC refuses.
        StorageError: the disk is full, read-only or refuses.
    """
    require_clean(workspace, project)
    md5 = recorded_md5(workspace)
    assert md5 is not None  # else nothing would be clean
    _require_others(workspace, project, recorded_entries(workspace, md5) or {})
    exchange = Exchange.of(workspace, project)
    with exchange.prepared() as fresh:
        yield fresh
        exchange.switch(_named, lambda: add(workspace))


def recover(workspace: Workspace, project: str) -> bool:
    """Takes back a replacement that was killed before it was recorded; whether there was one. The lock `data` must be held."""
    exchange = Exchange.of(workspace, project)
    return exchange.folder.exists() and exchange.recover(_named, is_recorded=status(workspace, project).clean)


def _named(folder: Path) -> str:
    """The version that a folder would have as data/PROJECT."""
    return tree_md5(hashes(folder))


def add_votes(workspace: Workspace) -> str:
    """Records the present votes/ in votes.dvc and DVC's cache; gives back the version.

    Raises:
        DataError: there are no votes, or DVC refuses.
    """
    if not (workspace.root / "votes").is_dir():
        raise DataError(f"{workspace.root / 'votes'} does not exist; 'regen votes collect' writes it")
    with writes_to(workspace.root / "votes.dvc"):
        _dvc(workspace, "add", "votes")
    return str(recorded_md5(workspace, "votes.dvc"))


def push(workspace: Workspace) -> None:
    """Sends the recorded data to DVC's default remote."""
    _dvc(workspace, "push", "data.dvc")


def pull(workspace: Workspace, project: str, config: DataConfig, say: Callable[[str], None] = tell) -> str:
    """Brings data/PROJECT to its recorded version and says where from: here, cache, remote or source.

    Files that are missing come from DVC's cache, else from its remote, else from the source, whose files must hash to
    what data.dvc records. A project that data.dvc does not know is materialised from its source and recorded, and so is
    one whose folder is gone and whose recorded version was made with other settings than the project file now has. No
    file that is there is ever changed or removed: DVC is only asked to fetch, never to check out.

    Args:
        config: the data section of the project file.
        say: told of downloads and other long work.

    Raises:
        StaleDataError: files are there that differ from the record, that have none, or that were made otherwise.
        DataError: what the source gives is not what data.dvc records.
    """
    with workspace.lock("data"):
        recover(workspace, project)
        origin = _pull(workspace, project, config, Place(workspace.root, say=say))
        sources.require_fit(config, workspace.data(project))
        return origin


def _pull(workspace: Workspace, project: str, config: DataConfig, place: Place) -> str:
    found, md5 = status(workspace, project), recorded_md5(workspace)
    if found.clean:
        return "here"
    if found.version is not None and found.changed:
        require_clean(workspace, project)
    gone = not hashes(workspace.data(project))

    def remade() -> bool:
        manifest = record.recorded_manifest(workspace, project, md5) if gone and md5 is not None else None
        return bool(sources.misfit(config, manifest))

    if md5 is not None and not remade() and _from_cache(workspace, project, md5):
        return "cache"
    if md5 is not None and not remade() and _try_dvc(workspace, "config", "core.remote"):
        _try_dvc(workspace, "fetch", "data.dvc")
        if not remade() and _from_cache(workspace, project, md5):
            return "remote"
    with writes_to(workspace.state):
        workspace.state.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=workspace.state) as temporary:
        _from_source(workspace, project, config, Path(temporary), place, remade=remade())
    return "source"


def _from_cache(workspace: Workspace, project: str, md5: str) -> bool:
    """Copies what is missing from DVC's cache; whether all of the project is there then."""
    recorded = below(recorded_entries(workspace, md5) or {}, project)
    for path, digest in recorded.items():
        target, kept = workspace.data(project) / path, cached(workspace, digest)
        if not target.exists() and kept.is_file() and files.md5(kept) == digest:
            with files.replacing(target) as temporary:
                shutil.copyfile(kept, temporary)
    return status(workspace, project).clean


def _from_source(
    workspace: Workspace, project: str, config: DataConfig, temporary: Path, place: Place, *, remade: bool
) -> None:
    """Brings what the source gives, and records it unless data.dvc does already.

    Args:
        remade: whether the recorded version was made with other settings, and its files are gone.
    """
    fresh = temporary / project
    sources.materialise(config, fresh, place)
    given = hashes(fresh)
    md5 = recorded_md5(workspace)
    entries = {} if md5 is None else recorded_entries(workspace, md5)
    own = sorted(path for path, digest in hashes(workspace.data(project)).items() if given.get(path) != digest)
    if own and not below(entries or {}, project):
        raise StaleDataError(
            f"data/{project} holds files that are not the source's and that data.dvc does not record: {', '.join(own)}; "
            "run 'regen data add' to record them, or move them away and run 'regen data pull' again"
        )
    if untold := entries is None:
        assert md5 is not None  # else there are entries, none
        told = record.tell(workspace, md5, project, fresh, temporary, place)
        if told is None:
            raise StaleDataError(
                f"data.dvc records {md5}, whose files lie neither in DVC's cache nor in a remote, and with the source's "
                f"{project} data/ would not hash to that; bring the recorded files from where they lie (a DVC remote), or "
                "move data.dvc away to begin a record of what is here"
            )
        for other, folder in told.items():
            if other != project:
                _copy(folder, workspace.data(other))
        entries = hashes(workspace.root / "data") | {
            f"{project}/{path}": digest for path, digest in hashes(told.get(project, temporary / "none")).items()
        }
        remade = remade or told.get(project, fresh) != fresh
    recorded = below(entries, project)
    if recorded and given != recorded and not remade:
        raise DataError(
            f"source {config.source} gives {tree_md5(given)}, but data.dvc records {tree_md5(recorded)} for {project}; bring "
            "the recorded files from where they lie (a DVC remote), or 'git checkout' the data.dvc that fits"
        )
    if given != recorded:
        _require_others(workspace, project, entries)
        if recorded:
            place.say(f"  data: {project} is made anew, with other settings than the version that data.dvc records")
    _copy(fresh, workspace.data(project))
    if given != recorded or untold:  # when it was untold, DVC's cache is filled, and data.dvc stays as it is
        add(workspace)
    if count := sources.quarantined(workspace.data(project)):
        place.say(f"  data: {count} files were set aside; data/{project}/{sources.QUARANTINE} says why")


def _copy(folder: Path, target: Path) -> None:
    """Copies those of the folder's files that `target` lacks."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if not (place := target / file.relative_to(folder)).exists():
            with files.replacing(place) as temporary:
                shutil.copyfile(file, temporary)


def _require_others(workspace: Workspace, project: str, entries: Mapping[str, str]) -> None:
    """Makes sure that adding data/ records nothing of other projects that nobody meant to record, and loses nothing."""
    for path, digest in entries.items():
        target, kept = workspace.root / "data" / path, cached(workspace, digest)
        if not path.startswith(f"{project}/") and not target.exists() and kept.is_file() and files.md5(kept) == digest:
            with files.replacing(target) as temporary:
                shutil.copyfile(kept, temporary)
    present = hashes(workspace.root / "data")
    differing = sorted(
        path
        for path in present.keys() | entries.keys()
        if not path.startswith(f"{project}/") and present.get(path) != entries.get(path)
    )
    if differing and entries:
        raise StaleDataError(
            f"data/ differs from data.dvc in {', '.join(differing[:5])}, so {project} cannot be recorded beside it; "
            "run 'regen data add' to record these changes first, or bring the files back"
        )


def _try_dvc(workspace: Workspace, *arguments: str) -> str:
    """DVC's standard output; empty if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=workspace.root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _dvc(workspace: Workspace, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=workspace.root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise DataError(
            f"dvc {' '.join(arguments)} failed: {(lines or done.stderr.splitlines() or ['no reason given'])[0]}"
        )
