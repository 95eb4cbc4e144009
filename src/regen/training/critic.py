"""What the discriminator of a GAN of images makes of a batch: its adversarial loss, its gradient penalty, its confidence."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from regen.models.gan import Discriminator
from regen.training.augment import augment
from regen.training.draws import Draws
from regen.training.losses import Loss, gradient_norms
from regen.training.rows import Batch
from regen.training.slopes import logits_and_slopes


def confidence_of(loss: Loss, logits: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """How sure the discriminator is, from −1 to 1, by its logits of real rows, then of fake ones."""
    real, fake = logits.detach().chunk(2)
    return torch.sign(real if loss.has_zero else real - fake).mean()


class CriticLosses(NamedTuple):
    """What the discriminator makes of a batch."""

    adversarial: Float[Tensor, ""]
    slope: Float[Tensor, ""]
    """The gradient penalty, before it is weighted."""
    logits: Float[Tensor, " m"]
    """Of the real images, then of the fake ones."""


def critic_losses(
    loss: Loss, critic: Discriminator, real: Batch, fake: Tensor, probability: Tensor | float, draws: Draws
) -> CriticLosses:
    """The discriminator's losses; its penalty is on the slopes of images before they are augmented."""
    n, both = len(fake), real.classes.repeat(2)
    images = torch.cat([real.images, fake]).requires_grad_(True)
    seen, slope = augment(images, probability, draws), torch.zeros((), device=fake.device)
    if loss.penalised in ("real", "both"):
        logits, slopes = logits_and_slopes(critic, seen, both)
        (slopes,) = torch.autograd.grad(seen, images, slopes, create_graph=True)
        norms = gradient_norms(slopes)
        slope = norms[:n].mean() + (norms[n:].mean() if loss.penalised == "both" else 0)
    else:
        logits = critic(seen.detach(), both).float()
    if loss.penalised == "between":
        share = draws.uniform(n, 1, 1, 1)
        norms = gradient_norms(logits_and_slopes(critic, share * real.images + (1 - share) * fake, real.classes)[1])
        slope = away_from_one(norms)
    return CriticLosses(loss.adversarial(*logits.chunk(2)).discriminator, slope, logits)


def away_from_one(norms: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean of (‖∇ₓD(x)‖ − 1)², of squared norms (Gulrajani et al., 2017)."""
    return ((norms + 1e-12).sqrt() - 1).square().mean()
