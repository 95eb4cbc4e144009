"""From votes to a tuned version by the commands: opened, voted on, tuned, proven, registered, asked again, collected."""

import json
import shutil

import pandas as pd
import pytest

from tests.flows.conftest import moved

QUICK = """\
reward: {pairs: 6000, width: 4, members: 2}
align:
  inspect_every_images: 640
  gan: {images: 2560}
  vae: {images: 2560}
"""


@pytest.fixture(scope="module")
def project(second_run, tmp_path_factory):
    """A project with champions of its own, moved elsewhere and mended, whose tunings are short."""
    assert second_run.done.returncode == 0, second_run.done.stderr
    copy = moved(second_run.project, tmp_path_factory.mktemp("align") / "project")
    with (copy.root / "params.yaml").open("a") as file:
        file.write(QUICK)
    return copy


@pytest.fixture(scope="module")
def aligned(project):
    """What `regen align` says where there are too few votes, then of enough, then of the same again."""
    said = [project.regen("align")]
    for model in ("digits-gan", "digits-vae"):
        voted = project.regen("review", "--model", model, "--pairs", "200", "--simulate")
        assert voted.returncode == 0, voted.stderr
    return [*said, project.regen("align", "--json"), project.regen("align")]


def versions(project, model):
    done = project.regen("models", model, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["versions"]


def test_too_few_votes_are_told_in_one_line(aligned):
    first = aligned[0]

    assert first.returncode == 1
    assert first.stderr.startswith(
        "error: 0 votes on digits-gan can be learned from and 100 (reward.min_votes) are needed"
    )
    assert "100 are missing, 20 of them on held-out samples; 'regen review --model digits-gan' collects" in first.stderr
    assert len(first.stderr.splitlines()) == 1


def test_both_models_are_tuned_registered_and_judged(project, aligned):
    done = aligned[1]

    assert done.returncode == 0, done.stderr
    found = {one["model"]: one for one in json.loads(done.stdout)}
    assert set(found) == {"digits-gan", "digits-vae"}
    for name, one in found.items():
        assert {"base", "tuned", "best_of_4", "best_of_16"} == set(one["arms"])
        newest, base = versions(project, name)
        assert (newest["version"], one["version"], one["base"]) == (2, 2, f"{name}/1")
        assert newest["tags"]["regen.base"] == f"{name}/1"
        assert newest["tags"]["regen.campaigns"] == f"{name}-1-1"
        assert newest["tags"]["regen.votes"] == one["digest"]
        assert newest["verdict"] == one["decision"]
        assert ("champion" in newest["aliases"]) == one["promoted"]
        assert base["tags"].get("regen.base") is None
        checks = json.loads(newest["tags"]["regen.ledger"])
        assert {"win_rate", "best_of_n", "frechet_distance_against_base", "bias", "unacceptable"} <= {
            c["metric"] for c in checks
        }
        assert "preference_win_rate" in {check["metric"] for check in checks}
        report = (project.root / one["report"]).read_text()
        assert report.startswith("<!doctype html>")
        assert "(1 of them simulated)" in report


def test_the_same_votes_are_not_learned_from_twice(project, aligned):
    told = aligned[2]

    assert told.returncode == 0, told.stderr
    assert told.stdout.count("Nothing to do:") == 2
    assert [len(versions(project, name)) for name in ("digits-gan", "digits-vae")] == [2, 2]


def test_a_tuned_model_is_used_as_any_other(project, aligned, regen_json):
    for name in ("digits-gan/2", "digits-vae/2"):
        assert regen_json(project, "sample", name, "--n", "4", "--out", "drawn.png")["version"] == 2


def test_the_next_campaign_asks_where_the_reward_is_least_sure(project, aligned):
    closed = project.regen("votes", "close", "1", "--json")
    assert closed.returncode == 0, closed.stderr

    done = project.regen("review", "--model", "digits-gan/1", "--pairs", "40", "--simulate", "--json")

    assert done.returncode == 0, done.stderr
    number = json.loads(done.stdout)["campaign"]["id"]
    out = project.regen("votes", "export", "--campaign", str(number), "--out", "asked.parquet")
    assert out.returncode == 0, out.stderr
    asked = pd.read_parquet(project.root / "asked.parquet")
    counts = asked[~asked["repeat"]]["strategy"].value_counts()
    assert counts["disagreement"] == pytest.approx(counts["random"], abs=2)


def test_votes_between_a_tuned_model_and_its_base_speak_before_the_judge(project, aligned):
    voted = project.regen(
        "review", "--model", "digits-vae/2", "--against", "digits-vae/1", "--pairs", "60", "--simulate"
    )
    assert voted.returncode == 0, voted.stderr

    done = project.regen("align", "--model", "digits-vae/1", "--json")

    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert not found["reused"]
    assert found["by"].endswith("votes on its samples beside the base’s")
    newest, _ = versions(project, "digits-vae")
    assert {"anomaly_auc", "preference_win_rate", "best_of_n"} <= {check["metric"] for check in newest["ledger"]}


def test_a_tuned_champion_is_what_aligning_comes_to_with_every_arm_that_was_measured(project, aligned):
    if "champion" not in versions(project, "digits-vae")[0]["aliases"]:
        promoted = project.regen("promote", "digits-vae", "2", "--by", "ada", "--force")
        assert promoted.returncode == 0, promoted.stderr

    done = project.regen("align", "--by-kind", "vae")
    told = project.regen("align", "--by-kind", "vae", "--set", "align.vae.images=1280", "--json")

    assert done.returncode == 0, done.stderr
    for line in (
        "Nothing to do: digits-vae/1 was tuned",
        "the base, best of 4",
        "Win rate over digits-vae/1",
    ):
        assert line in done.stdout
    assert told.returncode == 0, told.stderr
    (recorded,) = json.loads(told.stdout)
    assert (recorded["version"], recorded["base"], recorded["is_current"]) == (2, "digits-vae/1", False)
    assert {"base", "tuned", "best_of_4"} <= set(recorded["arms"])
    assert len(versions(project, "digits-vae")) == 2


def test_a_campaigns_votes_are_kept_by_dvc_and_told_to_mlflow(project, aligned):
    done = project.regen("votes", "collect", "--campaign", "2", "--now", "--json")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["subject"], found["votes"], found["wanted"]) == ("digits-vae/1", 200, 200)
    assert len(pd.read_parquet(project.root / found["file"])) == 200
    assert found["version"] in (project.root / "votes.dvc").read_text()
    shutil.rmtree(project.root / "votes")
    assert project.call("dvc", "checkout", "votes.dvc").returncode == 0
    assert len(pd.read_parquet(project.root / found["file"])) == 200
