"""What the tests share: a project in a folder of its own, tiny budgets, and the rule that services may be required."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TINY = """\
project: digits
seed: 0
data: {source: digits, anomaly_class: 8}
training: {device: cpu, log_every_images: 640, checkpoint_every_images: 1280}
extractor: {images: 12800, width: 8, features: 16}
vae: {network: mlp, width: 4, latent_dim: 8, images: 12800, score_draws: 4}
gan: {network: mlp, width: 4, latent_dim: 16, images: 6400}
evaluation: {bootstrap_draws: 50, sample_sets: 1}
gate:
  vae: {primary: anomaly_auc, floors: {anomaly_auc: 0.6}, guards: {reconstruction_mse: 0.01}}
  gan: {primary: frechet_distance, floors: {frechet_distance: 100000}}
"""
"""A project that a flow goes through in seconds: fully connected, a few hundred steps, floors that a weak model meets."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what runs whole flows, faults, servers or browsers as slow."""
    for item in items:
        if {"flows", "faults", "deploy", "web"} & set(Path(item.path).relative_to(REPOSITORY).parts):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turns every skip into a failure where REGEN_REQUIRE_SERVICES=1 says that all services are there."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("REGEN_REQUIRE_SERVICES") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped, though every service is required: {report.longrepr}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project as a clone has it: params.yaml with tiny budgets, data.dvc, DVC and git set up, no data yet."""
    return make_project(tmp_path / "project", monkeypatch)


def make_project(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes such a project in `root`, and the current folder with the environment that goes with it."""
    root.mkdir()
    (root / "params.yaml").write_text(TINY)
    for name in ("data.dvc", "dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(REPOSITORY / name, root)
    for name in (".dvc/config", ".dvc/.gitignore"):
        (root / ".dvc").mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    (root / "src").mkdir()
    (root / "src" / "regen").symlink_to(REPOSITORY / "src" / "regen")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    monkeypatch.chdir(root)
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "MLFLOW_")):
            monkeypatch.delenv(name)
    return root


Regen = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def regen(project: Path) -> Regen:
    """Runs the command in the project and gives back what it printed and its exit code."""

    def call(*arguments: str, cwd: Path | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments], cwd=cwd or project, capture_output=True, text=True,
            env={**os.environ, "COLUMNS": "200", **environment}, timeout=300, check=False,
        )  # fmt: skip

    return call
