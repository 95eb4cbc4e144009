"""What earlier work adds to an evaluation: the spread over seeds, and whether metrics agree with people."""

import numpy as np
import pandas as pd
import pytest

from regen.core.errors import DataError
from regen.registry.versions import Version
from regen.stages import earlier
from regen.stages.train import lineage

JUDGED_BY = {"sha256": "space", "rows": "rows"}


def version(context, number, seed, model="digits-gan", **tags):
    """A registered training of this project that differs in its seed, and in what `tags` replace."""
    mine = lineage(context, "gan") | {"regen.seed": str(seed), earlier.EXTRACTOR: "space", earlier.REFERENCE: "rows"}
    return Version(model, number, f"run-{number}", (), mine | tags, 0)


@pytest.fixture
def registered(monkeypatch):
    """Puts versions in the place of the registry, version n having a distance of 10n and a recall of n/10."""

    def call(*versions):
        monkeypatch.setattr(
            earlier.versions, "all_versions", lambda model: [one for one in versions if one.model == model]
        )
        monkeypatch.setattr(
            earlier, "figures_of", lambda one: {"frechet_distance": 10.0 * one.number, "recall": one.number / 10}
        )

    return call


def test_trainings_that_differ_in_the_seed_alone_have_a_spread(open_project, registered):
    context = open_project()
    registered(version(context, 3, 7), version(context, 2, 5))

    found = earlier.spread_over_seeds(context, "gan", JUDGED_BY, 40.0)

    assert found == {"trainings": 3, "frechet_sd": pytest.approx(np.std([20, 30, 40], ddof=1)), "seeds": [0, 5, 7]}


@pytest.mark.parametrize("tag", ["regen.data", "regen.recipe", earlier.EXTRACTOR, earlier.REFERENCE])
def test_a_training_on_other_data_or_settings_or_judged_elsewhere_does_not_count(open_project, registered, tag):
    context = open_project()
    registered(version(context, 2, 5, **{tag: "another"}))

    assert earlier.spread_over_seeds(context, "gan", JUDGED_BY, 40.0) is None


def test_one_seed_alone_has_no_spread(open_project, registered):
    context = open_project()
    registered(version(context, 2, seed=0))

    assert earlier.spread_over_seeds(context, "gan", JUDGED_BY, 40.0) is None


def test_of_several_trainings_with_one_seed_the_newest_counts(open_project, registered):
    context = open_project()
    registered(version(context, 3, 5), version(context, 2, 5))

    found = earlier.spread_over_seeds(context, "gan", JUDGED_BY, 40.0)

    assert found["frechet_sd"] == pytest.approx(np.std([30, 40], ddof=1))


def test_a_changed_section_is_another_recipe_and_another_seed_is_not(open_project):
    one, wider, reseeded = (open_project(changes) for changes in (None, {"gan.width": "9"}, {"seed": "3"}))

    assert lineage(one, "gan")["regen.recipe"] != lineage(wider, "gan")["regen.recipe"]
    assert lineage(one, "gan")["regen.recipe"] == lineage(reseeded, "gan")["regen.recipe"]


def write_votes(context, *rows, name="votes.parquet", model_b="digits-gan"):
    """Votes between two versions, as (a, b, choice)."""
    folder = context.workspace.root / "votes" / "digits"
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=["version_a", "version_b", "choice"])
    table.assign(model_a="digits-gan", model_b=model_b).to_parquet(folder / name)


def test_without_votes_there_are_no_preferences(open_project):
    context = open_project()

    assert earlier.preferences(context) == []
    assert earlier.votes_digest(context) is None


def test_votes_of_every_file_say_which_metrics_agree_with_people(open_project, registered):
    context = open_project()
    registered(version(context, 1, 0), version(context, 2, 1))
    write_votes(context, (2, 1, 1), (2, 1, 1), (1, 2, -1))
    write_votes(context, (1, 2, 1), name="more.parquet")

    found = {one["metric"]: one for one in earlier.preferences(context)}

    assert found["frechet_distance"]["correlation"] == pytest.approx(0.5), "people prefer 1, whose distance is lower"
    assert found["recall"]["correlation"] == pytest.approx(-0.5)
    assert found["recall"]["pairs"] == 1
    assert set(found["recall"]) == {"metric", "correlation", "low", "high", "pairs", "votes"}


def test_votes_between_versions_that_were_judged_apart_do_not_count(open_project, registered):
    context = open_project()
    registered(version(context, 1, 0), version(context, 2, 1, **{earlier.EXTRACTOR: "another space"}))
    write_votes(context, (1, 2, 1), (1, 2, 1))

    assert earlier.preferences(context) == []


def test_new_votes_have_another_digest(open_project):
    context = open_project()
    write_votes(context, (1, 2, 1))
    before = earlier.votes_digest(context)

    write_votes(context, (1, 2, 1), (1, 2, 1))

    assert before != earlier.votes_digest(context)


def test_a_damaged_file_of_votes_is_told(open_project):
    context = open_project()
    write_votes(context, (1, 2, 1))
    (context.workspace.root / "votes" / "digits" / "bad.parquet").write_text("no votes")

    with pytest.raises(DataError, match=r"bad\.parquet cannot be read"):
        earlier.preferences(context)
