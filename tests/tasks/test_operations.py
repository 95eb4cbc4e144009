"""The flows of daily operation: what follows from drift, with a server and without, and what each leaves to be seen."""

from dataclasses import replace
from types import SimpleNamespace
from uuid import uuid4

import pytest

from regen.data.ingest import Ingested
from regen.evaluation.drift import Drift
from regen.stages.monitor import Watched
from regen.stages.score import Scored

WATCHED = Watched(
    "digits", "digits-vae 3", "a.dir", "b.dir", "rows taken in since", Drift("drift", ("brightness has shifted",), 900, 300),
    "start a retraining", "the data has drifted", "outputs/digits/monitor/drift.html", "run-1",
)  # fmt: skip
INGESTED = Ingested("digits", "/new", 9, 5, 3, 1, "quarantine/digits/new-1", {"blank": 1}, 1802, "a.dir", "b.dir")
SCORED = Scored("/new.csv", "/out.csv", "m", 2, 9, 1, 0, 1, 0, "ab" * 32, 1.5, "0 ▁█ 1")


@pytest.fixture
def calls(monkeypatch):
    """What the monitor's flow calls, noted instead of done; without a server."""
    from flows import monitor as module

    noted = []

    def stand_in(name, value=None):
        return lambda *arguments, **named: noted.append(" ".join((name, *map(str, arguments[1:2])))) or value

    monkeypatch.setattr(
        module, "watch", lambda config, path, *, may_retrain: noted.append(f"watch {path} {may_retrain}") or WATCHED
    )
    for name in ("tell", "retrain", "ingest", "note_failure"):
        monkeypatch.setattr(module, name, stand_in(name))
    monkeypatch.setattr(module, "get_current_settings", lambda: SimpleNamespace(api=SimpleNamespace(url=None)))
    return noted


def use_server(monkeypatch):
    from flows import monitor as module

    settings = SimpleNamespace(api=SimpleNamespace(url="http://127.0.0.1:4200/api"))
    monkeypatch.setattr(module, "get_current_settings", lambda: settings)


def words(noted):
    return [call.split()[0] for call in noted]


def test_without_a_server_drift_is_followed_by_a_retraining(calls, config):
    from flows.monitor import monitor

    assert monitor.fn(config) == WATCHED
    assert words(calls) == ["watch", "retrain"]


def test_with_a_server_it_is_told_and_retrains_itself(calls, config, monkeypatch):
    from flows.monitor import monitor

    use_server(monkeypatch)

    monitor.fn(config)

    assert words(calls) == ["watch", "tell"]


def test_rows_at_a_path_are_taken_in_before_they_are_trained_on(calls, config):
    from flows.monitor import monitor

    monitor.fn(config, "new/", start_retraining=True)

    assert calls == ["watch new/ True", "ingest new/", "retrain"]


@pytest.mark.parametrize(
    ("path", "asked", "may"), [(None, None, True), ("new/", None, False), (None, False, False), ("new/", True, True)]
)
def test_a_path_starts_a_retraining_only_when_asked(calls, config, path, asked, may):
    from flows.monitor import monitor

    monitor.fn(config, path, asked)

    assert calls[0] == f"watch {path} {may}"


def test_without_an_action_nothing_follows(calls, config, monkeypatch):
    from flows import monitor as module

    quiet = replace(WATCHED, action="none")
    monkeypatch.setattr(module, "watch", lambda *arguments, **named: quiet)

    assert module.monitor.fn(config) == quiet
    assert calls == []


def test_a_retraining_that_fails_is_noted(calls, config, monkeypatch):
    from flows import monitor as module

    def fail(config):
        raise RuntimeError("no room")

    monkeypatch.setattr(module, "retrain", fail)

    with pytest.raises(RuntimeError, match="no room"):
        module.monitor.fn(config)

    assert words(calls) == ["watch", "note_failure"]


def test_the_event_names_the_project_and_what_was_found(config, monkeypatch):
    from tasks import monitor as module

    sent = {}
    monkeypatch.setattr(module, "emit_event", lambda **event: sent.update(event))

    module.tell.fn(config, WATCHED)

    assert sent["event"] == "data.drift.detected"
    assert sent["resource"]["prefect.resource.id"] == "regen.project.digits"
    assert sent["payload"]["reasons"] == ["brightness has shifted"]
    assert sent["payload"]["champion"] == "digits-vae 3"


@pytest.mark.parametrize(
    ("name", "stage", "value", "arguments", "key", "shown"),
    [
        ("ingest", "ingest", INGESTED, ("new/",), "digits-ingest", "5 taken in"),
        ("score", "score", SCORED, ("new.csv", "m", "out.csv", 5), "m-scores", "1 of 9 flagged"),
    ],
)
def test_each_task_leaves_an_artifact(config, monkeypatch, tmp_path, name, stage, value, arguments, key, shown):
    from importlib import import_module

    module, left = import_module(f"tasks.{name}"), {}
    (tmp_path / "params.yaml").write_text("project: digits\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module.stage, stage, lambda *given: value)
    monkeypatch.setattr(module.stage, "picture", lambda *given: b"PNG", raising=False)
    monkeypatch.setattr(
        module, "create_markdown_artifact", lambda text, **named: left.update(named, text=text) or uuid4()
    )
    monkeypatch.setattr(module, "bootstrap", lambda workspace: None, raising=False)  # it would outlive the test
    task = getattr(module, name)

    found = task.fn(config, *arguments) if name == "ingest" else task.fn(*arguments)

    assert found == value
    assert left["key"] == key
    assert shown in left["text"]


def test_the_monitors_task_leaves_an_artifact(config, monkeypatch, tmp_path):
    from tasks import monitor as module

    left = {}
    (tmp_path / "params.yaml").write_text("project: digits\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module.stage, "monitor", lambda *given, **named: WATCHED)
    monkeypatch.setattr(module, "create_markdown_artifact", lambda text, **named: left.update(named, text=text))

    assert module.watch.fn(config, None, may_retrain=True) == WATCHED
    assert left["key"] == "digits-drift"
    assert "# digits: drift" in left["text"]


@pytest.mark.parametrize("name", ["ingest", "score", "monitor"])
def test_every_parameter_of_a_flow_is_described_in_its_form(name):
    from importlib import import_module

    from prefect.utilities.callables import parameter_schema

    shown = parameter_schema(getattr(import_module(f"flows.{name}"), name)).model_dump()["properties"]

    assert shown
    assert all(field.get("description") for field in shown.values())
