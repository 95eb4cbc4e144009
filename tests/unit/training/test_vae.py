"""The VAE's loop: it learns to reconstruct, and calibrates what its use needs."""

from math import log

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from regen.core.config import VaeConfig
from regen.core.errors import DataError
from regen.models.vae import Vae, gaussian_nll
from regen.training.engine import Runtime
from regen.training.vae import LEAST_LOG_SIGMA, TrainedVae, build, calibrate, optimal_log_sigma, train_vae

CONFIG = VaeConfig(network="mlp", width=2, latent_dim=3, images=400 * 16, batch_size=16, score_draws=4)


def halves(n: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    images = 0.2 * torch.rand(n, 1, 8, 8, generator=rng)
    images[0::2, :, :, :4] += 0.7
    images[1::2, :, :, 4:] += 0.7
    return images


@pytest.fixture(scope="module")
def trained() -> TrainedVae:
    return train_vae(CONFIG, halves(200, 0), halves(60, 1), 0, Runtime(log_every_images=50 * 16))


def test_a_few_hundred_steps_lower_the_loss(trained: TrainedVae) -> None:
    first, last = trained.curve[0], trained.curve[-1]

    assert last["nll"] < first["nll"]
    assert last["negative_elbo"] < first["negative_elbo"]
    assert last["mse"] < 0.5 * first["mse"]


def test_rows_that_training_never_saw_are_reconstructed(trained: TrainedVae) -> None:
    held_out = halves(50, 2)

    error = (trained.vae.reconstruct(held_out) - held_out).square().mean()

    assert error < 0.25 * held_out.var()


def test_samples_look_like_the_images(trained: TrainedVae) -> None:
    samples = trained.vae.sample(500, torch.Generator().manual_seed(0))
    left, right = samples[..., :4].mean(dim=(1, 2, 3)), samples[..., 4:].mean(dim=(1, 2, 3))

    assert ((left - right).abs() > 0.4).float().mean() > 0.8
    assert (left > right).float().mean().item() == pytest.approx(0.5, abs=0.15)


def test_stranger_images_score_higher(trained: TrainedVae) -> None:
    normal, strange = halves(50, 2), torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(3))

    scores = trained.vae.anomaly_score(torch.cat([normal, strange]))

    assert roc_auc_score([0] * 50 + [1] * 50, scores) > 0.95


def test_the_score_is_scaled_to_the_rows_held_out(trained: TrainedVae) -> None:
    held_out = halves(60, 1)

    assert trained.vae.anomaly_score(held_out).mean().item() == pytest.approx(0, abs=1e-3)
    for row, part in enumerate(trained.vae.score_parts(held_out)):
        torch.testing.assert_close(
            trained.vae.calibration[row], torch.stack([part.mean(), part.std()]), rtol=1e-3, atol=1e-3
        )


def test_the_threshold_flags_the_share_that_was_asked_for(trained: TrainedVae) -> None:
    scores = trained.vae.anomaly_score(halves(60, 1))

    assert trained.vae.is_anomaly(scores).float().mean().item() == pytest.approx(1 - CONFIG.flag_quantile, abs=1 / 60)


def test_sigma_is_fitted_to_the_rows_held_out(trained: TrainedVae) -> None:
    held_out = halves(60, 1)

    torch.testing.assert_close(
        trained.vae.log_sigma, optimal_log_sigma(held_out, trained.vae.reconstruct(held_out)), rtol=1e-4, atol=1e-4
    )


def test_the_reference_is_the_training_rows_and_their_latent_means(trained: TrainedVae) -> None:
    images = halves(200, 0)

    torch.testing.assert_close(trained.vae.reference, trained.vae.encode(images)[0])
    assert torch.equal(trained.vae.reference_images, (images * 255).round().flatten(1).to(torch.uint8))


def test_calibration_leaves_the_weights_untouched(trained: TrainedVae) -> None:
    weights = {name: parameter.clone() for name, parameter in trained.vae.named_parameters()}

    calibrate(trained.vae, halves(200, 0), halves(60, 1), CONFIG, seed=0)

    assert all(torch.equal(parameter, weights[name]) for name, parameter in trained.vae.named_parameters())


@pytest.mark.parametrize("n", [2, 19, 40, 300])
def test_the_prior_is_refitted_on_any_number_of_rows(n: int) -> None:
    vae = build(CONFIG, (1, 8, 8), n, seed=0)

    calibrate(vae, halves(n, 0), halves(9, 1), CONFIG, seed=0)

    assert vae.mixture_weights.sum().item() == pytest.approx(1, abs=1e-5)
    assert (vae.mixture_weights > 0).sum() == min(10, max(n // 20, 1))
    assert torch.isfinite(vae.sample(20, torch.Generator())).all()


def test_a_single_row_held_out_is_too_few_to_calibrate_on() -> None:
    vae = build(CONFIG, (1, 8, 8), 40, seed=0)

    with pytest.raises(DataError, match="2 or more normal validation rows, got 1"):
        calibrate(vae, halves(40, 0), halves(1, 1), CONFIG, seed=0)


def test_without_neighbours_the_score_is_calibrated_too() -> None:
    config = CONFIG.model_copy(update={"score_neighbours": 0})
    vae = build(config, (1, 8, 8), 40, seed=0)

    calibrate(vae, halves(40, 0), halves(20, 1), config, seed=0)

    assert vae.anomaly_score(halves(20, 1)).mean().item() == pytest.approx(0, abs=1e-3)
    assert torch.isfinite(vae.threshold)


def test_the_optimal_sigma_is_the_root_of_the_mean_squared_error() -> None:
    real, mean = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5)

    assert optimal_log_sigma(real, mean).item() == pytest.approx(log(0.5), abs=0.01)


def test_no_other_sigma_is_likelier() -> None:
    real, mean = halves(10, 0), halves(10, 1)
    best = optimal_log_sigma(real, mean)

    nll, higher, lower = (gaussian_nll(real, mean, best + step).sum() for step in (0.0, 0.1, -0.1))

    assert nll < min(higher, lower)


def test_a_perfect_fit_does_not_blow_the_likelihood_up() -> None:
    images = halves(4, 0)

    assert optimal_log_sigma(images, images).item() == LEAST_LOG_SIGMA


def test_untrained_weights_follow_the_seed() -> None:
    one, same, other = (build(CONFIG, (1, 8, 8), 0, seed) for seed in (0, 0, 1))

    def first(vae: Vae) -> Tensor:
        return vae.encoder.net[0].weight

    assert torch.equal(first(one), first(same))
    assert not torch.equal(first(one), first(other))
