"""A training that cannot go on registers nothing; one that is stopped or killed goes on where it was, bit for bit."""

import json
import os
import signal
import time

import pytest

from tests.faults.conftest import alive, assert_fails_in_one_line, copy

SETTINGS = (
    "gan.images=64000", "training.checkpoint_every_images=6400", "vae.images=640", "extractor.images=1280", "seed=3",
)  # fmt: skip
LONG = tuple(word for setting in SETTINGS for word in ("--set", setting))
"""A GAN that trains for some seconds, so that something can happen meanwhile."""


def contents(folder):
    """The bytes of every file of a finished stage."""
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def wait_for_checkpoint(project, running):
    """Waits until there is a checkpoint of the GAN to go on from."""
    while not any(any(folder.glob("work/*.sha256")) for folder in project.store("train_gan")):
        assert running.process.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def undisturbed(template, tmp_path_factory):
    """What the long GAN's training gives when nothing happens."""
    project = copy(template, tmp_path_factory.mktemp("undisturbed") / "project")
    for stage in ("prepare", "train-gan"):
        done = project.regen("stage", stage, *LONG)
        assert done.returncode == 0, done.stderr
    (folder,) = project.store("train_gan")
    return contents(folder)


def test_a_loss_that_is_not_finite_stops_a_stage(own_project, here):
    assert here(own_project, "stage", "prepare").returncode == 0

    done = here(own_project, "stage", "train-gan", "--set", "gan.learning_rate=1e30")

    assert_fails_in_one_line(done, "loss is nan after", "images; lower its learning rate")
    assert not (own_project.root / "outputs" / "digits" / "train_gan").exists()
    assert not [folder for folder in own_project.store("train_gan") if (folder / "done.json").exists()]


def test_a_loss_that_is_not_finite_stops_a_run_and_nothing_is_registered(own_project, here):
    short = ("--set", "extractor.images=64", "--set", "gan.images=32")

    done = own_project.regen("run", *short, "--set", "vae.learning_rate=1e30")

    assert_fails_in_one_line(done, "the VAE's loss is", "lower its learning rate")
    models = json.loads(here(own_project, "models", "--json").stdout)
    assert {version["model"] for version in models["versions"]} <= {"digits-extractor"}, "no candidate"
    assert not (own_project.root / "outputs" / "digits" / "evaluate").exists()


@pytest.mark.parametrize("to_all", [True, False], ids=["Ctrl-C in a terminal", "a signal to the command alone"])
def test_an_interrupted_run_ends_with_all_it_started_and_the_rerun_goes_on(own_project, started, undisturbed, to_all):
    running = started(own_project.start("run", *LONG))
    wait_for_checkpoint(own_project, running)
    family = running.family()

    if to_all:
        os.killpg(running.process.pid, signal.SIGINT)
    else:
        os.kill(running.process.pid, signal.SIGINT)
    stopped = running.finish()

    (folder,) = own_project.store("train_gan")
    assert not (folder / "done.json").exists(), "it trained to the end before it stopped"
    assert_fails_in_one_line(stopped, "error: stopped", code=130)
    assert alive(family) == []
    again = own_project.regen("stage", "train-gan", *LONG)
    assert again.returncode == 0, again.stderr
    assert contents(folder) == undisturbed


def test_a_killed_training_is_taken_up_again_by_the_same_run(own_project, started, undisturbed):
    running = started(own_project.start("run", *LONG))
    wait_for_checkpoint(own_project, running)

    for worker in running.workers():
        worker.send_signal(signal.SIGKILL)
    done = running.finish()

    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    (folder,) = own_project.store("train_gan")
    assert contents(folder) == undisturbed


def test_a_killed_run_takes_its_training_with_it_and_the_training_can_be_gone_on_with(
    own_project, started, undisturbed
):
    running = started(own_project.start("run", *LONG))
    wait_for_checkpoint(own_project, running)
    workers = running.workers()

    running.process.kill()
    running.process.wait()

    assert workers
    assert alive(workers) == []
    again = own_project.regen("stage", "train-gan", *LONG)
    assert again.returncode == 0, again.stderr
    (folder,) = own_project.store("train_gan")
    assert contents(folder) == undisturbed


def test_damaged_results_are_made_anew(own_project, here):
    assert here(own_project, "stage", "prepare").returncode == 0
    (folder,) = own_project.store("prepare")
    before = contents(folder)
    images = folder / "out" / "images.npy"
    images.write_bytes(images.read_bytes()[:1000])

    done = here(own_project, "stage", "prepare", "--json")

    assert not json.loads(done.stdout)["reused"]
    assert contents(folder) == before


def test_a_stage_whose_inputs_are_not_there_says_what_to_run_first(own_project, here):
    assert_fails_in_one_line(here(own_project, "stage", "train-vae"), "no results of prepare", "regen stage prepare")
