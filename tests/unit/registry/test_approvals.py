"""A candidate waits for a person's word, and no longer than the comparison it rests on holds."""

import time

import pytest

from regen.core.errors import RegistryError
from regen.registry import approvals, promotion, versions
from regen.registry.approvals import MS_A_DAY, State
from regen.registry.versions import Version

NOW = 1_800_000_000_000


def waiting(**tags):
    """A version that waits, compared with champion 2 on data d."""
    said = {"approval": "pending", "approval.until": str(NOW), "regen.against": "2", "regen.data": "d"}
    return Version("m", 3, "run", (), said | {name.replace("_", "."): value for name, value in tags.items()}, 0)


def asked(store, model, days=7.0, **tags):
    """A newly registered version that waits."""
    version = store.register(model)
    versions.tag(version, {name.replace("_", "."): value for name, value in tags.items()})
    approvals.ask(version, days)
    return versions.by_number(model, version.number)


def test_an_approval_stands_while_champion_data_and_time_are_as_they_were():
    assert approvals.why_stale(waiting(), 2, "d", NOW) is None
    assert approvals.why_stale(waiting(regen_against=""), None, "d", NOW) is None


@pytest.mark.parametrize(
    ("version", "champion", "data", "now", "why"),
    [
        (waiting(), 4, "d", NOW, "m 3 was compared with champion 2, but it is 4 now"),
        (waiting(), None, "d", NOW, "m 3 was compared with champion 2, but it is none now"),
        (waiting(regen_against=""), 1, "d", NOW, "m 3 was compared with champion none, but it is 1 now"),
        (waiting(), 2, "e", NOW, "m 3 was trained on data that has changed since"),
        (waiting(), 2, "d", NOW + 1, "m 3 waited for approval until 2027-01-15 08:00 UTC"),
        (waiting(approval="expired"), 2, "d", NOW, "m 3 was superseded by a later candidate"),
    ],
)
def test_an_approval_falls_with_what_it_rests_on(version, champion, data, now, why):
    assert approvals.why_stale(version, champion, data, now) == why


def test_data_that_cannot_be_told_here_is_not_held_against_a_version():
    assert approvals.why_stale(waiting(), 2, None, NOW) is None


def test_a_version_waits_for_as_many_days_as_the_project_says(store):
    before = time.time() * 1000

    version = asked(store, "waits", days=2.0)

    assert approvals.state(version) is State.PENDING
    assert before + 2 * MS_A_DAY - 1 <= int(version.tags[approvals.UNTIL]) <= time.time() * 1000 + 2 * MS_A_DAY


def test_a_later_candidate_takes_the_place_of_one_that_waits(store):
    asked(store, "superseded")
    asked(store, "superseded")

    first, second = (versions.by_number("superseded", number) for number in (1, 2))
    assert (approvals.state(first), approvals.state(second)) == (State.EXPIRED, State.PENDING)
    with pytest.raises(
        RegistryError, match="superseded 1 was superseded by a later candidate; its approval has expired"
    ):
        approvals.require_standing(first, None)


def test_promoting_a_version_that_waits_is_its_approval(store):
    version = asked(store, "approved")

    approvals.require_standing(version, None)
    promotion.promote(store.workspace, version, "ada", "fine")

    found = versions.by_number("approved", 1)
    assert approvals.state(found) is State.APPROVED
    assert not approvals.is_stale(found)


def test_a_rejected_version_is_kept_in_the_history_and_waits_no_more(store):
    version = asked(store, "rejected")

    event = promotion.reject(store.workspace, version, "bob", "odd sevens")

    found = versions.by_number("rejected", 1)
    assert approvals.state(found) is State.REJECTED
    assert (event.action, event.before) == ("reject", None)
    assert [one.action for one in promotion.history(store.workspace, "rejected")] == ["reject"]
    assert found.tags["regen.reject.1"].endswith("by bob: odd sevens")
    assert approvals.ask(found, 7.0) is False
    with pytest.raises(RegistryError, match="rejected 1 was rejected by hand; --force promotes it all the same"):
        approvals.require_standing(found, None)
    with pytest.raises(RegistryError, match="rejected 1 does not wait for approval"):
        promotion.reject(store.workspace, found, "bob", "again")


def test_a_version_goes_stale_when_another_becomes_champion(store):
    version = asked(store, "overtaken")
    promotion.promote(store.workspace, store.register("overtaken"), "ada", "meanwhile")

    assert approvals.is_stale(versions.by_number("overtaken", 1))
    with pytest.raises(RegistryError, match="overtaken 1 was compared with champion none, but it is 2 now"):
        approvals.require_standing(version, None)


def test_a_version_that_nobody_was_asked_about_may_be_promoted(store):
    version = store.register("unasked")

    assert approvals.state(version) is None
    approvals.require_standing(version, "another")


def test_a_tag_that_is_no_state_is_named_with_the_way_out():
    with pytest.raises(
        RegistryError, match=r"approval of m 3 is 'yes', wanted one of pending, approved, .*set it in MLf"
    ):
        approvals.state(waiting(approval="yes"))
