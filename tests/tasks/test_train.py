"""A training on another machine's worker: what is asked of the server, and what comes of each end."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from regen.core.config import parse
from regen.core.errors import ConfigError, DataError, KilledError, TrainingError
from regen.stages.base import Outcome

CONFIG = parse({"project": "digits", "training": {"pool": "gpu", "device": "cuda"}})


@dataclass
class Folder:
    """A stage's folder of which only matters whether it is done."""

    path: str = "/shared/store"
    done: list[bool] = field(default_factory=list)

    def is_done(self):
        return self.done.pop(0)


@pytest.fixture
def elsewhere(monkeypatch):
    """Runs the task with made-up answers of the server, and notes what it was asked."""
    from prefect.states import Completed

    from tasks import train as module

    asked = []

    def call(kind="vae", state=None, done=(False, True), pool="gpu"):
        folder = Folder(done=list(done))
        context = SimpleNamespace(folder=lambda stage: folder, key=lambda stage: f"key of {stage}")
        monkeypatch.setattr(module, "context_of", lambda config: context)
        monkeypatch.setattr(module, "require_deployment", lambda name, wanted: asked.append((name, wanted)))

        def run(name, parameters, poll_interval):
            asked.append((name, parameters["kind"], parameters["config"]["project"]))
            return SimpleNamespace(state=state or Completed())

        monkeypatch.setattr(module, "run_deployment", run)
        return module.train_on_pool.fn(CONFIG, kind)

    call.asked = asked
    return call


def test_a_training_is_asked_for_by_the_deployment_of_its_project(elsewhere):
    assert elsewhere() == Outcome("train_vae", "key of train_vae", reused=False)
    assert elsewhere.asked == [("train/digits", "gpu"), ("train/digits", "vae", "digits")]


def test_what_is_done_already_is_not_asked_for(elsewhere):
    state = elsewhere(done=(True,))

    assert (state.name, state.data.reused) == ("Cached", True)
    assert elsewhere.asked == []


def test_an_extractor_is_always_asked_for_since_its_own_stage_knows_whether_it_holds(elsewhere):
    elsewhere(kind="extractor", done=(True,))

    assert ("train/digits", "extractor", "digits") in elsewhere.asked


def test_a_crash_elsewhere_is_a_kill_and_so_tried_again(elsewhere):
    from prefect.states import Crashed

    with pytest.raises(KilledError, match="train_vae on a worker of gpu: exit -9; run the command again"):
        elsewhere(state=Crashed(message="exit -9"))


def test_a_failure_elsewhere_is_a_failure_here(elsewhere):
    from prefect.states import Failed

    with pytest.raises(TrainingError, match="train_vae on a worker of gpu: the loss is nan"):
        elsewhere(state=Failed(message="the loss is nan"))


def test_results_that_did_not_come_here_are_missed(elsewhere):
    with pytest.raises(DataError, match="/shared/store holds no results of it; share the workspace's folder"):
        elsewhere(done=(False, False))


@pytest.mark.parametrize(("answer", "met"), [(None, "no pool"), ("cpu", "cpu")])
def test_a_server_that_trains_elsewhere_or_nowhere_is_refused(monkeypatch, answer, met):
    from prefect.exceptions import ObjectNotFound

    from tasks import train as module

    class Client:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def read_deployment_by_name(self, name):
            if answer is None:
                raise ObjectNotFound(Exception(name))
            return SimpleNamespace(work_pool_name=answer)

    monkeypatch.setattr(module, "get_client", lambda sync_client: Client())

    with pytest.raises(
        ConfigError, match=f"training.pool is gpu, but the Prefect server has train/digits on {met}; run"
    ):
        module.require_deployment("train/digits", "gpu")
