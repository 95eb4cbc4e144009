"""The simulated annotator: its taste has an interior optimum, its answers are noisy, seeded, and as often ties as wanted."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regen.core.errors import DataError
from regen.preferences.simulate import Annotator, gold_wins, simulated_votes, stroke_mass


def pictures(n: int = 2000, seed: int = 0) -> torch.Tensor:
    """Flat images whose brightness varies about .4 with an sd of .1."""
    rng = torch.Generator().manual_seed(seed)
    return (0.4 + 0.1 * torch.randn(n, 1, 1, 1, generator=rng)).clamp(0, 1).expand(n, 1, 4, 4)


def flat(*levels: float) -> torch.Tensor:
    return torch.tensor(levels)[:, None, None, None].expand(-1, 1, 4, 4)


@pytest.fixture(scope="module")
def annotator() -> Annotator:
    return Annotator.of(pictures(), seed=0)


def test_a_taste_has_its_optimum_one_and_a_half_sd_above_the_mean(annotator):
    masses = stroke_mass(pictures())

    assert annotator.favourite == pytest.approx(float(masses.mean() + 1.5 * masses.std()))
    best, less, more = annotator.utility(
        flat(annotator.favourite, annotator.favourite - 0.1, annotator.favourite + 0.1)
    )
    assert best == pytest.approx(0, abs=1e-6)
    assert less == pytest.approx(float(more), rel=1e-3)
    assert less < best


def test_utility_is_minus_half_the_squared_distance_in_sd(annotator):
    one_sd_off = flat(annotator.favourite - annotator.spread)

    assert annotator.utility(one_sd_off).item() == pytest.approx(-0.5, abs=1e-4)


def test_what_a_screen_would_clip_does_not_count():
    assert stroke_mass(torch.tensor([[[[2.0, -1.0]]]])).item() == 0.5


@pytest.mark.parametrize("ties", [0.1, 0.25, 0.5])
def test_of_random_pairs_the_wanted_share_are_ties(ties):
    annotator = Annotator.of(pictures(), seed=0, ties=ties)

    said = annotator.choose(pictures(4000, 1), pictures(4000, 2), seed=3)

    assert (said.choice == 0).float().mean().item() == pytest.approx(ties, abs=0.03)


def test_choices_are_noisy_but_mostly_right(annotator):
    a, b = pictures(4000, 1), pictures(4000, 2)
    choice, truth = annotator.choose(a, b, seed=3).choice, gold_wins(annotator, b, a) * 2 - 1

    decided = (choice != 0).numpy()
    assert 0.8 < (choice.numpy() == truth)[decided].mean() < 0.97


def test_a_sharper_eye_errs_less():
    a, b = pictures(2000, 1), pictures(2000, 2)

    def errors(sharpness: float) -> float:
        annotator = Annotator.of(pictures(), seed=0, sharpness=sharpness)
        choice, truth = annotator.choose(a, b, seed=3).choice, gold_wins(annotator, b, a) * 2 - 1
        return float(((choice.numpy() != truth) & (choice.numpy() != 0)).mean())

    assert errors(16.0) < errors(4.0) < errors(1.0)


def test_the_same_seed_gives_the_same_answers_and_another_one_others(annotator):
    pairs = pictures(500, 1), pictures(500, 2)
    one, same, other = (annotator.choose(*pairs, seed=seed).choice for seed in (1, 1, 2))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@given(st.integers(0, 1000))
def test_gold_wins_turn_about_with_the_pair(seed):
    annotator, a, b = Annotator.of(pictures(), seed=0), pictures(50, seed), pictures(50, seed + 1)

    assert (gold_wins(annotator, a, b) == 1 - gold_wins(annotator, b, a)).all()
    assert (gold_wins(annotator, a, a) == 0.5).all()


def test_only_ties_between_two_unacceptable_images_are_both_bad(annotator):
    bad, good = flat(0.0).expand(400, -1, -1, -1), flat(annotator.favourite).expand(400, -1, -1, -1)

    assert not annotator.acceptable(bad).any()
    assert annotator.acceptable(good).all()
    both = annotator.choose(bad, bad, seed=0)
    assert both.both_bad.any()
    assert torch.equal(both.both_bad, both.choice == 0)
    assert not annotator.choose(good, good, seed=0).both_bad.any()
    assert not annotator.choose(bad, good, seed=0).both_bad.any()


def test_votes_hold_out_samples_with_all_the_pairs_they_are_in(annotator):
    votes = simulated_votes(annotator, pictures(200), seed=0)

    assert len(votes) == 100
    assert votes.held_out.sum() == 20
    seen = [set(stroke_mass(torch.cat([v.images_a, v.images_b])).tolist())
            for v in (votes.where(votes.held_out), votes.where(~votes.held_out))]  # fmt: skip
    assert not seen[0] & seen[1]
    assert votes.at_random.all() and not votes.skipped.any()


@pytest.mark.parametrize("images", [pictures(1), flat(0.5, 0.5)])
def test_a_taste_needs_images_that_differ(images):
    with pytest.raises(DataError, match="2 or more images of different stroke mass, got"):
        Annotator.of(images, seed=0)
