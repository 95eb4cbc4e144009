"""`regen metrics` on what a user has: two folders or two tables, in a folder that is no project and stays none."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flows import console_metrics
from flows.cli import main

Call = Callable[..., "subprocess.CompletedProcess[str]"]
PROGRESS = re.compile(r"  [\w ]+: [\d,]+ of [\d,]+")
"""A line that long work prints now and then."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with nested images, some of which lie about in other sizes, and with tables."""
    rng = np.random.default_rng(0)
    for name, n in (("real", 60), ("fake", 60), ("more", 70)):
        for i in range(n):
            target = tmp_path / name / str(i % 3) / f"{i}.{'png' if i % 2 else 'webp'}"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(target)
    for name in ("real.csv", "fake.csv"):
        x = rng.normal(size=80)
        pd.DataFrame({"x": x, "job": np.where(x > 0, "up", "down")}).to_csv(tmp_path / name, index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


@pytest.fixture
def here(place: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs `regen metrics` in this process."""

    def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
        capsys.readouterr()
        try:
            main(["metrics", *arguments])
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return call


def test_a_fresh_process_scores_two_folders_and_leaves_nothing_behind(place: Path) -> None:
    before = sorted(place.iterdir())

    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "metrics", "real", "fake"],
        cwd=place, env=dict(os.environ), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "FD[random-conv-v1@" in done.stdout and "n=60]" in done.stdout
    assert "FID" not in done.stdout
    assert all(word in done.stdout for word in ("Precision", "Recall", "Density", "Coverage", "95 % interval"))
    assert "60 images of each, compared at 16×16 pixels, seed 0" in done.stdout
    assert sorted(place.iterdir()) == before


def test_a_folder_is_at_no_distance_from_itself(here: Call) -> None:
    done = here("real", "real", "--json")

    found = json.loads(done.stdout)
    assert found["figures"]["frechet_distance"]["value"] < 1e-6
    assert found["figures"]["coverage"]["value"] == 1
    assert found["extractor"]["id"] == "random-conv-v1"
    told = [line for line in done.stderr.splitlines() if not PROGRESS.fullmatch(line)]
    assert told == []


def test_two_tables_are_scored(here: Call) -> None:
    done = here("real.csv", "fake.csv", "--label", "job")

    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("Column shapes", "Pair trends", "Closest record", "ROC-AUC"))
    assert "Columns least alike: " in done.stdout
    assert "Pairs least alike: x with job" in done.stdout


def test_tables_are_scored_for_machines_too(here: Call) -> None:
    found = json.loads(here("real.csv", "fake.csv", "--json", "--n", "60", "--seed", "3").stdout)

    assert (found["kind"], found["n"], found["seed"]) == ("tables", 60, 3)
    assert set(found["columns"]) == {"x", "job"}
    assert found["pairs"][0]["columns"] == ["x", "job"]


def test_unequal_folders_are_refused_and_n_is_the_way_out(here: Call) -> None:
    refused, done = here("real", "more"), here("real", "more", "--n", "60", "--json")

    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "there are 60 in REAL, 70 in FAKE; --n 60 takes as many of each" in refused.stderr
    assert json.loads(done.stdout)["n"] == 60


def test_bad_images_are_named_and_skipped_only_on_demand(here: Call, place: Path) -> None:
    (place / "more" / "0" / "0.webp").write_bytes(b"no image")

    refused, done = here("real", "more", "--n", "60"), here("real", "more", "--n", "60", "--skip-bad")

    drawn = "0/0.webp" in done.stdout  # the draw may leave it out
    assert done.returncode == 0, done.stderr
    assert refused.returncode == (1 if drawn else 0)
    assert ("--skip-bad" in refused.stderr) == drawn

    whole = here("more", "more")
    assert whole.returncode == 1
    assert "0/0.webp: no PNG, JPEG, WebP or TIFF image" in whole.stderr
    assert "1 left out of REAL: 0/0.webp" in here("more", "more", "--skip-bad").stdout


def test_images_of_several_sizes_are_brought_to_one(here: Call, place: Path) -> None:
    Image.new("RGB", (40, 50)).save(place / "fake" / "0" / "0.webp")

    refused, done = here("real", "fake"), here("real", "fake", "--resolution", "12")

    assert "from 16 to 40 pixels across" in refused.stderr
    assert "compared at 12×12 pixels" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("real", "real.csv"), 1, "REAL is a folder of images, FAKE is a table"),
        (("real", "nowhere"), 1, "nowhere, does not exist"),
        (("real", "fake", "--extractor", "inception:real.csv"), 1, "real.csv has the sha256"),
        (("real",), 2, "Missing argument 'FAKE'"),
        (("real", "fake", "--resolution", "4"), 2, "4 is not in the range 8<=x<=4096"),
    ],
)
def test_a_wrong_call_is_one_line(here: Call, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = here(*arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_long_work_is_told_of_in_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console_metrics, "PLAIN_SECONDS", -1.0)

    with console_metrics.watching() as watch:
        watch("images of REAL", 256, 1000)

    assert capsys.readouterr().err == "  images of REAL: 256 of 1,000\n"


def test_long_work_is_a_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")

    with console_metrics.watching() as watch:
        watch("images of REAL", 256, 1000)
        watch("images of REAL", 512, 1000)

    assert "images of REAL" in capsys.readouterr().err
