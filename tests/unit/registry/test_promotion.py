"""Promotion is checked before it counts, undone when the check fails, done by one at a time, and remembered."""

import subprocess
import sys

import pytest

from regen.core.errors import RegistryError
from regen.registry import promotion, versions
from tests.unit.registry.conftest import log_network
from tests.unit.registry.promoted import aliases, break_files, promoted

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
