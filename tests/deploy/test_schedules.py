"""A schedule fires, a worker trains, a person approves, a rollback takes it back: all with real servers and processes.

The tests are a story of one project: each fixture is one of its events, and happens once.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
import yaml

from tests.deploy.servers import ENDED, environment, free_port, until


@pytest.fixture(scope="module")
def deployed(servers):
    """What the first `regen deploy` did."""
    return servers.regen_json("deploy")["steps"]


@pytest.fixture(scope="module")
def fired(servers, deployed):
    """Both runs after two schedules of the retraining fired at the same moment."""
    deployment = servers.prefect("/deployments/name/retrain/digits")["id"]
    moment = (datetime.now(UTC) + timedelta(seconds=10)).isoformat()
    schedule = {"active": True, "schedule": {"interval": 60, "anchor_date": moment}}
    made = servers.prefect(f"/deployments/{deployment}/schedules", [schedule, schedule])

    until(lambda: servers.runs_of("retrain"), "a run by the schedules")
    for one in made:  # which takes away all that they have planned beyond
        servers.get("prefect", f"/api/deployments/{deployment}/schedules/{one['id']}", method="DELETE")

    def both_ended():
        found = servers.runs_of("retrain")
        return found if len(found) == 2 and all(run["state_type"] in ENDED for run in found) else None

    return until(both_ended, "the end of both runs")


@pytest.fixture(scope="module")
def waiting(servers, fired):
    """The registered versions before anybody decided."""
    return servers.regen_json("models")["versions"]


@pytest.fixture(scope="module")
def approved(servers, waiting):
    """The decisions: one by the command, one by the form of the Prefect page."""
    by_command = servers.regen("promote", "digits-vae", "1", "--by", "ada", "--reason", "sharp")
    by_form = servers.run("decide", model="digits-gan", version=1, decision="promote", by="bob")
    return by_command, by_form


@pytest.fixture(scope="module")
def drifted(servers, approved):
    """The run that an event of drift started."""
    before = len(servers.runs_of("retrain"))
    event = {
        "event": "data.drift.detected", "id": str(uuid4()), "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": "regen.project.digits"}, "payload": {},
    }  # fmt: skip
    servers.prefect("/events", [event])
    started = until(lambda: servers.runs_of("retrain")[before:], "a run after drift", seconds=60)
    return servers.ended(started[0]["id"])


@pytest.fixture(scope="module")
def on_pool(servers, drifted):
    """A run with another seed, whose form asks for training on the other pool."""
    config = yaml.safe_load((servers.root / "params.yaml").read_text())
    config["training"]["pool"] = "gpu"
    return servers.run("retrain", config=config | {"seed": 1})


def test_deploying_makes_pools_limit_deployments_and_automations(deployed):
    found = {(step["kind"], step["name"]) for step in deployed}

    assert {("pool", "cpu"), ("pool", "gpu"), ("limit", "gpu"), ("automation", "retrain digits on drift")} <= found
    flows = {"retrain", "train", "promote", "decide", "monitor", "ingest", "score", "review", "align"}
    assert {name for kind, name in found if kind == "deployment"} == {f"{flow}/digits" for flow in flows}


def test_deploying_again_changes_nothing_and_doubles_nothing(servers, deployed):
    def there():
        kinds = ("deployments", "automations", "work_pools")
        return {kind: len(servers.prefect(f"/{kind}/filter", {})) for kind in kinds} | {
            "schedules": len(servers.prefect("/deployments/name/retrain/digits")["schedules"])
        }

    before = there()

    again = servers.regen_json("deploy")["steps"]

    assert {step["done"] for step in again} == {"unchanged"}
    assert there() == before
    assert before["schedules"] == 1


def test_a_changed_schedule_takes_the_place_of_the_old_one(servers, deployed):
    file = servers.root / "params.yaml"
    before = file.read_text()
    file.write_text(before.replace("{active: false}", '{active: false, cron: "5 4 * * *", timezone: Europe/Vienna}'))

    changed = [step["name"] for step in servers.regen_json("deploy")["steps"] if step["done"] != "unchanged"]
    (schedule,) = servers.prefect("/deployments/name/retrain/digits")["schedules"]
    file.write_text(before)

    assert set(changed) <= {"retrain/digits", "monitor/digits"}
    assert "retrain/digits" in changed
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("5 4 * * *", "Europe/Vienna")
    assert schedule["active"] is False


def test_two_schedules_at_once_train_once(fired, waiting):
    assert sorted(run["state_name"] for run in fired) == ["Cancelled", "Completed"]
    assert all(run["auto_scheduled"] for run in fired)
    assert {run["work_pool_name"] for run in fired} == {"cpu"}
    assert {version["model"]: version["version"] for version in waiting} == {
        "digits-extractor": 1, "digits-gan": 1, "digits-vae": 1,
    }  # fmt: skip


def test_the_run_leaves_verdicts_figures_and_pictures(servers, fired):
    (done,) = (run for run in fired if run["state_name"] == "Completed")
    artifacts = servers.prefect("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [done["id"]]}}})
    found = {artifact["key"]: artifact["data"] for artifact in artifacts}

    assert {"digits-report", "digits-verdicts"} <= found.keys()
    assert "## digits-vae, version 1: PROMOTE" in found["digits-verdicts"]
    assert "| ROC-AUC |" in found["digits-verdicts"]
    assert "](data:image/png;base64," in found["digits-verdicts"]


def test_the_candidates_wait_for_approval(waiting):
    candidates = [version for version in waiting if version["model"] != "digits-extractor"]

    assert [(one["verdict"], one["approval"]["state"], one["aliases"]) for one in candidates] == [
        ("PROMOTE", "pending", [])
    ] * 2
    assert all(one["ledger"][0]["kind"] == "floor" for one in candidates)


def test_approval_promotes_by_the_command_and_by_the_form(servers, approved):
    by_command, by_form = approved

    assert by_command.returncode == 0, by_command.stderr
    assert "digits-vae@champion is version 1 now" in by_command.stdout
    assert by_form["state_name"] == "Completed", by_form["state"]
    for version in servers.regen_json("models")["versions"]:
        if version["model"] != "digits-extractor":
            assert (version["aliases"], version["approval"]["state"]) == (["champion"], "approved")


def test_the_review_page_opens_once_there_is_a_champion(servers, approved):
    assert until(lambda: _answers(servers.ports["review"]), "the review page", seconds=90)


def _answers(port):
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
            return page.status == 200
    except OSError:
        return False


def test_a_suspended_review_holds_no_worker_and_goes_on_where_it_is_resumed(servers, approved):
    deployment = servers.prefect("/deployments/name/review/digits")["id"]
    parameters = {"config": "params.yaml", "wait": "suspend"}
    asked = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
    run = servers.prefect(f"/deployments/{deployment}/create_flow_run", asked)["id"]
    until(lambda: servers.prefect(f"/flow_runs/{run}")["state_name"] == "Suspended", "the suspension")
    until(lambda: not [one for one in servers.family if run in one.environ().values()], "the end of its process")

    voted = servers.regen_json("review", "--simulate")
    servers.prefect(f"/flow_runs/{run}/resume", {})
    done = servers.ended(run)

    assert voted["campaign"]["votes"] == voted["campaign"]["wanted"]
    assert done["state_name"] == "Completed", done["state"]
    assert (servers.root / "votes.dvc").is_file()


def test_drift_starts_a_run_which_finds_all_done_and_says_so(drifted):
    assert drifted["state_name"] == "Cached", drifted["state"]
    assert drifted["state"]["message"].startswith("nothing to do: the same data (")
    assert drifted["work_pool_name"] == "cpu"


def test_training_ran_on_its_pool_and_the_rest_on_the_other(servers, on_pool):
    assert (on_pool["state_name"], on_pool["work_pool_name"]) == ("Completed", "cpu"), on_pool["state"]
    trained = servers.runs_of("train")
    assert sorted(run["name"] for run in trained) == ["train extractor", "train gan", "train vae"]
    assert {(run["work_pool_name"], run["state_name"]) for run in trained} == {("gpu", "Completed")}
    logs = {pool: (servers.root / ".regen" / "logs" / f"worker-{pool}.log").read_text() for pool in ("cpu", "gpu")}
    assert "train vae: 1,280 of 1,280 images" in logs["gpu"]
    assert logs["cpu"].count("train vae: 1,280 of 1,280 images") == 1, "only the first run trained on cpu"
    assert logs["cpu"].count("evaluate: measuring") == 2
    assert "evaluate: measuring" not in logs["gpu"]
    found = json.loads(servers.get("mlflow", "/api/2.0/mlflow/model-versions/search?filter=name%3D%27digits-vae%27"))
    assert {version["version"] for version in found["model_versions"]} == {"1", "2"}


def test_rollback_restores_the_version_before(servers, on_pool):
    promoted = servers.regen("promote", "digits-vae", "2", "--by", "ada", "--force")
    assert "digits-vae@champion is version 2 now, was version 1" in promoted.stdout, promoted.stderr

    back = servers.regen("rollback", "digits-vae", "--by", "bob", "--reason", "false alarms")

    assert "digits-vae@champion is version 1 now, was version 2" in back.stdout, back.stderr
    found = servers.regen_json("models", "digits-vae")
    assert {version["version"]: version["aliases"] for version in found["versions"]} == {1: ["champion"], 2: []}
    told = [(event["action"], event["version"], event["by"]) for event in found["history"]["digits-vae"]]
    assert told == [("promote", 1, "ada"), ("promote", 2, "ada"), ("rollback", 1, "bob")]


def test_the_champion_is_served_by_mlflow_and_answers(servers, approved):
    port = free_port()
    with subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/digits-vae@champion",
            "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port),
        ],
        cwd=servers.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=environment(MLFLOW_TRACKING_URI=f"http://127.0.0.1:{servers.ports['mlflow']}", REGEN_UP=servers.mark),
    ) as serving:  # fmt: skip
        try:
            until(lambda: _is_healthy(port), "the model's server", seconds=90)
            images = [[[[0]] * 8] * 8] * 2
            asked = Request(
                f"http://127.0.0.1:{port}/invocations", json.dumps({"inputs": images}).encode(),
                {"Content-Type": "application/json"},
            )  # fmt: skip
            with urlopen(asked, timeout=60) as page:
                said = json.loads(page.read())["predictions"]
        finally:
            for process in servers.family:
                if str(port) in " ".join(process.cmdline()):
                    process.kill()
            serving.kill()

    assert set(said) == {"anomaly_score", "is_anomaly", "reconstruction"}
    assert len(said["anomaly_score"]) == 2


def _is_healthy(port):
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as page:
            return page.status == 200
    except OSError:
        return False
