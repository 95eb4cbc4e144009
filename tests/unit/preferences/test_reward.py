"""The reward learns what was voted for: losses by hand, none of them dead, seeded, resumed exactly, told from enough votes."""

from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from regen.core.errors import DataError, DivergenceError
from regen.core.sections.alignment import RewardConfig
from regen.preferences import reward as learning
from regen.preferences.reward import (
    Bags,
    TrainedReward,
    both_bad_loss,
    calibration_error,
    davidson_loss,
    disagreement,
    mutual_information,
    train_reward,
)
from regen.preferences.simulate import Annotator, gold_wins, simulated_votes
from regen.preferences.votes import Votes
from regen.training.checkpoints import Checkpoints
from regen.training.draws import Draws
from regen.training.runtime import Runtime
from tests.unit.training.toys import Heard, differing, weights_of

CONFIG = RewardConfig(network="mlp", width=2, members=2, pairs=6_400, batch_size=32, min_votes=100)
SHORT = CONFIG.model_copy(update={"pairs": 20 * 32})
EVERY = 5 * 32


def pictures(n: int, seed: int = 0) -> Tensor:
    """Noise whose brightness varies about .4 with an sd of .1."""
    rng = torch.Generator().manual_seed(seed)
    level = 0.4 + 0.1 * torch.randn(n, 1, 1, 1, generator=rng)
    return (level + 0.1 * torch.randn(n, 1, 4, 4, generator=rng)).clamp(0, 1)


@pytest.fixture(scope="module")
def annotator() -> Annotator:
    return Annotator.of(pictures(2000), seed=0)


@pytest.fixture(scope="module")
def votes(annotator: Annotator) -> Votes:
    return simulated_votes(annotator, pictures(800, seed=1), seed=0)


@pytest.fixture(scope="module")
def trained(votes: Votes) -> TrainedReward:
    return train_reward(CONFIG, votes, pictures(1000, seed=2), 0, Runtime())


def learn(votes: Votes, runtime: Runtime | None = None, seed: int = 0, **change: object) -> TrainedReward:
    config = SHORT.model_copy(update=change)
    return train_reward(config, votes, pictures(200, seed=2), seed, runtime or Runtime(log_every_images=EVERY))


def test_the_loss_of_a_vote_is_that_of_davidsons_model():
    difference, tie = torch.tensor([2.0, 2.0, 2.0]), torch.tensor([0.5, 0.5, 0.5])
    weights = np.exp([1.0, -1.0, 0.5])

    for outcome in range(3):
        found = davidson_loss(difference[:1], tie[:1], torch.tensor([outcome]))
        assert found.item() == pytest.approx(-log(weights[outcome] / weights.sum()), abs=1e-6)
    together = davidson_loss(difference, tie, torch.tensor([0, 1, 2]))
    assert together.item() == pytest.approx(-np.log(weights / weights.sum()).mean(), abs=1e-6)


@given(st.floats(-10, 10), st.floats(-3, 3))
def test_the_loss_is_the_same_with_the_pair_turned_about(difference, tie):
    one, other = (
        davidson_loss(torch.tensor([d]), torch.tensor([tie]), torch.tensor([outcome])).item()
        for d, outcome in ((difference, 0), (-difference, 1))
    )

    assert one == pytest.approx(other, abs=1e-5)
    assert one >= 0


def test_the_loss_about_unacceptable_images_is_the_cross_entropy_of_both_being_so():
    a, b = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    both = (a.sigmoid() * b.sigmoid()).double().numpy()

    found = both_bad_loss(a, b, torch.tensor([True, False]))

    assert found.item() == pytest.approx(-(log(both[0]) + log(1 - both[1])) / 2, abs=1e-5)
    assert torch.isfinite(both_bad_loss(torch.tensor([60.0]), torch.tensor([60.0]), torch.tensor([False])))


def test_the_reward_foretells_the_hidden_taste(trained, annotator):
    a, b = pictures(1000, seed=7), pictures(1000, seed=8)

    says = (trained.reward.score(a) > trained.reward.score(b)).double().numpy()

    assert (says == gold_wins(annotator, a, b)).mean() > 0.85


def test_rewards_have_mean_0_and_sd_1_over_the_bases_samples(trained):
    found = trained.reward(pictures(1000, seed=2))

    assert found.mean(dim=1).tolist() == pytest.approx([0, 0], abs=1e-4)
    assert found.std(dim=1).tolist() == pytest.approx([1, 1], abs=1e-4)


def test_the_report_is_about_held_out_votes(trained, votes):
    report = trained.report

    assert (report.votes, report.held_out) == (320, 80)
    assert report.accuracy.low <= report.accuracy.value <= report.accuracy.high
    assert report.accuracy.value > 0.7
    assert report.log_loss < log(3)
    assert 0 <= report.calibration_error < 0.25
    assert report.disagreement >= 0
    assert report.to_json()["accuracy"]["value"] == report.accuracy.value


def test_the_curve_tells_of_each_term(votes):
    assert set(learn(votes).curve[0]) == {"images", "choices", "both_bad", "validation"}


def test_the_same_seed_gives_the_same_weights_and_another_one_others(votes):
    torch.manual_seed(1)
    one = learn(votes)
    torch.manual_seed(2)
    same, other = learn(votes), learn(votes, seed=1)

    assert differing(weights_of(r=one.reward), weights_of(r=same.reward)) == []
    assert len(differing(weights_of(r=one.reward), weights_of(r=other.reward))) > 8


def test_an_interrupted_learning_ends_as_an_uninterrupted_one(votes, tmp_path: Path):
    def runtime(monitor: Heard | None = None) -> Runtime:
        checkpoints = Checkpoints(tmp_path)
        return Runtime(
            monitor=monitor or Heard(), checkpoints=checkpoints, log_every_images=EVERY, checkpoint_every_images=EVERY
        )

    whole = learn(votes)
    with pytest.raises(KeyboardInterrupt):
        learn(votes, runtime(Heard(3 * EVERY)))
    resumed = learn(votes, runtime())

    assert differing(weights_of(r=whole.reward), weights_of(r=resumed.reward)) == []
    assert whole.curve == resumed.curve


def test_skipped_votes_carry_no_loss(votes):
    skipped = torch.arange(len(votes)) % 3 == 0

    one = learn(replace(votes, skipped=skipped))
    other = learn(replace(votes, skipped=skipped, choice=torch.where(skipped, -votes.choice, votes.choice)))

    assert differing(weights_of(r=one.reward), weights_of(r=other.reward)) == []


def test_votes_that_are_turned_about_turn_the_reward_about(votes, annotator):
    turned = replace(votes, choice=-votes.choice)

    found = train_reward(CONFIG, turned, pictures(1000, seed=2), 0, Runtime()).reward
    a, b = pictures(500, seed=7), pictures(500, seed=8)

    assert ((found.score(a) > found.score(b)).double().numpy() == gold_wins(annotator, a, b)).mean() < 0.2


@pytest.mark.parametrize("name", ["choice", "both_bad"])
def test_what_was_said_moves_the_result(votes, name):
    dealt = replace(votes, **{name: getattr(votes, name).roll(1) if name == "choice" else votes.choice == 0})

    assert len(differing(weights_of(r=learn(votes).reward), weights_of(r=learn(dealt).reward))) > 8


@pytest.mark.parametrize("term", ["davidson_loss", "both_bad_loss"])
def test_neither_term_is_dead(votes, term, monkeypatch: pytest.MonkeyPatch):
    alive, original = learn(votes), getattr(learning, term)
    monkeypatch.setattr(learning, term, lambda *arguments: 0 * original(*arguments))

    assert len(differing(weights_of(r=alive.reward), weights_of(r=learn(votes).reward))) > 8


def test_two_bad_images_teach_what_is_unacceptable(annotator):
    images = torch.cat([pictures(300, seed=3) * 0.2, pictures(300, seed=4)])
    images = images[torch.randperm(600, generator=torch.Generator().manual_seed(0))]
    votes = simulated_votes(annotator, images, seed=0)
    dark = images.flatten(1).mean(dim=1) < 0.2
    both = dark[0::2] & dark[1::2]
    votes = replace(votes, both_bad=both, choice=torch.where(both, 0, votes.choice))

    patient = CONFIG.model_copy(update={"pairs": 12_800, "learning_rate": 3e-3})

    found = train_reward(patient, votes, images, 0, Runtime()).reward.unacceptable(images)

    assert found[dark].min() > found[~dark].quantile(0.9)
    assert found[dark].mean() > found[~dark].mean() + 0.4


@pytest.mark.parametrize(
    "change",
    [{"network": "conv"}, {"width": 1}, {"members": 3}, {"pairs": 25 * 32}, {"batch_size": 16}, {"learning_rate": 3e-3},
     {"weight_decay": 1.0}],
    ids=str,
)  # fmt: skip
def test_every_setting_moves_the_result(votes, change):
    one, other = weights_of(r=learn(votes).reward), weights_of(r=learn(votes, **change).reward)

    assert not [
        n for n in one if n in other and "net" in n and one[n].shape == other[n].shape and torch.equal(one[n], other[n])
    ]


def test_a_learning_rate_that_is_too_high_stops_the_learning(votes):
    with pytest.raises(DivergenceError, match="the reward's loss is nan"):
        learn(votes, learning_rate=1e30)


def test_too_few_votes_are_counted_out(votes):
    few = replace(votes, skipped=torch.arange(len(votes)) >= 37)

    with pytest.raises(DataError, match=r"100 or more votes that were not skipped, got 37: 63 are missing"):
        learn(few)


@pytest.mark.parametrize(
    ("held_out", "message"),
    [(4, r"got 4 of 400: 6 are missing; collect votes on held-out"), (400, r"got 400 of 400: .* on other samples")],
)
def test_votes_on_both_sides_of_the_split_are_needed(votes, held_out, message):
    with pytest.raises(DataError, match=message):
        learn(replace(votes, held_out=torch.arange(len(votes)) < held_out))


def test_a_sample_on_both_sides_of_the_split_is_refused(votes):
    images = votes.images_a.clone()
    images[-1] = votes.images_b[0]

    with pytest.raises(DataError, match="1 samples are in held-out votes and in votes to train on"):
        learn(replace(votes, images_a=images))


def test_each_member_leaves_votes_outside_its_bag():
    bags = Bags.draw(200, 3, Draws(0, "bags"))

    for inside, outside in zip(bags.inside, bags.outside, strict=True):
        assert len(inside) == 200
        assert not set(inside.tolist()) & set(outside.tolist())
        assert len(set(inside.tolist())) + len(outside) == 200
        assert 0.3 < len(outside) / 200 < 0.45
    assert not torch.equal(bags.inside[0], bags.inside[1])


def test_a_calibration_error_is_the_gap_between_sureness_and_truth():
    chances = np.array([[0.8, 0.2], [0.8, 0.2], [0.6, 0.4], [0.6, 0.4]])

    assert calibration_error(chances, np.array([0, 0, 0, 1])) == pytest.approx(0.5 * 0.2 + 0.5 * 0.1)


@given(st.integers(1, 60), st.integers(0, 1000))
def test_a_calibration_error_lies_between_0_and_1_whatever_the_order(n, seed):
    rng = np.random.default_rng(seed)
    chances, outcome, order = rng.dirichlet(np.ones(3), size=n), rng.integers(3, size=n), rng.permutation(n)

    assert 0 <= calibration_error(chances, outcome) <= 1
    assert calibration_error(chances[order], outcome[order]) == pytest.approx(calibration_error(chances, outcome))


@given(st.integers(2, 5), st.integers(0, 1000))
def test_disagreement_is_at_least_0_at_most_what_an_outcome_can_tell_and_0_among_the_agreed(members, seed):
    chances = torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(3), size=(members, 4)))

    found = mutual_information(chances)

    assert (found >= 0).all()
    assert (found <= log(3) + 1e-9).all()
    assert mutual_information(chances[:1].repeat(members, 1, 1)).tolist() == pytest.approx([0] * 4, abs=1e-9)


def test_disagreement_is_symmetric_in_the_pair(trained):
    a, b = pictures(50, seed=5), pictures(50, seed=6)

    assert torch.allclose(disagreement(trained.reward, a, b), disagreement(trained.reward, b, a), atol=1e-6)
    assert disagreement(trained.reward, a, a).max() < disagreement(trained.reward, a, b).max()


def exported(n: int = 4) -> pd.DataFrame:
    return pd.DataFrame({
        "sample_a": ["aa", "bb", "cc", "gold"][:n], "sample_b": ["bb", "cc", "aa", "aa"][:n],
        "choice": np.int8([-1, 0, 1, 1])[:n],
        "both_bad": [False, True, False, False][:n], "skipped": [False, False, True, False][:n],
        "strategy": ["random", "disagreement", "random", "gold"][:n], "split": ["train", "validation", "train", "gold"][:n],
    })  # fmt: skip


def test_an_export_is_read_as_votes_without_the_known_pairs():
    images = {name: torch.full((1, 2, 2), level) for name, level in (("aa", 0.1), ("bb", 0.2), ("cc", 0.3))}

    votes = Votes.of_table(exported(), images)

    assert votes.images_a[:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert votes.images_b[:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.3, 0.1])
    assert votes.choice.tolist() == [-1, 0, 1]
    assert votes.outcome.tolist() == [0, 2, 1]
    assert votes.both_bad.tolist() == [False, True, False]
    assert votes.skipped.tolist() == [False, False, True]
    assert votes.at_random.tolist() == [True, False, True]
    assert votes.held_out.tolist() == [False, True, False]


def test_an_export_whose_samples_are_gone_is_refused():
    with pytest.raises(DataError, match="2 of 3 samples that were voted on are missing, such as bb; draw them again"):
        Votes.of_table(exported(), {"aa": torch.zeros(1, 2, 2)})


def test_an_export_of_known_pairs_alone_is_refused():
    with pytest.raises(DataError, match="none of 1 votes has an answer that is not known beforehand"):
        Votes.of_table(exported()[3:], {})
