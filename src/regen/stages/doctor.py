"""Whether this machine, this repository and this store are sound: each check says what it found and the way out."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from regen.core.errors import RegenError
from regen.registry import relocation, tracking
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
        lambda: _data(context), lambda: _store(context), lambda: _moved(context, fix),
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
    wanted = context.config.training.device
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


def _moved(context: Context, fix: bool) -> Finding:
    moved = relocation.moved_paths(context.workspace)
    if not moved:
        return Finding("paths", True, "MLflow's artifacts lie where its database says")
    if fix:
        relocation.relocate(context.workspace, moved)
        return Finding("paths", True, f"{moved} was moved here; MLflow's database now says so")
    return Finding(
        "paths", False, f"MLflow's database points into {moved}, which was moved", "run 'regen doctor --fix'"
    )
