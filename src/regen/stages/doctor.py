"""Whether this machine, this repository and this store are sound: each check says what it found and the way out."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from urllib.error import URLError
from urllib.request import urlopen

from regen.core.errors import RegenError
from regen.core.workspace import DONE, StageFolder
from regen.registry import orphans, relocation, tracking
from regen.stages.base import Context, device_class

LEAST_FREE_GIB = 1.0


@dataclass(frozen=True)
class Finding:
    """One check's result."""

    name: str
    ok: bool
    found: str
    way_out: str = ""


def examine(context: Context, *, fix: bool) -> list[Finding]:
    """Every check, in the order in which one would mend them.

    Args:
        fix: mend what can be mended.
    """
    checks: list[Callable[[], Finding]] = [
        _python, lambda: _pins(context), lambda: _device(context), lambda: _disk(context), lambda: _git(context),
        lambda: _data(context), lambda: _results(context, fix), lambda: _store(context), lambda: _moved(context, fix),
        lambda: _orphans(context, fix), *(partial(_server, server) for server in servers()),
    ]  # fmt: skip
    return [check() for check in checks]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", sys.version_info >= (3, 11), found, "use Python 3.11 or later")


def _pins(context: Context) -> Finding:
    lock = context.workspace.root / "requirements.txt"
    if not lock.is_file():
        return Finding("packages", True, "no requirements.txt here to compare with")
    pins = dict(
        line.split("==", 1) for line in lock.read_text().splitlines() if "==" in line and not line.startswith("#")
    )
    differing = []
    for name, wanted in pins.items():
        try:
            met = version(name)
        except PackageNotFoundError:
            met = "missing"
        if met != wanted.split(";")[0].strip():
            differing.append(f"{name} {met} instead of {wanted}")
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    found = f"{', '.join(differing[:3])}{more}" if differing else f"all {len(pins)} as pinned"
    return Finding("packages", not differing, found, "run 'make setup'")


def _device(context: Context) -> Finding:
    wanted, pool = context.config.training.device, context.config.training.pool
    if pool is not None:
        return Finding("device", True, f"{wanted} on the workers of pool {pool}, torch {version('torch')} here")
    try:
        return Finding("device", True, f"{wanted} means {device_class(wanted)}, torch {version('torch')}")
    except RegenError as error:
        return Finding("device", False, str(error), "see above")


def _disk(context: Context) -> Finding:
    free = shutil.disk_usage(context.workspace.root).free / 2**30
    return Finding("disk", free >= LEAST_FREE_GIB, f"{free:.1f} GiB free", f"free at least {LEAST_FREE_GIB:g} GiB")


def _git(context: Context) -> Finding:
    done = subprocess.run(
        ["git", "rev-parse", "--is-inside-work-tree"],
        cwd=context.workspace.root,
        capture_output=True,
        text=True,
        check=False,
    )
    ok = done.returncode == 0
    return Finding("git", ok, tracking.git_commit(context.workspace.root) if ok else "no repository", "run 'git init'")


def _data(context: Context) -> Finding:
    try:
        return Finding("data", True, f"{context.config.project} is the recorded {context.data_version}")
    except RegenError as error:
        return Finding("data", False, str(error), "see above")


def _store(context: Context) -> Finding:
    try:
        tracking.open_store(context.workspace)
    except RegenError as error:
        return Finding("MLflow store", False, str(error), "see above")
    return Finding("MLflow store", True, "opens")


def _results(context: Context, fix: bool) -> Finding:
    store = context.workspace.store
    folders = sorted(path for path in store.glob("*/*") if path.is_dir())
    finished = [folder for folder in folders if (folder / DONE).is_file()]
    damaged = [folder for folder in finished if not StageFolder(folder).is_done()]
    if damaged and fix:
        for folder in damaged:
            shutil.rmtree(folder)
        return Finding("results", True, f"{len(damaged)} damaged ones were removed; the next run makes them anew")
    if damaged:
        names = ", ".join(str(folder.relative_to(store)) for folder in damaged[:3])
        more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
        found = f"{names}{more} in {store} differ from the digests they were written with"
        return Finding("results", False, found, "run 'regen doctor --fix', which removes them, to have them made anew")
    unfinished = len(folders) - len(finished)
    return Finding("results", True, f"{len(finished)} finished and whole, {unfinished} unfinished, in {store}")


def _orphans(context: Context, fix: bool) -> Finding:
    try:
        tracking.open_store(context.workspace)
        found = orphans.running()
        if found.orphans and fix:
            orphans.end(found.orphans)
            return Finding("runs", True, f"{len(found.orphans)} whose processes are gone are marked as killed now")
    except RegenError as error:
        return Finding("runs", False, str(error), "see above")
    if found.orphans:
        ids = ", ".join(run[:8] for run in found.orphans[:3])
        said = f"{len(found.orphans)} are marked as running, but their processes are gone ({ids})"
        return Finding("runs", False, said, "run 'regen doctor --fix', which marks them as killed")
    return Finding("runs", True, f"{found.alive} are running here, {found.elsewhere} on other machines")


@dataclass(frozen=True)
class Server:
    """A server that this process's environment points to."""

    package: str
    address: str
    page: str
    """Where it says its version."""


def servers() -> list[Server]:
    """Those that the environment points to; none in the embedded set-up."""
    prefect, mlflow = os.environ.get("PREFECT_API_URL", ""), os.environ.get("MLFLOW_TRACKING_URI", "")
    found = [Server("prefect", prefect, f"{prefect}/admin/version")] if prefect else []
    return found + ([Server("mlflow", mlflow, f"{mlflow}/version")] if mlflow.startswith("http") else [])


def _server(server: Server) -> Finding:
    """Whether the server answers and is of our version but for the last number, which both projects keep compatible."""
    name = {"prefect": "Prefect server", "mlflow": "MLflow server"}[server.package]
    try:
        with urlopen(server.page, timeout=10) as page:  # noqa: S310  # what the user points to
            said = page.read().decode().strip()
    except (URLError, OSError, ValueError) as error:
        return Finding(name, False, f"{server.address} does not answer: {error}", "start it, or point elsewhere")
    theirs, ours = (json.loads(said) if said.startswith('"') else said), version(server.package)
    same = theirs.split(".")[:2] == ours.split(".")[:2]
    way_out = f"run {server.package} {ours} there, or install {server.package}=={theirs} here"
    return Finding(name, same, f"{server.address} runs {theirs}, here is {ours}", way_out)


def _moved(context: Context, fix: bool) -> Finding:
    if not tracking.is_embedded(context.workspace):
        return Finding("paths", True, "the MLflow store is not in the project, so none can have moved with it")
    try:
        moved = relocation.moved_paths(context.workspace)
        if not moved:
            return Finding("paths", True, "MLflow's artifacts lie where its database says")
        if fix:
            mended = list(_relocated(context, moved))
            return Finding("paths", True, f"{' and '.join(mended)} was moved here; MLflow's database now says so")
    except RegenError as error:
        return Finding("paths", False, str(error), "see above")
    return Finding(
        "paths", False, f"MLflow's database points into {moved}, which was moved", "run 'regen doctor --fix'"
    )


def _relocated(context: Context, moved: str | None) -> Iterator[str]:
    """Mends one place after another: a folder that was moved twice and used in between has left paths of both."""
    while moved is not None:
        relocation.relocate(context.workspace, moved)
        yield moved
        moved = relocation.moved_paths(context.workspace)
