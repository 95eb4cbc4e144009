"""The other front door: `dvc repro` does the same stages and leaves the same bytes as `regen run`."""

import json

import pytest

WEIGHTS = {
    "train_extractor": ("extractor.safetensors", "judge.safetensors", "admission.json", "frozen.json"),
    "train_vae": ("vae.safetensors",),
    "train_gan": ("generator.safetensors", "discriminator.safetensors"),
}


@pytest.fixture(scope="module")
def reproduced(new_project):
    """A fresh clone after `regen data pull` and `dvc repro`."""
    project = new_project("reproduced")
    pulled = project.regen("data", "pull")
    assert pulled.returncode == 0, pulled.stderr
    return project, project.call("dvc", "repro")


def test_a_fresh_clone_is_reproduced_stage_by_stage(reproduced):
    _, done = reproduced

    assert done.returncode == 0, done.stderr + done.stdout
    stages = [line for line in done.stdout.splitlines() if line.startswith("Running stage")]
    assert len(stages) == 7


@pytest.mark.parametrize("stage", list(WEIGHTS))
def test_both_front_doors_train_the_same_weights_bit_for_bit(reproduced, first_run, stage):
    project, _ = reproduced
    (mine,) = project.store(stage)
    theirs = next(out for out in first_run.project.store(stage) if out.parent.name == mine.parent.name)

    for name in (*WEIGHTS[stage], "curve.csv"):
        assert (mine / name).read_bytes() == (theirs / name).read_bytes(), name


def test_both_front_doors_measure_the_same_figures_bit_for_bit(reproduced, first_run):
    project, _ = reproduced
    (mine,) = project.store("evaluate")
    theirs = next(out for out in first_run.project.store("evaluate") if out.parent.name == mine.parent.name)

    for name in ("metrics.json", "samples.png", "plots/roc.csv", "reference.json"):
        assert (mine / name).read_bytes() == (theirs / name).read_bytes(), name


def test_both_front_doors_come_to_the_same_verdicts(reproduced, first_run):
    project, _ = reproduced
    (mine,) = project.store("promote")
    theirs = next(out for out in first_run.project.store("promote") if out.parent.name == mine.parent.name)

    assert (mine / "verdicts.json").read_bytes() == (theirs / "verdicts.json").read_bytes()


def test_what_was_reproduced_is_up_to_date(reproduced):
    project, _ = reproduced

    done = project.call("dvc", "repro")

    assert done.returncode == 0, done.stderr
    assert "Data and pipelines are up to date." in done.stdout


def test_what_one_front_door_has_done_the_other_does_not_do_again(reproduced):
    project, _ = reproduced

    done = project.regen("run")

    assert done.returncode == 0, done.stderr
    assert "Nothing to do" in done.stdout


def test_the_metrics_are_shown(reproduced):
    project, _ = reproduced

    done = project.call("dvc", "metrics", "show", "--json")

    shown = json.loads(done.stdout)[""]["data"]["outputs/digits/evaluate/metrics.json"]["data"]
    assert shown == json.loads((project.root / "outputs/digits/evaluate/metrics.json").read_text())
    assert {"anomaly_auc", "frechet_distance"} <= set(shown["vae"])


def test_changed_parameters_are_told(reproduced):
    project, _ = reproduced
    assert project.call("git", "add", "dvc.lock", "params.yaml").returncode == 0
    author = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    assert project.call("git", *author, "commit", "-qm", "one").returncode == 0
    params = project.root / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("seed: 0", "seed: 1"))

    done = project.call("dvc", "params", "diff", "--json")

    params.write_text(before)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["params.yaml"]["seed"] == {"old": 0, "new": 1, "diff": 1}


def test_the_plots_are_drawn(reproduced):
    project, _ = reproduced

    done = project.call("dvc", "plots", "show", "-o", "drawn")

    assert done.returncode == 0, done.stderr
    page = (project.root / "drawn" / "index.html").read_text()
    for name in ("VAE training", "GAN training", "ROC"):
        assert name in page


def test_a_change_reruns_only_what_reads_it(reproduced):
    project, _ = reproduced
    params = project.root / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("anomaly_auc: 0.6", "anomaly_auc: 0.61"))

    done = project.call("dvc", "repro", "--dry")

    params.write_text(before)
    assert [line for line in done.stdout.splitlines() if line.startswith("Running stage")] == [
        "Running stage 'promote':"
    ]
