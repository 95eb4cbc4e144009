"""Votes are taken back and pairs withdrawn without losing what was recorded; repeats come with sides swapped."""

import pytest
import sqlalchemy as sa

from regen.preferences import campaigns, export, voting
from regen.preferences.refusals import ConflictError, LeaseError, NotFoundError
from regen.preferences.tables import Choice, assignment, vote
from tests.unit.preferences.judging import count, judge, key, there


def test_an_undone_vote_stays_and_its_successor_names_it(store, new_review):
    review = new_review()
    ada = review.person("ada")
    shown = voting.next_pair(store, review.campaign, ada, there)
    first = voting.record(store, ada, shown.assignment, Choice.LEFT, key(1))

    voting.undo(store, ada, first)
    again = voting.next_pair(store, review.campaign, ada, there)
    second = voting.record(store, ada, again.assignment, Choice.RIGHT, key(2))

    assert (again.left, again.right) == (shown.left, shown.right)
    with store.read() as connection:
        kept = (
            connection.execute(sa.select(vote.c.id, vote.c.choice, vote.c.supersedes).order_by(vote.c.id))
            .tuples()
            .all()
        )
    assert kept == [(first, "left", None), (second, "right", first)]
    assert export.votes(store).key.tolist() == [key(2)]


def test_undoing_gives_back_the_pair_that_was_on_the_screen(store, new_review):
    review = new_review(n_pairs=4)
    ada, bob = review.person("ada"), review.person("bob")
    number = judge(store, review, ada)
    waiting = voting.next_pair(store, review.campaign, ada, there)

    voting.undo(store, ada, number)

    given = voting.next_pair(store, review.campaign, bob, there)
    assert {given.left.sha256, given.right.sha256} == {waiting.left.sha256, waiting.right.sha256}
    with pytest.raises(LeaseError, match="given to somebody else"):
        voting.record(store, ada, waiting.assignment, Choice.LEFT, key(9))


def test_undoing_twice_by_a_double_click_takes_one_vote_back(store, new_review):
    review = new_review()
    ada = review.person("ada")
    judge(store, review, ada)
    number = judge(store, review, ada)

    voting.undo(store, ada, number)
    voting.undo(store, ada, number)

    assert voting.progress(store, review.campaign, ada).mine == 1


def test_one_can_go_back_several_votes(store, new_review):
    review = new_review()
    ada = review.person("ada")
    numbers = [judge(store, review, ada) for _ in range(3)]

    for number in reversed(numbers):
        voting.undo(store, ada, number)

    assert voting.progress(store, review.campaign, ada).mine == 0
    assert count(store, vote) == 3
    assert count(store, assignment, assignment.c.state == "open") == 1


def test_only_ones_own_last_vote_can_be_undone(store, new_review):
    review = new_review()
    ada = review.person("ada")
    first = judge(store, review, ada)
    last = judge(store, review, ada)

    with pytest.raises(ConflictError, match="only the last vote"):
        voting.undo(store, ada, first)
    with pytest.raises(NotFoundError, match="no such vote of yours"):
        voting.undo(store, review.person("eve"), last)


def test_a_pair_whose_sample_is_gone_is_withdrawn_and_the_next_shown(store, new_review):
    review = new_review(n_pairs=4)
    ada = review.person("ada")
    held = voting.next_pair(store, review.campaign, ada, there)
    gone = held.left.sha256

    shown = voting.next_pair(store, review.campaign, ada, lambda sample: sample.sha256 != gone)

    assert gone not in (shown.left.sha256, shown.right.sha256)
    assert any(
        row["withdrawn"] == "a sample's file is gone or damaged" for row in campaigns.tasks(store, review.campaign)
    )
    assert campaigns.get(store, review.campaign).pairs < 4


def test_nothing_is_shown_when_every_sample_is_gone(store, new_review):
    review = new_review(n_pairs=4)

    assert voting.next_pair(store, review.campaign, review.person("ada"), lambda sample: False) is None
    assert campaigns.get(store, review.campaign).pairs == 0


def test_a_repeat_comes_to_those_who_judged_the_first_with_sides_swapped(store, new_review):
    review = new_review(n_pairs=20)
    ada = review.person("ada")
    shown = []
    while (one := voting.next_pair(store, review.campaign, ada, there)) is not None:
        shown.append((one.left.sha256, one.right.sha256))
        voting.record(store, ada, one.assignment, Choice.LEFT, key(len(shown)))

    found = export.votes(store)
    again = found[found.repeat]
    assert len(again) == 1
    for row in again.itertuples():
        first = found[found.task == row.repeat_of].iloc[0]
        assert (row.sample_a, row.sample_b) == (first.sample_a, first.sample_b)
        assert row.flipped != first.flipped
        assert row.choice == -first.choice  # left both times


def test_a_repeat_is_not_shown_to_others(store, new_review):
    review = new_review(n_pairs=20)
    ada, bob = review.person("ada"), review.person("bob")
    for _ in range(10):
        judge(store, review, ada)
    while voting.next_pair(store, review.campaign, bob, there) is not None:
        judge(store, review, bob)

    found = export.votes(store)
    mine = found[found.annotator == "bob"]
    assert set(mine[mine.repeat].repeat_of) <= set(mine.task)
