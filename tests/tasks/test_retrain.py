"""The flow is a sentence of tasks: what is called, in which order, and where it stops."""

import pytest

from regen.core.config import parse
from regen.stages.summary import Summary

SUMMARY = Summary("digits", "data", "print", reused=False, report="", note="", models=())


class Called:
    """Stands in for a task: notes its call and gives a value."""

    def __init__(self, name, calls, value=None, error=None):
        self.name, self.calls, self.value, self.error = name, calls, value, error

    def __call__(self, config, *arguments):
        self.calls.append(" ".join((self.name, *map(str, arguments))) if self.name == "train" else self.name)
        if self.error:
            raise self.error
        return self.value

    def submit(self, config, *arguments):
        self(config, *arguments)
        return self

    def result(self):
        self.calls.append(f"{self.name} awaited")


@pytest.fixture
def calls(monkeypatch):
    from flows import retrain as module

    noted = []
    for name, value in (
        ("pull_data", "version"), ("find_finished", None), ("prepare", None), ("train", None), ("evaluate", None),
        ("register", None), ("promote", SUMMARY), ("leave_summary", None),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, Called(name, noted, value))
    return noted


def test_all_is_trained_at_once_then_measured_registered_and_judged(calls, config):
    from flows.retrain import retrain

    summary = retrain.fn(config)

    assert summary is SUMMARY
    assert calls == [
        "pull_data", "find_finished", "prepare", "train gan", "train extractor", "train vae",
        "train awaited", "train awaited", "train awaited", "evaluate", "register", "promote", "leave_summary",
    ]  # fmt: skip


def test_finished_work_is_summarised_and_not_done_again(calls, config, monkeypatch):
    from flows import retrain as module

    monkeypatch.setattr(module, "find_finished", Called("find_finished", calls, SUMMARY))

    state = module.retrain.fn(config)

    assert (state.name, state.is_completed(), state.data) == ("Cached", True, SUMMARY)
    assert state.message.startswith("nothing to do: the same data")
    assert calls == ["pull_data", "find_finished", "leave_summary"]


def test_a_pool_trains_what_would_be_trained_here(calls, monkeypatch):
    from flows import retrain as module

    monkeypatch.setattr(module, "train_on_pool", Called("train_on_pool", calls))

    module.retrain.fn(parse({"project": "digits", "training": {"pool": "gpu", "device": "cpu"}}))

    assert "train gan" not in calls
    assert calls.count("train_on_pool") == 3


def test_nothing_is_registered_when_the_evaluation_fails(calls, config, monkeypatch):
    from flows import retrain as module

    monkeypatch.setattr(module, "evaluate", Called("evaluate", calls, error=RuntimeError("NaN")))

    with pytest.raises(RuntimeError, match="NaN"):
        module.retrain.fn(config)

    assert calls[-1] == "evaluate"
