"""What a tuned model is held against: best-of-n picks by the reward, controls lack something, shuffled votes have no taste."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from regen.core.sections.alignment import AlignConfig
from regen.core.sections.models import ExtractorConfig
from regen.evaluation.frechet import Gaussian
from regen.evaluation.measure import features_of
from regen.models.networks import to_pixels
from regen.models.reward import RewardEnsemble
from regen.preferences.arms import BestOf, Lookout, adversarial_only, distance_to, reward_only, shuffled
from regen.preferences.votes import Votes
from regen.training.extractor import build

CONFIG = AlignConfig()


@dataclass(frozen=True)
class Noise:
    """Flat images of any brightness above `least`."""

    least: float = 0.0

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        level = self.least + (1 - self.least) * torch.rand(n, 1, 1, 1, generator=generator)
        return level.expand(n, 1, 8, 8)


class Bright(RewardEnsemble):
    """Likes bright images."""

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        level = images.flatten(1).mean(dim=1).repeat(2, 1)
        return level, -level


REWARD = Bright((1, 8, 8), "mlp", 1, 2)
EXTRACTOR = build(ExtractorConfig(width=2, features=4), (1, 8, 8), 3, seed=0).requires_grad_(False)


def draw(model: Noise | BestOf, n: int = 1000) -> Tensor:
    return model.sample(n, torch.Generator().manual_seed(0))


def features(images: Tensor) -> Gaussian:
    return Gaussian.fit(features_of(EXTRACTOR, to_pixels(images)))


def votes(n: int = 100) -> Votes:
    rng = torch.Generator().manual_seed(0)
    choice = torch.randint(-1, 2, (n,), generator=rng)
    nobody = torch.zeros(n, dtype=torch.bool)
    skipped, held_out = torch.arange(n) % 10 == 0, torch.arange(n) < n // 5
    images = torch.rand(n, 1, 2, 2, generator=rng)
    return Votes(images, 1 - images, choice, choice == 0, skipped, ~nobody, held_out)


@pytest.mark.parametrize("n", [1, 4, 16])
def test_the_best_of_n_uniform_draws_lies_where_the_largest_does(n):
    found = draw(BestOf(Noise(), REWARD, n))

    assert found.shape == (1000, 1, 8, 8)
    assert found.mean().item() == pytest.approx(n / (n + 1), abs=0.02)


def test_the_best_of_one_is_the_model_itself():
    assert torch.equal(draw(BestOf(Noise(), REWARD, 1)), draw(Noise()))


def test_each_control_takes_away_what_it_says():
    plain, free = adversarial_only(CONFIG), reward_only(CONFIG)

    assert (plain.gan.reward_weight, plain.gan.anchor_weight, plain.gan.adversarial_weight) == (0, 0, 1)
    assert plain.reward_cap == CONFIG.reward_cap
    assert (free.gan.reward_weight, free.gan.anchor_weight, free.gan.adversarial_weight) == (
        CONFIG.gan.reward_weight,
        0,
        0,
    )
    assert min(free.reward_cap, free.tripwire_factor) > 1e5
    for control in (plain, free):
        assert control.gan.images == CONFIG.gan.images
        assert control.gan.learning_rate == CONFIG.gan.learning_rate
        AlignConfig.model_validate(control.model_dump())


def test_shuffled_votes_hold_the_same_answers_on_the_same_sides_of_the_split():
    one, other = votes(), shuffled(votes(), seed=0)

    assert torch.equal(one.images_a, other.images_a)
    assert not torch.equal(one.choice, other.choice)
    for side in (one.held_out, ~one.held_out):
        asked = side & ~one.skipped
        assert sorted(one.choice[asked].tolist()) == sorted(other.choice[asked].tolist())
    assert torch.equal(one.choice[one.skipped], other.choice[one.skipped])
    assert torch.equal(other.both_bad, other.choice == 0)


def test_shuffled_votes_follow_the_seed():
    assert torch.equal(shuffled(votes(), 1).choice, shuffled(votes(), 1).choice)
    assert not torch.equal(shuffled(votes(), 1).choice, shuffled(votes(), 2).choice)


def test_real_rows_are_at_no_distance_from_themselves_and_others_are_at_some():
    real = draw(Noise())

    assert distance_to(features(real), real, EXTRACTOR) == pytest.approx(0, abs=1e-4)
    assert distance_to(features(real), draw(Noise(0.7)), EXTRACTOR) > 5e-4


def test_a_lookout_sees_the_distance_and_the_judges_rate_alike_each_time():
    asked: list[tuple[float, float]] = []

    def judge(images: Tensor) -> float:
        asked.append((images.min().item(), images.max().item()))
        return 0.7

    lookout = Lookout(EXTRACTOR, features(draw(Noise())), seed=0, judge=judge)

    assert lookout(Noise()) == lookout(Noise())
    assert lookout(Noise()).win_rate == 0.7
    assert lookout(Noise()).distance < lookout(Noise(0.7)).distance
    assert np.min(asked) >= 0
    assert np.max(asked) <= 1
    assert Lookout(EXTRACTOR, features(draw(Noise())), seed=0)(Noise()).win_rate is None
