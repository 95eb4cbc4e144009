"""`regen sweep` trains each setting once, nests the trials in one MLflow run, names the best, and goes on where it was."""

import json
import shutil

import pytest

from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import sources, versions

QUICK = ("--set", "vae.images=640", "--set", "extractor.images=6400", "--set", "gan.images=3200")
STATE = """\
import json, mlflow
client = mlflow.MlflowClient()
owner = client.get_experiment_by_name("digits-sweeps").experiment_id
print(json.dumps([
    {"status": run.info.status, "parent": run.data.tags.get("mlflow.parentRunId"), "id": run.info.run_id,
     "params": run.data.params, "metrics": run.data.metrics, "tags": run.data.tags}
    for run in client.search_runs([owner])
]))
"""


def sweep(project, *arguments):
    done = project.regen("sweep", *QUICK, *arguments, "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def project(new_project):
    made = new_project("sweep")
    sources.materialise(DataConfig(), Workspace(made.root).data("digits"))
    versions.add(Workspace(made.root))
    return made


@pytest.fixture(scope="module")
def swept(project):
    """Two losses, the second of which cannot go on."""
    return sweep(project, "--over", "gan.learning_rate=0.001,1e30", "--at-once", "1")


def test_the_best_is_named_and_a_failure_is_the_trials_own(swept):
    first, second = swept["trials"]

    assert swept["best"] == {"gan.learning_rate": 0.001} == first["settings"]
    assert first["low"] <= first["value"] <= first["high"]
    assert second["value"] is None
    assert "lower its learning rate" in second["error"]


def test_trials_are_runs_nested_in_the_sweeps_run(project, swept):
    done = project.call(
        shutil.which("python"),
        "-c",
        f"import os; os.environ['MLFLOW_TRACKING_URI'] = 'sqlite:///mlruns/mlflow.db'\n{STATE}",
    )
    runs = {run["id"]: run for run in json.loads(done.stdout)}

    parent = runs.pop(swept["run"])
    assert {run["parent"] for run in runs.values()} == {swept["run"]}
    assert sorted(run["status"] for run in runs.values()) == ["FAILED", "FINISHED"]
    best = runs[parent["tags"]["regen.best"]]
    assert best["params"] == {"gan.learning_rate": "0.001"}
    assert parent["metrics"]["frechet_distance"] == best["metrics"]["frechet_distance"]


def test_trials_register_nothing_and_leave_the_results_of_the_last_run_alone(project, swept):
    models = json.loads(project.regen("models", "--json").stdout)["versions"]

    assert {model["model"] for model in models} <= {"digits-extractor"}
    assert not (project.root / "outputs").exists()


def test_four_trials_on_a_ray_cluster_take_what_has_finished_from_the_earlier_sweep(project, swept):
    found = sweep(project, "--over", "gan.learning_rate=0.001,0.002", "--over", "seed=0,1", "--ray", "--at-once", "2")

    assert len(found["trials"]) == 4
    assert all(trial["value"] is not None for trial in found["trials"]), found
    (reused,) = [trial for trial in found["trials"] if trial["reused"]]
    assert reused["settings"] == {"gan.learning_rate": 0.001, "seed": 0}
    assert reused["value"] == swept["trials"][0]["value"]
