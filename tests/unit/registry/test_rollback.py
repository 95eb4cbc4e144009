"""Rollback leads to an earlier champion, whatever was changed by hand in MLflow."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.errors import RegistryError
from regen.registry import promotion, versions
from regen.registry.promotion import Event
from tests.unit.registry.conftest import log_network
from tests.unit.registry.promoted import aliases, promoted


def test_rollback_goes_back_one_champion_and_then_one_further(store):
    promoted(store, "back", 1, 2, 3)

    promotion.rollback(store.workspace, "back", None, "ada", "worse")
    once = aliases("back")
    promotion.rollback(store.workspace, "back", None, "ada", "worse still")
    twice = aliases("back")

    assert once == (2, 1)
    assert twice == (1, None)


def test_rollback_goes_to_the_champion_it_is_told(store):
    promoted(store, "told-to", 1, 2, 3, 4)

    promotion.rollback(store.workspace, "told-to", 2, "ada", "the last good one")

    assert aliases("told-to") == (2, 1)


def test_rollback_without_an_earlier_champion_is_refused(store):
    promoted(store, "only", 1)

    with pytest.raises(RegistryError, match="only 1 is the first champion"):
        promotion.rollback(store.workspace, "only", None, "ada", "worse")


def test_rollback_without_any_champion_is_refused(store):
    store.register("none")

    with pytest.raises(RegistryError, match="none has no champion"):
        promotion.rollback(store.workspace, "none", None, "ada", "worse")


def test_rollback_to_a_version_that_never_was_champion_is_refused(store):
    promoted(store, "never", 1, 3)

    with pytest.raises(RegistryError, match="never 2 was no champion before 3; earlier ones: 1"):
        promotion.rollback(store.workspace, "never", 2, "ada", "worse")


def test_a_rollback_to_a_version_whose_files_are_gone_leaves_all_as_before(store, tmp_path):
    uri = log_network(store.run, "vae", store.workspace.root / "lost")
    first = versions.register("lost", "vae", store.run, uri, "lost", {}, "# card")
    promotion.promote(store.workspace, first, "ada", "first")
    promotion.promote(store.workspace, store.register("lost"), "ada", "second")
    shutil.rmtree(next((store.workspace.mlruns / "artifacts").rglob(uri.rpartition("/")[2])))

    with pytest.raises(RegistryError, match="lost 1 was not promoted, all is as before"):
        promotion.rollback(store.workspace, "lost", None, "ada", "worse")

    assert aliases("lost") == (2, 1)


def event(action, version):
    """An event of which only the action and the version matter."""
    return Event(action, "m", version, None, "", "", 0)


@given(st.lists(st.integers(1, 9), max_size=8, unique=True))
def test_promotions_alone_pile_up_in_their_order(numbers):
    assert promotion.stack([event("promote", number) for number in numbers]) == numbers


@given(st.lists(st.integers(1, 9), min_size=2, max_size=8, unique=True), st.data())
def test_a_rollback_takes_off_all_above_its_target_and_no_more(numbers, data):
    kept = data.draw(st.integers(1, len(numbers) - 1))
    events = [event("promote", number) for number in numbers] + [event("rollback", numbers[kept - 1])]

    assert promotion.stack(events) == numbers[:kept]


@given(st.lists(st.tuples(st.sampled_from(["promote", "rollback"]), st.integers(1, 4)), min_size=1, max_size=12))
def test_the_champion_is_always_what_the_last_event_named(pairs):
    events = [event(action, number) for action, number in pairs]

    assert promotion.stack(events)[-1] == pairs[-1][1]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6, unique=True), st.sampled_from(["reject", "delete"]))
def test_rejections_and_deletions_move_no_champion(numbers, action):
    events = [event("promote", number) for number in numbers]

    assert promotion.stack([*events, event(action, 99)]) == promotion.stack(events)


def test_a_champion_that_was_set_by_hand_in_mlflow_is_rolled_back_to_the_one_before_it(store):
    promoted(store, "by-hand", 1, 2)
    versions.point(store.register("by-hand"), versions.CHAMPION)

    event = promotion.rollback(store.workspace, "by-hand", None, "ada", "worse")

    assert (event.version, event.before) == (2, 3)
    assert aliases("by-hand") == (2, 1)


def test_a_champion_that_was_set_back_by_hand_is_not_rolled_back_to_itself(store):
    made = promoted(store, "set-back", 1, 2)
    versions.point(made[0], versions.CHAMPION)

    with pytest.raises(RegistryError, match="set-back 1 is the first champion, there is none before it"):
        promotion.rollback(store.workspace, "set-back", None, "ada", "worse")


def test_a_rollback_goes_back_to_a_champion_that_was_set_by_hand(store):
    promoted(store, "told-later", 1, 2)
    versions.point(store.register("told-later"), versions.CHAMPION)
    promotion.promote(store.workspace, store.register("told-later"), "ada", "better")

    promotion.rollback(store.workspace, "told-later", None, "ada", "worse")

    assert aliases("told-later") == (3, 2)


def test_a_champion_that_was_deleted_in_mlflow_stands_in_no_rollbacks_way(store):
    made = promoted(store, "thinned", 1, 2, 3)
    versions.delete(made[0])

    promotion.rollback(store.workspace, "thinned", None, "ada", "worse")

    assert aliases("thinned") == (2, None)
    with pytest.raises(RegistryError, match="thinned 2 is the first champion"):
        promotion.rollback(store.workspace, "thinned", None, "ada", "worse still")
