"""Tuning a VAE toward a reward moves the Gaussians of its prior and nothing else."""

from copy import deepcopy
from itertools import pairwise

import pytest
import torch

from regen.models.vae import Vae
from regen.training.tuning import Look, Prior, drift
from regen.training.vae import calibrate
from regen.training.witnesses import Witnesses
from tests.unit.training.toys import differing, half_rows, weights_of
from tests.unit.training.tunings import (
    SHORT,
    VAE,
    Brightness,
    Pixels,
    changed,
    move,
    sample,
    trained_vae,
)


@pytest.fixture(scope="module")
def vae() -> Vae:
    return trained_vae()


def test_tuning_the_vae_draws_what_is_liked_and_moves_nothing_but_the_gaussians(vae):
    reward = Brightness.beside(vae)
    config = changed(SHORT, "vae", images=150 * 16, anchor_weight=0.1)

    done = move(vae, config, reward=reward)

    assert reward(sample(done.model)).mean() > reward(sample(vae)).mean() + 0.3
    assert done.curve[-1]["reward_shortfall"] < done.curve[0]["reward_shortfall"]
    assert differing(weights_of(v=vae), weights_of(v=done.model)) == ["v.mixture_means", "v.mixture_factors"]


def test_a_tuned_vae_reconstructs_as_before_bit_for_bit(vae):
    images = half_rows(16, 9).take(torch.arange(16)).images

    assert torch.equal(move(vae).model.reconstruct(images), vae.reconstruct(images))


def test_without_the_reward_the_prior_stays_where_it_is(vae):
    tuned = move(vae, changed(SHORT, "vae", reward_weight=0.0)).model

    torch.testing.assert_close(tuned.mixture_means, vae.mixture_means, rtol=0, atol=0)
    torch.testing.assert_close(tuned.mixture_factors, vae.mixture_factors)


def test_the_gaussians_of_a_tuned_prior_have_a_density(vae):
    tuned = move(vae, changed(SHORT, "vae", images=150 * 16, learning_rate=0.3, anchor_weight=0.0)).model

    assert (tuned.mixture_factors.diagonal(dim1=-2, dim2=-1) > 0).all()
    assert torch.equal(tuned.mixture_factors, tuned.mixture_factors.tril())
    assert torch.isfinite(tuned.log_prior(tuned.draw_latents(torch.zeros(50).long(), torch.Generator()))).all()


def test_gaussians_as_parameters_draw_as_the_vae_does(vae):
    prior, noise = Prior(vae), torch.randn(7, 2, generator=torch.Generator().manual_seed(0))
    place = torch.tensor([0, 1, 2, 3, 4, 10, 13])

    latents = prior(place, noise)

    for row, one in enumerate(place.tolist()):
        part, component = divmod(one, vae.mixture_weights.shape[1])
        expected = vae.mixture_factors[part, component] @ noise[row] + vae.mixture_means[part, component]
        torch.testing.assert_close(latents[row], expected)


def test_gaussians_that_are_never_drawn_stay_as_they_are(vae):
    lame = deepcopy(vae)
    lame.mixture_weights[0] = torch.nn.functional.one_hot(torch.tensor(1), lame.mixture_weights.shape[1])
    lame.class_shares.copy_(torch.tensor([1.0, 0.0]))

    tuned = move(lame).model

    moved = (tuned.mixture_means != lame.mixture_means).any(dim=2)
    assert moved.nonzero().tolist() == [[0, 1]]


@pytest.mark.parametrize("weight", ["reward_weight", "anchor_weight"])
def test_each_term_of_the_priors_loss_moves_the_result(vae, weight):
    one, other = (move(vae, changed(SHORT, "vae", **{weight: value})).model for value in (0.5, 30.0))

    assert differing(weights_of(v=one), weights_of(v=other)) == ["v.mixture_means", "v.mixture_factors"]


def test_the_anchor_keeps_what_the_prior_draws_near_the_bases(vae):
    def moved(weight: float) -> float:
        config = changed(SHORT, "vae", images=100 * 16, anchor_weight=weight)
        return float(drift(sample(move(vae, config).model), sample(vae)))

    assert moved(20.0) < 0.6 * moved(0.0)


def test_a_tuned_vae_is_calibrated_anew_without_losing_its_prior(vae):
    tuned = move(vae).model
    before = weights_of(v=tuned)

    calibrate(tuned, half_rows(100).thinned(len(vae.reference)), half_rows(16, 9), VAE, 0, refits_prior=False)

    moved = differing(before, weights_of(v=tuned))
    assert not [name for name in moved if "mixture" in name or "shares" in name]
    assert "v.calibration" in moved


def test_looks_at_a_vae_begin_with_the_base_and_see_its_prior_move(vae):
    seen = []

    def watch(model: Vae) -> Look:
        seen.append(model.mixture_means.clone())
        return Look(1.0)

    done = move(vae, watch=watch)

    assert torch.equal(seen[0], vae.mixture_means)
    assert len(seen) == len(done.looks) == 5
    assert all(not torch.equal(one, other) for one, other in pairwise(seen))
    assert torch.equal(seen[-1], done.model.mixture_means)


def test_a_look_at_a_vae_within_the_distance_of_a_promotion_is_kept_before_one_beyond_it(vae):
    distances, seen = iter([10.0, 12.0, 15.9, 16.1, 16.2]), []

    def watch(model: Vae) -> Look:
        seen.append(model.mixture_means.clone())
        return Look(next(distances))

    assert torch.equal(move(vae, watch=watch).model.mixture_means, seen[2])


def test_witnesses_keep_the_mean_features_of_a_vae_near_the_bases(vae):
    def moved(weight):
        seen_by = Witnesses([Pixels()], [1.0])
        config = changed(SHORT, "vae", images=100 * 16, feature_weight=weight, anchor_weight=0.0)
        return float(seen_by.shift(sample(move(vae, config, witnesses=seen_by).model), sample(vae)))

    assert moved(100.0) < 0.5 * moved(0.0)
