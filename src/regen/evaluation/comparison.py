"""What text-books assert of GANs and VAEs, measured: sharpness, diversity, class balance, evenness of the latent path."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from regen.evaluation.intervals import Noise, Replicated

PATHS, STEPS = 64, 16
LARGEST = 2048


def sharpness(images: Float[Tensor, "n c h w"]) -> float:
    """Mean absolute Laplacian; compare it with the real images' own: below it is blur, above it is noise."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]).expand(images.shape[1], 1, 3, 3)
    return float(F.conv2d(images, kernel, groups=images.shape[1]).abs().mean())


def diversity(features: Float[Tensor, "n d"]) -> float:
    """Mean distance between two rows' features; compare it with the real rows' own: below it, modes are missing.

    At most `LARGEST` rows are taken, spread evenly, since the pairs grow with the square.
    """
    if len(features) > LARGEST:
        features = features[torch.linspace(0, len(features) - 1, LARGEST).long()]
    return float(torch.pdist(features).mean())


def class_shift(real: Int64[np.ndarray, " n"], fake: Int64[np.ndarray, " m"], n_classes: int) -> float:
    """Total variation between two sets' shares of classes: 0 for equal shares, 1 for none in common; lower is better.

    Example:
        >>> class_shift(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]), n_classes=2)
        0.25
    """
    shares = [np.bincount(labels, minlength=n_classes) / len(labels) for labels in (real, fake)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def measure_class_shift(
    real: Int64[np.ndarray, " n"], fake: Int64[np.ndarray, " m"], n_classes: int, draws: int, seed: int
) -> Replicated:
    """`class_shift` with resamples of both sets' rows.

    Chance alone sets two samples of one law apart, and a bootstrap's percentiles hold a truth of 0 half of the time.
    """
    rng = np.random.default_rng(seed)
    shares, drawn = [], []
    for labels in (real, fake):
        shares.append(np.bincount(labels, minlength=n_classes) / len(labels))
        drawn.append(
            np.stack([
                np.bincount(labels[rng.integers(len(labels), size=len(labels))], minlength=n_classes) / len(labels)
                for _ in range(draws)
            ])
        )  # fmt: skip
    replicates = np.abs(drawn[0] - drawn[1]).sum(axis=1) / 2
    noise = np.abs((drawn[0] - shares[0]) - (drawn[1] - shares[1])).sum(axis=1) / 2
    return Replicated(
        class_shift(real, fake, n_classes), replicates, corrects_bias=True, least=0, rows=min(len(real), len(fake)),
        spread=Noise(noise, replicates - replicates.mean()),
    )  # fmt: skip


@torch.no_grad()
def path_unevenness(
    decode: Callable[[Tensor], Tensor],
    features: Callable[[Tensor], Tensor],
    latents: Float[Tensor, "n d"],
) -> float:
    """Largest step over mean step between the features along straight latent paths; 1 is even, lower is smoother.

    The idea is perceptual path length's (Karras et al., 2019), taken relative to the path so that scales compare.

    Args:
        latents: ends of the paths, consecutive rows being the two ends of one.
    """
    starts, ends = latents[0::2][:PATHS], latents[1::2][:PATHS]
    along = torch.linspace(0, 1, STEPS + 1)[:, None, None]
    points = starts + (ends - starts) * along
    decoded = decode(points.flatten(0, 1)).clamp(0, 1)
    found = features(decoded).unflatten(0, (STEPS + 1, -1))
    steps = (found[1:] - found[:-1]).norm(dim=-1)
    return float((steps.max(dim=0).values / steps.mean(dim=0).clamp_min(1e-9)).mean())
