"""New data in, batches scored, drift watched: the commands on a trained project, and what a kill leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from regen.core.sections.data import DataConfig
from regen.data import sources, splits
from regen.data.schemas import describe
from tests.flows.conftest import Project

TINY = ("gan.images=640", "vae.images=640", "evaluation.bootstrap_draws=50")
"""What a retraining that only has to happen is cut down to."""


@pytest.fixture(scope="module")
def project(own_copy: Project) -> Project:
    """A project with champions, changed by the tests of this file in their order."""
    return own_copy


def pictures(folder: Path, n: int, *, inverted: bool = False, seed: int = 0) -> Path:
    """Digits that are not in the data: scans that no training saw, with a little noise; black on white if inverted."""
    raw, rng = sources.digits(), np.random.default_rng(seed)
    of = np.array(splits.assign(describe(raw)["sha256"].tolist(), DataConfig(), 0))
    for i in rng.permutation(np.flatnonzero(np.isin(of, ("validation", "test"))))[:n]:
        pixels = raw.images[i, :, :, 0].astype(int) + rng.integers(0, 3, (8, 8))
        pixels = np.clip(255 - pixels if inverted else pixels, 0, 255).astype(np.uint8)
        place = folder / str(raw.labels[i])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i:04d}.png")
    return folder


def start(project: Project, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments], cwd=project.root, env=project.environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_no_new_rows_are_too_few_to_judge_and_start_nothing(project, regen_json):
    found = regen_json(project, "monitor")

    assert found["drift"]["outcome"] == "too few rows"
    assert found["action"] == "none"
    assert (project.root / found["report"]).is_file()


def test_a_folder_of_images_is_scored_by_the_champion(project, regen_json, tmp_path):
    new = pictures(tmp_path / "new", 40)
    (new / "0" / "broken.png").parent.mkdir(exist_ok=True)
    (new / "0" / "broken.png").write_bytes(b"no image")

    found = regen_json(
        project, "score", str(new), "--model", "digits-vae@champion", "--output", str(tmp_path / "out.parquet"),
        "--shard-rows", "16",
    )  # fmt: skip

    table = pd.read_parquet(tmp_path / "out.parquet")
    assert (found["rows"], found["failed"], found["shards"]) == (41, 1, 3)
    assert table["anomaly_score"].notna().sum() == 40
    assert table["is_anomaly"].sum() == found["flagged"]
    assert set(table["model"]) == {"digits-vae"}


def test_a_model_without_scores_is_refused(project, regen_here, tmp_path):
    done = regen_here(
        project, "score", str(pictures(tmp_path / "new", 2)), "--model", "digits-gan", "--output", "out.csv"
    )

    assert done.returncode == 1
    assert "digits-gan 1 gives no anomaly_score" in done.stderr


def test_scoring_that_was_killed_goes_on_where_it_stopped(project, tmp_path):
    new, out = pictures(tmp_path / "new", 300), tmp_path / "out.parquet"
    command = ("score", str(new), "--model", "digits-vae", "--output", str(out), "--shard-rows", "10", "--json")
    running = start(project, *command)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob(".out.parquet.parts/0*.json"))) < 3:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert not out.exists()

    done = project.regen(*command)

    found = json.loads(done.stdout)
    assert 3 <= found["found"] < found["shards"] == 30
    assert found["rows"] == len(pd.read_parquet(out)) == 300
    assert pd.read_parquet(out)["path"].is_monotonic_increasing


def test_two_ingests_at_once_are_done_one_after_the_other(project, tmp_path):
    running = [start(project, "ingest", str(pictures(tmp_path / str(i), 20, seed=i)), "--json") for i in (1, 2)]

    told = [one.communicate(timeout=300) for one in running]

    assert [one.returncode for one in running] == [0, 0], told
    first, second = sorted((json.loads(out) for out, _ in told), key=lambda found: found["rows"])
    assert first["rows"] == 1797 + first["added"]
    assert second["rows"] == first["rows"] + second["added"]
    assert second["before"] == first["version"]
    assert project.regen("data", "status").returncode == 0


def test_an_ingest_that_is_killed_leaves_whole_data_and_is_completed_by_the_next(project, tmp_path):
    new = pictures(tmp_path / "new", 30, seed=3)
    before = json.loads((project.root / "data" / "digits" / "manifest.json").read_text())["count"]
    for seconds in (1.5, 2.5, 3.5):
        running = start(project, "ingest", str(new), "--json")
        time.sleep(seconds)
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()

    done = project.regen("ingest", str(new), "--json")

    found = json.loads(done.stdout)
    assert found["added"] + found["duplicates"] == 30
    assert found["rows"] == before + 30
    assert project.regen("data", "status").returncode == 0


def test_bad_images_are_listed_for_people(project, regen_here, tmp_path):
    new = pictures(tmp_path / "new", 20, seed=4)
    shutil.copytree(new / "3", new / "zebra")

    done = regen_here(project, "ingest", str(new), "--set", "ingest.max_bad_share=0.5")

    assert "bad, set aside" in done.stdout
    assert "wanted a class of the project" in done.stdout
    assert "Set aside in quarantine/digits/new-" in done.stdout


def test_too_many_bad_images_stop_an_ingest_with_one_line(project, regen_here, tmp_path):
    shutil.copytree(pictures(tmp_path / "new", 90, seed=5) / "3", tmp_path / "unknown" / "zebra")

    done = regen_here(project, "ingest", str(tmp_path / "unknown"))

    assert done.returncode == 1
    assert "are bad, more than ingest.max_bad_share (10%), so none was taken in" in done.stderr
    assert regen_here(project, "data", "status").returncode == 0


def test_more_of_the_same_starts_no_retraining(project, regen_json, tmp_path):
    regen_json(project, "ingest", str(pictures(tmp_path / "more", 250, seed=6)))

    found = regen_json(project, "monitor")

    assert found["drift"]["outcome"] == "no drift", found["drift"]["reasons"]
    assert found["action"] == "none"
    assert {"brightness", "contrast", "sharpness"} <= {one["name"] for one in found["drift"]["columns"]}


def test_drift_at_a_path_is_told_and_starts_nothing_by_itself(project, regen_json, tmp_path):
    found = regen_json(project, "monitor", str(pictures(tmp_path / "odd", 250, inverted=True, seed=7)))

    assert found["drift"]["outcome"] == "drift"
    assert any("brightness" in reason for reason in found["drift"]["reasons"])
    assert any("features of digits-extractor" in reason for reason in found["drift"]["reasons"])
    assert found["action"] == "none"


def test_drift_in_what_was_taken_in_starts_a_retraining_and_then_none_for_a_while(project, tmp_path):
    project.regen("ingest", str(pictures(tmp_path / "odd", 400, inverted=True, seed=8)))
    runs = len(project.store("train_vae"))
    settings = [word for setting in TINY for word in ("--set", setting)]

    first = project.regen("monitor", "--json", *settings)
    second = project.regen("monitor", "--json", *settings)

    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["drift"]["outcome"] == "drift"
    assert json.loads(first.stdout)["action"] == "start a retraining"
    assert len(project.store("train_vae")) == runs + 1
    assert json.loads(second.stdout)["action"] == "none"
    assert len(project.store("train_vae")) == runs + 1
