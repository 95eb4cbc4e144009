"""What people do with registered models: list, sample, promote, roll back, look whether all is well."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def project(own_copy):
    """A project with a champion and a rejected version of each model."""
    return own_copy


def champion(models, name):
    """The number of a model's champion."""
    return next(v["version"] for v in models["versions"] if v["model"] == name and "champion" in v["aliases"])


def test_doctor_finds_all_well(project, regen_json):
    found = regen_json(project, "doctor")

    assert found["ok"]
    assert {check["check"] for check in found["checks"]} == {
        "Python", "packages", "device", "disk", "git", "data", "results", "MLflow store", "paths", "runs",
    }  # fmt: skip


def test_data_status_names_the_recorded_version(project, regen_json):
    found = regen_json(project, "data", "status")

    assert found["clean"]
    assert found["version"].endswith(".dir")
    assert (found["missing"], found["changed"]) == ([], [])


def test_data_pull_finds_the_data_here(project, regen_json):
    assert regen_json(project, "data", "pull")["from"] == "here"


def test_the_models_of_one_name_are_listed(project, regen_here):
    done = regen_here(project, "models", "digits-vae")

    assert "digits-vae" in done.stdout
    assert "digits-gan" not in done.stdout
    assert "champion" in done.stdout
    assert "digits-vae 2: floor not met" in done.stdout


@pytest.mark.parametrize("model", ["digits-gan", "digits-vae", "digits-gan@champion", "digits-gan/2"])
def test_the_same_seed_gives_the_same_bytes(project, regen_json, tmp_path, model):
    files = [tmp_path / name for name in ("one.png", "two.png", "other.png")]

    for file, seed in zip(files, ("7", "7", "8"), strict=True):
        regen_json(project, "sample", model, "--n", "9", "--seed", seed, "--out", str(file))

    one, two, other = (file.read_bytes() for file in files)
    assert one == two != other
    assert np.asarray(Image.open(io.BytesIO(one))).std() > 0


def test_a_fresh_process_gives_the_same_bytes_too(project, regen_json, tmp_path):
    here, there = tmp_path / "here.png", tmp_path / "there.png"
    regen_json(project, "sample", "digits-gan", "--n", "4", "--seed", "3", "--out", str(here))

    done = project.regen("sample", "digits-gan", "--n", "4", "--seed", "3", "--out", str(there))

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"4 images from digits-gan version 1, seed 3: {there}\n"
    assert here.read_bytes() == there.read_bytes()


def test_a_folder_gets_one_file_an_image(project, regen_json, tmp_path):
    found = regen_json(project, "sample", "digits-vae", "--n", "3", "--out", str(tmp_path / "many"))

    assert (found["model"], found["version"], found["n"]) == ("digits-vae", 1, 3)
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == ["000000.png", "000001.png", "000002.png"]


@pytest.mark.parametrize("model", ["digits-gan", "digits-vae"])
def test_a_class_can_be_asked_for(project, regen_json, tmp_path, model):
    files = [tmp_path / name for name in ("threes.png", "again.png", "fours.png", "any.png")]

    for file, wanted in zip(files, (["--class", "3"], ["--class", "3"], ["--class", "4"], []), strict=True):
        regen_json(project, "sample", model, "--n", "9", "--seed", "7", *wanted, "--out", str(file))

    threes, again, fours, drawn = (file.read_bytes() for file in files)
    assert threes == again
    assert len({threes, fours, drawn}) == 3


@pytest.mark.parametrize(("model", "wanted"), [("digits-gan", "shoe"), ("digits-vae", "8")])
def test_a_class_that_the_model_does_not_know_is_refused(project, regen_here, tmp_path, model, wanted):
    done = regen_here(project, "sample", model, "--class", wanted, "--out", str(tmp_path / "none.png"))

    assert done.returncode in (1, 2)
    assert done.stderr.startswith(f"error: {model} has no class '{wanted}'; its classes are 0, 1, 2")
    assert not (tmp_path / "none.png").exists()


def test_a_file_of_another_kind_is_refused(project, regen_here, tmp_path):
    done = regen_here(project, "sample", "digits-vae", "--out", str(tmp_path / "digits.gif"))

    assert done.returncode == 1
    assert "ends in .gif; name a .png file for a grid, or a folder" in done.stderr


def test_a_sample_lands_where_the_caller_stands(project, regen_here, regen_json):
    below = project.root / "outputs"
    done = regen_here(replace(project, root=below), "sample", "digits-gan", "--n", "2", "--json")

    assert done.returncode == 0, done.stderr
    assert (below / "digits-gan.png").is_file()


def test_a_rejected_version_is_not_promoted_without_force(project, regen_here, regen_json):
    done = regen_here(project, "promote", "digits-vae", "2", "--by", "ada")

    assert done.returncode == 1
    assert done.stderr.startswith("error: the gate rejected digits-vae 2: floor not met")
    assert "--force" in done.stderr
    assert champion(regen_json(project, "models"), "digits-vae") == 1


def test_promotion_by_force_and_rollback_are_remembered(project, regen_json):
    promoted = regen_json(project, "promote", "digits-vae", "2", "--by", "ada", "--reason", "a trial", "--force")
    rolled_back = regen_json(project, "rollback", "digits-vae", "--by", "bob", "--reason", "odd sevens")
    after = regen_json(project, "models", "digits-vae")

    assert (promoted["action"], promoted["version"], promoted["before"]) == ("promote", 2, 1)
    assert (rolled_back["action"], rolled_back["version"], rolled_back["before"]) == ("rollback", 1, 2)
    assert champion(after, "digits-vae") == 1
    assert [(event["by"], event["reason"]) for event in after["history"]["digits-vae"]][1:] == [
        ("ada", "a trial"),
        ("bob", "odd sevens"),
    ]


def test_a_summary_calls_no_version_champion_that_is_none_any_more(project, regen_here, regen_json):
    regen_json(project, "promote", "digits-vae", "2", "--by", "ada", "--force")

    done = regen_here(project, "run")

    regen_json(project, "rollback", "digits-vae", "--by", "ada")
    assert "Nothing to do" in done.stdout
    assert "it is digits-gan@champion" in done.stdout
    assert "it is digits-vae@champion" not in done.stdout, "version 2 was the champion then"


def test_rollback_without_an_earlier_champion_is_refused(project, regen_here):
    done = regen_here(project, "rollback", "digits-gan")

    assert done.returncode == 1
    assert done.stderr.startswith("error: digits-gan 1 is the first champion")


@pytest.mark.parametrize("mode", ["off", "dry-run"])
def test_a_gate_that_does_not_act_promotes_nothing(project, regen_here, regen_json, mode):
    regen_json(project, "promote", "digits-gan", "2", "--by", "ada", "--force")
    settings = ("--set", f"gate.mode={mode}", "--set", "evaluation.bootstrap_draws=51")

    done = [regen_here(project, "stage", stage, *settings) for stage in ("evaluate", "register", "promote")]
    champion_then = champion(regen_json(project, "models"), "digits-gan")
    regen_json(project, "rollback", "digits-gan", "--by", "ada")

    assert [one.returncode for one in done] == [0, 0, 0], done
    assert champion_then == 2


def test_a_better_candidate_takes_the_place_of_a_worse_champion(project, regen_here, regen_json):
    regen_json(project, "promote", "digits-gan", "2", "--by", "ada", "--force")
    settings = ("--set", "evaluation.bootstrap_draws=52")

    done = [regen_here(project, "stage", stage, *settings) for stage in ("evaluate", "register", "promote")]
    found = regen_json(project, "models", "digits-gan")

    assert [one.returncode for one in done] == [0, 0, 0], done
    assert champion(found, "digits-gan") == 1
    last = found["history"]["digits-gan"][-1]
    assert (last["action"], last["version"], last["before"], last["by"]) == ("promote", 1, 2, "gate")
    assert last["reason"].startswith("better than the champion: frechet_distance a gain of ")


def test_commands_work_from_a_folder_below_the_project(project, regen_json):
    below = replace(project, root=project.root / "outputs" / "digits")

    assert regen_json(below, "data", "status")["clean"]
    assert len(regen_json(below, "models")["versions"]) == 5  # two of each kind, and the extractor


def test_a_moved_project_is_mended_by_doctor(project, regen_here, regen_json, tmp_path):
    away = replace(project, root=tmp_path / "moved")
    project.root.rename(away.root)
    try:
        before = regen_here(away, "doctor")
        fixed = regen_json(away, "doctor", "--fix")
        sampled = regen_here(away, "sample", "digits-gan", "--n", "2", "--out", str(tmp_path / "two.png"))
    finally:
        away.root.rename(project.root)
        regen_json(project, "doctor", "--fix")

    assert before.returncode == 1
    assert "run 'regen doctor --fix'" in before.stdout
    assert fixed["ok"]
    assert sampled.returncode == 0, sampled.stderr
