"""Two processes that torchrun starts train one network: the loss curve of one process, one MLflow run, one set of results."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regen.core.environment import torchrun_rank
from regen.core.errors import DeviceError
from regen.core.sections.data import DataConfig
from regen.core.sections.models import TrainingConfig
from regen.core.workspace import Workspace
from regen.data import sources, versions
from regen.training.runtime import open_fabric
from tests.conftest import make_project

WORDS = [word for setting in ("gan.images=6400", "training.log_every_images=640") for word in ("--set", setting)]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "flows.cli")


def run(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, env=kept | {"COLUMNS": "200"}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def curve(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "outputs" / "digits" / "train_gan" / "curve.csv")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("torchrun") / "project"
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_project(root, monkeypatch)
        sources.materialise(DataConfig(), Workspace(root).data("digits"))
        versions.add(Workspace(root))
    for devices in ("1", "2"):
        done = run(root, "-m", "flows.cli", "stage", "prepare", "--set", f"training.devices={devices}")
        assert done.returncode == 0, done.stderr
    return root


def test_two_processes_have_one_processs_loss_curve_and_speak_once(prepared, tmp_path):
    alone, together = (shutil.copytree(prepared, tmp_path / name, symlinks=True) for name in ("alone", "together"))
    one = run(alone, "-m", "flows.cli", "stage", "train-gan", *WORDS)
    assert one.returncode == 0, one.stderr

    two = run(together, *TORCHRUN, "stage", "train-gan", *WORDS, "--set", "training.devices=2")
    again = run(together, *TORCHRUN, "stage", "train-gan", *WORDS, "--set", "training.devices=2")

    assert two.returncode == 0, two.stderr[-3000:]
    assert two.stdout.count("train-gan: done (key") == 1
    assert again.stdout.count("done before, nothing to do") == 1, again.stderr[-3000:]
    mine, theirs = curve(alone), curve(together)
    assert list(mine.columns) == list(theirs.columns)
    assert len(mine) == 10
    np.testing.assert_allclose(theirs.to_numpy()[:2], mine.to_numpy()[:2], rtol=0.01)
    np.testing.assert_allclose(theirs.to_numpy(), mine.to_numpy(), rtol=0.06)  # rounding grows from step to step


@pytest.mark.parametrize("count", ["1", "3"])
def test_another_number_of_processes_than_the_project_says_is_refused(monkeypatch, count):
    for name, value in {
        "TORCHELASTIC_RUN_ID": "a",
        "RANK": "0",
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
    }.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(DeviceError, match=rf"torchrun has started {count} processes, but training\.devices is 2"):
        open_fabric(TrainingConfig(device="cpu", devices=2))


def test_without_torchrun_there_is_no_rank_and_a_broken_one_is_named(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert torchrun_rank() is None

    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(DeviceError, match="torchrun has set no RANK"):
        torchrun_rank()
