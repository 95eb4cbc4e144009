"""The VAE's loop: it learns to reconstruct, and calibrates what its use needs."""

import subprocess
import sys
from copy import deepcopy
from math import log
from pathlib import Path

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from regen.core.errors import DataError
from regen.core.sections.models import VaeConfig
from regen.models import storage
from regen.models.mixture import ROWS_A_COMPONENT
from regen.models.vae import COMPONENTS, Vae, gaussian_kl_terms, gaussian_nll
from regen.training import vae as module
from regen.training.rows import Rows
from regen.training.runtime import Runtime
from regen.training.vae import (
    LEAST_LOG_SIGMA,
    TrainedVae,
    build,
    calibrate,
    optimal_log_sigma,
    train_vae,
)
from tests.unit.training.toys import Heard, differing, half_rows, halves, is_left, weights_of

CONFIG = VaeConfig(network="mlp", width=2, latent_dim=3, images=400 * 16, batch_size=16, score_draws=4)


SHORT = CONFIG.model_copy(update={"images": 20 * 16})


CLASSES = ("left", "right")


def images(n: int, seed: int) -> Tensor:
    return halves(n, seed)[0]


@pytest.fixture(scope="module")
def watched() -> tuple[TrainedVae, Heard]:
    """A training that goes well, and what its monitor heard."""
    monitor = Heard()
    runtime = Runtime(monitor=monitor, log_every_images=50 * 16, checkpoint_every_images=200 * 16)
    return train_vae(CONFIG, half_rows(200), half_rows(60, 1), 0, runtime, CLASSES), monitor


@pytest.fixture(scope="module")
def trained(watched: tuple[TrainedVae, Heard]) -> TrainedVae:
    return watched[0]


def short(runtime: Runtime | None = None, **change: object) -> dict[str, Tensor]:
    """The weights after a few steps with some settings changed."""
    config = SHORT.model_copy(update=change)
    done = train_vae(config, half_rows(), half_rows(16, 9), 0, runtime or Runtime())
    return weights_of(vae=done.vae)


def test_a_few_hundred_steps_lower_the_loss(trained: TrainedVae) -> None:
    first, last = trained.curve[0], trained.curve[-1]

    assert set(first) == {"images", "negative_elbo", "nll", "kl", "mse"}
    assert last["nll"] < first["nll"]
    assert last["negative_elbo"] < first["negative_elbo"]
    assert last["mse"] < 0.5 * first["mse"]


def test_rows_that_training_never_saw_are_reconstructed(trained: TrainedVae) -> None:
    held_out = images(50, 2)

    error = (trained.vae.reconstruct(held_out) - held_out).square().mean()

    assert error < 0.25 * held_out.var()


def test_samples_look_like_the_images(trained: TrainedVae) -> None:
    samples = trained.vae.sample(500, torch.Generator().manual_seed(0))
    left, right = samples[..., :4].mean(dim=(1, 2, 3)), samples[..., 4:].mean(dim=(1, 2, 3))

    assert ((left - right).abs() > 0.4).float().mean() > 0.8
    assert (left > right).float().mean().item() == pytest.approx(0.5, abs=0.15)


def test_a_class_that_is_asked_for_is_given(trained: TrainedVae) -> None:
    for position, share in ((0, 1), (1, 0)):
        asked = trained.vae.sample(200, torch.Generator().manual_seed(0), torch.full((200,), position))
        assert is_left(asked).float().mean().item() == pytest.approx(share, abs=0.05)


def test_stranger_images_score_higher(trained: TrainedVae) -> None:
    normal, strange = images(50, 2), torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(3))

    scores = trained.vae.anomaly_score(torch.cat([normal, strange]))

    assert roc_auc_score([0] * 50 + [1] * 50, scores) > 0.95


SCORE = """\
import sys, torch
from pathlib import Path
from regen.models import storage
torch.set_num_threads(1)
images = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(3))
vae = storage.load(Path(sys.argv[1]), "vae")
torch.manual_seed(int(sys.argv[2]))
print(vae.anomaly_score(images).numpy().tobytes().hex())
"""


@pytest.mark.slow
def test_one_image_has_one_score_whatever_the_call_and_the_process(trained: TrainedVae, tmp_path: Path) -> None:
    given = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    storage.save(
        tmp_path, "vae", trained.vae, shape=(1, 8, 8), network="mlp", width=2, latent_dim=3,
        n_reference=len(trained.vae.reference), neighbours=CONFIG.score_neighbours, draws=4, classes=CLASSES,
    )  # fmt: skip

    here = [trained.vae.anomaly_score(given).numpy().tobytes().hex() for _ in range(2)]
    there = [
        subprocess.run(
            [sys.executable, "-c", SCORE, str(tmp_path), seed], capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("1", "2")
    ]

    assert len({*here, *there}) == 1


def test_the_score_is_scaled_to_the_rows_held_out(trained: TrainedVae) -> None:
    held_out = images(60, 1)

    assert trained.vae.anomaly_score(held_out).mean().item() == pytest.approx(0, abs=1e-3)
    for row, part in enumerate(trained.vae.score_parts(held_out)):
        torch.testing.assert_close(
            trained.vae.calibration[row], torch.stack([part.mean(), part.std()]), rtol=1e-3, atol=1e-3
        )


def test_the_threshold_flags_the_share_that_was_asked_for(trained: TrainedVae) -> None:
    scores = trained.vae.anomaly_score(images(60, 1))

    assert trained.vae.is_anomaly(scores).float().mean().item() == pytest.approx(1 - CONFIG.flag_quantile, abs=1 / 60)


def test_with_no_other_sigma_is_the_negative_elbo_of_the_rows_held_out_lower(trained: TrainedVae) -> None:
    held_out, vae = images(60, 1), deepcopy(trained.vae)

    def bound(change: float) -> float:
        vae.log_sigma.copy_(trained.vae.log_sigma + change)
        return float(vae.negative_elbo(held_out).mean())

    assert min((bound(percent / 100), percent) for percent in range(-5, 6))[1] == 0


def test_a_decoder_that_leaves_the_range_of_pixels_is_not_taken_for_a_clipped_one() -> None:
    vae, held_out = build(CONFIG, (1, 8, 8), 40, seed=0), half_rows(9, 1)
    vae.decode = lambda latents: torch.full((len(latents), 1, 8, 8), 3.0)

    calibrate(vae, half_rows(40), held_out, CONFIG, seed=0)

    assert vae.log_sigma.exp().item() == pytest.approx((held_out.held - 3).square().mean().sqrt().item())


def test_the_reference_is_the_training_rows_and_their_latent_means(trained: TrainedVae) -> None:
    reference = images(200, 0)

    torch.testing.assert_close(trained.vae.reference, trained.vae.encode(reference)[0])
    assert torch.equal(trained.vae.reference_images, (reference * 255).round().flatten(1).to(torch.uint8))


def test_many_rows_are_thinned_for_the_reference() -> None:
    config = SHORT.model_copy(update={"score_reference": 10})

    done = train_vae(config, half_rows(91), half_rows(16, 9), 0, Runtime())

    expected = half_rows(91).thinned(10)
    torch.testing.assert_close(done.vae.reference, done.vae.encode(expected.held)[0])
    assert done.vae.reference_images.shape == (10, 64)


def test_calibration_leaves_the_weights_untouched(trained: TrainedVae) -> None:
    weights = {name: parameter.clone() for name, parameter in trained.vae.named_parameters()}

    calibrate(trained.vae, half_rows(200), half_rows(60, 1), CONFIG, seed=0)

    assert all(torch.equal(parameter, weights[name]) for name, parameter in trained.vae.named_parameters())


@pytest.mark.parametrize("n", [2, 19, 40, 300])
def test_the_prior_is_refitted_on_any_number_of_rows(n: int) -> None:
    vae = build(CONFIG, (1, 8, 8), n, seed=0)

    calibrate(vae, half_rows(n), half_rows(9, 1), CONFIG, seed=0)

    assert vae.mixture_weights.sum().item() == pytest.approx(1, abs=1e-5)
    assert (vae.mixture_weights > 0).sum() == min(COMPONENTS, max(n // ROWS_A_COMPONENT, 1))
    assert torch.isfinite(vae.sample(20, torch.Generator())).all()


def test_each_class_has_its_part_of_the_prior_and_its_share() -> None:
    latents, classes = torch.randn(90, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(90) % 3
    classes[classes == 2] = 0
    vae = build(CONFIG, (1, 8, 8), 90, 0, CLASSES)

    calibrate(vae, Rows.of(latents.sigmoid(), classes), half_rows(9, 1), CONFIG, seed=0)

    assert vae.class_shares.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert vae.mixture_weights.sum(dim=1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (vae.mixture_weights > 0).sum(dim=1).tolist() == [60 // ROWS_A_COMPONENT, 30 // ROWS_A_COMPONENT]


@pytest.mark.parametrize("n_alone", [0, 1])
def test_a_class_of_hardly_any_rows_keeps_the_plain_prior(n_alone: int) -> None:
    rows = Rows.of(images(40, 0), torch.tensor([1] * n_alone + [0] * (40 - n_alone)))
    vae = build(CONFIG, (1, 8, 8), 40, 0, CLASSES)

    calibrate(vae, rows, half_rows(9, 1), CONFIG, seed=0)

    assert vae.mixture_means[1].abs().sum() == 0
    assert torch.isfinite(vae.sample(20, torch.Generator(), torch.ones(20, dtype=torch.int64))).all()


def test_labels_do_not_touch_the_weights() -> None:
    one = train_vae(SHORT, half_rows(), half_rows(16, 9), 0, Runtime(), CLASSES)
    other = train_vae(SHORT, Rows.of(images(64, 0)), half_rows(16, 9), 0, Runtime())

    assert all(torch.equal(a, b) for a, b in zip(one.vae.parameters(), other.vae.parameters(), strict=True))


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_rows_held_out_are_too_few_to_calibrate_on(n: int) -> None:
    vae = build(CONFIG, (1, 8, 8), 40, seed=0)

    with pytest.raises(DataError, match=f"2 or more normal validation rows, got {n}"):
        calibrate(vae, half_rows(40), half_rows(n, 1), CONFIG, seed=0)


def test_without_neighbours_the_score_is_calibrated_too() -> None:
    config = CONFIG.model_copy(update={"score_neighbours": 0})
    vae = build(config, (1, 8, 8), 40, seed=0)

    calibrate(vae, half_rows(40), half_rows(20, 1), config, seed=0)

    assert vae.anomaly_score(images(20, 1)).mean().item() == pytest.approx(0, abs=1e-3)
    assert torch.isfinite(vae.threshold)


def test_binary_images_are_learned_by_their_own_likelihood() -> None:
    binary = (images(200, 0) > 0.45).float()
    config = CONFIG.model_copy(update={"likelihood": "bernoulli", "images": 100 * 16})

    done = train_vae(config, Rows.of(binary), Rows.of(binary[:20]), 0, Runtime(log_every_images=25 * 16))

    assert done.vae.likelihood == "bernoulli"
    assert done.curve[-1]["nll"] < 0.7 * done.curve[0]["nll"]
    assert done.curve[-1]["nll"] > 0


def test_the_optimal_sigma_is_the_root_of_the_mean_squared_error() -> None:
    real, mean = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5)

    assert optimal_log_sigma(real, mean).item() == pytest.approx(log(0.5), abs=0.01)


def test_no_other_sigma_is_likelier() -> None:
    real, mean = images(10, 0), images(10, 1)
    best = optimal_log_sigma(real, mean)

    nll, higher, lower = (gaussian_nll(real, mean, best + step).sum() for step in (0.0, 0.1, -0.1))

    assert nll < min(higher, lower)


def test_a_perfect_fit_does_not_blow_the_likelihood_up() -> None:
    real = images(4, 0)

    assert optimal_log_sigma(real, real).item() == LEAST_LOG_SIGMA


def test_untrained_weights_follow_the_seed() -> None:
    one, same, other = (build(CONFIG, (1, 8, 8), 0, seed) for seed in (0, 0, 1))

    def first(vae: Vae) -> Tensor:
        return next(vae.encoder.parameters())

    assert torch.equal(first(one), first(same))
    assert not torch.equal(first(one), first(other))


# No term is dead


@pytest.mark.parametrize(
    "change",
    [
        {"warmup_share": 0.9}, {"learning_rate": 2e-3}, {"ema_half_life_images": 3}, {"batch_size": 8},
        {"latent_dim": 4}, {"width": 1}, {"images": 24 * 16}, {"network": "conv"}, {"network": "transformer"},
        {"likelihood": "bernoulli"},
    ],
    ids=str,
)  # fmt: skip
def test_every_setting_moves_the_weights(change: dict) -> None:
    one, other = short(), short(**change)

    same = [n for n in one if n in other and one[n].shape == other[n].shape and torch.equal(one[n], other[n])]
    assert not [name for name in same if name.startswith(("vae.encoder", "vae.decoder"))]


def test_a_half_life_longer_than_a_twentieth_of_the_images_is_that_twentieth() -> None:
    assert differing(short(ema_half_life_images=10_000), short(ema_half_life_images=20_000)) == []


@pytest.mark.parametrize("network", ["conv", "mlp", "transformer"])
def test_each_term_has_a_gradient_in_every_layer(network: str) -> None:
    vae, given = build(CONFIG.model_copy(update={"network": network}), (1, 8, 8), 0, seed=0), images(16, 0)
    mean, log_variance = vae.encode(given)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    decoded = vae.decode(mean + (log_variance / 2).exp() * noise)

    def still(loss: Tensor, part: str) -> list[str]:
        named = {n: p for n, p in vae.named_parameters() if n.startswith(part) and "weight" in n}
        found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
        return [name for name, g in zip(named, found, strict=True) if g is None or not g.abs().sum() > 0]

    assert still(vae.nll(given, decoded, optimal_log_sigma(given, decoded)).mean(), "") == []
    assert still(gaussian_kl_terms(mean, log_variance).sum(), "encoder") == []


@pytest.mark.parametrize("dead", ["nll", "kl"])
def test_without_one_of_its_terms_the_result_is_another(dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = short()
    if dead == "kl":
        monkeypatch.setattr(module, "gaussian_kl_terms", lambda mean, log_variance: 0 * mean)
    else:
        monkeypatch.setattr(Vae, "mean_nll", lambda self, real, decoded, mse, log_sigma: 0 * decoded.sum())

    moved = differing(alive, short())

    assert [name for name in moved if name.startswith("vae.encoder")]


def test_a_training_that_does_well_warns_of_nothing_and_tells_of_each_dimension(
    watched: tuple[TrainedVae, Heard],
) -> None:
    _, monitor = watched

    assert monitor.warnings == []
    assert set(monitor.measured[-1][1]) == {"active_units", "sigma", "kl_00", "kl_01", "kl_02"}
    assert monitor.measured[-1][1]["active_units"] > 0.3
    assert 0 < monitor.measured[-1][1]["sigma"] < 0.3
