"""Augmentation of what the discriminator sees, differentiable, so that gradients reach the generator.

Shifts and contrast changes at a probability well below 1 do not leak into the samples (Karras et al., 2020).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SHIFT_SHARE = 0.125
"""Largest shift, as a share of the height."""
CONTRAST_SD = 0.2


def augment(
    images: Float[Tensor, "n c h w"], probability: float, generator: torch.Generator
) -> Float[Tensor, "n c h w"]:
    """Each image shifted with `probability` (zeros come in), and apart from that its contrast changed with `probability`."""
    if probability <= 0:
        return images
    n, _, height, width = images.shape
    most = max(round(SHIFT_SHARE * height), 1)
    chosen = torch.rand(n, 1, generator=generator) < probability
    offset = torch.randint(0, 2 * most + 1, (n, 2), generator=generator)
    offset = torch.where(chosen, offset, torch.full_like(offset, most)).to(images.device)
    padded = F.pad(images, (most, most, most, most))
    rows = offset[:, :1] + torch.arange(height, device=images.device)
    columns = offset[:, 1:] + torch.arange(width, device=images.device)
    index = torch.arange(n, device=images.device)[:, None, None]
    shifted = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    chosen = torch.rand(n, 1, 1, 1, generator=generator) < probability
    scale = 1 + CONTRAST_SD * torch.randn(n, 1, 1, 1, generator=generator) * chosen
    return shifted * scale.to(images.device)
