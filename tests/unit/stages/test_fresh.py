"""Fresh votes on a tuned version beside its base: those that no verdict counts are said, with why, and what makes them count."""

from dataclasses import replace

import numpy as np
import pytest

from regen.stages import fresh
from regen.stages.alignment import Alignment
from tests.unit.stages.test_alignment import BASED_ON, voted


@pytest.fixture
def opened(open_project):
    return Alignment(open_project(), BASED_ON, voted())


@pytest.fixture
def registry(monkeypatch, opened):
    """The base, version 1, and version 2, tuned from it on earlier data, with 40 fresh votes; a test may say otherwise."""
    tags = {
        "regen.key": "tuned", "regen.kind": "gan", "regen.data": "0123456789abcdef", "regen.base": "digits-gan/1",
        "regen.votes": opened.votes.digest,
    }  # fmt: skip
    said = {"tags": tags, "wins": {"ada": np.ones(30), "bob": np.zeros(10)}}
    monkeypatch.setattr(
        fresh.versions,
        "all_versions",
        lambda model: [replace(BASED_ON, number=2, tags=said["tags"], aliases=()), BASED_ON],
    )

    def head_to_head(store, model, number, base):
        assert (model, number, base) == ("digits-gan", 2, 1)
        return said["wins"]

    monkeypatch.setattr(fresh.votes, "head_to_head", head_to_head)
    return said


def test_votes_on_a_version_that_was_tuned_on_earlier_data_are_said_with_the_way_out(opened, registry):
    (told,) = fresh.uncounted(opened, None)

    now = opened.context.data_version[:8]
    assert told.startswith(
        "40 fresh votes on digits-gan/2 beside digits-gan/1 count in no verdict, since it was tuned on data 01234567, and "
        f"data.dvc records {now} now; with the data of then (git checkout REVISION data.dvc; dvc checkout data.dvc) "
        "'regen align --model digits-gan/1' counts them, or 'regen promote digits-gan 2' decides by hand (by the votes its "
        "win rate is 0.750 ["
    )


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (
            {"regen.base": "digits-gan/1"},
            "since it was tuned with other settings, or by another release of Regen; with those",
        ),
        (
            {"regen.votes": "others"},
            "since it was tuned toward other votes than there are now; ask about the newest version",
        ),
    ],
)
def test_whatever_else_is_different_is_said(opened, registry, tags, said):
    registry["tags"] = registry["tags"] | {"regen.data": opened.context.data_version} | tags

    (told,) = fresh.uncounted(opened, None)

    assert said in told


def test_votes_on_a_version_that_was_tuned_from_another_are_said_too(opened, registry):
    registry["tags"] = registry["tags"] | {"regen.data": opened.context.data_version, "regen.key": opened.key("tune")}

    (told,) = fresh.uncounted(replace(opened, base=replace(BASED_ON, number=3)), None)

    assert "since it was tuned from digits-gan/1, and this is about digits-gan/3; 'regen align --model digits-" in told


def test_votes_beside_a_base_that_was_deleted_are_said_too(opened, registry, monkeypatch):
    tuned = replace(BASED_ON, number=2, tags=registry["tags"], aliases=())
    monkeypatch.setattr(fresh.versions, "all_versions", lambda model: [tuned])

    (told,) = fresh.uncounted(replace(opened, base=tuned), None)

    assert "since digits-gan/1 was deleted; 'regen promote digits-gan 2' decides by hand" in told


def test_votes_that_a_verdict_counts_and_those_on_the_version_that_is_judged_are_not_said(opened, registry):
    tags = registry["tags"]
    registry["tags"] = tags | {fresh.COUNTED: "40"}
    assert fresh.uncounted(opened, None) == ()

    registry["tags"] = tags | {"regen.key": opened.key("tune")}
    assert fresh.uncounted(opened, None) == ()

    registry["tags"] = tags | {fresh.COUNTED: "25"}
    assert fresh.uncounted(opened, None)[0].startswith("15 fresh votes")


def test_of_a_champion_the_way_back_is_named(opened, registry, monkeypatch):
    champion = replace(BASED_ON, number=2, tags=registry["tags"], aliases=("champion",))
    monkeypatch.setattr(fresh.versions, "all_versions", lambda model: [champion, BASED_ON])

    (told,) = fresh.uncounted(replace(opened, base=champion), None)

    assert "or 'regen rollback digits-gan' decides by hand" in told


def test_fewer_votes_than_speak_are_counted_and_say_no_win_rate(opened, registry):
    registry["wins"] = {"ada": np.ones(fresh.LEAST_VOTES - 1)}

    (told,) = fresh.uncounted(opened, None)

    assert told.startswith("19 fresh votes")
    assert told.endswith("decides by hand")
    assert fresh.by_people(None, replace(BASED_ON, number=2), 1, opened.context.config) is None
