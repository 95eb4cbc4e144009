"""kill −9 of the training process, of a worker and of the server, three times each: the rerun completes, nothing is lost."""

import os
import random
import signal
import time
from dataclasses import replace

import pytest

from benchmarks.kills import KILLS_A_PROJECT, VICTIMS, Undisturbed, trial
from tests.faults.conftest import copy

PROJECTS = 5
"""Most projects in which three moments are looked for."""
LONG = [
    word
    for setting in (
        "gan.network=mlp", "gan.width=4", "gan.images=76800", "training.checkpoint_every_images=6400", "seed=4",
    )
    for word in ("--set", setting)
]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A project with champions, and what a candidate comes to in it when nothing is killed."""
    return Undisturbed.make(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("victim", list(VICTIMS))
def test_kills_at_random_moments_change_no_weight_no_version_and_no_alias(undisturbed, tmp_path, victim):
    rng, killed, differing = random.Random(f"20260101 {victim}"), 0, []
    for number in range(PROJECTS):  # a project whose run is through too early is followed by another, killed earlier
        times, found = trial(
            replace(undisturbed, seconds=undisturbed.seconds / 2**number), victim, tmp_path / str(number), rng
        )
        killed, differing = killed + times, differing + found
        if killed >= KILLS_A_PROJECT:
            break

    assert killed >= KILLS_A_PROJECT
    assert differing == []


def test_the_undisturbed_run_registered_one_version_and_wrote_its_history(undisturbed):
    assert set(undisturbed.outcome["versions"]) == {"digits-extractor", "digits-gan", "digits-vae"}
    assert undisturbed.outcome["versions"]["digits-vae"] == [2, 1]
    assert {"digits-vae@champion", "digits-gan@champion"} <= set(undisturbed.outcome["aliases"])
    assert len(undisturbed.outcome["history"]) >= 2


def test_a_truncated_checkpoint_is_passed_over_by_the_rerun(template, tmp_path, started):
    project = copy(template, tmp_path / "project")
    assert project.regen("stage", "prepare", *LONG).returncode == 0
    other = copy(project.root, tmp_path / "undisturbed")
    assert other.regen("stage", "train-gan", *LONG).returncode == 0
    running = started(project.start("stage", "train-gan", *LONG))
    while len(found := sorted((project.root / ".regen" / "store").glob("train_gan/*/work/*.sha256"))) < 2:
        assert running.process.poll() is None, "it ended before its second checkpoint"
        time.sleep(0.02)
    os.killpg(running.process.pid, signal.SIGKILL)
    running.process.communicate()
    newest = max((project.root / ".regen" / "store").glob("train_gan/*/work/*.pt"))
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])

    done = project.regen("stage", "train-gan", *LONG)

    assert done.returncode == 0, done.stderr
    assert len(found) >= 2
    results = [
        {path.name: path.read_bytes() for path in (folder / "out").glob("*.safetensors")}
        for folder in (*project.store("train_gan"), *other.store("train_gan"))
    ]
    assert results[0] == results[1]
