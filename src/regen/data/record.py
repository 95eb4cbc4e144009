"""The record of the data that DVC keeps: what data.dvc says, and the files behind the one md5 that it says it with."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from itertools import combinations, islice, product
from pathlib import Path
from typing import Any

import yaml
from pathspec import PathSpec

from regen.core import files
from regen.core.config import Config, load
from regen.core.errors import ConfigError, DataError
from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import sources
from regen.data.raw import Place

MOST_CHOICES = 2_000
"""Choices of projects whose sources are tried for what data.dvc records; with many project files there are too many."""


def tree_md5(entries: Mapping[str, str]) -> str:
    """DVC's name of a folder whose files (path to md5) are `entries`.

    Example:
        >>> tree_md5({})
        'd751713988987e9331980363e24189ce.dir'
    """
    listing = [{"md5": md5, "relpath": path} for path, md5 in sorted(entries.items())]
    return hashlib.md5(json.dumps(listing).encode(), usedforsecurity=False).hexdigest() + ".dir"


def hashes(folder: Path) -> dict[str, str]:
    """The md5 of each file below the folder that DVC does not ignore, by its path."""
    found = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    root = next((parent for parent in (folder, *folder.parents) if (parent / ".dvcignore").is_file()), None)
    if root is not None:
        rules = PathSpec.from_lines("gitignore", (root / ".dvcignore").read_text().splitlines())
        found = {path: file for path, file in found.items() if not rules.match_file(file.relative_to(root).as_posix())}
    return {path: files.md5(file) for path, file in found.items()}


def cached(workspace: Workspace, md5: str) -> Path:
    """Where DVC's cache keeps the object with this md5."""
    settings = ConfigParser(interpolation=None)
    settings.read([workspace.root / ".dvc" / "config", workspace.root / ".dvc" / "config.local"])
    cache = workspace.root / ".dvc" / settings.get("cache", "dir", fallback="cache")
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def below(entries: Mapping[str, str], project: str) -> dict[str, str]:
    """Those of a project's own subtree, by their path inside it."""
    prefix = f"{project}/"
    return {path.removeprefix(prefix): md5 for path, md5 in entries.items() if path.startswith(prefix)}


def recorded_md5(workspace: Workspace, name: str = "data.dvc") -> str | None:
    """What data.dvc says of the whole of data/, or votes.dvc of votes/; None without such a file.

    Raises:
        DataError: it is not what DVC writes.
    """
    path = workspace.root / name
    if not path.exists():
        return None
    try:
        return str(yaml.safe_load(path.read_text())["outs"][0]["md5"])
    except (yaml.YAMLError, KeyError, TypeError, IndexError, UnicodeDecodeError):
        raise DataError(f"{path} is corrupt; have it back by 'git checkout {name}'") from None


def recorded_entries(workspace: Workspace, md5: str) -> dict[str, str] | None:
    """The files behind data.dvc's md5, from DVC's cache or else from a data/ with that very md5."""
    listing = cached(workspace, md5)
    if listing.is_file():
        try:
            entries = {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_text())}
        except (ValueError, KeyError, TypeError):
            entries = {}
        if tree_md5(entries) == md5:
            return entries
    present = hashes(workspace.root / "data")
    return present if tree_md5(present) == md5 else None


def recorded_manifest(workspace: Workspace, project: str, md5: str) -> Any:
    """The manifest of the project's recorded version; None where DVC's cache does not hold it."""
    digest = below(recorded_entries(workspace, md5) or {}, project).get("manifest.json", "")
    try:
        return files.read_json(cached(workspace, digest))
    except (OSError, ValueError):
        return None


def tell(
    workspace: Workspace, md5: str, project: str, given: Path, temporary: Path, place: Place
) -> dict[str, Path] | None:
    """Which projects' sources give the very data/ that `md5` names, with the folders they were written to.

    A fresh clone without DVC's cache has the md5 of all data and none of the files. The sources of the project files,
    and the digits that a new repository records, are tried with each other as far as no download is needed.

    Args:
        given: what the source of `project` gave.
        temporary: a folder for what the other sources give.

    Returns:
        A folder for each project that data/ lacks; None when no choice of sources gives that md5.
    """
    present = hashes(workspace.root / "data")
    ways: dict[str, list[Path | DataConfig | None]] = {project: [None, given]}
    for config in [*project_files(workspace), Config(project="digits")]:
        own = ways.setdefault(config.project, [None])
        if config.data not in own and not below(present, config.project) and sources.is_at_hand(config.data, place):
            own.append(config.data)
    made: dict[tuple[str, int], Path | None] = {}

    def folder(name: str, which: int) -> Path | None:
        way = ways[name][which]
        if isinstance(way, DataConfig) and (name, which) not in made:
            try:
                sources.materialise(way, temporary / f"{name}-{which}", place)
                made[name, which] = temporary / f"{name}-{which}"
            except DataError:
                made[name, which] = None
        return made[name, which] if isinstance(way, DataConfig) else way

    for choice in islice(_choices({name: len(each) for name, each in ways.items()}), MOST_CHOICES):
        folders = {name: folder(name, which) for name, which in choice.items()}
        if None not in folders.values():
            chosen = {name: path for name, path in folders.items() if path is not None}
            if tree_md5(present | _placed(chosen)) == md5:
                return chosen
    return None


def _choices(ways: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Every choice of projects and of one of their ways, the first being to leave a project out; few projects first.

    Example:
        >>> list(_choices({"a": 2, "b": 2}))
        [{}, {'a': 1}, {'b': 1}, {'a': 1, 'b': 1}]
    """
    for size in range(len(ways) + 1):
        for names in combinations(ways, size):
            for which in product(*(range(1, ways[name]) for name in names)):
                yield dict(zip(names, which, strict=True))


def _placed(folders: Mapping[str, Path]) -> dict[str, str]:
    return {f"{name}/{path}": digest for name, made in folders.items() for path, digest in hashes(made).items()}


def project_files(workspace: Workspace) -> list[Config]:
    """The projects of this workspace: params.yaml and configs/*.yaml, those left out that cannot be read."""
    found = []
    for path in (workspace.root / "params.yaml", *sorted((workspace.root / "configs").glob("*.yaml"))):
        try:
            found.append(load(path))
        except ConfigError:
            continue
    return found
