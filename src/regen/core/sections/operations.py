"""What runs beside training: new data on its way in, and the watch over drift."""

from math import ceil
from typing import Annotated

from pydantic import Field, model_validator

from regen.core.sections.base import Count, Positive, Section, Share

FAMILIES = 3
"""Kinds of tests that share a p-value: columns, features, scores."""


class IngestConfig(Section):
    """How new images or rows are taken into the data."""

    max_bad_share: Share = 0.1
    """Largest share of the new images or rows that may fail their checks; beyond it none is taken in."""
    push: bool = False
    """Whether the new version is sent to DVC's default remote."""


class MonitorConfig(Section):
    """When new data counts as drifted, and how often that may start a retraining."""

    min_rows: Count = 200
    """Fewest new rows that are judged at all."""
    max_rows: Annotated[int, Field(ge=50, le=4_000)] = 1_000
    """Most rows of each side that features and scores are compared on, spread evenly over all."""
    psi: Positive = 0.25
    """Population stability index from which a column has drifted, if it is beyond chance too."""
    p_value: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """Largest probability that data which has not drifted is called so; columns, features and scores have a third each."""
    permutations: Annotated[int, Field(ge=99, le=100_000)] = 999
    """Permutations behind the p-value of the features' distance."""
    cooldown_hours: Annotated[float, Field(ge=0)] = 24.0
    """Hours after drift has started a retraining in which it starts no other."""

    @model_validator(mode="after")
    def permutations_can_tell(self) -> "MonitorConfig":
        """Refuses so few permutations that no distance could ever count as beyond chance."""
        if 1 / (self.permutations + 1) > self.p_value / FAMILIES:
            least = ceil(FAMILIES / self.p_value) - 1
            raise ValueError(
                f"{self.permutations} permutations cannot show a p-value of {self.p_value / FAMILIES:.2g}; "
                f"at least {least} are needed"
            )
        return self
