"""The GAN's two networks (Goodfellow et al., 2014): a generator of images in [0, 1] and a discriminator of them.

With classes both are conditional: the generator's latents end in the class, one-hot, and the discriminator adds the
image's agreement with its class to its logit (the projection of Miyato and Koyama, 2018).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from regen.core.errors import ConfigError
from regen.core.sections.base import Network
from regen.models.networks import HEADS, STEMS, Shape

Classes = Int64[Tensor, " n"]
"""Positions among a model's classes."""


class Generator(nn.Module):
    """Latents `n d`, drawn from N(0, I), and classes `n` to images `n c h w`, about [0, 1].

    Args:
        classes: names of the classes; without any the generator is unconditional.
    """

    class_shares: Tensor

    def __init__(
        self, shape: Shape, network: Network, width: int, latent_dim: int, classes: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.latent_dim, self.classes = latent_dim, tuple(classes)
        self.stem = STEMS[network](shape, width, latent_dim + len(classes))
        self.register_buffer("class_shares", torch.full((len(classes),), 1 / max(len(classes), 1)))

    def forward(self, latents: Float[Tensor, "n d"], classes: Classes) -> Float[Tensor, "n c h w"]:
        if self.classes:
            latents = torch.cat([latents, F.one_hot(classes, len(self.classes)).to(latents)], dim=1)
        images: Tensor = self.stem(latents)
        return (images + 1) / 2

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, classes: Classes | None = None) -> Float[Tensor, "n c h w"]:
        """`n` images of the given classes, else of classes drawn by their shares; the same state gives the same ones."""
        latents = torch.randn(n, self.latent_dim, generator=generator)
        if classes is None:
            classes = draw_classes(self.class_shares, n, generator)
        device = self.class_shares.device
        pairs = zip(latents.to(device).split(1024), classes.to(device).split(1024), strict=True)
        return torch.cat([self(some, of).cpu() for some, of in pairs])


class Discriminator(nn.Module):
    """Images `n c h w` in [0, 1] and their classes `n` to logits `n`: the higher, the more real."""

    def __init__(self, shape: Shape, network: Network, width: int, classes: Sequence[str] = ()) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.head = HEADS[network](shape, width, 1 + len(classes))

    def forward(self, images: Float[Tensor, "n c h w"], classes: Classes) -> Float[Tensor, " n"]:
        logits: Tensor = (self.head(2 * images - 1) * self.seeds(classes).to(images)).sum(dim=1)
        return logits

    def seeds(self, classes: Classes) -> Float[Tensor, "n o"]:
        """Which of the head's outputs make each image's logit: the first, and its class's."""
        seeds = torch.zeros(len(classes), 1 + len(self.classes), device=classes.device)
        seeds[:, 0] = 1
        return seeds.scatter_(1, 1 + classes[:, None], 1.0) if self.classes else seeds


def draw_classes(shares: Float[Tensor, " k"], n: int, generator: torch.Generator) -> Classes:
    """`n` classes drawn by their shares; all 0 where there are none."""
    if not len(shares):
        return torch.zeros(n, dtype=torch.int64)
    return torch.multinomial(shares.cpu(), n, replacement=True, generator=generator)


def class_shares(classes: Int64[Tensor, " m"], n_classes: int) -> Float[Tensor, " k"]:
    """Each class's share of the rows."""
    return torch.bincount(classes.cpu(), minlength=n_classes)[:n_classes] / max(len(classes), 1)


def position_of(wanted: str, classes: Sequence[str], model: str) -> int:
    """Where a class stands among a model's classes.

    Raises:
        ConfigError: it does not; the error names those that do.

    Example:
        >>> position_of("shoe", ("shirt", "shoe"), "fashion-gan")
        1
    """
    if not classes:
        raise ConfigError(f"{model} knows no classes; train it with gan.conditional: true and labelled rows")
    if wanted not in classes:
        raise ConfigError(f"{model} has no class {wanted!r}; its classes are {', '.join(classes)}")
    return list(classes).index(wanted)
