"""`regen evaluate` scores registered models anew, beside one another if asked, and leaves the registry as it is."""

import json
import shutil

import pandas as pd
import pytest

from regen.evaluation.reference import Reference


@pytest.fixture(scope="module")
def project(own_copy):
    """A project with a champion and a rejected version of each model."""
    return own_copy


def registered(models):
    """What must not change: versions, aliases, tags."""
    return [{name: v[name] for name in ("model", "version", "aliases", "tags")} for v in models["versions"]]


def run_of(models, model, number):
    """The MLflow run of a version."""
    return next(v["run"] for v in models["versions"] if (v["model"], v["version"]) == (model, number))


def test_the_champion_gets_the_figures_that_it_was_registered_with(project, regen_json):
    models = regen_json(project, "models", "digits-gan")
    recorded = next(v["figures"] for v in models["versions"] if v["version"] == 1)

    found = regen_json(project, "evaluate", "digits-gan")

    assert found["model"] == "digits-gan 1"
    assert found["figures"]["frechet_distance"]["model"]["value"] == pytest.approx(recorded["frechet_distance"])
    assert found["judged_by"]["n"] == 443
    assert (found["against"], found["run"]) == (None, None)


def test_the_rejected_is_worse_than_the_champion_by_the_paired_difference(project, regen_here):
    done = regen_here(project, "evaluate", "digits-vae/2", "--against", "digits-vae@champion")

    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "Reconstruction MSE" in line]
    assert line.rstrip(" │").endswith("worse")
    assert "The difference is digits-vae 2 minus digits-vae 1, paired row by row" in done.stdout
    assert "FD[digits-extractor@" in done.stdout


def test_a_gan_and_a_vae_are_compared_by_the_figures_they_share_on_all_rows(project, regen_json):
    found = regen_json(project, "evaluate", "digits-gan", "--against", "digits-vae")

    assert {"frechet_distance", "recall", "coverage", "class_shift"} <= set(found["figures"])
    assert not {"anomaly_auc", "reconstruction_mse", "iwae_bits"} & set(found["figures"])
    assert found["judged_by"]["n"] == 443


def test_figures_are_recorded_and_written_where_asked_and_the_registry_stays(
    project, regen_json, tmp_path, monkeypatch
):
    before = registered(regen_json(project, "models"))

    found = regen_json(project, "evaluate", "digits-gan", "--n", "100", "--record", "--out", str(tmp_path / "scores"))

    assert registered(regen_json(project, "models")) == before
    assert json.loads((tmp_path / "scores" / "evaluation.json").read_text()) == found
    assert Reference.load(tmp_path / "scores").name == found["judged_by"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.root}/mlruns/mlflow.db")
    import mlflow

    run = mlflow.MlflowClient().get_run(found["run"])
    assert run.data.metrics["test/frechet_distance"] == found["figures"]["frechet_distance"]["model"]["value"]
    assert (run.info.run_name, run.data.tags["regen.evaluates"]) == ("evaluate", "digits-gan 1")
    assert run.info.status == "FINISHED"


def test_a_training_run_stands_for_the_model_it_logged(project, regen_json, regen_here):
    models = regen_json(project, "models")

    found = regen_json(project, "evaluate", run := run_of(models, "digits-gan", 2), "--n", "100")
    refused = regen_here(project, "evaluate", run_of(models, "digits-extractor", 1))

    assert found["model"] == f"run {run[:8]}"
    assert "makes no images (extractor); name a VAE or a GAN" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("digits-ghost",), "there is no model digits-ghost; registered are: digits-extractor, digits-gan, digits-vae"),
        (("digits-gan@ghost",), "digits-gan has no ghost, but 2, 1 (champion)"),
        (("digits-gan/9",), "digits-gan has no version 9; it has 2, 1 (champion)"),
        (("0" * 32,), f"there is no MLflow run {'0' * 32}; runs with a registered model are: "),
        (("digits-gan", "--n", "20"), "not enough samples: 20 test rows"),
        (("digits-gan", "--n", "5000"), "5000 test rows were asked for, and there are 443"),
        (("digits-gan", "--against", "digits-gan/1"), "digits-gan and digits-gan/1 are one model"),
        (("digits-gan", "--set-file", "x"), "No such option"),
        (("digits-gan", "--config", "nowhere.yaml"), "there is no project file"),
        (("digits-gan", "--config", "other.yaml"), "is the project clothes, and digits-gan 1 is of digits"),
        (
            ("digits-gan", "--config", "shares.yaml"),
            "was trained with other splits, so it may have seen these test rows",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line_with_the_way_out(project, regen_here, arguments, said):
    params = (project.root / "params.yaml").read_text()
    (project.root / "other.yaml").write_text(params.replace("project: digits", "project: clothes"))
    (project.root / "shares.yaml").write_text(params.replace("anomaly_class: 8", "anomaly_class: 8, test_share: 0.4"))

    done = regen_here(project, "evaluate", *arguments)

    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_another_seed_is_judged_in_the_same_space_on_the_same_rows(project, regen_json):
    before = json.loads((project.root / "outputs/digits/train_extractor/frozen.json").read_text())

    reused = [
        regen_json(project, "stage", stage, "--set", "seed=1")["reused"] for stage in ("prepare", "train-extractor")
    ]

    assert reused == [True, True]
    assert json.loads((project.root / "outputs/digits/train_extractor/frozen.json").read_text()) == before


def test_votes_are_held_against_the_figures_once_there_are_any(project, regen_json):
    page, folder = project.root / "outputs/digits/evaluate/evaluation.json", project.root / "votes" / "digits"
    vote = {"model_a": "digits-gan", "version_a": 2, "model_b": "digits-gan", "version_b": 1}
    regen_json(project, "stage", "evaluate")
    without = json.loads(page.read_text())
    folder.mkdir(parents=True)
    pd.DataFrame([vote | {"choice": choice} for choice in (1, 1, 1, -1)]).to_parquet(folder / "votes.parquet")

    first, again = (regen_json(project, "stage", "evaluate")["reused"] for _ in range(2))
    found = json.loads(page.read_text())
    shutil.rmtree(folder.parent)
    regen_json(project, "stage", "evaluate")

    assert "preferences" not in without
    assert (first, again) == (False, True)
    by_metric = {one["metric"]: one for one in found["preferences"]}
    assert by_metric["frechet_distance"]["correlation"] == pytest.approx(0.5), "version 1 has the lower distance"
    assert "preferences" not in json.loads(page.read_text())


def test_the_evaluation_names_what_it_was_judged_by_and_a_second_judge(project, regen_json):
    regen_json(project, "stage", "evaluate")
    folder = project.root / "outputs/digits/evaluate"
    found = json.loads((folder / "evaluation.json").read_text())

    assert found["models"]["gan"]["judged_by"] == Reference.load(folder).name
    assert found["models"]["vae"]["judged_by"] == Reference.load(folder, "reference-normal").name
    assert found["judge"]["sha256"] != found["extractor"]["sha256"]
    assert set(found["judge"]["frechet"]) == {"gan", "vae"}
    assert found["judge"]["frechet_floor"]["value"] < found["judge"]["frechet"]["gan"]["value"]
    assert all(ladder["in_order"] for ladder in found["admission"]["extractor"]["ladders"])


def test_any_folders_are_scored_in_the_projects_own_space(project, regen_json, regen_here, tmp_path):
    for name, model, seed in (("one", "digits-vae", "1"), ("other", "digits-vae", "2")):
        regen_here(project, "sample", model, "--n", "60", "--seed", seed, "--out", str(tmp_path / name))

    found = regen_json(
        project, "metrics", str(tmp_path / "one"), str(tmp_path / "other"), "--extractor", "digits-extractor"
    )

    assert found["extractor"]["space"].startswith("digits-extractor@")
    assert found["figures"]["frechet_distance"]["low"] == 0
    wrong = regen_here(project, "metrics", str(tmp_path / "one"), str(tmp_path / "one"), "--extractor", "no-extractor")
    assert wrong.returncode == 1
    assert "no-extractor" in wrong.stderr
