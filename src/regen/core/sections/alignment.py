"""The reward that is learned from votes, and how models are tuned toward it."""

from typing import Annotated

from pydantic import Field, field_validator

from regen.core.sections.base import Count, Network, Positive, Section, Share


class RewardConfig(Section):
    """The reward: a few small networks that learn from votes which of two images people prefer (Davidson, 1970)."""

    network: Network = "conv"
    """conv (strided convolutions), mlp (fully connected) or transformer, for every member."""
    width: Count = 8
    """Channels at the full resolution, doubled at each halving; a fully connected layer has 16 times as many units."""
    members: Annotated[int, Field(ge=2)] = 4
    """Networks, each trained on votes of its own drawing; what they disagree on is what is not known yet."""
    pairs: Count = 20_000
    """Budget: how many pairs each member sees, the same ones again and again."""
    batch_size: Count = 64
    """Pairs in a step."""
    learning_rate: Positive = 1e-3
    """AdamW's, at the start; it falls to 0 along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """AdamW's."""
    min_votes: Annotated[int, Field(ge=20)] = 100
    """Fewest votes, skipped ones left out, that a reward is learned from."""


class AlignGanConfig(Section):
    """How the GAN is tuned: adversarial loss + λ·relu(cap − pessimistic reward) + γ·squared distance from the base."""

    images: Count = 25_600
    """Budget: how many real images the discriminator sees."""
    learning_rate: Positive = 1e-3
    """Adam's, at the start, for both networks."""
    final_learning_rate: Positive = 1e-4
    """Adam's, at the end; a cosine leads there."""
    adversarial_weight: Annotated[float, Field(ge=0)] = 1.0
    """What the adversarial loss counts; without it nothing keeps samples like the data."""
    reward_weight: Annotated[float, Field(ge=0)] = 0.4
    """λ: what one sd of reward short of the cap costs; 0 leaves the reward out."""
    anchor_weight: Annotated[float, Field(ge=0)] = 0.3
    """γ: what a squared distance of 1, summed over pixels, between an image and the base's of the same latents costs."""
    feature_weight: Annotated[float, Field(ge=0)] = 30.0
    """What it costs that a batch's mean features, as two witnesses see them, move from the base's by the features' spread."""


class AlignVaeConfig(Section):
    """How the VAE's prior is tuned: λ·relu(cap − pessimistic reward) + γ·squared distance from the base; its networks stay."""

    images: Count = 40_000
    """Budget: how many images the decoder makes."""
    batch_size: Count = 64
    """Images in a step."""
    learning_rate: Positive = 1e-2
    """Adam's, at the start; it falls to 0 along a cosine."""
    reward_weight: Annotated[float, Field(ge=0)] = 2.0
    """λ: what one sd of reward short of the cap costs; 0 leaves the prior where it is."""
    anchor_weight: Annotated[float, Field(ge=0)] = 3.0
    """γ: what a squared distance of 1, summed over pixels, between an image and the base's of the same noise costs."""
    feature_weight: Annotated[float, Field(ge=0)] = 200.0
    """What it costs that a batch's mean features, as two witnesses see them, move from the base's by the features' spread."""


class AlignConfig(Section):
    """How a model is tuned toward the reward, when the tuning is stopped, and what it must show to be promoted."""

    reward_cap: Positive = 1.05
    """Sd of the base's samples above their mean from which more reward counts for nothing."""
    pessimism: Annotated[float, Field(ge=0)] = 0.5
    """β: how many sd of the members' rewards are taken off their mean."""
    gan: AlignGanConfig = AlignGanConfig()
    """How the GAN is tuned."""
    vae: AlignVaeConfig = AlignVaeConfig()
    """How the VAE is tuned."""
    ema_half_life_images: Count = 2_000
    """Images after which a weight's share in the tuned model's average has halved; it starts from the base's weights."""
    inspect_every_images: Count = 3_200
    """Images between two looks at the Fréchet distance, and at fresh votes where there are any."""
    tripwire_factor: Annotated[float, Field(gt=1)] = 3.0
    """Fréchet distance at a look, as a multiple of the base's, beyond which tuning stops."""
    frechet_factor: Annotated[float, Field(gt=1)] = 1.6
    """Largest Fréchet distance that a tuned model is promoted with, as a multiple of the base's."""
    win_rate_floor: Annotated[float, Field(ge=0.5, lt=1)] = 0.55
    """The lower bound of the win rate over the base must lie above this."""
    bias_tolerance: Share = 0.1
    """Largest total variation between the classes' shares and the declared ones that passes without a test."""
    class_shares: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """Class to the share of samples that it should have, for every class; as in the training rows if left out."""
    unsafe_most: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Largest share of unacceptable samples, by its upper 95 % bound; 0 among 3,000 samples just meets 0.001."""

    @field_validator("class_shares")
    @classmethod
    def adds_up_to_one(cls, shares: dict[str, float]) -> dict[str, float]:
        """Refuses shares that are none."""
        if shares and abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f"the shares of all classes add up to 1, not {sum(shares.values()):g}")
        return shares
