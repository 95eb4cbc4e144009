"""Kernel distance between two sets of features (KID: Bińkowski et al., *Demystifying MMD GANs*, 2018).

The kernel is (xᵀy/d + 1)³ and the estimate of the squared maximum mean discrepancy is unbiased, so unlike a Fréchet distance
it does not fall with the number of rows. Its sums over pairs are of degree 3 in the features: a state that could be merged
without the rows would hold all products of up to three features, (d + 3 choose 3) numbers, 47,905 for d = 64 and 1.4 thousand
million for d = 2048. So what is kept and merged are the rows themselves (`space.FeatureSet`).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from regen.core.errors import EvaluationError
from regen.evaluation.frechet import Features, evenly
from regen.evaluation.intervals import Replicated

LARGEST = 2048
"""Rows of a set that are resampled at most: all pairs of them are held at once."""


def measure_kernel(
    real: Features, fakes: Sequence[Features], draws: int, seed: int, *, scaled: bool = True
) -> Replicated:
    """The mean kernel distance of several fake sets to the real one, with resamples; lower is better, and below 0 too.

    A resample gives each row a weight, how often it was drawn. Pairs of a row with itself are left out, so that a resample's
    distance is no more biased than the sets' own. At most `LARGEST` rows of each set are used, evenly spaced.

    Args:
        scaled: take features in units of the real rows' root mean square. The kernel's constant 1 suits Inception's, which are
            of about that size; others may be of any, and the cube of it would be all that the figure says.

    Raises:
        EvaluationError: the sets differ in size or width, have fewer than 2 rows, or a feature is not finite.
    """
    if any(len(fake) != len(real) for fake in fakes):
        met = ", ".join(str(len(fake)) for fake in fakes)
        raise EvaluationError(f"a kernel distance needs as many fake rows as real ones, got {met} and {len(real)}")
    for fake in fakes:
        _require_comparable(real, fake)
    real, *fakes = (evenly(rows.astype(np.float64, copy=False), LARGEST) for rows in (real, *fakes))
    if scaled:
        unit = float(np.sqrt(np.square(real).mean())) or 1.0
        real, *fakes = (rows / unit for rows in (real, *fakes))
    n, rng = len(real), np.random.default_rng(seed)
    weights = [
        np.ones((1, n)),
        *(rng.multinomial(n, np.full(n, 1 / n), draws).astype(float) for _ in range(1 + len(fakes))),
    ]
    of_real = np.concatenate([weights[0], weights[1]])
    within, found = _within(of_real, _kernel(real, real)), np.zeros(1 + draws)
    for fake, drawn in zip(fakes, weights[2:], strict=True):
        of_fake = np.concatenate([weights[0], drawn])
        across = ((of_real @ _kernel(real, fake)) * of_fake).sum(axis=1) / n**2
        found += (within + _within(of_fake, _kernel(fake, fake)) - 2 * across) / len(fakes)
    return Replicated(float(found[0]), found[1:], rows=n)


def _within(weights: Float64[np.ndarray, "b n"], kernel: Float64[np.ndarray, "n n"]) -> Float64[np.ndarray, " b"]:
    """The mean of the kernel over pairs of different rows, each pair as often as both were drawn."""
    np.fill_diagonal(kernel, 0)
    pairs = weights.sum(axis=1) ** 2 - np.square(weights).sum(axis=1)
    means: np.ndarray = ((weights @ kernel) * weights).sum(axis=1) / pairs
    return means


def _require_comparable(real: Features, fake: Features) -> None:
    if min(len(real), len(fake)) < 2:
        raise EvaluationError(
            f"a kernel distance needs at least 2 rows of each set, got {len(real)} real and {len(fake)} fake ones; add rows"
        )
    if real.shape[1] != fake.shape[1]:
        raise EvaluationError(f"the sets have {real.shape[1]} and {fake.shape[1]} features; use one extractor for both")
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        raise EvaluationError("the features hold NaN or infinity; look at the images or at the extractor's training")


def _kernel(some: Features, others: Features) -> np.ndarray:
    values: np.ndarray = some @ others.T
    values /= some.shape[1]
    values += 1
    cubed: np.ndarray = values * values
    cubed *= values
    return cubed
