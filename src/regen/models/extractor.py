"""The feature extractor: a small classifier whose last hidden layer is the space that Fréchet distances live in."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regen.core.sections.base import Network
from regen.models.networks import HEADS, Shape


class Extractor(nn.Module):
    """Images `n c h w` in [0, 1] to features `n d` and class logits `n k`."""

    def __init__(self, shape: Shape, width: int, features: int, n_classes: int, network: Network = "conv") -> None:
        super().__init__()
        self.body = HEADS[network](shape, width, features)
        self.classifier = nn.Linear(features, n_classes)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        logits: Tensor = self.classifier(nn.functional.leaky_relu(self.body(2 * images - 1), 0.2))
        return logits

    @torch.no_grad()
    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Each image's features."""
        return torch.cat([self.body(2 * batch - 1) for batch in images.split(1024)])

    @torch.no_grad()
    def classes(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """The position of each image's most likely class."""
        return torch.cat([self(batch).argmax(dim=1) for batch in images.split(1024)])
