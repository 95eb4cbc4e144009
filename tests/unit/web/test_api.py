"""The API takes an administrator's token and nothing else, and answers in JSON or files."""

import io
import json

import pandas as pd
import pytest

from regen.preferences import campaigns, export, people
from regen.preferences.tables import Role

PATHS = ("/api/campaigns", "/api/campaigns/1", "/api/tasks", "/api/annotators", "/api/agreement", "/api/export")


@pytest.mark.parametrize("path", PATHS)
def test_nobody_gets_in_without_an_administrators_token(new_browser, ada, review, path):
    stranger = new_browser()

    assert stranger.get(path).status_code == 401
    assert stranger.get(path).headers["WWW-Authenticate"] == "Bearer"
    assert ada.get(path).status_code == 401  # a session is none
    assert stranger.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
    reviewer = {"Authorization": f"Bearer {review.token('ada')}"}
    assert stranger.get(path, headers=reviewer).status_code == 403


def test_a_revoked_administrator_is_out(admin, review):
    people.revoke(review.store, "ops")

    assert admin.get("/api/campaigns").status_code == 401


def test_campaigns_are_listed_with_their_progress(admin, ada):
    ada.vote()

    found = admin.get("/api/campaigns").json()

    assert [(one["id"], one["pairs"], one["votes"]) for one in found] == [(1, 8, 1)]
    assert admin.get("/api/campaigns/1").json() == found[0]
    assert admin.get("/api/campaigns/2").status_code == 404


def test_a_campaign_is_closed_from_outside(admin, ada):
    assert admin.post("/api/campaigns/1/close").json()["closed"] is not None
    assert "The review is closed" in ada.get("/").text


def test_pairs_are_listed_and_added(admin):
    tasks = admin.get("/api/tasks").json()
    pair = [tasks[0]["b"], tasks[0]["a"]]

    answer = admin.post("/api/tasks", json={"campaign": 1, "pairs": [pair], "need": 2})

    assert (answer.status_code, answer.json()) == (201, {"added": 1})
    assert len(admin.get("/api/tasks?campaign=1").json()) == len(tasks) + 1
    assert admin.post("/api/tasks", json={"campaign": 1, "pairs": [["0" * 64, "1" * 64]]}).status_code == 404
    assert admin.post("/api/tasks", json={"campaign": 1, "pairs": [["x", "y"]]}).status_code == 422


def test_somebody_is_added_votes_and_is_revoked(admin, new_browser):
    made = admin.post("/api/annotators", json={"name": "eve"})
    browser = new_browser().log_in(made.json()["token"])
    browser.vote()

    assert admin.post("/api/annotators/eve/revoke").json() == {"name": "eve", "state": "revoked"}
    assert browser.get("/summary").status_code == 401
    assert admin.post("/api/annotators", json={"name": "eve"}).status_code == 409
    assert admin.post("/api/annotators/nobody/revoke").status_code == 404
    listed = {one["name"]: one["revoked"] is not None for one in admin.get("/api/annotators").json()}
    assert listed == {"ops": False, "eve": True}
    assert made.json()["token"] not in admin.get("/api/annotators").text


@pytest.mark.parametrize(
    "new",
    [
        {"name": "a b"},
        {"name": "a\n"},
        {"name": "x", "role": "king"},
        {"name": "x", "days": 0},
        {},
        {"name": "x", "more": 1},
        [],
    ],
)
def test_an_annotator_that_makes_no_sense_is_not_understood(admin, new):
    assert admin.post("/api/annotators", json=new).status_code == 422


def test_agreement_is_told_with_the_state_of_the_history(admin, ada):
    ada.vote()

    found = admin.get("/api/agreement").json()

    assert (found["campaign"], found["votes"], found["first_broken_event"]) == (1, 1, None)
    assert found["alpha"]["value"] is None
    assert admin.get("/api/agreement?campaign=9").status_code == 404


def test_votes_are_exported_in_each_form(admin, ada, review):
    for choice in ("left", "tie", "right"):
        ada.vote(choice)

    files = {form: admin.get(f"/api/export?format={form}") for form in export.FORMATS}

    assert {answer.status_code for answer in files.values()} == {200}
    table = pd.read_parquet(io.BytesIO(files["parquet"].content))
    assert table.choice.tolist() == export.votes(review.store).choice.tolist()
    assert files["parquet"].headers["Content-Disposition"] == 'attachment; filename="votes-1.parquet"'
    assert len(files["jsonl"].text.splitlines()) == 3
    assert len(json.loads(files["labelstudio"].text)) == 3
    assert admin.get("/api/export?format=csv").status_code == 422


def test_an_export_to_learn_from_leaves_out_what_teaches_nothing(admin, ada, clock):
    ada.vote()
    assert admin.get("/api/export?training=true").status_code == 400  # it took no time

    while "No pairs left" not in ada.get("/").text:
        clock.pass_ms(2000)
        ada.vote()

    found = pd.read_parquet(io.BytesIO(admin.get("/api/export?training=true").content))
    assert 0 < len(found) < 8
    assert not (found.fast | found.gold).any()


def test_an_answer_of_the_api_is_json_even_when_there_is_none(admin):
    assert admin.get("/api/none").json() == {"detail": "There is no such page."}


def test_a_page_elsewhere_cannot_use_a_session_for_the_api(ada, review):
    answer = ada.post("/api/annotators", json={"name": "eve"}, headers={"Origin": "http://evil.example"})

    assert answer.status_code == 401
    assert campaigns.get(review.store, review.campaign).closed is None


def test_an_administrator_can_be_made(admin, new_browser):
    token = admin.post("/api/annotators", json={"name": "boss", "role": Role.ADMIN, "days": None}).json()["token"]

    answer = new_browser().get("/api/campaigns", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 200
