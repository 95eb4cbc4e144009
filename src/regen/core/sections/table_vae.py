"""The VAE for tables of mixed types, and the anomaly score made of it."""

from typing import Annotated

from pydantic import Field

from regen.core.sections.base import Count, Positive, Section, Share


class TableVaeConfig(Section):
    """The VAE for tables: mixed likelihoods, σ calibrated per column, AdamW with a cosine, β warmed up linearly."""

    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (128, 128)
    """Units of the encoder's hidden layers; the decoder has the same ones, the other way round."""
    latent_dim: Count = 8
    """Dimensions of the latent space."""
    given: tuple[str, ...] = ()
    """Columns that the model is conditional on: encoder and decoder see them, none of them is modelled."""
    rows: Count = 128_000
    """Budget: how many rows training sees, the same ones again and again."""
    seconds: Positive | None = None
    """Budget: how many seconds training takes at most; its schedules end with whichever budget ends first."""
    batch_size: Count = 128
    """Rows in a step."""
    learning_rate: Positive = 1e-3
    """AdamW's, at the start; it falls to 0 along a cosine."""
    warmup_share: Share = 0.2
    """Share of the budget over which β rises from 0 to 1."""
    free_bits: Annotated[float, Field(ge=0)] = 0.05
    """Nats a latent dimension may hold for free once active units have fallen under a tenth; 0 never."""
    ema_half_life_rows: Count = 5_000
    """Rows after which a weight's share in the average has halved."""
    score_draws: Count = 16
    """Latent draws, from a fixed seed, that one anomaly score averages over."""
    score_neighbours: Annotated[int, Field(ge=0, le=50)] = 5
    """Nearest training rows that the anomaly score compares a row with, beside −ELBO; 0 leaves −ELBO alone."""
    score_reference: Count = 20_000
    """Most training rows, spread evenly over all, that the score measures distances to; they are kept with the model."""
    flag_quantile: Annotated[float, Field(gt=0.5, lt=1)] = 0.99
    """A row is flagged when its score lies above this quantile of the validation rows' scores."""
    supervised_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """What the log-odds learned from known anomalies count in the score, where there are any; the rest is unsupervised."""
