"""The flow is a sentence of tasks: what is called, in which order, and where it stops."""

import pytest


class Called:
    """Stands in for a task: notes its call and gives a value."""

    def __init__(self, name, calls, value=None, error=None):
        self.name, self.calls, self.value, self.error = name, calls, value, error

    def __call__(self, config, *arguments):
        self.calls.append(" ".join((self.name, *arguments)))
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
        ("register", None), ("promote", "the summary"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, Called(name, noted, value))
    return noted


def test_all_is_trained_at_once_then_measured_registered_and_judged(calls, config):
    from flows.retrain import retrain

    summary = retrain.fn(config)

    assert summary == "the summary"
    assert calls == [
        "pull_data", "find_finished", "prepare", "train gan", "train extractor", "train vae",
        "train awaited", "train awaited", "train awaited", "evaluate", "register", "promote",
    ]  # fmt: skip


def test_finished_work_is_summarised_and_not_done_again(calls, config, monkeypatch):
    from flows import retrain as module

    monkeypatch.setattr(module, "find_finished", Called("find_finished", calls, "the earlier summary"))

    summary = module.retrain.fn(config)

    assert summary == "the earlier summary"
    assert calls == ["pull_data", "find_finished"]


def test_nothing_is_registered_when_the_evaluation_fails(calls, config, monkeypatch):
    from flows import retrain as module

    monkeypatch.setattr(module, "evaluate", Called("evaluate", calls, error=RuntimeError("NaN")))

    with pytest.raises(RuntimeError, match="NaN"):
        module.retrain.fn(config)

    assert calls[-1] == "evaluate"
