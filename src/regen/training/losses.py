"""The terms of the GAN's loss, each one short function; all are means over the batch."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def relativistic_discriminator_loss(real: Float[Tensor, " n"], fake: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """How badly real logits exceed fake ones, pair by pair, in nats (Jolicoeur-Martineau, 2019; Huang et al., 2024).

    Example:
        >>> relativistic_discriminator_loss(torch.zeros(2), torch.zeros(2))
        tensor(0.6931)
    """
    return F.softplus(-(real - fake)).mean()


def relativistic_generator_loss(real: Float[Tensor, " n"], fake: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """How badly fake logits exceed those of a fresh real batch, in nats (Jolicoeur-Martineau, 2019)."""
    return F.softplus(-(fake - real)).mean()


def gradient_penalty(logits: Float[Tensor, " n"], images: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """‖∇ₓD(x)‖², squares summed over pixels (R₁ on real images, R₂ on fake ones: Mescheder et al., 2018).

    Args:
        logits: the discriminator's, computed from `images`, one an image.
        images: un-augmented, with `requires_grad`.

    Example:
        >>> images = torch.ones(2, 1, 2, 2, requires_grad=True)
        >>> gradient_penalty(3 * images.sum(dim=(1, 2, 3)), images)
        tensor(36.)
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()
