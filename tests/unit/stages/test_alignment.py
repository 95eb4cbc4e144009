"""An alignment's keys follow the votes and what is read of them; what cannot be tuned is refused before anything is done."""

from dataclasses import replace

import pandas as pd
import pytest

from regen.core.errors import ConfigError, RegistryError, TooFewVotesError
from regen.registry.versions import Version
from regen.stages import alignment
from regen.stages.alignment import BASE, CAMPAIGNS, READS, VOTES, Alignment, lineage
from regen.stages.votes import Collected

BASED_ON = Version(
    "digits-gan", 1, "run", ("champion",), {"regen.key": "key", "regen.kind": "gan", "regen.project": "digits"}, 0
)


def voted(n=200, model="digits-gan", campaign="digits-gan-1-1", choice=1):
    """As many votes as that, a fifth of them on held-out samples."""
    return Collected(model, pd.DataFrame({
        "sample_a": [f"a{i}" for i in range(n)], "sample_b": [f"b{i}" for i in range(n)], "choice": choice,
        "both_bad": False, "split": ["validation" if i % 5 == 0 else "train" for i in range(n)], "strategy": "random",
        "annotator": [f"p{i % 4}" for i in range(n)], "campaign": campaign, "key": [str(i) for i in range(n)],
    }))  # fmt: skip


def keys(one):
    return {step: one.key(step) for step in READS}


@pytest.fixture
def opened(open_project):
    return Alignment(open_project(), BASED_ON, voted())


def changed(one, other):
    return [step for step, key in keys(one).items() if keys(other)[step] != key]


@pytest.mark.parametrize(
    ("setting", "value", "steps"),
    [
        ("reward.width", "4", ["learn", "tune", "prove", "conclude"]),
        ("align.gan.reward_weight", "1", ["tune", "prove", "conclude"]),
        ("gan.batch_size", "64", ["tune", "prove", "conclude"]),
        ("vae.batch_size", "64", []),
        ("evaluation.bootstrap_draws", "60", ["prove", "conclude"]),
        ("gate.mode", "dry-run", ["conclude"]),
        ("seed", "3", ["learn", "tune", "prove", "conclude"]),
        ("training.log_every_images", "64", []),
    ],
)
def test_a_changed_value_changes_the_steps_that_read_it_and_those_after_them(
    open_project, opened, setting, value, steps
):
    assert changed(opened, replace(opened, context=open_project({setting: value}))) == steps


def test_other_votes_another_base_and_controls_are_other_work(opened):
    assert changed(opened, replace(opened, votes=voted(choice=-1))) == list(READS)
    assert changed(opened, replace(opened, base=replace(BASED_ON, number=2))) == list(READS)
    assert changed(opened, replace(opened, controls=True)) == ["prove", "conclude"]
    assert changed(opened, replace(opened, votes=voted())) == []


def test_lineage_names_the_base_the_campaigns_and_the_votes(opened):
    tags = lineage(opened)

    assert (tags[BASE], tags[CAMPAIGNS], tags[VOTES]) == ("digits-gan/1", "digits-gan-1-1", opened.votes.digest)
    assert tags["regen.kind"] == "gan"
    assert tags["regen.recipe"] != lineage(replace(opened, votes=voted(choice=-1)))["regen.recipe"]


@pytest.fixture
def registry(monkeypatch):
    """A registry of one GAN that is the champion, whose parameters and votes a test may say."""
    params, votes_of = {}, {"digits-gan": voted(), "digits-vae": voted(0, "digits-vae")}

    class Run:
        def __init__(self, run_id):
            self.params = params

        def data(self):
            return self

    monkeypatch.setattr(alignment.tracking, "open_store", lambda workspace: None)
    monkeypatch.setattr(alignment.tracking, "Run", Run)
    monkeypatch.setattr(alignment.versions, "resolve", lambda reference: BASED_ON)
    monkeypatch.setattr(
        alignment.versions, "by_alias", lambda model, alias: BASED_ON if model == "digits-gan" else None
    )
    monkeypatch.setattr(alignment.votes, "collect", lambda store, model: votes_of[model])
    monkeypatch.setattr(
        alignment.reevaluate, "find", lambda name: alignment.reevaluate.Subject(name, "gan", "digits", "", "")
    )
    monkeypatch.setattr(alignment, "prepare", lambda context: None)
    monkeypatch.setattr(alignment, "prepared", lambda context: None)
    monkeypatch.setattr(alignment.reevaluate, "require_fit", lambda subject, dataset, config: None)
    return params, votes_of


def test_the_champions_with_votes_enough_are_opened(open_project, registry):
    (found,) = alignment.open_all(open_project(), None)

    assert (found.name, found.kind, found.controls) == ("digits-gan/1", "gan", False)


def test_with_too_few_votes_on_every_champion_the_number_that_is_missing_is_told(open_project, registry):
    registry[1]["digits-gan"] = voted(40)

    with pytest.raises(TooFewVotesError, match=r"40 votes on digits-gan .* 60 are missing, 12 of them on held-out"):
        alignment.open_all(open_project(), None)


def test_without_a_champion_there_is_nothing_to_tune(open_project, registry):
    with pytest.raises(RegistryError, match="digits-vae have no champion to tune; run 'regen run' first"):
        alignment.open_all(open_project(), None, kind="vae")


def test_a_model_that_was_trained_otherwise_than_it_would_be_tuned_is_refused(open_project, registry):
    registry[0]["gan.loss"] = "wgan-gp"

    with pytest.raises(
        ConfigError, match=r"was trained with gan\.loss wgan-gp, and the project file says r3; bring it back"
    ):
        alignment.open_all(open_project(), None)


def test_a_model_of_another_project_is_refused(open_project, registry):
    with pytest.raises(ConfigError, match="is of the project digits, and this is clothes; name its project file"):
        alignment.open_alignment(open_project({"project": "clothes"}), None, "digits-gan")


def test_a_version_that_was_tuned_toward_these_very_votes_stands_for_the_alignment_that_made_it(opened, monkeypatch):
    key, digest = opened.key("tune"), opened.votes.digest
    tags = BASED_ON.tags | {"regen.key": key, BASE: "digits-gan/1", VOTES: digest}
    tuned = replace(BASED_ON, number=2, tags=tags)
    monkeypatch.setattr(alignment.versions, "all_versions", lambda model: [tuned, BASED_ON])
    monkeypatch.setattr(Alignment, "is_done", lambda self, step: self.base == BASED_ON)

    again = replace(opened, base=tuned)

    assert alignment._made_by(again) == opened
    assert alignment._made_by(opened) is None
    assert alignment._made_by(replace(again, votes=voted(choice=-1))) is None
    assert (
        alignment._made_by(replace(again, base=replace(tuned, tags=tags | {"regen.key": "of other settings"}))) is None
    )
    monkeypatch.setattr(Alignment, "is_done", lambda self, step: step != "prove")
    assert alignment._made_by(again) is None
