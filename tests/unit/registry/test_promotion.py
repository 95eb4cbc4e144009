"""Promotion is checked before it counts, undone when the check fails, done by one at a time, and remembered."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.errors import RegistryError
from regen.registry import promotion, versions
from regen.registry.promotion import Event
from tests.unit.registry.conftest import log_network

PROMOTE = """\
import sys
from pathlib import Path
from regen.core.workspace import Workspace
from regen.registry import promotion, tracking, versions
workspace = Workspace(Path(sys.argv[1]))
tracking.open_store(workspace)
version = versions.by_number(sys.argv[2], int(sys.argv[3]))
sys.stdin.readline()
print(promotion.promote(workspace, version, "ada", "at once").before)
"""

KILLED = """\
import os, sys
from pathlib import Path
from regen.core.workspace import Workspace
from regen.registry import promotion, tracking, versions
workspace = Workspace(Path(sys.argv[1]))
tracking.open_store(workspace)
append = promotion._append
if sys.argv[4] == "before":
    promotion.smoke_test = lambda version: os._exit(9)
else:
    promotion._append = lambda *event: (append(*event), os._exit(9))
promotion.promote(workspace, versions.by_number(sys.argv[2], int(sys.argv[3])), "ada", "at once")
"""


def aliases(model):
    """The numbers of champion and previous."""
    found = [versions.by_alias(model, alias) for alias in (versions.CHAMPION, versions.PREVIOUS)]
    return tuple(version.number if version else None for version in found)


def promoted(store, model, *numbers):
    """A model whose versions were promoted in this order."""
    made = [store.register(model) for _ in range(max(numbers))]
    for number in numbers:
        promotion.promote(store.workspace, made[number - 1], "ada", f"version {number}")
    return made


def break_files(version):
    """Cuts the weights of a version short."""
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts(version.uri))
    weights = next(folder.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])


def test_the_first_promotion_makes_a_champion_without_a_previous_one(store):
    event = promotion.promote(store.workspace, store.register("first"), "ada", "it is good")

    assert aliases("first") == (1, None)
    assert (event.version, event.before, event.by, event.reason) == (1, None, "ada", "it is good")


def test_a_promotion_makes_the_former_champion_the_previous_one(store):
    promoted(store, "second", 1, 2)

    assert aliases("second") == (2, 1)


def test_every_promotion_and_rollback_is_appended_to_the_history(store):
    promoted(store, "told", 1, 2)

    promotion.rollback(store.workspace, "told", None, "bob", "odd sevens")

    found = promotion.history(store.workspace, "told")
    assert [(event.action, event.version, event.before, event.by) for event in found] == [
        ("promote", 1, None, "ada"), ("promote", 2, 1, "ada"), ("rollback", 1, 2, "bob"),
    ]  # fmt: skip
    assert found[-1].reason == "odd sevens"


def test_the_version_itself_says_when_it_was_promoted_by_whom_and_why(store):
    promoted(store, "stamped", 1)

    assert versions.by_number("stamped", 1).tags["regen.promote.1"].endswith("by ada: version 1")


def test_the_champion_is_not_promoted_again(store):
    made = promoted(store, "twice", 1)

    with pytest.raises(RegistryError, match="twice 1 is the champion already"):
        promotion.promote(store.workspace, made[0], "ada", "again")


@pytest.mark.parametrize("compared_with", [None, 2])
def test_a_candidate_compared_with_another_champion_is_refused(store, compared_with):
    model = f"stale-{compared_with}"
    promoted(store, model, 1)
    candidate = store.register(model)

    with pytest.raises(RegistryError, match=f"compared with champion {compared_with or 'none'}, but it is 1 now"):
        promotion.promote(store.workspace, candidate, "gate", "better", expected_champion=compared_with)

    assert aliases(model) == (1, None)
    assert len(promotion.history(store.workspace, model)) == 1


def test_a_version_that_cannot_be_loaded_is_not_promoted_and_all_is_as_before(store):
    promoted(store, "sound", 1, 2)
    folder = store.workspace.root / "broken"
    uri = log_network(store.run, "vae", folder)
    broken = versions.register("sound", "vae", store.run, uri, "broken", {}, "# card")
    break_files(broken)

    with pytest.raises(RegistryError, match="sound 3 was not promoted, all is as before"):
        promotion.promote(store.workspace, broken, "ada", "looks fine")

    assert aliases("sound") == (2, 1)
    assert [event.version for event in promotion.history(store.workspace, "sound")] == [1, 2]


def test_a_first_version_that_cannot_be_loaded_leaves_no_alias(store):
    uri = log_network(store.run, "gan", store.workspace.root / "broken-gan")
    broken = versions.register("unsound", "gan", store.run, uri, "broken-gan", {}, "# card")
    break_files(broken)

    with pytest.raises(RegistryError, match="unsound 1 was not promoted"):
        promotion.promote(store.workspace, broken, "ada", "looks fine")

    assert aliases("unsound") == (None, None)


def test_an_interrupted_promotion_leaves_all_as_before(store, monkeypatch):
    promoted(store, "cut", 1)
    candidate = store.register("cut")

    def interrupt(version):
        raise KeyboardInterrupt

    monkeypatch.setattr(promotion, "smoke_test", interrupt)

    with pytest.raises(KeyboardInterrupt):
        promotion.promote(store.workspace, candidate, "ada", "why not")

    assert aliases("cut") == (1, None)


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


def test_two_promotions_at_once_happen_one_after_the_other(store):
    store.register("race")
    store.register("race")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTE, str(store.workspace.root), "race", number],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in ("1", "2")
    ]  # fmt: skip

    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], said
    earlier, later = promotion.history(store.workspace, "race")
    assert {earlier.version, later.version} == {1, 2}
    assert (earlier.before, later.before) == (None, earlier.version)
    assert aliases("race") == (later.version, earlier.version)


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


def test_a_version_of_no_use_is_deleted_and_the_history_says_so(store):
    made = promoted(store, "pruned", 1, 3)

    promotion.delete(store.workspace, made[1], "ada", "never good")

    assert [version.number for version in versions.all_versions("pruned")] == [3, 1]
    last = promotion.history(store.workspace, "pruned")[-1]
    assert (last.action, last.version, last.by, last.reason) == ("delete", 2, "ada", "never good")
    assert aliases("pruned") == (3, 1)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (4, "guarded 4 is champion; promote another version or roll back first"),
        (2, "guarded 2 is previous; promote"),
        (1, "guarded 1 was a champion that 'regen rollback' may go back to"),
    ],
)
def test_a_version_that_is_used_or_may_be_again_is_not_deleted(store, number, why):
    if not versions.all_versions("guarded"):
        promoted(store, "guarded", 1, 2, 4)

    with pytest.raises(RegistryError, match=why):
        promotion.delete(store.workspace, versions.by_number("guarded", number), "ada", "tidy")

    assert versions.by_number("guarded", number)


@pytest.mark.parametrize(("moment", "wanted"), [("before", ((2, 1), [1, 2])), ("after", ((3, 2), [1, 2, 3]))])
def test_a_promotion_that_is_killed_happened_if_and_only_if_the_history_says_so(store, moment, wanted):
    model = f"killed-{moment}"
    promoted(store, model, 1, 2)
    store.register(model)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, store.workspace.root, model, "3", moment], capture_output=True, check=False
    )
    half_way = aliases(model)

    promotion.settle(store.workspace, model)

    assert killed.returncode == 9, killed.stderr
    assert half_way == (3, 2)
    assert (aliases(model), [event.version for event in promotion.history(store.workspace, model)]) == wanted
    assert not list((store.workspace.state / "switching").iterdir())


def test_a_promotion_begins_with_what_a_killed_one_left(store):
    made = promoted(store, "again", 1, 2)
    promotion.files.write_json(
        store.workspace.state / "switching" / "again.json", {"held": {"champion": 2, "previous": 1}, "events": 2}
    )
    versions.point(made[0], versions.CHAMPION)

    event = promotion.promote(store.workspace, made[0], "ada", "once more", expected_champion=2)

    assert event.before == 2
    assert aliases("again") == (1, 2)


def test_a_promotion_that_fails_leaves_nothing_to_settle(store):
    made = promoted(store, "failing", 1)
    broken = store.register("failing")
    with pytest.MonkeyPatch.context() as around:
        around.setattr(
            promotion, "smoke_test", lambda version: (_ for _ in ()).throw(RegistryError("it does not load"))
        )
        with pytest.raises(RegistryError, match="was not promoted, all is as before"):
            promotion.promote(store.workspace, broken, "ada", "at once")

    promotion.settle(store.workspace, "failing")

    assert aliases("failing") == (made[0].number, None)


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


def test_events_stay_in_order_when_one_was_deleted_in_mlflow(store):
    import mlflow

    promoted(store, "gappy", 1, 2)
    owner = promotion.experiment_id(store.workspace, promotion.HISTORY)
    client = mlflow.MlflowClient()
    first = client.search_runs([owner], "tags.model = 'gappy' and tags.sequence = '1'")[0]
    client.delete_run(first.info.run_id)

    promotion.promote(store.workspace, store.register("gappy"), "ada", "version 3")

    assert [event.version for event in promotion.history(store.workspace, "gappy")] == [2, 3]


def test_a_damaged_journal_is_named_with_the_way_out(store):
    made = promoted(store, "torn", 1)
    (store.workspace.state / "switching" / "torn.json").write_text('{"held"')

    with pytest.raises(RegistryError, match=r"torn\.json, which says what torn's aliases were .* then delete it"):
        promotion.rollback(store.workspace, "torn", None, "ada", "worse")

    (store.workspace.state / "switching" / "torn.json").unlink()
    assert aliases("torn") == (made[0].number, None)


def test_a_deletion_begins_with_what_a_killed_promotion_left(store):
    made = promoted(store, "half", 1)
    candidate = store.register("half")
    promotion.files.write_json(
        store.workspace.state / "switching" / "half.json", {"held": {"champion": 1, "previous": None}, "events": 1}
    )
    versions.point(candidate, versions.CHAMPION)

    promotion.delete(store.workspace, candidate, "ada", "never good")

    assert aliases("half") == (made[0].number, None)
    assert [version.number for version in versions.all_versions("half")] == [1]
