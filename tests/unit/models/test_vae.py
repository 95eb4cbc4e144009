"""The VAE's model: its likelihood and divergence are the known ones, and one image has one score."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal, kl_divergence

from regen.core.sections.base import Network
from regen.models.vae import LOG_VARIANCE_RANGE, Vae, bernoulli_nll, gaussian_kl, gaussian_kl_terms, gaussian_nll

SHAPE = (1, 8, 8)
CALIBRATION = torch.tensor([[50.0, 10.0], [4.0, 2.0], [1.0, 0.5], [3.0, 0.25], [1.0, 0.1], [1.0, 0.2]])
"""Mean and standard deviation of each part of the score."""


def make(n_reference: int = 40, neighbours: int = 3, **options: object) -> Vae:
    torch.manual_seed(0)
    vae = Vae(SHAPE, "mlp", 2, 4, n_reference=n_reference, neighbours=neighbours, draws=3, **options).eval()
    vae.reference.copy_(torch.randn(n_reference, 4))
    vae.reference_images.copy_(torch.randint(0, 256, (n_reference, 64)))
    vae.calibration.copy_(CALIBRATION)
    vae.log_sigma.fill_(-1.0)
    return vae.requires_grad_(False)


def images(n: int) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


@given(st.integers(0, 1000))
def test_the_divergence_is_that_of_torchs_distributions(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(5, 3, generator=rng), 2 * torch.randn(5, 3, generator=rng)

    reference = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(dim=1)

    torch.testing.assert_close(gaussian_kl(mean, log_variance), reference)


@given(st.integers(0, 1000), st.floats(-5, 3))
def test_the_likelihood_is_that_of_torchs_distributions(seed: int, log_sigma: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    real, mean = torch.rand(4, *SHAPE, generator=rng), torch.rand(4, *SHAPE, generator=rng)
    scale = torch.tensor(log_sigma)

    reference = -Independent(Normal(mean, scale.exp()), 3).log_prob(real)

    torch.testing.assert_close(gaussian_nll(real, mean, scale), reference)


def test_the_prior_is_at_divergence_0_from_itself() -> None:
    assert gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0, 0]


def test_the_log_variance_is_clamped() -> None:
    vae = make()
    vae.encoder.net[-1].bias[4:] = torch.tensor([1e3, -1e3, 1e3, -1e3])

    _, log_variance = vae.encode(images(2))

    least, most = LOG_VARIANCE_RANGE
    assert log_variance[0].tolist() == [most, least, most, least]


@pytest.mark.parametrize("network", get_args(Network))
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 9, 7), (1, 1, 1)])
def test_every_image_size_is_encoded_decoded_and_scored(network: str, shape: tuple[int, int, int]) -> None:
    vae = Vae(shape, network, 2, 4, n_reference=2, neighbours=1, draws=1)
    given_ = torch.rand(2, *shape)

    assert vae.reconstruct(given_).shape == (2, *shape)
    assert vae.sample(3, torch.Generator()).shape == (3, *shape)
    assert vae.anomaly_score(given_).shape == (2,)


def test_an_image_has_the_same_score_on_each_call() -> None:
    vae, given_ = make(), images(20)

    assert torch.equal(vae.anomaly_score(given_), vae.anomaly_score(given_))


def test_an_images_score_does_not_depend_on_its_batch() -> None:
    vae, given_ = make(), images(1100)
    together = vae.anomaly_score(given_)

    backwards = vae.anomaly_score(given_.flip(0)).flip(0)
    alone = torch.cat([vae.anomaly_score(given_[row : row + 1]) for row in (0, 255, 256, 1023, 1024, 1099)])

    torch.testing.assert_close(backwards, together, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(alone, together[[0, 255, 256, 1023, 1024, 1099]], rtol=1e-4, atol=1e-4)


def test_a_score_leaves_the_global_generator_alone() -> None:
    vae, before = make(), torch.get_rng_state()

    vae.anomaly_score(images(3))
    vae.sample(3, torch.Generator())

    assert torch.equal(torch.get_rng_state(), before)


def test_the_bound_is_likelihood_plus_divergence() -> None:
    vae, given_ = make(), images(5)
    vae.decoder.net[0].weight.zero_()  # every latent is decoded alike, so the draws do not matter
    mean, log_variance = vae.encode(given_)

    expected = gaussian_nll(given_, vae.decode(mean), vae.log_sigma) + gaussian_kl(mean, log_variance)

    torch.testing.assert_close(vae.negative_elbo(given_), expected)


def test_the_bound_averages_over_draws_from_the_posterior() -> None:
    vae, given_ = make(), images(5)
    vae.draws = 500
    mean, log_variance = vae.encode(given_)
    noise = torch.randn(500, 1, 4, generator=torch.Generator().manual_seed(7))

    latents = (mean + (log_variance / 2).exp() * noise).flatten(0, 1)
    nll = gaussian_nll(given_.repeat(500, 1, 1, 1), vae.decode(latents), vae.log_sigma).unflatten(0, (500, 5))

    torch.testing.assert_close(
        vae.negative_elbo(given_), nll.mean(dim=0) + gaussian_kl(mean, log_variance), rtol=0, atol=0.5
    )


def test_the_neighbours_are_the_nearest_reference_rows_in_latents_and_in_pixels() -> None:
    vae, given_ = make(), images(7)

    bound, _, latent, pixel, *_ = vae.score_parts(given_)

    in_latents = (vae.encode(given_)[0][:, None] - vae.reference[None]).norm(dim=2)
    in_pixels = (given_.flatten(1)[:, None] - vae.reference_images[None] / 255).norm(dim=2)
    torch.testing.assert_close(bound, vae.negative_elbo(given_))
    torch.testing.assert_close(latent, in_latents.sort(dim=1).values[:, :3].mean(dim=1))
    torch.testing.assert_close(pixel, in_pixels.sort(dim=1).values[:, :3].mean(dim=1))


def test_the_density_of_latents_is_that_of_the_refitted_mixture() -> None:
    torch.manual_seed(1)
    vae = make(classes=("a", "b"))
    vae.class_shares.copy_(torch.tensor([0.25, 0.75]))
    vae.mixture_weights.copy_(torch.tensor([[0.4, 0.6, *[0] * 8], [1.0, *[0] * 9]]))
    vae.mixture_means.normal_()
    vae.mixture_factors[0, 1] = torch.diag(torch.tensor([1.0, 2.0, 0.5, 1.5]))
    latents = torch.randn(5, 4)

    def density(part: int, place: int) -> torch.Tensor:
        factor = vae.mixture_factors[part, place]
        return MultivariateNormal(vae.mixture_means[part, place], factor @ factor.T).log_prob(latents).exp()

    expected = 0.25 * (0.4 * density(0, 0) + 0.6 * density(0, 1)) + 0.75 * density(1, 0)
    torch.testing.assert_close(vae.log_prior(latents), expected.log())
    means = vae.encode(images(7))[0]
    torch.testing.assert_close(vae.score_parts(images(7))[1], -vae.log_prior(means))


def test_the_score_averages_its_standardised_parts() -> None:
    vae, given_ = make(), images(7)

    parts = [(part - mean) / sd for part, (mean, sd) in zip(vae.score_parts(given_), CALIBRATION, strict=True)]

    torch.testing.assert_close(vae.anomaly_score(given_), torch.stack(parts).mean(dim=0))


def test_a_reference_row_itself_is_at_distance_zero() -> None:
    vae = make(n_reference=40, neighbours=1)
    itself = (vae.reference_images[:5] / 255).reshape(5, *SHAPE)

    assert vae.score_parts(itself)[3].tolist() == pytest.approx([0] * 5, abs=5e-3)


@pytest.mark.parametrize(("n_reference", "neighbours"), [(40, 0), (0, 3)])
def test_without_neighbours_the_score_is_the_bound_alone(n_reference: int, neighbours: int) -> None:
    vae, given_ = make(n_reference, neighbours), images(7)

    torch.testing.assert_close(vae.anomaly_score(given_), (vae.negative_elbo(given_) - 50) / 10)


def test_more_neighbours_than_reference_rows_are_as_many_as_there_are() -> None:
    vae = make(n_reference=2, neighbours=5)

    assert vae.neighbours == 2
    assert [part.shape for part in vae.score_parts(images(3))] == [(3,)] * len(CALIBRATION)


def test_a_score_above_the_threshold_is_flagged() -> None:
    vae = make()
    vae.threshold.fill_(1.5)

    assert vae.is_anomaly(torch.tensor([1.4, 1.5, 1.6])).tolist() == [False, False, True]


def test_an_uncalibrated_model_flags_nothing() -> None:
    vae = Vae(SHAPE, "mlp", 2, 4)

    assert not vae.is_anomaly(torch.tensor([1e30])).any()


def test_samples_follow_the_generator() -> None:
    vae = make()

    one, same, other = (vae.sample(1100, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == (1100, *SHAPE)


def test_samples_are_decoded_from_the_refitted_prior() -> None:
    vae = make()
    vae.mixture_weights.copy_(torch.tensor([[0.0] * 9 + [1.0]]))
    vae.mixture_means[0, 9] = torch.tensor([3.0, -2.0, 1.0, 0.5])
    vae.mixture_factors[0, 9].zero_()

    samples = vae.sample(2, torch.Generator())

    torch.testing.assert_close(samples, vae.decode(vae.mixture_means[0, 9].repeat(2, 1)))


def test_reconstructions_lie_between_0_and_1() -> None:
    vae = make()
    vae.decoder.net[-1].bias[0], vae.decoder.net[-1].bias[1] = 1e3, -1e3

    rebuilt = vae.reconstruct(images(3))

    assert (rebuilt.min(), rebuilt.max()) == (0, 1)


def test_without_the_refitted_prior_latents_are_standard_normal() -> None:
    vae = make()
    vae.mixture_means.fill_(100.0)

    plain, again = (vae.sample(2000, torch.Generator().manual_seed(0), refitted=False) for _ in range(2))

    assert torch.equal(plain, again)
    encoded = vae.decode(torch.randn(2000, 4, generator=torch.Generator().manual_seed(5)))
    torch.testing.assert_close(plain.mean(dim=0), encoded.mean(dim=0), rtol=0, atol=0.03)


def with_classes() -> Vae:
    """A model of three classes, each with a latent of its own."""
    vae = make(classes=("a", "b", "c"))
    vae.class_shares.copy_(torch.tensor([0.0, 1.0, 0.0]))
    vae.mixture_factors.zero_()
    vae.mixture_means.copy_(torch.arange(3.0).reshape(3, 1, 1).expand(3, 10, 4))
    return vae


def test_a_class_is_sampled_from_its_own_part_of_the_prior() -> None:
    vae = with_classes()

    samples = vae.sample(3, torch.Generator(), torch.tensor([2, 0, 1]))

    torch.testing.assert_close(samples, vae.decode(torch.tensor([2.0, 0.0, 1.0])[:, None].repeat(1, 4)))


def test_samples_without_a_class_are_drawn_by_the_classes_shares() -> None:
    vae = with_classes()

    torch.testing.assert_close(vae.sample(5, torch.Generator()), vae.decode(torch.ones(5, 4)))


def test_the_divergence_is_the_sum_of_its_dimensions() -> None:
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)

    terms = gaussian_kl_terms(mean, log_variance)

    assert terms.shape == (5, 3)
    assert (terms >= 0).all()
    torch.testing.assert_close(terms.sum(dim=1), gaussian_kl(mean, log_variance))


@given(st.integers(0, 1000))
def test_the_binary_likelihood_is_that_of_torchs_distributions(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    real = torch.randint(0, 2, (4, *SHAPE), generator=rng).float()
    mean = torch.rand(4, *SHAPE, generator=rng).clamp(0.01, 0.99)

    torch.testing.assert_close(bernoulli_nll(real, mean), -Independent(Bernoulli(mean), 3).log_prob(real))


def test_a_binary_decoder_gives_probabilities_and_is_measured_as_such() -> None:
    vae = make(likelihood="bernoulli")
    binary = (images(3) > 0.5).float()

    decoded = vae.decode(100 * torch.randn(3, 4))

    assert 0 <= decoded.min() <= decoded.max() <= 1
    assert torch.equal(vae.nll(binary, decoded), bernoulli_nll(binary, decoded))
    assert torch.isfinite(vae.nll(binary, decoded)).all()


def test_a_gaussian_decoder_is_measured_with_the_calibrated_sigma_unless_told_another() -> None:
    vae, given_ = make(), images(3)
    decoded = vae.decode(torch.randn(3, 4))

    assert torch.equal(vae.nll(given_, decoded), gaussian_nll(given_, decoded, vae.log_sigma))
    assert torch.equal(vae.nll(given_, decoded, torch.tensor(0.5)), gaussian_nll(given_, decoded, torch.tensor(0.5)))
