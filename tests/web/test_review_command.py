"""`regen review` and `regen votes` from the shell: opened, voted in, stopped, gone on with, exported, imported, closed."""

import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest

from regen.core.workspace import Workspace
from regen.registry import tracking, versions
from regen.registry.tracking import Run
from tests.conftest import make_project
from tests.flows.conftest import Project
from tests.reviews import hidden
from tests.unit.registry.conftest import log_network, use_store


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with an untrained GAN that is its champion."""
    import mlflow

    root = tmp_path_factory.mktemp("review") / "project"
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_project(root, monkeypatch)
        workspace = Workspace(root)
        use_store(workspace, monkeypatch)
        tracking.open_store(workspace)
        run = Run.of_key(workspace, "digits", "digits", "key", {})
        uri = log_network(run, "gan", root / "network")
        for key in ("key", "another"):
            versions.register("digits-gan", "gan", run, uri, key, {}, "# card")
        mlflow.MlflowClient().set_registered_model_alias("digits-gan", "champion", 1)
    return Project(root)


@contextmanager
def reviewing(project, *arguments):
    """A running `regen review`, and what it says as JSON."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "review", "--port", "0", "--json", *arguments], cwd=project.root,
        env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "}\n":
                break
        assert lines, process.stderr.read()
        yield json.loads("".join(lines)), process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def vote(address, token, choices):
    with httpx.Client(base_url=address, headers={"Origin": address.rstrip("/")}, timeout=30) as client:
        assert client.post("/login", data={"token": token}).headers["Location"] == "/guidelines"
        for choice in choices:
            answer = client.post("/vote", data={**hidden(client.get("/").text), "choice": choice})
            assert answer.status_code == 303
        return client.get("/").text


def as_json(project, *arguments):
    done = project.regen(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_review_from_its_opening_to_its_end(project):
    with reviewing(project, "--pairs", "8", "--need", "2") as (said, process):
        page = vote(said["address"], said["token"], ["left", "tie", "skip"])
    assert process.returncode == 0
    assert process.stderr.read() == "The page has ended; the votes are kept.\n"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", said["address"])
    assert said["new"]
    assert said["campaign"]["subject"] == "digits-gan/1"
    assert "digits" not in page

    with reviewing(project) as (again, _):
        assert not again["new"]
        assert again["token"] == ""
        assert (again["campaign"]["id"], again["campaign"]["votes"]) == (said["campaign"]["id"], 3)
        made = as_json(project, "votes", "annotators", "add", "bob")
        vote(again["address"], made["token"], ["right"] * 4)
        project.regen("votes", "annotators", "revoke", "bob")
        answer = httpx.post(
            again["address"] + "login", data={"token": made["token"]}, headers={"Origin": again["address"][:-1]}
        )
        assert answer.status_code == 401

    agreed = as_json(project, "votes", "agreement")
    assert (agreed["votes"], agreed["people"], agreed["first_broken_event"]) == (7, 2, None)
    told = project.regen("votes", "agreement").stdout
    assert "7 votes of 2 people" in told
    assert "history: whole" in told
    out = as_json(project, "votes", "export", "--format", "parquet")
    assert (out["votes"], out["people"]) == (7, 2)
    assert as_json(project, "votes", "import", out["out"]) == {"new": 0, "votes": 7}
    people = {one["name"]: one["revoked"] for one in as_json(project, "votes", "annotators", "list")}
    assert people["reviewer-1"] is None
    assert people["bob"] is not None
    assert as_json(project, "votes", "close", "1")["closed"] is not None

    with reviewing(project, "--pairs", "4") as (third, _):
        assert third["new"]
        assert third["campaign"]["id"] == 2


def test_simulated_people_vote_without_a_page(project):
    found = as_json(project, "review", "--model", "digits-gan/2", "--pairs", "8", "--need", "4", "--simulate")

    assert found["simulated"] == found["campaign"]["votes"] == 32
    assert as_json(project, "votes", "agreement")["people"] == 4


def test_what_cannot_be_done_is_told_in_one_line(project):
    for arguments, said in (
        (("votes", "close", "99"), "there is no campaign 99"),
        (("votes", "annotators", "revoke", "ghost"), "there is no annotator ghost"),
        (("votes", "import", "none.parquet"), "cannot be read"),
        (("review", "--model", "ghost"), "there is no model ghost"),
        (("review", "--guidelines", "none.txt"), "the guidelines"),
    ):
        done = project.regen(*arguments)

        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_taken_port_is_told(project):
    with reviewing(project) as (said, _):
        port = said["address"].split(":")[2].strip("/")
        done = project.regen("review", "--port", port)

    assert done.returncode == 1
    assert f"port {port} cannot be listened on" in done.stderr


def test_another_store_is_named_by_the_environment(project, tmp_path, monkeypatch):
    monkeypatch.setenv("REGEN_VOTES", f"sqlite:///{tmp_path / 'other.db'}")

    assert as_json(project, "votes", "annotators", "list") == []
    assert (tmp_path / "other.db").exists()

    monkeypatch.setenv("REGEN_VOTES", "mysql://x/y")
    assert "the vote store" in project.regen("votes", "annotators", "list").stderr
