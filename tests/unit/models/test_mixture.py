"""A Gaussian mixture as part of a saved model."""

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch.distributions import MultivariateNormal

from regen.models.mixture import LEAST_VARIANCE, ROWS_A_COMPONENT, Mixture

NOTHING = torch.zeros(2000, 0)
"""What is given where nothing is."""


def two_heaps(n: int = 600) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(n, 2, generator=rng) + 8.0 * (torch.arange(n) % 2)[:, None]


def test_an_unfitted_mixture_is_standard_normal() -> None:
    points = torch.randn(5, 3)

    expected = MultivariateNormal(torch.zeros(3), torch.eye(3)).log_prob(points)

    torch.testing.assert_close(Mixture(3).log_density(points, NOTHING[:5]), expected)
    torch.testing.assert_close(Mixture(3, given=2).log_density(points, torch.randn(5, 2)), expected)


def test_its_density_is_scikit_learns() -> None:
    draws, mixture = two_heaps(), Mixture(2, components=2)

    mixture.fit(draws, NOTHING[:600], seed=3)

    theirs = GaussianMixture(2, reg_covar=LEAST_VARIANCE, random_state=3).fit(draws.double().numpy())
    np.testing.assert_allclose(
        mixture.log_density(draws, NOTHING[:600]), theirs.score_samples(draws.numpy()), rtol=1e-4, atol=1e-4
    )


def test_draws_lie_where_the_data_lie_and_follow_the_generator() -> None:
    mixture = Mixture(2)
    mixture.fit(two_heaps(), NOTHING[:600], seed=0)

    one, same = (mixture.draw(NOTHING, torch.Generator().manual_seed(1)) for _ in range(2))

    assert torch.equal(one, same)
    torch.testing.assert_close(one.mean(dim=0), torch.full((2,), 4.0), atol=0.4, rtol=0)
    assert ((one - 4).abs() > 1.5).float().mean() > 0.9


@pytest.mark.parametrize("n", [2, 60, 600])
def test_few_draws_leave_components_empty(n: int) -> None:
    mixture = Mixture(2)

    mixture.fit(two_heaps(n), NOTHING[:n], seed=0)

    assert int((mixture.weights > 0).sum()) == min(10, max(n // ROWS_A_COMPONENT, 1))
    assert mixture.log_density(two_heaps(n), NOTHING[:n]).isfinite().all()


def test_what_is_given_decides_where_draws_lie() -> None:
    heaps, mixture = two_heaps(2000), Mixture(1, given=1)
    mixture.fit(heaps[:, 1:], heaps[:, :1], seed=0)
    asked = torch.tensor([[0.0], [8.0]]).repeat(500, 1)

    drawn = mixture.draw(asked, torch.Generator().manual_seed(0))

    torch.testing.assert_close(drawn[0::2].mean(), torch.tensor(0.0), atol=0.3, rtol=0)
    torch.testing.assert_close(drawn[1::2].mean(), torch.tensor(8.0), atol=0.3, rtol=0)
    assert mixture.log_density(torch.tensor([[8.0]]), torch.tensor([[8.0]])) > -3
    assert mixture.log_density(torch.tensor([[8.0]]), torch.tensor([[0.0]])) < -10


def test_the_density_of_what_is_given_and_of_the_rest_is_that_of_both() -> None:
    points, mixture = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)), Mixture(1, given=2)
    mixture.fit(points[:, 2:], points[:, :2], seed=0)
    used = mixture.weights > 0
    parts = [
        MultivariateNormal(mean, scale_tril=factor).log_prob(points[:9]) + weight.log()
        for mean, factor, weight in zip(mixture.means[used], mixture.factors[used], mixture.weights[used], strict=True)
    ]
    alone = [
        MultivariateNormal(mean[:2], scale_tril=factor[:2, :2]).log_prob(points[:9, :2]) + weight.log()
        for mean, factor, weight in zip(mixture.means[used], mixture.factors[used], mixture.weights[used], strict=True)
    ]

    expected = torch.stack(parts).logsumexp(dim=0) - torch.stack(alone).logsumexp(dim=0)

    torch.testing.assert_close(mixture.log_density(points[:9, 2:], points[:9, :2]), expected, rtol=1e-4, atol=1e-4)
