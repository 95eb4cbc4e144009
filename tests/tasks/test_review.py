"""The review flow waits by counting, or lets itself be suspended, and collects when there are votes enough."""

from types import SimpleNamespace

import psutil
import pytest

from regen.stages import review as stage
from tests.reviews import make_review, open_store


@pytest.fixture
def flow(monkeypatch):
    """The flow over a campaign whose counts a test says; notes what is waited for and what is done."""
    from flows import review as module
    from tasks.review import Standing

    noted, left = [], []
    monkeypatch.setattr(module, "open_campaign", lambda config, *arguments: noted.append(("open", *arguments)) or 7)
    monkeypatch.setattr(
        module, "count", lambda config, campaign, votes, days: Standing(campaign, 3, 20, left.pop(0) if left else 0.0)
    )
    monkeypatch.setattr(module, "collect", lambda config, campaign: noted.append(("collect", campaign)) or "collection")
    monkeypatch.setattr(module.time, "sleep", lambda seconds: noted.append(("sleep", seconds)))
    monkeypatch.setattr(module, "suspend_flow_run", lambda timeout, key: noted.append(("suspend", timeout, key)))
    return module.review.fn, noted, left


def test_votes_are_counted_until_there_are_enough_then_collected(flow, config):
    review, noted, left = flow
    left += [90.0, 10.0]

    assert review(config, "digits-gan", poll_seconds=30.0) == "collection"

    assert noted == [
        ("open", "digits-gan", None, None, None, None), ("sleep", 30.0), ("sleep", 10.0), ("collect", 7),
    ]  # fmt: skip


def test_a_campaign_that_is_named_is_not_opened(flow, config):
    review, noted, _ = flow

    review(config, campaign=3)

    assert noted == [("collect", 3)]


def test_a_suspended_run_lasts_until_the_deadline_at_most(flow, config):
    review, noted, left = flow
    left += [90.5]

    review(config, campaign=3, wait="suspend")

    assert noted[0] == ("suspend", 90, "3-3")
    assert noted[-1] == ("collect", 3)


def test_however_often_votes_are_counted_no_connection_is_left(config, tmp_path, monkeypatch):
    from tasks import review as module

    address = f"sqlite:///{tmp_path / 'votes.db'}"
    with open_store(address) as store:
        number = make_review(store, tmp_path / "review", n_pairs=8).campaign
    monkeypatch.setenv(stage.ADDRESS, address)
    monkeypatch.setattr(module, "context_of", lambda config: SimpleNamespace(workspace=None))

    counted = [module.count.fn(config, number, None, 7.0) for _ in range(5)]

    assert {one.wanted for one in counted} == {8}
    assert not [file.path for file in psutil.Process().open_files() if "votes.db" in file.path]
