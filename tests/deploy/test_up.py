"""`regen up` serves Prefect, workers, MLflow and the review page on loopback, keeps them up, and leaves nothing behind."""

import json
import os
import signal

import psutil
import pytest
import yaml

from flows.up import state_file, use_running_server
from regen.core.workspace import Workspace
from tests.deploy.servers import can_be_bound, free_port, kill_all, serve, start, until

QUICK = ("--set", "gan.images=32")


def test_all_that_listens_does_so_on_loopback_alone(servers):
    assert servers.get("prefect", "/api/health") == b"true"
    assert servers.get("mlflow", "/health") == b"OK"
    addresses = {
        connection.laddr.ip
        for process in servers.family
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port in servers.ports.values()
    }
    assert addresses == {"127.0.0.1"}


def test_prefects_pages_ask_this_server(servers):
    settings = json.loads(servers.get("prefect", "/ui-settings"))

    assert settings["api_url"] == f"http://127.0.0.1:{servers.ports['prefect']}/api"


def test_a_worker_serves_each_pool(servers):
    pools = {"cpu", "gpu"}
    until(lambda: pools <= {pool["name"] for pool in servers.prefect("/work_pools/filter", {})}, "the workers' pools")
    for pool in sorted(pools):
        until(lambda: servers.prefect(f"/work_pools/{pool}/workers/filter", {}), f"a worker of {pool}")  # noqa: B023


def test_a_run_meanwhile_uses_these_servers_and_starts_none_of_its_own(servers):
    before = len(servers.runs_of("retrain"))
    running = start(servers.root, "run", *QUICK)
    said = ""
    for line in running.stderr:
        said += line
        if line.startswith("  train gan"):
            break
    children = [" ".join(child.cmdline()) for child in psutil.Process(running.pid).children(recursive=True)]
    _, err = running.communicate(timeout=300)

    assert running.returncode == 0, said + err
    assert not [line for line in children if "prefect.server" in line]
    assert [run["state_name"] for run in servers.runs_of("retrain")[before:]] == ["Completed"]
    artifacts = {artifact["key"] for artifact in servers.prefect("/artifacts/filter", {})}
    assert {"digits-report", "digits-verdicts"} <= artifacts
    found = json.loads(servers.get("mlflow", "/api/2.0/mlflow/registered-models/search"))
    assert {model["name"] for model in found["registered_models"]} == {"digits-gan", "digits-vae", "digits-extractor"}


def test_flows_are_pointed_at_servers_that_answer(servers, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))

    use_running_server(Workspace(servers.root))

    assert os.environ["PREFECT_API_URL"] == f"http://127.0.0.1:{servers.ports['prefect']}/api"


def test_flows_stay_with_the_server_that_the_user_names(servers, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example.org/api")

    use_running_server(Workspace(servers.root))

    assert os.environ["PREFECT_API_URL"] == "http://prefect.example.org/api"


@pytest.mark.parametrize("state", ['{"prefect": "http://127.0.0.1:1"}', "{", '{"mlflow": ""}'])
def test_servers_that_are_gone_are_passed_over(tmp_path, monkeypatch, state):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    state_file(Workspace(tmp_path)).parent.mkdir()
    state_file(Workspace(tmp_path)).write_text(state)

    use_running_server(Workspace(tmp_path))

    assert "PREFECT_API_URL" not in os.environ


@pytest.mark.parametrize("server", ["prefect", "mlflow", "review"])
def test_a_port_that_is_taken_is_named(servers, server):
    if server == "review":  # it may not be open yet
        ports = {"prefect": free_port(), "mlflow": free_port(), "review": servers.ports["mlflow"]}
    else:
        ports = {name: free_port() for name in servers.ports} | {server: servers.ports[server]}
    process = start(
        servers.root, "up", *(word for name, port in ports.items() for word in (f"--{name}-port", str(port)))
    )
    _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert err == f"error: port {ports[server]} is taken; choose another by --{server}-port\n"


def test_what_dies_is_started_again(servers):
    victims = [one for one in psutil.Process(servers.process.pid).children() if {"mlflow", "gpu"} & {*one.cmdline()}]
    assert len(victims) == 2

    for one in victims:
        one.kill()

    def anew():
        children = psutil.Process(servers.process.pid).children()
        return {*victims}.isdisjoint(children) and len(
            [one for one in children if {"mlflow", "gpu"} & {*one.cmdline()}]
        ) == 2

    until(anew, "two new processes", seconds=30)
    until(lambda: _mlflow_answers(servers), "MLflow")


def _mlflow_answers(servers):
    try:
        return servers.get("mlflow", "/health") == b"OK"
    except OSError:
        return False


def test_ctrl_c_ends_all_trainings_too_and_frees_the_ports(servers):
    state = servers.root / ".regen" / "up.json"
    assert state.is_file()
    done = servers.regen("deploy")
    assert done.returncode == 0, done.stderr
    deployment = servers.prefect("/deployments/name/retrain/digits")["id"]
    config = yaml.safe_load((servers.root / "params.yaml").read_text()) | {"seed": 9}
    config["vae"]["images"] = 100_000_000
    asked = {"parameters": {"config": config}, "state": {"type": "SCHEDULED"}}
    servers.prefect(f"/deployments/{deployment}/create_flow_run", asked)
    until(lambda: [one for one in servers.family if "regen.stages.worker" in one.cmdline()], "a training")

    code, err, left = servers.end(signal.SIGINT)

    assert (code, left) == (0, [])
    assert "Traceback" not in err
    assert "error" not in err
    assert "mlflow ended with code -9; it starts again in 1 s (1 of 5" in err
    assert "worker-gpu ended with code -9; it starts again in 1 s (1 of 5" in err
    assert all(can_be_bound(port) for port in servers.ports.values())
    assert not state.exists()


def test_a_sigterm_ends_all_too_and_less_can_be_asked_for(project):
    servers = serve(project, "--no-workers", "--no-review")
    commands = [" ".join(one.cmdline()) for one in servers.family]

    code, err, left = servers.end(signal.SIGTERM)

    kill_all(servers)
    assert not [command for command in commands if "worker start" in command or "review" in command]
    assert (code, left) == (0, [])
    assert "Traceback" not in err
    assert all(can_be_bound(port) for port in servers.ports.values())
