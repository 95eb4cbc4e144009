"""The GAN's losses by the word that the project file uses, each one short function; all are means over the batch.

An adversarial loss takes the discriminator's logits of real and of fake images and gives back what the discriminator
and what the generator minimise. Penalties on the discriminator's gradient stand beside it in `LOSSES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float

from regen.core.sections.models import GanLoss

Logits = Float[torch.Tensor, " n"]


class Pair(NamedTuple):
    """What the two networks minimise."""

    discriminator: Float[torch.Tensor, ""]
    generator: Float[torch.Tensor, ""]


def relativistic(real: Logits, fake: Logits) -> Pair:
    """How badly real logits exceed fake ones, pair by pair, and the reverse, in nats (Jolicoeur-Martineau, 2019).

    Example:
        >>> relativistic(torch.zeros(2), torch.zeros(2)).discriminator
        tensor(0.6931)
    """
    return Pair(F.softplus(fake - real).mean(), F.softplus(real - fake).mean())


def non_saturating(real: Logits, fake: Logits) -> Pair:
    """Cross-entropy of real against fake, and of the fake ones taken for real, in nats (Goodfellow et al., 2014).

    Example:
        >>> non_saturating(torch.zeros(2), torch.zeros(2)).discriminator
        tensor(1.3863)
    """
    return Pair((F.softplus(-real) + F.softplus(fake)).mean(), F.softplus(-fake).mean())


def hinge(real: Logits, fake: Logits) -> Pair:
    """How far real logits stay below 1 and fake ones above −1; the generator raises the fake ones (Lim and Ye, 2017).

    Example:
        >>> hinge(torch.tensor([2.0]), torch.tensor([0.5])).discriminator
        tensor(1.5000)
    """
    return Pair((F.relu(1 - real) + F.relu(1 + fake)).mean(), -fake.mean())


def wasserstein(real: Logits, fake: Logits) -> Pair:
    """The critic's mean difference, an estimate of −(earth mover's distance), without bound (Arjovsky et al., 2017).

    Example:
        >>> wasserstein(torch.tensor([2.0]), torch.tensor([0.5])).discriminator
        tensor(-1.5000)
    """
    return Pair((fake - real).mean(), -fake.mean())


def gradient_norms(slopes: Float[torch.Tensor, "n c h w"]) -> Float[torch.Tensor, " n"]:
    """‖∇ₓD(x)‖² of each image, squares summed over pixels.

    Example:
        >>> gradient_norms(torch.full((2, 1, 2, 2), 3.0))
        tensor([36., 36.])
    """
    return slopes.square().flatten(1).sum(dim=1)


@dataclass(frozen=True)
class Loss:
    """An adversarial loss with its penalty."""

    adversarial: Callable[[Logits, Logits], Pair]
    penalised: str
    """Where the discriminator's gradient is penalised: none, real (R₁), both (R₁ + R₂), or between the two."""
    pairs: bool = False
    """Whether the generator's loss needs the logits of real images."""
    has_zero: bool = True
    """Whether a logit above 0 means real; otherwise only differences of logits tell."""


LOSSES: dict[GanLoss, Loss] = {
    "r3": Loss(relativistic, "both", pairs=True, has_zero=False),
    "ns": Loss(non_saturating, "none"),
    "ns-r1": Loss(non_saturating, "real"),
    "hinge": Loss(hinge, "none"),
    "wgan-gp": Loss(wasserstein, "between", has_zero=False),
}
"""r3: R3GAN (Huang et al., 2024). ns: Goodfellow et al., 2014. ns-r1: Mescheder et al., 2018. hinge: Lim and Ye, 2017.
wgan-gp: Gulrajani et al., 2017."""
