"""Pairs are given out as often as they need and votes recorded once, whatever people and their browsers do."""

import threading
from collections import Counter

import pytest
import sqlalchemy as sa

from regen.preferences import campaigns, export, history, people, voting
from regen.preferences.refusals import ClosedError, ConflictError, LeaseError, NotFoundError
from regen.preferences.tables import Choice, assignment, task, vote
from regen.preferences.voting import FAST_MS, LEASE_MS
from tests.unit.preferences.judging import count, judge, key, there


def test_a_person_holds_one_pair_until_they_judged_it(store, new_review):
    review = new_review()
    ada = review.person("ada")

    first, again = (voting.next_pair(store, review.campaign, ada, there) for _ in range(2))
    voting.record(store, ada, first.assignment, Choice.TIE, key(1))
    after = voting.next_pair(store, review.campaign, ada, there)

    assert first == again
    assert after.assignment != first.assignment


def test_every_pair_is_judged_as_often_as_it_needs_and_by_different_people(store, new_review):
    review = new_review(n_pairs=10, need=2)
    crowd = [review.person(f"p{i}") for i in range(3)]

    done = True
    while done:
        done = False
        for person in crowd:
            if voting.next_pair(store, review.campaign, person, there):
                judge(store, review, person)
                done = True

    found = export.votes(store, review.campaign)
    fresh = found[~found.repeat]
    assert set(fresh.task.value_counts()) == {2}
    assert not fresh.duplicated(["task", "annotator"]).any()


def test_two_people_never_get_the_same_place(store, new_review):
    review = new_review(n_pairs=6)

    given = [voting.next_pair(store, review.campaign, review.person(f"p{i}"), there) for i in range(8)]

    shown = [frozenset((one.left.sha256, one.right.sha256)) for one in given if one]
    assert len(shown) == len(set(shown)) == 6
    assert given[6:] == [None, None]


def test_people_who_ask_at_the_same_moment_never_exceed_what_a_pair_needs(store, new_review):
    review = new_review(n_pairs=8, need=2)
    crowd = [review.person(f"p{i}") for i in range(8)]
    barrier, errors = threading.Barrier(len(crowd)), []

    def work(person) -> None:
        try:
            barrier.wait()
            while (shown := voting.next_pair(store, review.campaign, person, there)) is not None:
                voting.record(store, person, shown.assignment, Choice.RIGHT, key(f"{person.id}-{shown.assignment}"))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(person,)) for person in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    found = export.votes(store, review.campaign)
    assert set(found[~found.repeat].task.value_counts()) == {2}
    assert history.first_broken(store) is None


def test_two_windows_of_one_person_show_the_same_pair_and_record_one_vote(store, new_review):
    review = new_review()
    ada = review.person("ada")
    shown, results = [], []

    def window(n: int) -> None:
        shown.append(voting.next_pair(store, review.campaign, ada, there))
        try:
            results.append(voting.record(store, ada, shown[-1].assignment, Choice.LEFT, key(n)))
        except ConflictError as error:
            results.append(str(error))

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=lambda n=n: (barrier.wait(), window(n))) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    votes = [result for result in results if isinstance(result, int)]
    assert count(store, vote) == len(votes)
    assert len({one.assignment for one in shown}) == len(votes)


def test_a_vote_sent_twice_is_one_vote_with_one_answer(store, new_review):
    review = new_review()
    ada = review.person("ada")
    shown = voting.next_pair(store, review.campaign, ada, there)

    first, again = (voting.record(store, ada, shown.assignment, Choice.LEFT, key(1)) for _ in range(2))

    assert first == again
    assert count(store, vote) == 1


def test_a_double_click_that_arrives_at_once_is_one_vote(store, new_review):
    review = new_review()
    ada = review.person("ada")
    shown = voting.next_pair(store, review.campaign, ada, there)
    results, barrier = [], threading.Barrier(4)

    def click() -> None:
        barrier.wait()
        results.append(voting.record(store, ada, shown.assignment, Choice.LEFT, key(1)))

    threads = [threading.Thread(target=click) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == 4
    assert len(set(results)) == 1
    assert count(store, vote) == 1


def test_the_same_key_with_another_choice_is_refused(store, new_review):
    review = new_review()
    ada = review.person("ada")
    shown = voting.next_pair(store, review.campaign, ada, there)
    voting.record(store, ada, shown.assignment, Choice.LEFT, key(1))

    with pytest.raises(ConflictError, match="sent before with another choice"):
        voting.record(store, ada, shown.assignment, Choice.RIGHT, key(1))


def test_the_same_key_for_another_pair_is_refused(store, new_review):
    review = new_review()
    ada = review.person("ada")
    judge(store, review, ada, n=1)
    shown = voting.next_pair(store, review.campaign, ada, there)

    with pytest.raises(ConflictError, match="sent before"):
        voting.record(store, ada, shown.assignment, Choice.LEFT, key(1))


def test_a_pair_that_was_judged_takes_no_second_vote(store, new_review):
    review = new_review()
    ada = review.person("ada")
    shown = voting.next_pair(store, review.campaign, ada, there)
    voting.record(store, ada, shown.assignment, Choice.LEFT, key(1))

    with pytest.raises(ConflictError, match="judged this pair already"):
        voting.record(store, ada, shown.assignment, Choice.LEFT, key(2))


def test_somebody_elses_assignment_looks_like_none(store, new_review):
    review = new_review()
    shown = voting.next_pair(store, review.campaign, review.person("ada"), there)

    for number in (shown.assignment, 999_999):
        with pytest.raises(NotFoundError, match=r"^there is no such pair of yours$"):
            voting.record(store, review.person("eve"), number, Choice.LEFT, key(1))
    assert count(store, vote) == 0


def test_a_closed_campaign_gives_nothing_out_and_takes_nothing_in(store, new_review):
    review = new_review()
    ada = review.person("ada")
    number = judge(store, review, ada)
    shown = voting.next_pair(store, review.campaign, ada, there)
    campaigns.close(store, review.campaign)

    with pytest.raises(ClosedError, match="the review is closed"):
        voting.record(store, ada, shown.assignment, Choice.LEFT, key(2))
    with pytest.raises(ClosedError, match="the review is closed"):
        voting.undo(store, ada, number)
    assert voting.next_pair(store, review.campaign, ada, there) is None
    assert voting.progress(store, review.campaign, ada).closed


def test_a_replay_after_the_campaign_closed_still_has_its_answer(store, new_review):
    review = new_review()
    ada = review.person("ada")
    shown = voting.next_pair(store, review.campaign, ada, there)
    number = voting.record(store, ada, shown.assignment, Choice.LEFT, key(1))
    campaigns.close(store, review.campaign)

    assert voting.record(store, ada, shown.assignment, Choice.LEFT, key(1)) == number


def test_a_lease_that_ran_out_gives_the_pair_to_the_next(store, new_review, clock):
    review = new_review(n_pairs=4)
    late = voting.next_pair(store, review.campaign, review.person("ada"), there)
    clock.pass_ms(LEASE_MS)

    given = voting.next_pair(store, review.campaign, review.person("bob"), there)

    assert {given.left.sha256, given.right.sha256} == {late.left.sha256, late.right.sha256}
    with pytest.raises(LeaseError, match="given to somebody else"):
        voting.record(store, review.person("ada"), late.assignment, Choice.LEFT, key(1))


def test_a_late_vote_counts_while_nobody_else_has_the_place(store, new_review, clock):
    review = new_review()
    ada = review.person("ada")
    shown = voting.next_pair(store, review.campaign, ada, there)
    clock.pass_ms(2 * LEASE_MS)

    assert voting.record(store, ada, shown.assignment, Choice.LEFT, key(1))


def test_a_lease_that_ran_out_is_renewed_for_the_same_person(store, new_review, clock):
    review = new_review()
    ada = review.person("ada")
    shown = voting.next_pair(store, review.campaign, ada, there)
    clock.pass_ms(2 * LEASE_MS)
    again = voting.next_pair(store, review.campaign, ada, there)
    clock.pass_ms(500)

    voting.record(store, ada, again.assignment, Choice.LEFT, key(1))

    assert again == shown
    assert export.votes(store).ms.tolist() == [500]


def test_leases_that_ran_out_are_never_counted_twice(store, new_review, clock):
    review = new_review(n_pairs=4, need=2)
    for i in range(6):
        voting.next_pair(store, review.campaign, review.person(f"p{i}"), there)
        clock.pass_ms(LEASE_MS)
    voting.next_pair(store, review.campaign, review.person("last"), there)

    with store.read() as connection:
        taken = dict(connection.execute(sa.select(task.c.id, task.c.taken)).tuples().all())
        held = Counter(connection.execute(sa.select(assignment.c.task).where(assignment.c.state == "open")).scalars())

    assert taken == {number: held[number] for number in taken}


def test_sides_are_drawn(store, new_review):
    review = new_review(n_pairs=24, n_gold=0)
    ada = review.person("ada")
    while voting.next_pair(store, review.campaign, ada, there) is not None:
        judge(store, review, ada)

    assert 0 < export.votes(store).flipped.mean() < 1


@pytest.mark.parametrize(("ms", "fast"), [(0, True), (FAST_MS - 1, True), (FAST_MS, False), (90_000, False)])
def test_a_hasty_vote_is_flagged(store, new_review, clock, ms, fast):
    review = new_review()
    ada = review.person("ada")
    shown = voting.next_pair(store, review.campaign, ada, there)
    clock.pass_ms(ms)

    voting.record(store, ada, shown.assignment, Choice.LEFT, key(1))

    found = export.votes(store).iloc[0]
    assert (found.ms, bool(found.fast)) == (ms, fast)


def test_a_clock_that_was_set_back_makes_no_negative_time(store, new_review, clock):
    review = new_review()
    ada = review.person("ada")
    shown = voting.next_pair(store, review.campaign, ada, there)
    clock.pass_ms(-5000)

    voting.record(store, ada, shown.assignment, Choice.LEFT, key(1))

    assert export.votes(store).ms.tolist() == [0]


def test_the_summary_counts_what_stands(store, new_review, clock):
    review = new_review()
    ada = review.person("ada")
    for choice, ms in ((Choice.LEFT, 1000), (Choice.TIE, 3000), (Choice.SKIP, 2000)):
        voting.next_pair(store, review.campaign, ada, there)
        clock.pass_ms(ms)
        last = judge(store, review, ada, choice)
    voting.undo(store, ada, last)

    found = voting.summary(store, review.campaign, ada)

    assert found.choices == {"left": 1, "right": 0, "tie": 1, "both_bad": 0, "skip": 0}
    assert found.median_seconds == 2.0


def test_revoking_keeps_the_votes(store, new_review):
    review = new_review()
    judge(store, review, review.person("ada"))

    people.revoke(store, "ada")

    assert len(export.votes(store)) == 1
