"""`regen run` takes a fresh clone to two champions, does nothing twice, and does not promote what is worse."""

import json
import re
import sys

import pytest

RECORDS = """\
import json
from pathlib import Path
from regen.core.environment import bootstrap
from regen.core.workspace import Workspace
bootstrap(Workspace(Path.cwd()))
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    flows = sorted(client.read_flow_runs(), key=lambda flow: flow.start_time)
    print(json.dumps([
        {
            "id": str(flow.id), "state": flow.state_name,
            "tasks": {
                task.name.rpartition("-")[0] or task.name: task.state_name
                for task in client.read_task_runs() if task.flow_run_id == flow.id
            },
            "artifacts": {
                artifact.key: artifact.data for artifact in client.read_artifacts() if artifact.flow_run_id == flow.id
            },
        }
        for flow in flows if flow.parent_task_run_id is None
    ]))
"""


@pytest.fixture(scope="module")
def records(weak_run):
    """What Prefect remembers of the flow runs, oldest first."""
    done = weak_run.project.call(sys.executable, "-c", RECORDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def versions(models, name):
    """A model's listed versions, by their numbers."""
    return {version["version"]: version for version in models["versions"] if version["model"] == name}


def test_a_fresh_clone_gets_two_champions(first_run):
    assert first_run.done.returncode == 0, first_run.done.stderr
    for model in ("digits-gan", "digits-vae"):
        assert f"PROMOTE: it is {model}@champion" in first_run.done.stdout


def test_progress_is_told_on_standard_error_and_results_on_standard_output(first_run):
    assert "train vae: 12,800 of 12,800 images" in first_run.done.stderr
    assert "images/s" not in first_run.done.stdout
    assert "Traceback" not in first_run.done.stderr
    assert "WARNING" not in first_run.done.stderr


def test_the_report_stands_alone(first_run):
    report = (first_run.project.root / "outputs" / "digits" / "evaluate" / "report.html").read_text()

    assert "data:image/png;base64," in report
    loaded = re.findall(r"(?:src|href)\s*=\s*[\"']?([^\"'\s>]+)", report) + re.findall(r"url\(([^)]+)\)", report)
    assert [address for address in loaded if not address.startswith(("data:", "#"))] == []
    assert "<script" not in report


def test_every_stage_leaves_its_results_where_people_look(first_run):
    found = {path.name for path in (first_run.project.root / "outputs" / "digits").iterdir()}

    assert found == {"prepare", "train_extractor", "train_vae", "train_gan", "evaluate", "register", "promote"}


def test_verdicts_name_version_decision_and_every_check(first_run):
    (out,) = first_run.project.store("promote")[:1]

    verdicts = json.loads((out / "verdicts.json").read_text())

    for kind, model in (("vae", "digits-vae"), ("gan", "digits-gan")):
        verdict = verdicts[kind]
        assert (verdict["model"], verdict["version"], verdict["decision"]) == (model, 1, "PROMOTE")
        assert verdict["promoted"]
        assert [check["passed"] for check in verdict["checks"]] == [True]


def test_nothing_temporary_is_left(first_run):
    folders = [first_run.project.root / name for name in (".regen/store", "outputs", "data", "mlruns")]

    assert [path for folder in folders for path in folder.rglob("*.tmp")] == []
    assert list((first_run.project.root / ".regen" / "store").glob("*/*/work")) == []


def test_the_second_run_has_nothing_to_do(second_run):
    assert second_run.done.returncode == 0, second_run.done.stderr
    assert "Nothing to do" in second_run.done.stdout
    assert "train" not in second_run.done.stderr
    assert "PROMOTE" in second_run.done.stdout


def test_a_weak_run_is_registered_and_not_promoted_and_says_why(weak_run):
    assert weak_run.done.returncode == 0, weak_run.done.stderr
    assert weak_run.done.stdout.count("REJECT: it is registered, and not the champion") == 2
    assert "floor not met: reconstruction_ssim: wanted at least 0.3, got 0." in weak_run.done.stdout
    assert "floor not met: frechet_distance: wanted at most 60, got " in weak_run.done.stdout
    assert "guard not met: reconstruction_mse" in weak_run.done.stdout


def test_the_weak_run_was_measured_beside_the_champions(weak_run):
    assert weak_run.done.stdout.count("champion (version 1)") == 2
    assert "measuring the candidates and the champions" in weak_run.done.stderr


def test_the_champions_stay_and_the_rejected_are_kept_with_their_reasons(weak_run, regen_json):
    found = regen_json(weak_run.project, "models")

    for model in ("digits-gan", "digits-vae"):
        listed = versions(found, model)
        assert set(listed) == {1, 2}, "the second run registered something"
        assert listed[1]["aliases"] == ["champion"]
        assert (listed[2]["aliases"], listed[2]["verdict"]) == ([], "REJECT")
        assert any("floor not met" in reason for reason in listed[2]["reasons"])
        assert [event["version"] for event in found["history"][model]] == [1]


def test_a_version_knows_where_it_comes_from(weak_run, regen_json, records):
    found = regen_json(weak_run.project, "models")
    data = regen_json(weak_run.project, "data", "status")["version"]

    for model in ("digits-gan", "digits-vae"):
        for number, version in versions(found, model).items():
            assert version["tags"]["regen.data"] == data
            assert version["tags"]["regen.run"] == version["run"]
            assert version["tags"]["regen.prefect_run"] == records[number - 1]["id"]
            assert version["figures"]["frechet_distance"] > 0


def test_a_training_leaves_its_curves_and_pictures_in_mlflow(weak_run, regen_json, monkeypatch):
    run = versions(regen_json(weak_run.project, "models"), "digits-vae")[1]["run"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{weak_run.project.root}/mlruns/mlflow.db")
    import mlflow

    client = mlflow.MlflowClient()
    steps = [point.step for point in client.get_metric_history(run, "train/negative_elbo")]
    folders = {artifact.path for artifact in client.list_artifacts(run)}

    assert steps == list(range(640, 12801, 640))
    assert client.get_run(run).info.status == "FINISHED"
    assert {"reconstructions", "training", "evaluation", "gate"} <= folders


def test_prefect_remembers_both_flows_and_the_run_between_them_needed_none(records):
    assert [flow["state"] for flow in records] == ["Completed", "Completed"]


def test_prefect_shows_the_figures_and_the_verdicts(records):
    first, weak = records

    for flow in (first, weak):
        assert set(flow["artifacts"]) == {"digits-report", "digits-verdicts"}
        assert "| Sample quality: Fréchet distance |" in flow["artifacts"]["digits-report"]
    assert "digits-vae, version 1: PROMOTE" in first["artifacts"]["digits-verdicts"]
    assert "digits-vae, version 2: REJECT" in weak["artifacts"]["digits-verdicts"]


def test_prefect_shows_as_cached_what_was_done_before(records):
    first, weak = records

    assert "Cached" not in first["tasks"].values()
    assert {name for name, state in weak["tasks"].items() if state == "Cached"} == {"prepare", "train extractor"}
    assert {"train vae", "train gan", "evaluate", "register", "promote"} <= set(weak["tasks"])
