"""The reward: what people would rather see, learned from their votes by a few small networks that may disagree.

Each member gives an image two numbers, its reward and how unacceptable it is. Of a pair they make the chances of either
image being preferred and of a tie, by Davidson's model (Davidson, 1970), which is Bradley and Terry's with ties.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regen.core.sections.base import Network
from regen.models.networks import HEADS, Shape


class RewardEnsemble(nn.Module):
    """Images `n c h w` in [0, 1] to each member's reward `k n`, of mean 0 and sd 1 over the base model's samples."""

    mean: Tensor
    scale: Tensor
    temperature: Tensor

    def __init__(self, shape: Shape, network: Network, width: int, members: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(HEADS[network](shape, width, 2) for _ in range(members))
        self.tie = nn.Parameter(torch.zeros(members))
        self.register_buffer("mean", torch.zeros(members))
        self.register_buffer("scale", torch.ones(members))
        self.register_buffer("temperature", torch.ones(()))

    def raw(self, images: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "k n"], Float[Tensor, "k n"]]:
        """Each member's reward before it is brought to mean 0 and sd 1, and its logit of an image being unacceptable."""
        rewards, unacceptable = torch.stack([member(2 * images - 1) for member in self.members]).unbind(dim=2)
        return rewards, unacceptable

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "k n"]:
        normal: Tensor = (self.raw(images)[0] - self.mean[:, None]) / self.scale[:, None]
        return normal

    @torch.no_grad()
    def outcomes(
        self, images_a: Float[Tensor, "n c h w"], images_b: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "k n 3"]:
        """Each member's calibrated chances that a is preferred, that b is, and of a tie."""
        found = []
        for a, b in zip(images_a.split(1024), images_b.split(1024), strict=True):
            logits = davidson_logits(self.raw(a)[0] - self.raw(b)[0], self.tie[:, None])
            found.append((logits / self.temperature).softmax(dim=2))
        return torch.cat(found, dim=1)

    @torch.no_grad()
    def score(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """Each image's reward, the mean over the members."""
        return torch.cat([self(batch).mean(dim=0) for batch in images.split(1024)])

    @torch.no_grad()
    def unacceptable(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """The chance that people find an image unacceptable, the mean over the members."""
        return torch.cat([self.raw(batch)[1].sigmoid().mean(dim=0) for batch in images.split(1024)])


def davidson_logits(difference: Float[Tensor, "..."], tie: Float[Tensor, "..."]) -> Float[Tensor, "... 3"]:
    """Logits that the first of two images is preferred, that the second is, and of a tie.

    Args:
        difference: reward of the first minus that of the second.
        tie: ν, the log of how many ties equal images get for each win.

    Example:
        >>> davidson_logits(torch.tensor(2.0), torch.tensor(0.5))
        tensor([ 1.0000, -1.0000,  0.5000])
    """
    return torch.stack([difference / 2, -difference / 2, tie.expand_as(difference)], dim=-1)
