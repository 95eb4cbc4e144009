"""The importance-weighted bound: exact where the posterior is, below the truth elsewhere, and rising with its draws."""

from math import log, pi

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Bernoulli, MultivariateNormal, Normal

from regen.core.errors import EvaluationError
from regen.evaluation.likelihood import bits_per_dimension, iwae_bound

SIGMA = 0.5


class LinearGaussian:
    """x = z·w + σ·noise, whose likelihood is N(0, wwᵀ + σ²I); the encoder is the exact posterior, off by `error`."""

    def __init__(self, error: float = 0.0) -> None:
        self.weights, self.error = torch.tensor([[1.0, -0.5, 0.3, 0.8]]), error
        self.variance = 1 / (1 + self.weights.square().sum() / SIGMA**2)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.variance * images.flatten(1) @ self.weights.T / SIGMA**2
        return mean + self.error, self.variance.log().expand_as(mean) + self.error

    def decode(self, latents: Tensor) -> Tensor:
        return (latents @ self.weights).unflatten(1, (1, 2, 2))

    def nll(self, images: Tensor, decoded: Tensor) -> Tensor:
        return -Normal(decoded, SIGMA, validate_args=False).log_prob(images).flatten(1).sum(dim=1)

    def exact(self, images: Tensor) -> np.ndarray:
        covariance = self.weights.T @ self.weights + SIGMA**2 * torch.eye(4)
        return MultivariateNormal(torch.zeros(4), covariance).log_prob(images.flatten(1)).double().numpy()


class CoinFlips(LinearGaussian):
    """Bernoulli pixels of probability sigmoid(z·w), with N(0, I) for a posterior."""

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(images), 1), torch.zeros(len(images), 1)

    def decode(self, latents: Tensor) -> Tensor:
        return torch.sigmoid(super().decode(latents))

    def nll(self, images: Tensor, decoded: Tensor) -> Tensor:
        return -Bernoulli(decoded).log_prob(images).flatten(1).sum(dim=1)

    def exact(self, images: Tensor) -> np.ndarray:
        z = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
        probabilities = torch.sigmoid(z @ self.weights.double())
        likelihood = Bernoulli(probabilities[:, None]).log_prob(images.flatten(1).double()).sum(dim=2)
        weighed = likelihood - 0.5 * z.square() - 0.5 * log(2 * pi) + log(16 / 4000)
        return torch.logsumexp(weighed, dim=0).numpy()


def images(n: int = 12, seed: int = 0) -> Tensor:
    return torch.randn(n, 1, 2, 2, generator=torch.Generator().manual_seed(seed))


def bound(vae: LinearGaussian, x: Tensor, draws: int, seed: int = 0, chunk: int = 512) -> np.ndarray:
    return iwae_bound(vae, x, draws, torch.Generator().manual_seed(seed), chunk)


@pytest.mark.parametrize("draws", [1, 7])
def test_with_the_exact_posterior_every_draw_gives_the_likelihood(draws: int) -> None:
    vae = LinearGaussian()

    np.testing.assert_allclose(bound(vae, images(), draws), vae.exact(images()), atol=1e-4)


def test_with_another_posterior_it_lies_below_and_approaches_the_likelihood() -> None:
    vae, x = LinearGaussian(error=0.6), images(200)

    gaps = [(vae.exact(x) - bound(vae, x, draws)).mean() for draws in (1, 5, 50, 2000)]

    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.1
    assert gaps[-1] == pytest.approx(0, abs=0.01)


def test_one_draw_is_the_elbo_on_average() -> None:
    vae, x = LinearGaussian(error=0.3), images(1).expand(4000, 1, 2, 2)
    mean, log_variance = (parts[0] for parts in vae.encode(x[:1]))
    posterior, true = Normal(mean, (log_variance / 2).exp()), LinearGaussian().encode(x[:1])
    divergence = torch.distributions.kl_divergence(posterior, Normal(true[0][0], (true[1][0] / 2).exp()))

    assert bound(vae, x, 1).mean() == pytest.approx(vae.exact(x[:1])[0] - float(divergence), abs=0.05)


def test_binary_pixels_agree_with_quadrature() -> None:
    vae = CoinFlips()
    x = (images() > 0).float()

    np.testing.assert_allclose(bound(vae, x, 20_000), vae.exact(x), atol=0.02)


@given(st.integers(0, 1000), st.integers(1, 12))
def test_neither_the_chunk_nor_the_time_it_is_asked_matters(seed: int, chunk: int) -> None:
    vae, x = LinearGaussian(error=0.5), images(8, seed)

    np.testing.assert_allclose(bound(vae, x, 5, seed, chunk), bound(vae, x, 5, seed), atol=1e-5)


def test_images_far_from_the_model_stay_finite() -> None:
    assert np.isfinite(bound(LinearGaussian(error=1.0), 100 * images(), 10)).all()


def test_no_draws_are_refused() -> None:
    with pytest.raises(EvaluationError, match="at least 1 draw, got 0"):
        bound(LinearGaussian(), images(), 0)


def test_a_likelihood_that_is_no_number_is_refused() -> None:
    with pytest.raises(EvaluationError, match="holds NaN; look at the VAE's training"):
        bound(LinearGaussian(error=float("nan")), images(), 2)


@given(st.floats(-1e4, 1e4), st.integers(1, 4000))
def test_bits_a_dimension_are_nats_over_dimensions_and_log_2(nats: float, dimensions: int) -> None:
    assert bits_per_dimension(np.array([nats]), dimensions)[0] == pytest.approx(nats / dimensions / log(2))
