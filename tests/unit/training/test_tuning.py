"""Tuning toward a reward: each term moves the result, the reward rises, a look can end it, and a resumed one ends alike."""

from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from regen.core.errors import DivergenceError
from regen.models.gan import Generator
from regen.models.vae import Vae
from regen.training.checkpoints import Checkpoints
from regen.training.gan import TrainedGan, train_gan
from regen.training.losses import LOSSES
from regen.training.runtime import Runtime
from regen.training.tuning import Look, drift, pessimistic, shortfall
from regen.training.witnesses import Witnesses
from tests.unit.training.toys import Heard, differing, half_rows, weights_of
from tests.unit.training.tunings import (
    CLASSES,
    EVERY,
    GAN,
    SHORT,
    Brightness,
    Pixels,
    changed,
    liked,
    move,
    sample,
    trained_vae,
    tune,
)


@pytest.fixture(scope="module")
def gan() -> TrainedGan:
    return train_gan(GAN, half_rows(100), 0, Runtime(), CLASSES)


@pytest.fixture(scope="module")
def vae() -> Vae:
    return trained_vae()


def test_pessimism_takes_the_members_sd_off_their_mean():
    rewards = torch.tensor([[1.0, 2.0], [3.0, 2.0]])

    assert pessimistic(rewards, 0.5).tolist() == pytest.approx([1.5, 2.0], abs=1e-5)
    assert pessimistic(rewards, 0.0).tolist() == [2.0, 2.0]


def test_a_reward_falls_short_only_below_the_cap():
    rewards = torch.tensor([[0.0, 3.0, 9.0]]).repeat(2, 1)

    assert shortfall(rewards, cap=2.0, pessimism=0.5).item() == pytest.approx(2 / 3, abs=1e-5)


def test_drift_is_the_squared_distance_summed_over_pixels():
    assert drift(torch.ones(3, 1, 2, 2), torch.zeros(3, 1, 2, 2)).item() == 4.0


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=5), st.floats(0, 2))
def test_a_pessimist_never_expects_more_than_the_mean(values, pessimism):
    rewards = torch.tensor(values, dtype=torch.float64)[:, None]

    assert float(pessimistic(rewards, pessimism)) <= float(rewards.mean()) + 1e-9
    assert float(shortfall(rewards, 1.0, pessimism)) >= 0


def test_members_that_agree_leave_finite_slopes():
    images = torch.zeros(2, 1, 2, 2, requires_grad=True)

    shortfall(Brightness((4.0, 4.0))(images), 1.0, 0.5).backward()

    assert torch.isfinite(images.grad).all()
    assert (images.grad < 0).all()


def test_tuning_raises_the_reward_of_the_gan(gan):
    config = changed(SHORT, "gan", images=150 * 16, learning_rate=1e-3)

    done = tune(gan, config)

    assert liked(done.model) > liked(gan.generator) + 0.3
    assert done.curve[-1]["reward_shortfall"] < done.curve[0]["reward_shortfall"]


def test_without_the_reward_the_gan_stays_where_it_is(gan):
    config = changed(SHORT, "gan", images=150 * 16, learning_rate=1e-3, reward_weight=0.0)

    assert liked(tune(gan, config).model) == pytest.approx(liked(gan.generator), abs=0.25)


def test_the_anchor_keeps_samples_near_the_bases(gan):
    def moved(weight: float) -> float:
        config = changed(SHORT, "gan", images=100 * 16, learning_rate=1e-3, anchor_weight=weight)
        return float(drift(sample(tune(gan, config).model), sample(gan.generator)))

    assert moved(20.0) < 0.6 * moved(0.0)


@pytest.mark.parametrize("weight", ["adversarial_weight", "reward_weight", "anchor_weight"])
def test_each_term_of_the_gans_loss_moves_the_result(gan, weight):
    one, other = (tune(gan, changed(SHORT, "gan", **{weight: value})).model for value in (0.5, 3.0))

    assert [name for name in differing(weights_of(g=one), weights_of(g=other)) if "weight" in name]


@pytest.mark.parametrize("change", [{"reward_cap": 0.05}, {"pessimism": 3.0}], ids=str)
def test_cap_and_pessimism_move_the_result(gan, change):
    one, other = (tune(gan, config).model for config in (SHORT, SHORT.model_copy(update=change)))

    assert differing(weights_of(g=one), weights_of(g=other))


def test_a_cap_that_is_reached_leaves_the_reward_without_effect(gan):
    reached = SHORT.model_copy(update={"reward_cap": 1e-9})
    satisfied = Brightness((0.0, 0.0))

    one = tune(gan, reached, reward=lambda images: satisfied(images) + 1).model
    other = tune(gan, changed(reached, "gan", reward_weight=0.0)).model

    assert differing(weights_of(g=one), weights_of(g=other)) == []


@pytest.mark.parametrize("loss", LOSSES)
def test_a_gan_of_any_loss_can_be_tuned(gan, loss):
    done = tune(gan, settings=GAN.model_copy(update={"loss": loss}))

    assert all(torch.isfinite(t).all() for t in weights_of(g=done.model).values())
    assert (done.curve[-1]["gradient_penalty"] > 0) == (LOSSES[loss].penalised != "none")


def test_both_networks_and_the_vae_that_were_given_stay_as_they_are(gan, vae):
    before = weights_of(g=gan.generator, d=gan.discriminator, v=vae)

    tune(gan)
    move(vae)

    assert differing(before, weights_of(g=gan.generator, d=gan.discriminator, v=vae)) == []


@pytest.mark.parametrize("kind", ["gan", "vae"])
def test_the_same_seed_tunes_alike_and_another_one_otherwise(gan, vae, kind):
    loop = partial(tune, gan) if kind == "gan" else partial(move, vae)
    torch.manual_seed(1)
    one = loop()
    torch.manual_seed(2)
    same, other = loop(), loop(seed=1)

    assert differing(weights_of(m=one.model), weights_of(m=same.model)) == []
    assert one.curve == same.curve
    assert differing(weights_of(m=one.model), weights_of(m=other.model))


@pytest.mark.parametrize("kind", ["gan", "vae"])
def test_an_interrupted_tuning_ends_as_an_uninterrupted_one(gan, vae, kind, tmp_path: Path):
    loop = partial(tune, gan) if kind == "gan" else partial(move, vae)

    def watch(model: Generator | Vae) -> Look:
        return Look(1.0, 0.5 + liked(model))

    whole = loop(watch=watch)
    with pytest.raises(KeyboardInterrupt):
        loop(
            runtime=Runtime(monitor=Heard(3 * EVERY), checkpoints=Checkpoints(tmp_path), log_every_images=EVERY),
            watch=watch,
        )
    resumed = loop(runtime=Runtime(checkpoints=Checkpoints(tmp_path), log_every_images=EVERY), watch=watch)

    assert differing(weights_of(m=whole.model), weights_of(m=resumed.model)) == []
    assert whole.curve == resumed.curve
    assert whole.looks == resumed.looks


def test_a_look_beyond_the_allowed_distance_ends_the_tuning_with_what_was_before(gan):
    distances, monitor = iter([10.0, 12.0, 15.9, 30.1]), Heard()

    done = tune(gan, watch=lambda model: Look(next(distances)), runtime=Runtime(monitor=monitor))

    assert [look["frechet_distance"] for look in done.looks] == pytest.approx([10.0, 12.0, 15.9, 30.1])
    assert done.stopped == (
        "the Fréchet distance is 30.1 after 240 images, over 3 times the base's 10 (align.tripwire_factor); "
        "what was there before is kept"
    )
    assert monitor.warnings == [done.stopped]
    shorter = tune(gan, changed(SHORT, "gan", images=10 * 16))
    assert differing(weights_of(g=done.model), weights_of(g=shorter.model)) == []


def test_a_tuning_that_leaves_the_data_at_once_gives_the_base_back(gan):
    distances = iter([10.0, 100.0])

    done = tune(gan, watch=lambda model: Look(next(distances)))

    assert differing(weights_of(g=done.model), weights_of(g=gan.generator)) == []


def test_where_somebody_judges_the_best_look_is_kept(gan):
    rates = iter([0.5, 0.6, 0.8, 0.7, 0.65])

    done = tune(gan, watch=lambda model: Look(1.0, next(rates)))

    assert [look["win_rate"] for look in done.looks] == pytest.approx([0.5, 0.6, 0.8, 0.7, 0.65])
    assert done.stopped == ""
    shorter = tune(gan, changed(SHORT, "gan", images=10 * 16))
    assert differing(weights_of(g=done.model), weights_of(g=shorter.model)) == []


def test_looks_leave_no_trace_in_the_weights(gan):
    often = tune(gan, SHORT.model_copy(update={"inspect_every_images": 16}), watch=lambda model: Look(1.0))

    assert differing(weights_of(g=often.model), weights_of(g=tune(gan).model)) == []


def test_a_reward_that_is_no_number_stops_the_tuning(gan, vae):
    def broken(images: Tensor) -> Tensor:
        return Brightness()(images) * float("nan")

    for loop in (partial(tune, gan), partial(move, vae)):
        with pytest.raises(DivergenceError, match=r"the (generator|prior)'s loss is nan after 0 images"):
            loop(reward=broken)


def test_a_model_without_classes_is_tuned_too():
    plain = train_gan(GAN.model_copy(update={"images": 16}), half_rows(100), 0, Runtime())

    assert tune(plain).model.sample(3, torch.Generator()).shape == (3, 1, 8, 8)


def test_the_reward_sees_what_a_screen_shows(gan):
    seen: list[float] = []

    def watching(images: Tensor) -> Tensor:
        seen.extend([images.min().item(), images.max().item()])
        return Brightness()(images)

    tune(gan, reward=watching)

    assert min(seen) >= 0
    assert max(seen) <= 1


def test_a_look_within_the_distance_of_a_promotion_is_kept_before_a_better_liked_one_beyond_it(gan):
    looks = iter([(10.0, 0.5), (12.0, 0.6), (15.9, 0.7), (16.1, 0.9), (16.2, 0.95)])

    done = tune(gan, watch=lambda model: Look(*next(looks)))

    assert done.stopped == ""
    shorter = tune(gan, changed(SHORT, "gan", images=10 * 16))
    assert differing(weights_of(g=done.model), weights_of(g=shorter.model)) == []


def test_the_discriminator_comes_back_as_it_was_trained_on(gan):
    done = tune(gan)

    assert done.discriminator is not None
    assert differing(weights_of(d=done.discriminator), weights_of(d=gan.discriminator)) != []
    assert not any(parameter.requires_grad for parameter in done.discriminator.parameters())


def test_witnesses_keep_the_mean_features_near_the_bases(gan):
    def moved(weight):
        seen_by = Witnesses([Pixels()], [1.0])
        done = tune(gan, changed(SHORT, "gan", feature_weight=weight, anchor_weight=0.0), witnesses=seen_by)
        images = [model.sample(256, torch.Generator().manual_seed(0)) for model in (done.model, gan.generator)]
        return float(seen_by.shift(*images)), done.curve[-1]

    free, held = moved(0.0), moved(100.0)

    assert held[0] < 0.5 * free[0]
    assert held[1]["feature_shift"] < free[1]["feature_shift"]
