"""Where the rows come from."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from regen.core.sections.base import Count, Section, Share

NAMED_SOURCES = ("digits", "mnist", "fashion-mnist", "cifar10")
"""Sources that need no path."""


class DataConfig(Section):
    """Where the rows come from, what makes them valid, and how they are split."""

    source: str = "digits"
    """What materialises `data/PROJECT/`: digits, mnist, fashion-mnist, cifar10, or folder:PATH with a subfolder a class."""
    file: str | None = None
    """A local copy of the source's archive, or the folder of its files, instead of a download."""
    resolution: Count = 32
    """Height and width in pixels that a folder's images are brought to."""
    channels: Literal[1, 3] = 3
    """1 makes a folder's images grey, 3 colour."""
    max_rows: Count | None = None
    """Most rows to take of the source, spread evenly over it; all when absent."""
    anomaly_class: int | None = None
    """The class that the VAE never trains on and that its test counts as the anomaly; none when absent."""
    min_per_class: Count = 50
    """Fewest rows a class may have."""
    max_duplicate_share: Share = 0.05
    """Largest share of exact duplicates; up to it they are removed before the split, beyond it validation fails."""
    split_seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Decides, with its digest, a row's split; apart from `seed`, so that models of every seed share their test rows."""
    extractor_share: Share = 0.2
    """Share of the rows that only the feature extractor trains on."""
    validation_share: Share = 0.1
    """Share of the rows that calibrates thresholds."""
    test_share: Share = 0.25
    """Share of the rows that every figure is measured on; what the three shares leave is the training split."""

    @field_validator("source")
    @classmethod
    def is_known(cls, value: str) -> str:
        """Refuses a source there is none of."""
        if value not in NAMED_SOURCES and not (value.startswith("folder:") and value != "folder:"):
            raise ValueError(f"a source is {', '.join(NAMED_SOURCES)}, or folder:PATH")
        return value

    @model_validator(mode="after")
    def leaves_rows_to_train_on(self) -> "DataConfig":
        """Refuses shares that leave under a tenth of the rows to train on."""
        left = round(1 - self.extractor_share - self.validation_share - self.test_share, 9)
        if left < 0.1:
            raise ValueError(f"the shares leave {left:.0%} of the rows to train on; at least 10% is needed")
        return self
