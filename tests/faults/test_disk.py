"""A disk that is full or read-only is said to be so in one line; nothing half-written is taken for whole afterwards."""

import os
import subprocess
from contextlib import suppress

import pytest

from tests.faults.conftest import assert_fails_in_one_line, copy

KIB = 1024
LONG = ("--set", "gan.images=12800", "--set", "training.checkpoint_every_images=640")


def mount(*arguments):
    """Runs mount; skips where it may not."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk of its own")
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mount refuses here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path):
    """A disk of 24 MiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", folder)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk, leaving):
    """Takes all space on the disk but `leaving` bytes, whoever else writes meanwhile."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        with suppress(OSError):
            while filler.write(bytes(16 * KIB)):
                pass
        filler.truncate(filler.tell() - leaving)


def whole(project):
    """Each stage's results that are marked as whole."""
    return {path.parent.parent.name for path in (project.root / ".regen" / "store").glob("*/*/done.json")}


def test_a_run_on_a_full_disk_fails_in_one_line(template, disk, here):
    project = copy(template, disk / "project")
    fill(disk, leaving=0)

    done = here(project, "run")

    assert_fails_in_one_line(done, "full", "free some space")


def test_a_disk_too_small_for_a_run_is_said_to_be_full(template, disk, here):
    project = copy(template, disk / "project")
    assert here(project, "models").returncode == 0  # makes MLflow's database, so that the flow is next
    fill(disk, leaving=1024 * KIB)

    done = project.regen("run")

    assert_fails_in_one_line(done, "full", "free some space")
    assert whole(project) <= {"prepare"}


def test_a_disk_that_fills_up_while_training_is_said_to_be_full_and_the_rerun_completes(template, disk, here, started):
    project = copy(template, disk / "project")
    assert here(project, "stage", "prepare").returncode == 0

    running = started(project.start("stage", "train-gan", *LONG))
    running.wait_for("  train gan: 640 of 12,800 images")
    fill(disk, leaving=0)
    done = running.finish()
    (disk / "filler").unlink()
    temporary = [path for path in project.root.rglob("*.tmp") if ".git" not in path.parts]
    made_then = whole(project)
    again = here(project, "stage", "train-gan", *LONG)

    assert_fails_in_one_line(done, "full", "free some space")
    assert made_then == {"prepare"}
    assert temporary == []
    assert again.returncode == 0, again.stderr
    assert whole(project) == {"prepare", "train_gan"}


@pytest.mark.parametrize(
    "command", [("run",), ("stage", "prepare"), ("models",), ("data", "pull"), ("sample", "digits-vae")], ids=" ".join
)
def test_a_read_only_disk_is_said_to_be_one(project, here, command):
    if not (project.root / "mlruns").exists():
        assert here(project, "models").returncode == 0
    mount("--bind", project.root, project.root)
    try:
        mount("-o", "remount,ro,bind", project.root)
        done = here(project, *command)
    finally:
        subprocess.run(["umount", "--lazy", project.root], check=True)

    assert_fails_in_one_line(done, "cannot write", "read-only", "mount it for writing")
