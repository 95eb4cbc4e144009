"""A training that is killed at random moments, again and again, ends with the weights of one that nothing happened to."""

import os
import random
import signal
import time

import pytest

from tests.faults.conftest import copy

SETTINGS = {
    "gan": ("gan.network=mlp", "gan.width=4", "gan.images=76800", "seed=5"),
    "vae": ("vae.network=mlp", "vae.width=4", "vae.images=230400", "seed=5"),
}
EVERY = ("training.checkpoint_every_images=9600", "training.log_every_images=6400", "training.threads=1")
KILLS = 3
"""How often each training is killed, after its start-up, at moments drawn from the seed."""
LONGEST = 1.0
"""Seconds between the first sign of training and a kill, at most."""


def words(kind):
    """The settings as arguments."""
    return [word for setting in (*SETTINGS[kind], *EVERY) for word in ("--set", setting)]


def weights(project, kind):
    """The bytes of every network that a finished training left, and its curve's."""
    (folder,) = project.store(f"train_{kind}")
    assert (folder / "done.json").exists()
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def checkpoints(project, kind):
    """What there is to go on from, by name."""
    return {path.name for folder in project.store(f"train_{kind}") for path in folder.glob("work/*.sha256")}


def kill_after(project, started, kind, seconds, fresh):
    """Starts the training and kills all of it, `seconds` after it began to train; says whether it was in time.

    It trains when its first checkpoint is there, that of its untrained weights, and later when it is seen to write.
    """
    running = started(project.start("stage", f"train-{kind}", *words(kind)))
    if fresh:
        while not checkpoints(project, kind) and running.process.poll() is None:
            time.sleep(0.02)
    else:
        before = checkpoints(project, kind)
        while checkpoints(project, kind) == before and running.process.poll() is None:
            time.sleep(0.02)
    time.sleep(seconds)
    in_time = running.process.poll() is None
    if in_time:
        os.killpg(running.process.pid, signal.SIGKILL)
    running.process.communicate()
    return in_time


@pytest.fixture(scope="module")
def prepared(template, tmp_path_factory):
    """A project that is ready to train either network."""
    project = copy(template, tmp_path_factory.mktemp("prepared") / "project")
    done = project.regen("stage", "prepare", *words("gan"))
    assert done.returncode == 0, done.stderr
    return project.root


@pytest.mark.parametrize("kind", ["gan", "vae"])
def test_kills_at_random_moments_leave_no_trace(prepared, tmp_path, started, kind):
    rng = random.Random(20_260_101)
    undisturbed, killed = copy(prepared, tmp_path / "undisturbed"), copy(prepared, tmp_path / "killed")
    assert undisturbed.regen("stage", f"train-{kind}", *words(kind)).returncode == 0

    in_time, seen = [], []
    for kill in range(KILLS):
        in_time.append(kill_after(killed, started, kind, rng.uniform(0, LONGEST), fresh=kill == 0))
        seen.append(max(checkpoints(killed, kind), default=""))
    done = killed.regen("stage", f"train-{kind}", *words(kind))

    assert done.returncode == 0, done.stderr
    assert sum(in_time) >= 2, "it trained to its end before it could be killed; give it more images"
    assert len(set(seen)) > 1, "no kill but at the start"
    assert weights(killed, kind) == weights(undisturbed, kind)
