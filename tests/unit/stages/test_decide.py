"""What people decide: approvals that still stand, rejections, deletions, and the list they decide from."""

import pytest

from regen.core.errors import RegistryError
from regen.data import versions as data_versions
from regen.data.versions import Status
from regen.registry import approvals, promotion, versions
from regen.stages import decide
from tests.unit.registry.conftest import made_store, store  # noqa: F401


def waiting(store, model, **tags):  # noqa: F811
    """A version that waits for approval, compared with no champion, trained on data d of digits."""
    version = store.register(model)
    said = {"regen.project": "digits", "regen.data": "d", "regen.against": "", "regen.verdict": "PROMOTE"}
    versions.tag(version, said | {name.replace("_", "."): value for name, value in tags.items()})
    approvals.ask(versions.by_number(model, version.number), 7.0)
    return version


@pytest.fixture
def data(monkeypatch):
    """Lets the recorded data be of this version."""

    def call(version):
        monkeypatch.setattr(data_versions, "status", lambda workspace, project: Status(version))

    call("d")
    return call


def approval(store, model, number=1):  # noqa: F811
    """How a version's approval is listed."""
    found = decide.describe_models(store.workspace, model)["versions"]
    return next(version["approval"] for version in found if version["version"] == number)


def test_an_approval_that_stands_promotes(store, data):  # noqa: F811
    waiting(store, "decided")
    assert approval(store, "decided")["state"] == "pending"

    event = decide.promote_by_hand(store.workspace, "decided", 1, "ada", "fine", force=False)

    assert (event.action, event.version, event.by) == ("promote", 1, "ada")
    assert approval(store, "decided")["state"] == "approved"


def test_an_approval_on_data_that_has_changed_has_expired_unless_forced(store, data):  # noqa: F811
    waiting(store, "changed")
    data("e")

    assert approval(store, "changed")["state"] == "expired"
    assert approval(store, "changed")["why"] == "changed 1 was trained on data that has changed since"
    with pytest.raises(RegistryError, match="data that has changed since; its approval has expired: run 'regen run'"):
        decide.promote_by_hand(store.workspace, "changed", 1, "ada", "fine", force=False)
    assert decide.promote_by_hand(store.workspace, "changed", 1, "ada", "fine", force=True).version == 1


def test_a_champion_that_changes_between_the_look_and_the_deed_stops_the_promotion(store, data, monkeypatch):  # noqa: F811
    waiting(store, "raced")
    promotion.promote(store.workspace, store.register("raced"), "bob", "quicker")
    monkeypatch.setattr(approvals, "require_standing", lambda version, data: None)

    with pytest.raises(RegistryError, match="raced was compared with champion none, but it is 2 now"):
        decide.promote_by_hand(store.workspace, "raced", 1, "ada", "fine", force=False)


def test_a_rejection_names_who_and_why(store, data):  # noqa: F811
    waiting(store, "refused")

    event = decide.reject_by_hand(store.workspace, "refused", 1, "ada", "odd sevens")

    assert (event.action, event.by, event.reason) == ("reject", "ada", "odd sevens")
    assert approval(store, "refused")["state"] == "rejected"


def test_a_deletion_is_in_the_listed_history(store, data):  # noqa: F811
    waiting(store, "gone")
    store.register("gone")

    decide.delete_by_hand(store.workspace, "gone", 1, "ada", "never good")

    found = decide.describe_models(store.workspace, "gone")
    assert [version["version"] for version in found["versions"]] == [2]
    assert [(event["action"], event["version"]) for event in found["history"]["gone"]] == [("delete", 1)]


def test_a_decision_shows_what_the_gate_had_said(store, data):  # noqa: F811
    ledger = '[{"kind": "floor", "metric": "anomaly_auc", "wanted": "at least 0.9", "met": "0.95", "passed": true}]'
    waiting(store, "shown", regen_ledger=ledger)
    event = decide.promote_by_hand(store.workspace, "shown", 1, "ada", "fine", force=False)

    said = decide.decision_markdown(store.workspace, event)

    assert said.startswith("# promote shown 1\n\nBy ada: fine. The champion before was none.")
    assert "The gate had said PROMOTE." in said
    assert "| floor anomaly_auc | at least 0.9 | 0.95 | True |" in said


def test_a_damaged_ledger_does_not_hide_the_other_versions(store):  # noqa: F811
    versions.tag(store.register("torn-ledger"), {"regen.ledger": "[{", "regen.reasons": "[", "regen.verdict": "REJECT"})
    store.register("torn-ledger")

    second, first = decide.describe_models(store.workspace, "torn-ledger")["versions"]

    assert second["ledger"] == []
    assert first["ledger"][0]["met"] == "a damaged tag"
    assert first["reasons"] == ["the tag regen.reasons is damaged, so the reasons are unknown"]
