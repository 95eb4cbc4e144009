"""Versions are registered once for a training's key, and found by alias, number, key or reference."""

import pytest

from regen.core.errors import RegistryError
from regen.evaluation.gate import Check, Decision, Verdict
from regen.registry import promotion, versions


def test_one_training_key_is_registered_once(store):
    first = versions.register("once", "vae", store.run, store.uris["vae"], "same", {}, "# card")

    again = versions.register("once", "vae", store.run, store.uris["vae"], "same", {}, "# card")

    assert again == first
    assert [version.number for version in versions.all_versions("once")] == [1]


def test_a_version_carries_its_key_its_kind_and_its_lineage(store):
    version = versions.register(
        "lineage", "vae", store.run, store.uris["vae"], "a key", {"regen.data": "abc"}, "# card"
    )

    assert (version.key, version.kind, version.run_id) == ("a key", "vae", store.run.id)
    assert version.tags["regen.data"] == "abc"
    assert version.uri == "models:/lineage/1"
    assert versions.by_key("lineage", "a key") == version


def test_versions_are_listed_newest_first(store):
    for _ in range(3):
        store.register("listed")

    assert [version.number for version in versions.all_versions("listed")] == [3, 2, 1]


def test_what_regen_did_not_register_is_passed_over(store):
    import mlflow

    client = mlflow.MlflowClient()
    client.create_registered_model("foreign")
    client.create_model_version("foreign", store.uris["vae"])

    assert versions.all_versions("foreign") == []


def test_a_reference_names_the_champion_an_alias_or_a_number(store):
    first, second = store.register("named"), store.register("named")
    for version in (first, second):
        promotion.promote(store.workspace, version, "ada", "first")

    found = [
        versions.resolve(reference).number for reference in ("named", "named@previous", "named/2", "named@champion")
    ]

    assert found == [2, 1, 2, 2]


@pytest.mark.parametrize("reference", ["nowhere", "nowhere@champion"])
def test_an_unknown_model_is_refused_and_the_known_ones_are_named(store, reference):
    store.register("somewhere")

    with pytest.raises(RegistryError, match=r"there is no model nowhere; registered are: .*\bsomewhere"):
        versions.resolve(reference)


@pytest.mark.parametrize("reference", ["known", "known@champion", "known@previous", "known/9", "nowhere/1"])
def test_an_unknown_version_is_refused_with_the_way_out(store, reference):
    store.register("known")

    with pytest.raises(RegistryError, match="regen models"):
        versions.resolve(reference)


@pytest.mark.parametrize("reference", ["known/one", "known/", "known/-1"])
def test_what_is_no_number_is_refused_and_the_forms_are_shown(store, reference):
    with pytest.raises(RegistryError, match="write NAME, NAME@ALIAS or NAME/NUMBER"):
        versions.resolve(reference)


def test_a_number_that_is_not_there_is_refused(store):
    store.register("numbered")

    with pytest.raises(RegistryError, match="numbered has no version 9"):
        versions.by_number("numbered", 9)


def test_an_alias_that_nobody_carries_is_none(store):
    store.register("bare")

    assert versions.by_alias("bare", versions.CHAMPION) is None
    assert versions.by_alias("unheard of", versions.CHAMPION) is None


def test_a_verdict_stays_with_the_version(store):
    version = store.register("judged")
    check = Check("floor", "anomaly_auc", "at least 0.9", "0.5", passed=False)

    versions.record_verdict(version, Verdict(Decision.REJECT, ("floor not met",), (check,)), against=None)

    found = versions.by_number("judged", 1)
    assert (found.verdict, found.reasons) == ("REJECT", ("floor not met",))
    assert "at least 0.9" in found.tags["regen.ledger"]


def test_an_unknown_version_or_alias_is_answered_with_those_that_there_are(store):
    versions.point(store.register("aliased"), versions.CHAMPION)
    store.register("aliased")

    with pytest.raises(RegistryError, match=r"aliased has no version 9; it has 2, 1 \(champion\)"):
        versions.by_number("aliased", 9)
    with pytest.raises(RegistryError, match=r"aliased has no previous, but 2, 1 \(champion\)"):
        versions.resolve("aliased@previous")


def test_an_alias_names_the_version_it_was_last_pointed_at(store):
    first, second = store.register("pointed"), store.register("pointed")

    for version in (first, second, first):
        versions.point(version, versions.CHAMPION)

    assert versions.by_alias("pointed", versions.CHAMPION).number == 1


def test_the_description_ends_with_the_newest_ledger_and_no_older_one(store):
    version = store.register("told-of")
    check = Check("floor", "anomaly_auc", "at least 0.9", "0.5", passed=False)

    versions.record_verdict(version, Verdict(Decision.REJECT, ("floor not met",), (check,)), against=None)
    versions.record_verdict(version, Verdict(Decision.HOLD, ("no better",)), against=7)

    import mlflow

    said = mlflow.MlflowClient().get_model_version("told-of", 1).description
    assert said.startswith("# card\n\n## Gate: HOLD, against version 7\n\n- no better")
    assert "REJECT" not in said
    assert versions.by_number("told-of", 1).ledger == []


def test_a_description_is_no_longer_than_the_database_takes():
    said = versions.described("# card", Verdict(Decision.HOLD, ("long " * 2000,)), None)

    assert len(said) == versions.MOST_DESCRIBED
    assert said.endswith("…")
