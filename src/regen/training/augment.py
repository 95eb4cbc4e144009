"""Augmentation of what the discriminator sees, differentiable, so that gradients reach the generator.

Shifts and contrast changes at a probability well below 1 do not leak into the samples (Karras et al., 2020).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regen.training.draws import Draws

SHIFT_SHARE = 0.125
"""Largest shift, as a share of the height."""
CONTRAST_SD = 0.2


def augment(images: Float[Tensor, "n c h w"], probability: float | Tensor, draws: Draws) -> Float[Tensor, "n c h w"]:
    """Each image shifted with `probability` (zeros come in), and apart from that its contrast changed with `probability`."""
    if isinstance(probability, float | int) and probability <= 0:
        return images
    n, _, height, width = images.shape
    most = max(round(SHIFT_SHARE * height), 1)
    chosen = draws.uniform(n, 2) < probability
    offset = torch.where(chosen[:, :1], draws.integers(2 * most + 1, n, 2), most)
    padded = F.pad(images, (most, most, most, most))
    rows = offset[:, :1] + torch.arange(height, device=images.device)
    columns = offset[:, 1:] + torch.arange(width, device=images.device)
    index = torch.arange(n, device=images.device)[:, None, None]
    shifted = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    scale = 1 + CONTRAST_SD * draws.normal(n) * chosen[:, 1]
    return shifted * scale[:, None, None, None]


def adapt(
    probability: Tensor, confidence: Tensor, target: float, most: float, spent: float, ramp_share: float
) -> Tensor:
    """The probability moved toward `most` while the discriminator's confidence is above the target, else toward 0.

    Where it is always above, the probability rises linearly to `most` over `ramp_share` of the budget. The adaptive
    augmentation of Karras et al. (2020), its speed scaled to the budget.

    Args:
        confidence: E[sign D(real)], from −1 to 1; for a relativistic loss E[sign(D(real) − D(fake))].
        spent: share of the budget spent since the last call.
    """
    direction = torch.sign(confidence - target) if target > 0 else torch.ones_like(confidence)
    return (probability + direction * most * spent / ramp_share).clamp(0, most)
