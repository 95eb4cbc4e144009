"""The GAN of tables."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from regen.core.sections.base import Count, Positive, Section
from regen.core.sections.models import GanLoss


class TableGanConfig(Section):
    """The GAN of tables: R3GAN's loss (Huang et al., NeurIPS 2024) on rows of mixed types, whichever columns are given."""

    loss: GanLoss = "r3"
    """r3 (R3GAN), ns (non-saturating), ns-r1 (with R1), hinge, or wgan-gp."""
    encoding: Literal["quantile", "modes"] = "quantile"
    """How numbers are encoded: through their distribution to a normal one, or within the modes of a mixture (CTGAN's)."""
    width: Count = 128
    """Units of a hidden layer, of both networks."""
    depth: Count = 2
    """Residual blocks of two layers each, of both networks."""
    latent_dim: Count = 64
    """Dimensions of the latent space."""
    rows: Count = 500_000
    """Budget: how many real rows the discriminator sees."""
    seconds: Positive | None = None
    """Budget: how many seconds training takes at most; its schedules end with whichever budget ends first."""
    batch_size: Count = 256
    """Real rows in a step."""
    learning_rate: Positive = 1e-3
    """Adam's, at the start, for both networks."""
    final_learning_rate: Positive = 5e-5
    """Adam's, at the end; a cosine leads there."""
    penalty_weight: Positive = 0.1
    """γ of the gradient penalties at the start; a cosine leads it to a tenth. Of wgan-gp, λ is a hundred times this."""
    pac: Count = 1
    """Rows that the discriminator judges together (PacGAN; Lin et al., 2018); it divides the batch."""
    temperature: Positive = 0.5
    """Of the Gumbel softmax through which gradients reach the categories (Jang et al., 2017)."""
    moments_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the distance of all means, shares and products of two columns from the real rows', in the generator's loss."""
    given_share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """How often a row is made with some of its columns given, so that samples of given values can be asked for."""
    ema_half_life_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    """The generator's average halves a weight's share after this share of the rows seen so far."""
    stop_on_collapse: bool = False
    """Whether a collapse of the samples' diversity ends the training with an error; it always warns."""

    @model_validator(mode="after")
    def packs_fill_the_batch(self) -> Self:
        """Every row of a batch is in a pack."""
        if self.batch_size % self.pac:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of pac {self.pac}; change one of them")
        return self
