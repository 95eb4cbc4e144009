"""Versions of the data, kept by DVC (the only importer of it, by its command line).

data.dvc records the whole of data/; a project's version is the digest of its own subtree in that record, so that
another project's data neither retrains this one nor makes it dirty.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from pathspec import PathSpec

from regen.core import files
from regen.core.errors import DataError, StaleDataError, writes_to
from regen.core.workspace import Workspace
from regen.data import sources


def tree_md5(entries: Mapping[str, str]) -> str:
    """DVC's name of a folder whose files (path to md5) are `entries`.

    Example:
        >>> tree_md5({})
        'd751713988987e9331980363e24189ce.dir'
    """
    listing = [{"md5": md5, "relpath": path} for path, md5 in sorted(entries.items())]
    return hashlib.md5(json.dumps(listing).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _hashes(folder: Path) -> dict[str, str]:
    found = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    root = next((parent for parent in (folder, *folder.parents) if (parent / ".dvcignore").is_file()), None)
    if root is not None:
        rules = PathSpec.from_lines("gitignore", (root / ".dvcignore").read_text().splitlines())
        found = {path: file for path, file in found.items() if not rules.match_file(file.relative_to(root).as_posix())}
    return {path: files.md5(file) for path, file in found.items()}


def _cached(workspace: Workspace, md5: str) -> Path:
    """Where DVC's cache keeps the object with this md5."""
    settings = ConfigParser(interpolation=None)
    settings.read([workspace.root / ".dvc" / "config", workspace.root / ".dvc" / "config.local"])
    cache = workspace.root / ".dvc" / settings.get("cache", "dir", fallback="cache")
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _below(entries: Mapping[str, str], project: str) -> dict[str, str]:
    prefix = f"{project}/"
    return {path.removeprefix(prefix): md5 for path, md5 in entries.items() if path.startswith(prefix)}


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


def recorded_md5(workspace: Workspace) -> str | None:
    """What data.dvc says of the whole of data/; None without a data.dvc.

    Raises:
        DataError: data.dvc is not what DVC writes.
    """
    path = workspace.root / "data.dvc"
    if not path.exists():
        return None
    try:
        return str(yaml.safe_load(path.read_text())["outs"][0]["md5"])
    except (yaml.YAMLError, KeyError, TypeError, IndexError, UnicodeDecodeError):
        raise DataError(f"{path} is corrupt; have it back by 'git checkout data.dvc'") from None


def _recorded_entries(workspace: Workspace, md5: str) -> dict[str, str] | None:
    """The files behind data.dvc's md5, from DVC's cache or else from a data/ with that very md5."""
    listing = _cached(workspace, md5)
    if listing.is_file():
        try:
            entries = {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_text())}
        except (ValueError, KeyError, TypeError):
            entries = {}
        if tree_md5(entries) == md5:
            return entries
    present = _hashes(workspace.root / "data")
    return present if tree_md5(present) == md5 else None


def status(workspace: Workspace, project: str) -> Status:
    """Compares data/PROJECT with data.dvc's record of it."""
    present = _hashes(workspace.data(project))
    md5 = recorded_md5(workspace)
    entries = None if md5 is None else _recorded_entries(workspace, md5)
    recorded = _below(entries or {}, project)
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


def push(workspace: Workspace) -> None:
    """Sends the recorded data to DVC's default remote."""
    _dvc(workspace, "push", "data.dvc")


def pull(workspace: Workspace, project: str, source: str) -> str:
    """Brings data/PROJECT to its recorded version and says where from: here, cache, remote or source.

    Files that are missing come from DVC's cache, else from its remote, else from the source, whose files must hash to
    what data.dvc records. A project that data.dvc does not know is materialised from its source and recorded. No file
    that is there is ever changed or removed: DVC is only asked to fetch, never to check out.

    Raises:
        StaleDataError: files are there that differ from the record, or that have none.
        DataError: what the source gives is not what data.dvc records.
    """
    with workspace.lock("data"):
        found = status(workspace, project)
        if found.clean:
            return "here"
        if found.version is not None and found.changed:
            require_clean(workspace, project)
        md5 = recorded_md5(workspace)
        if md5 is not None and _from_cache(workspace, project, md5):
            return "cache"
        if md5 is not None and _try_dvc(workspace, "config", "core.remote"):
            _try_dvc(workspace, "fetch", "data.dvc")
            if _from_cache(workspace, project, md5):
                return "remote"
        _from_source(workspace, project, source)
        return "source"


def _from_cache(workspace: Workspace, project: str, md5: str) -> bool:
    """Copies what is missing from DVC's cache; whether all of the project is there then."""
    recorded = _below(_recorded_entries(workspace, md5) or {}, project)
    for path, digest in recorded.items():
        target, cached = workspace.data(project) / path, _cached(workspace, digest)
        if not target.exists() and cached.is_file() and files.md5(cached) == digest:
            with files.replacing(target) as temporary:
                shutil.copyfile(cached, temporary)
    return status(workspace, project).clean


def _from_source(workspace: Workspace, project: str, source: str) -> None:
    folder, md5 = workspace.data(project), recorded_md5(workspace)
    entries = None if md5 is None else _recorded_entries(workspace, md5)
    recorded = _below(entries or {}, project)
    with writes_to(workspace.state):
        workspace.state.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=workspace.state) as temporary:
        fresh = Path(temporary) / project
        sources.materialise(source, fresh)
        given = _hashes(fresh)
        if recorded and given != recorded:
            raise DataError(
                f"source {source} gives {tree_md5(given)}, but data.dvc records {tree_md5(recorded)} for {project}; bring "
                "the recorded files from where they lie (a DVC remote), or 'git checkout' the data.dvc that fits"
            )
        _require_place(workspace, project, given, md5, entries)
        for path in given:
            if not (folder / path).exists():
                with files.replacing(folder / path) as target:
                    shutil.copyfile(fresh / path, target)
    if not recorded:
        add(workspace)


def _require_place(
    workspace: Workspace, project: str, given: Mapping[str, str], md5: str | None, entries: Mapping[str, str] | None
) -> None:
    """Makes sure that adding the source's files to data/ records nothing that nobody meant to record."""
    present = _hashes(workspace.root / "data")
    of_project = _below(present, project)
    own = sorted(path for path, digest in of_project.items() if given.get(path) != digest)
    others = {path: digest for path, digest in present.items() if not path.startswith(f"{project}/")}
    if own:
        raise StaleDataError(
            f"data/{project} holds files that are not the source's and that data.dvc does not record: {', '.join(own)}; "
            "run 'regen data add' to record them, or move them away and run 'regen data pull' again"
        )
    if entries is not None and _below(entries, project):
        return
    after = tree_md5(others | {f"{project}/{path}": digest for path, digest in given.items()})
    if md5 is not None and entries is None and after != md5:
        raise StaleDataError(
            f"with the source's {project} data/ would hash to {after}, but data.dvc records {md5}; bring the recorded "
            "files from where they lie (a DVC remote), or run 'regen data add' to record what is there as a new version"
        )
    unrecorded = sorted(path for path, digest in others.items() if entries is not None and entries.get(path) != digest)
    lost = sorted(path for path in (entries or {}) if not path.startswith(f"{project}/") and path not in others)
    if unrecorded or lost:
        raise StaleDataError(
            f"data/ differs from data.dvc in {', '.join((unrecorded + lost)[:5])}, so {project} cannot be recorded beside it; "
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
