"""A campaign's end: when it is reached, what is kept, and that doing it twice changes nothing."""

import subprocess
from dataclasses import replace

import pandas as pd
import pytest

from regen.core.errors import ConfigError
from regen.preferences import campaigns
from regen.preferences.campaigns import Campaign
from regen.preferences.refusals import NotFoundError
from regen.registry.tracking import Run
from regen.stages import collect
from regen.stages.collect import DAY_MS, Wanted
from tests.reviews import make_review, open_store
from tests.unit.registry.conftest import use_store

CAMPAIGN = Campaign(1, "c", "digits-gan/1", "look", created=1000, closed=None, pairs=10, wanted=20, votes=5)


@pytest.mark.parametrize(
    ("wanted", "campaign", "days_later", "left"),
    [
        (Wanted(None, 2), CAMPAIGN, 0.5, 1.5 * 86_400),
        (Wanted(None, 2), CAMPAIGN, 3, 0),
        (Wanted(5, 2), CAMPAIGN, 0, 0),
        (Wanted(6, 2), CAMPAIGN, 1, 86_400),
        (Wanted(900, 2), replace(CAMPAIGN, votes=20), 0, 0),
        (Wanted(None, 2), replace(CAMPAIGN, closed=2000), 0, 0),
        (Wanted(None, 0), CAMPAIGN, 0, 0),
    ],
)
def test_a_campaign_goes_on_until_its_votes_its_deadline_or_its_end(wanted, campaign, days_later, left):
    assert wanted.seconds_left(campaign, 1000 + int(days_later * DAY_MS)) == left


@pytest.fixture
def project(ready, tmp_path, monkeypatch):
    """A project with a campaign of its own that one person has voted in."""
    monkeypatch.setattr("tests.reviews.MODEL", "digits-gan")
    context = ready()
    use_store(context.workspace, monkeypatch)
    store = open_store(f"sqlite:///{tmp_path / 'votes.db'}")
    made = make_review(store, context.workspace.state / "review", n_pairs=20)
    _rename(store, "digits-gan/3")
    yield context, store, made
    store.close()


def _rename(store, subject):
    with store.write() as connection:
        connection.exec_driver_sql(f"UPDATE campaign SET subject = '{subject}'")


def vote(made, n):
    from regen.preferences import voting
    from regen.preferences.tables import Choice

    person = made.person("ada")
    for place in range(n):
        pair = voting.next_pair(made.store, made.campaign, person, lambda sample: True)
        voting.record(made.store, person, pair.assignment, Choice.LEFT, f"key-{place}".ljust(16, "-"))


def test_votes_are_kept_under_version_control_with_their_figures(project):
    context, store, made = project
    vote(made, 12)

    found = collect.collect(context, store, made.campaign)

    root = context.workspace.root
    kept = pd.read_parquet(root / found.file)
    assert (found.votes, found.people, len(kept)) == (12, 1, 12)
    assert found.file == f"votes/digits/{campaigns.get(store, made.campaign).name}.parquet"
    assert found.version in (root / "votes.dvc").read_text()
    assert subprocess.run(["git", "check-ignore", "-q", "votes"], cwd=root, check=False).returncode == 0
    assert campaigns.get(store, made.campaign).closed is not None
    recorded = Run(found.run).data()
    assert recorded.metrics["votes/count"] == 12
    assert recorded.metrics["votes/people"] == 1
    assert recorded.tags["regen.votes_version"] == found.version


def test_collecting_twice_keeps_the_same_file_and_run(project):
    context, store, made = project
    vote(made, 12)

    first, second = (collect.collect(context, store, made.campaign) for _ in range(2))

    assert first == second


def test_a_campaign_that_nobody_voted_in_is_closed_and_writes_nothing(project):
    context, store, made = project

    found = collect.collect(context, store, made.campaign)

    assert (found.votes, found.file, found.version, found.run) == (0, "", "", "")
    assert not (context.workspace.root / "votes").exists()
    assert campaigns.get(store, made.campaign).closed is not None
    assert "| votes | 0 of" in collect.markdown(found)


def test_another_projects_campaign_is_refused_and_stays_open(project):
    context, store, made = project
    _rename(store, "clothes-gan/1")

    with pytest.raises(ConfigError, match="is about clothes-gan/1, and this project is digits; name its file"):
        collect.collect(context, store, made.campaign)

    assert campaigns.get(store, made.campaign).closed is None


def test_a_campaign_there_is_none_of_is_told(project):
    context, store, _ = project
    with pytest.raises(NotFoundError, match="there is no campaign 99"):
        collect.collect(context, store, 99)
