"""What a tuned model is held against, so that its gain cannot be mistaken for something else.

Adversarial steps alone, the same tuning toward shuffled votes, the reward without anything that holds it back, and picking
the best of n of the base's samples, which needs no tuning at all (Gao et al., 2023).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from regen.core.sections.alignment import AlignConfig
from regen.core.seeds import derive
from regen.evaluation.frechet import Gaussian, frechet_distance
from regen.evaluation.measure import Sampler, features_of
from regen.models.extractor import Extractor
from regen.models.networks import to_pixels
from regen.models.reward import RewardEnsemble
from regen.preferences.votes import Votes
from regen.training.tuning import Look

WATCHED = 4096
"""Samples that a look at a model draws."""
UNCAPPED = 1e6
"""A cap that no reward reaches."""


@dataclass(frozen=True)
class BestOf:
    """Samples as the model's, each the best by the reward of `n` draws; no model is changed."""

    model: Sampler
    reward: RewardEnsemble
    n: int

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """`count` images."""
        drawn = self.model.sample(count * self.n, generator)
        scores = self.reward.score(drawn.clamp(0, 1)).view(count, self.n)
        best: Tensor = drawn.view(count, self.n, *drawn.shape[1:])[torch.arange(count), scores.argmax(dim=1)]
        return best


def adversarial_only(config: AlignConfig) -> AlignConfig:
    """The GAN's tuning without reward and anchor: what training a little longer does."""
    return _changed(config, reward_weight=0.0, anchor_weight=0.0, feature_weight=0.0)


def reward_only(config: AlignConfig) -> AlignConfig:
    """The GAN's tuning by the reward alone, with nothing that holds it back: what a reward's mistakes lead to."""
    free = config.model_copy(update={"reward_cap": UNCAPPED, "tripwire_factor": UNCAPPED})
    return _changed(free, adversarial_weight=0.0, anchor_weight=0.0, feature_weight=0.0)


def _changed(config: AlignConfig, **values: float) -> AlignConfig:
    return config.model_copy(update={"gan": config.gan.model_copy(update=values)})


def shuffled(votes: Votes, seed: int) -> Votes:
    """The same pairs with their choices dealt out anew among those of the same split: votes without a taste."""
    rng = torch.Generator().manual_seed(derive(seed, "shuffled votes"))
    order = torch.arange(len(votes))
    for side in (votes.held_out, ~votes.held_out):
        places = (side & ~votes.skipped).nonzero().flatten()
        order[places] = places[torch.randperm(len(places), generator=rng)]
    return replace(votes, choice=votes.choice[order], both_bad=votes.both_bad[order])


def distance_to(real: Gaussian, images: Float[Tensor, "n c h w"], extractor: Extractor) -> float:
    """The Fréchet distance of samples to real rows, biased a little upward, the more so the fewer there are of either."""
    return frechet_distance(real, Gaussian.fit(features_of(extractor, to_pixels(images))))


@dataclass(frozen=True)
class Lookout:
    """Looks at a model as it is tuned: its distance to real rows and, where somebody judges, their win rate."""

    extractor: Extractor
    real: Gaussian
    """Features of as many real rows as there are: of few, the distance would be mostly bias, and a factor of it too lax."""
    seed: int
    judge: Callable[[Float[Tensor, "n c h w"]], float] | None = None
    """The share of fresh votes that prefer these samples to the base's, such as people's or another reward's."""

    def __call__(self, model: Sampler) -> Look:
        """What is seen, on the same latents each time."""
        images = model.sample(WATCHED, torch.Generator().manual_seed(derive(self.seed, "lookout")))
        distance = distance_to(self.real, images, self.extractor)
        return Look(distance, None if self.judge is None else self.judge(images.clamp(0, 1)))
