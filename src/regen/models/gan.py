"""The GAN's two networks (Goodfellow et al., 2014): a generator of images in [0, 1] and a discriminator of them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regen.core.config import Network
from regen.models.networks import HEADS, STEMS, Shape


class Generator(nn.Module):
    """Latents `n d`, drawn from N(0, I), to images `n c h w`, about [0, 1]."""

    def __init__(self, shape: Shape, network: Network, width: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.stem = STEMS[network](shape, width, latent_dim)

    def forward(self, latents: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        images: Tensor = self.stem(latents)
        return (images + 1) / 2

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """`n` images; the same generator state gives the same ones."""
        device = next(self.parameters()).device
        latents = torch.randn(n, self.latent_dim, generator=generator)
        batches: list[Tensor] = [self(batch).cpu() for batch in latents.to(device).split(1024)]
        return torch.cat(batches)


class Discriminator(nn.Module):
    """Images `n c h w` in [0, 1] to logits `n`: above 0 is real."""

    def __init__(self, shape: Shape, network: Network, width: int) -> None:
        super().__init__()
        self.head = HEADS[network](shape, width, 1)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        logits: Tensor = self.head(2 * images - 1)
        return logits.squeeze(1)
