"""Votes as a reward takes them: which count, what they come to, how many are missing, pictures that are gone."""

import pytest

from regen.core.errors import DataError, TooFewVotesError
from regen.core.sections.alignment import RewardConfig
from regen.preferences import campaigns, export
from regen.stages import drawing, review, votes
from regen.stages.simulate import simulate_votes
from tests.unit.registry.conftest import made_store, store  # noqa: F401  # fixtures
from tests.unit.stages.test_alignment import voted as voted_on

FEW = RewardConfig(min_votes=30)


@pytest.fixture(scope="module")
def voted(made_store, tmp_path_factory):  # noqa: F811
    """A campaign about a model, voted on to its end, and one about it beside another version."""
    from tests.unit.registry.conftest import use_store

    folder = tmp_path_factory.mktemp("votes")
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_store(made_store.workspace, monkeypatch)
        monkeypatch.setenv(review.ADDRESS, f"sqlite:///{folder / 'votes.db'}")
        opened = review.open_store(None)
        first, second = (made_store.register("voted-gan", "gan") for _ in range(2))
        for reference, against in (
            (f"voted-gan/{first.number}", None),
            (f"voted-gan/{second.number}", f"voted-gan/{first.number}"),
        ):
            number = review.open_review(
                made_store.workspace, opened, reference, 0, 60, need=2, against=against
            ).campaign.id
            simulate_votes(made_store.workspace, opened, number, 2, seed=0)
    yield made_store.workspace, opened, first, second
    opened.close()


def test_votes_on_a_models_own_samples_count_and_those_between_versions_do_not(voted):
    _, opened, first, _ = voted

    found = votes.collect(opened, "voted-gan")

    assert set(found.table["campaign"]) == {f"voted-gan-{first.number}-1"} == set(found.campaigns)
    assert not (found.table["gold"] | found.table["repeat"] | found.table["skipped"] | found.table["fast"]).any()
    assert found.people == 2
    assert 0 < found.held_out < len(found.table) < 120


def test_the_digest_follows_what_was_said_and_not_the_order_it_came_in(voted):
    _, opened, _, _ = voted
    found = votes.collect(opened, "voted-gan")

    turned = votes.Collected("voted-gan", found.table.assign(choice=-found.table["choice"]))

    assert found.digest == votes.collect(opened, "voted-gan").digest != turned.digest


def test_a_model_that_nobody_voted_on_has_no_votes(voted):
    found = votes.collect(voted[1], "ghost-gan")

    assert (len(found.table), found.people, found.held_out, found.campaigns) == (0, 0, 0, ())
    with pytest.raises(
        TooFewVotesError,
        match=r"0 votes on ghost-gan .* and 100 \(reward.min_votes\) .*: 100 are missing, 20 of them on",
    ):
        votes.require_enough(found, RewardConfig())


def test_too_few_votes_are_told_with_the_number_that_is_missing(voted):
    found = votes.collect(voted[1], "voted-gan")

    missing = votes.missing_votes(found, RewardConfig(min_votes=500))

    assert missing == 500 - len(found.table)
    with pytest.raises(TooFewVotesError, match=f": {missing} are missing.*; 'regen review --model voted-gan'"):
        votes.require_enough(found, RewardConfig(min_votes=500))


@pytest.mark.parametrize(("n", "missing", "apart"), [(3, 97, 19), (99, 1, 0), (100, 0, 0)])
def test_the_number_that_is_missing_is_exact(n, missing, apart):
    found = voted_on(n)

    assert (votes.missing_votes(found, RewardConfig()), votes.missing_held_out(found)) == (missing, apart)


def test_too_few_votes_on_held_out_samples_are_told_too(voted):
    found = votes.collect(voted[1], "voted-gan")
    few = votes.Collected("voted-gan", found.table.assign(split="train"))

    with pytest.raises(
        TooFewVotesError,
        match=r"and 20 on held-out samples, .* there are 0: 20 on held-out .* about 100 votes bring",
    ):
        votes.require_enough(few, FEW)


def test_a_picture_whose_file_is_gone_is_drawn_again_from_its_seed(voted, store):  # noqa: F811
    workspace, opened, _, _ = voted
    found = votes.collect(opened, "voted-gan")
    gone = drawing.images_folder(workspace) / f"{found.table['sample_a'].iloc[0]}.png"
    before = gone.read_bytes()
    gone.unlink()

    learned_from = votes.training_votes(workspace, found)

    assert gone.read_bytes() == before
    assert len(learned_from) == len(found.table)
    assert int(learned_from.held_out.sum()) == found.held_out


def test_a_picture_that_its_seed_draws_no_more_is_told(voted, store):  # noqa: F811
    workspace, opened, _, _ = voted
    found = votes.collect(opened, "voted-gan")
    changed = found.table.assign(sample_a=["0" * 64, *found.table["sample_a"].iloc[1:]])

    with pytest.raises(
        DataError, match=r"1 pictures that were voted on are gone from .* draws others from the seeds of 1"
    ):
        votes.training_votes(workspace, votes.Collected("voted-gan", changed))


def test_votes_between_versions_are_each_persons_wins(voted):
    _, opened, first, second = voted
    number = campaigns.every(opened)[0].id
    raw = export.votes(opened, number)
    judged = raw[~(raw.skipped | raw.gold | raw.repeat)]

    wins = votes.head_to_head(opened, "voted-gan", second.number, first.number)
    turned = votes.head_to_head(opened, "voted-gan", first.number, second.number)

    assert set(wins) == {"simulated-1", "simulated-2"}
    assert sum(map(len, wins.values())) == len(judged) > 0
    for name in wins:
        assert set(wins[name]) <= {0.0, 0.5, 1.0}
        assert (wins[name] + turned[name] == 1).all()
    row = judged[judged.annotator == "simulated-1"].iloc[0]
    preferred = {-1: row.version_a, 1: row.version_b, 0: None}[row.choice]
    assert wins["simulated-1"][0] == (0.5 if preferred is None else float(preferred == second.number))
    assert votes.head_to_head(opened, "voted-gan", second.number, 999) == {}
