"""A simulated annotator whose taste is known, so that what tuning does to people's liking can be measured exactly.

The taste has an interior optimum: strokes heavier than usual, but not too heavy. One that could be pleased without end
would hide the overoptimisation of a learned reward (Gao et al., 2023, https://arxiv.org/abs/2210.10760).
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.optimize import brentq
from torch import Tensor

from regen.core.errors import DataError
from regen.core.seeds import derive
from regen.models.reward import davidson_logits
from regen.preferences.votes import Votes

FAVOURITE = 1.5
"""Where the favourite stroke mass lies, in sd above the mean of the samples that the taste was formed on."""
TIE_SHARE = 0.25
"""Share of random pairs that the annotator calls a tie."""
SHARPNESS = 4.0
"""Logits by which a difference of one sd in utility turns a choice; the lower, the noisier."""
UNACCEPTABLE_SHARE = 0.05
"""Share of the samples that the annotator finds unacceptable, the least liked ones."""
CALIBRATION_PAIRS = 4096


@dataclass(frozen=True)
class Choices:
    """What an annotator said of some pairs."""

    choice: Int64[Tensor, " n"]
    """−1 prefers the first image, +1 the second, 0 is a tie."""
    both_bad: Bool[Tensor, " n"]
    """Whether a tie is one between two unacceptable images."""


@dataclass(frozen=True)
class Annotator:
    """Prefers images whose stroke mass is near a favourite; chooses by Davidson's model of noisy choices with ties."""

    favourite: float
    """The stroke mass that is liked best: a mean pixel, from 0 to 1."""
    spread: float
    """One sd of the stroke mass among the samples that the taste was formed on."""
    sharpness: float
    tie: float
    """ν of Davidson's model."""
    least: float
    """Utility under which an image is unacceptable."""

    @classmethod
    def of(
        cls, images: Float[Tensor, "n c h w"], seed: int, ties: float = TIE_SHARE, sharpness: float = SHARPNESS
    ) -> "Annotator":
        """An annotator whose taste is formed on `images`: of random pairs of them it calls the share `ties` a tie.

        Raises:
            DataError: fewer than two images, or all with the same stroke mass.
        """
        masses = stroke_mass(images)
        if len(images) < 2 or not float(masses.std()) > 0:
            raise DataError(
                f"a taste is formed on 2 or more images of different stroke mass, got {len(images)}; draw more samples"
            )
        spread = float(masses.std())
        blank = cls(float(masses.mean()) + FAVOURITE * spread, spread, 1.0, 0.0, -np.inf)
        utilities = blank.utility(images)
        rng = torch.Generator().manual_seed(seed)
        first, second = torch.randint(len(images), (2, CALIBRATION_PAIRS), generator=rng)
        scaled = sharpness / float(utilities.std().clamp_min(1e-9))
        difference = scaled * (utilities[first] - utilities[second])

        def excess(tie: float) -> float:
            logits = davidson_logits(difference.double(), torch.tensor(tie, dtype=torch.float64))
            return float(logits.softmax(dim=1)[:, 2].mean()) - ties

        least = float(torch.quantile(utilities, UNACCEPTABLE_SHARE))
        return replace(blank, sharpness=scaled, tie=float(brentq(excess, -50, 50)), least=least)

    def utility(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """How much each image is liked: minus half the squared distance to the favourite, in sd; 0 is best."""
        return -0.5 * ((stroke_mass(images) - self.favourite) / self.spread).square()

    def choose(self, images_a: Float[Tensor, "n c h w"], images_b: Float[Tensor, "n c h w"], seed: int) -> Choices:
        """What the annotator says of each pair; the same seed gives the same answers."""
        utilities = self.utility(images_a), self.utility(images_b)
        logits = davidson_logits(self.sharpness * (utilities[0] - utilities[1]), torch.tensor(self.tie))
        rng = torch.Generator().manual_seed(seed)
        outcome = torch.multinomial(logits.softmax(dim=1), 1, generator=rng).squeeze(1)
        both_bad = (outcome == 2) & (torch.maximum(*utilities) < self.least)
        return Choices(torch.tensor([-1, 1, 0])[outcome], both_bad)

    def acceptable(self, images: Float[Tensor, "n c h w"]) -> Bool[Tensor, " n"]:
        """Whether each image is one that the annotator could live with."""
        return self.utility(images) >= self.least


def stroke_mass(images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """Each image's mean pixel, what lies outside [0, 1] being clipped as on a screen."""
    return images.clamp(0, 1).flatten(1).mean(dim=1)


def simulated_votes(
    annotator: Annotator, images: Float[Tensor, "m c h w"], seed: int, held_out_share: float = 0.2
) -> Votes:
    """One vote on each two consecutive images, all different samples, so that the first ones can be held out."""
    a, b = images[0::2], images[1::2]
    said, n = annotator.choose(a, b, derive(seed, "simulated votes")), len(b)
    nobody, held_out = torch.zeros(n, dtype=torch.bool), torch.arange(n) < round(n * held_out_share)
    return Votes(a[:n], b, said.choice, said.both_bad, nobody, ~nobody, held_out)


def gold_wins(
    annotator: Annotator, images: Float[Tensor, "n c h w"], base: Float[Tensor, "n c h w"]
) -> Float[np.ndarray, " n"]:
    """1 where an image is truly liked better than the base's of the same place, 0 where worse, ½ where equally."""
    difference = annotator.utility(images) - annotator.utility(base)
    wins: np.ndarray = (0.5 + 0.5 * torch.sign(difference)).double().numpy()
    return wins
