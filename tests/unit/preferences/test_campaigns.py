"""Campaigns open with their pairs, count what stands, grow, and close."""

import pytest

from regen.core.errors import ConfigError
from regen.preferences import campaigns, voting
from regen.preferences.pairs import Pair
from regen.preferences.refusals import ClosedError, ConflictError, NotFoundError
from regen.preferences.tables import Choice
from tests.reviews import CAMPAIGN, make_review, pictures, rows


@pytest.fixture
def review(file_store, tmp_path):
    return make_review(file_store, tmp_path / "review", n_pairs=6, need=2)


def test_a_new_campaign_counts_its_pairs_and_no_votes(review):
    found = campaigns.get(review.store, review.campaign)

    assert (found.pairs, found.wanted, found.votes, found.closed) == (6, 12, 0, None)


def test_a_vote_is_counted(review):
    ada = review.person("ada")
    shown = voting.next_pair(review.store, review.campaign, ada, lambda sample: True)
    voting.record(review.store, ada, shown.assignment, Choice.SKIP, "k" * 16)

    assert campaigns.get(review.store, review.campaign).votes == 1


def test_the_pairs_keep_the_order_of_the_plan(file_store, tmp_path):
    samples = pictures(tmp_path, 4)
    plan = [
        Pair(0, 1, "random", "train"),
        Pair(2, 3, "disagreement", "train"),
        Pair(0, 1, "random", "train", repeat_of=0),
    ]

    number = campaigns.create(file_store, "c", "m/1", "", samples, plan, 1)

    found = campaigns.tasks(file_store, number)
    assert [(row["position"], row["strategy"]) for row in found] == [(0, "random"), (1, "disagreement"), (2, "random")]
    assert found[2]["repeat_of"] == found[0]["id"]
    assert (found[1]["a"], found[1]["b"]) == (samples[2].sha256, samples[3].sha256)


def test_a_sample_is_stored_once(file_store, tmp_path):
    samples = pictures(tmp_path, 2)

    with file_store.write() as connection:
        ids = [campaigns.record_sample(connection, one) for one in (*samples, *samples)]

    assert ids[:2] == ids[2:]


def test_only_pictures_of_the_campaign_may_be_asked_for(file_store, tmp_path):
    one = make_review(file_store, tmp_path / "one", n_pairs=4)
    other = pictures(tmp_path / "other", 2, seed=9)
    table_rows = rows([{"age": 1}, {"age": 2}])
    number = campaigns.create(file_store, "rows", "m/1", "", table_rows, [Pair(0, 1, "random", "train")], 1)
    shown = campaigns.tasks(file_store, one.campaign)[0]["a"]

    assert campaigns.is_shown(file_store, one.campaign, shown)
    assert not campaigns.is_shown(file_store, one.campaign, other[0].sha256)
    assert not campaigns.is_shown(file_store, number, shown)
    assert not campaigns.is_shown(file_store, number, table_rows[0].sha256)


def test_pairs_of_samples_that_are_shown_can_be_added(review):
    first = campaigns.tasks(review.store, review.campaign)[0]

    campaigns.extend(review.store, review.campaign, [(first["b"], first["a"])], 3, "ops")

    last = campaigns.tasks(review.store, review.campaign)[-1]
    assert (last["a"], last["b"], last["need"], last["position"]) == (first["b"], first["a"], 3, 6)


def test_added_pairs_keep_their_samples_split_and_are_of_two_samples_of_one(review):
    tasks = campaigns.tasks(review.store, review.campaign)
    with pytest.raises(ConflictError, match="a pair wants two samples"):
        campaigns.extend(review.store, review.campaign, [(tasks[0]["a"], tasks[0]["a"])], 1, "ops")

    for first in (row for row in tasks if row["split"] in ("train", "validation")):
        campaigns.extend(review.store, review.campaign, [(first["b"], first["a"])], 1, "ops")
        assert campaigns.tasks(review.store, review.campaign)[-1]["split"] == first["split"]


def test_pairs_of_unknown_samples_are_refused(review):
    with pytest.raises(NotFoundError, match=f"shows no sample {'0' * 64}"):
        campaigns.extend(review.store, review.campaign, [("0" * 64, "1" * 64)], 1, "ops")


def test_a_closed_campaign_does_not_grow(review):
    first = campaigns.tasks(review.store, review.campaign)[0]
    campaigns.close(review.store, review.campaign)

    with pytest.raises(ClosedError, match="campaign 1 is closed"):
        campaigns.extend(review.store, review.campaign, [(first["a"], first["b"])], 1, "ops")


def test_closing_twice_keeps_the_first_time(review, clock):
    campaigns.close(review.store, review.campaign)
    first = campaigns.get(review.store, review.campaign).closed
    clock.pass_ms(5)

    campaigns.close(review.store, review.campaign)

    assert campaigns.get(review.store, review.campaign).closed == first


def test_the_newest_campaign_is_chosen_where_none_is_named(file_store, tmp_path):
    with pytest.raises(NotFoundError, match="no campaign yet"):
        campaigns.choose(file_store, None)
    numbers = [
        campaigns.create(file_store, name, "m/1", "", pictures(tmp_path, 2), [Pair(0, 1, "random", "train")], 1)
        for name in ("one", "two")
    ]

    assert campaigns.choose(file_store, None).id == numbers[1]
    assert campaigns.choose(file_store, numbers[0]).name == "one"
    assert [found.id for found in campaigns.every(file_store)] == numbers[::-1]


@pytest.mark.parametrize("call", [campaigns.get, campaigns.close, campaigns.tasks])
def test_a_campaign_that_is_not_there_is_named(file_store, call):
    with pytest.raises(NotFoundError, match="there is no campaign 7 nor any other yet; 'regen review' opens one"):
        call(file_store, 7)


def test_a_campaign_that_is_not_there_is_told_with_the_newest(review):
    with pytest.raises(
        NotFoundError, match=f"no campaign 99; the newest is {review.campaign}, .*'regen votes agreement'"
    ):
        campaigns.close(review.store, 99)


def test_what_cannot_be_a_campaign_is_refused(review, tmp_path):
    samples, plan = pictures(tmp_path, 2), [Pair(0, 1, "random", "train")]

    with pytest.raises(ConfigError, match="judged by 1 to 100 people, not 0"):
        campaigns.create(review.store, "c", "m/1", "", samples, plan, 0)
    with pytest.raises(ConfigError, match="needs a name"):
        campaigns.create(review.store, " ", "m/1", "", samples, plan, 1)
    with pytest.raises(ConflictError, match=f"a campaign {CAMPAIGN} already"):
        campaigns.create(review.store, CAMPAIGN, "m/1", "", samples, plan, 1)
