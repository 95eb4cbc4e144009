"""Where the rows come from."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from regen.core.sections.base import Count, Section, Share
from regen.core.sections.tables import TABLE_SOURCES, SimulatorConfig

NAMED_SOURCES = ("digits", "mnist", "fashion-mnist", "cifar10")
"""Sources that need no path."""
OF_IMAGES = ("file", "resolution", "channels", "anomaly_class", "min_per_class")
"""Settings that mean nothing for a table."""
WITH_PATH = {"table": "table:PATH", "sql": "sql:URL", "folder": "folder:PATH"}
"""Sources that need one, as people write them."""


SECRET_PARAMETER = re.compile(r"""(?i)([?&][^=&\s]*(?:pass|pwd|secret|token|odbc_connect)[^=&\s]*=)[^&\s'"]*""")
"""A URL's parameter whose value nobody shall see; odbc_connect holds a whole connection string."""


def without_password(text: str) -> str:
    """The text with the passwords of a URL in it hidden, those among its parameters too.

    Example:
        >>> without_password("sql:postgresql://ada:secret@host/ledger")
        'sql:postgresql://ada:***@host/ledger'
        >>> without_password("sql:postgresql://host/ledger?user=ada&password=secret&sslmode=require")
        'sql:postgresql://host/ledger?user=ada&password=***&sslmode=require'
    """
    return SECRET_PARAMETER.sub(r"\1***", re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", text))


class DataConfig(Section):
    """Where the rows come from, what makes them valid, and how they are split."""

    source: str = "digits"
    """What materialises `data/PROJECT/`: digits, mnist, fashion-mnist, cifar10, or folder:PATH with a subfolder a class;
    for tables transactions (simulated card payments), table:PATH (Parquet or CSV) or sql:URL."""
    query: str | None = None
    """What sql:URL selects, one statement; give it an ORDER BY, so that the rows come in one order every time."""
    file: str | None = None
    """A local copy of the source's archive, or the folder of its files, instead of a download."""
    resolution: Count = 32
    """Height and width in pixels that a folder's images are brought to."""
    channels: Literal[1, 3] = 3
    """1 makes a folder's images grey, 3 colour."""
    max_rows: Count | None = None
    """Most rows to take of the source, spread evenly over it (of a table the first ones); all when absent."""
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

    simulator: SimulatorConfig = SimulatorConfig()
    """The card payments that the source transactions simulates."""

    @property
    def is_table(self) -> bool:
        """Whether the rows are those of a table, not images."""
        return self.source.partition(":")[0] in TABLE_SOURCES

    @field_validator("source")
    @classmethod
    def is_known(cls, value: str) -> str:
        """Refuses a source there is none of."""
        name, _, rest = value.partition(":")
        if value not in (*NAMED_SOURCES, "transactions") and not (name in WITH_PATH and rest):
            *others, last = *NAMED_SOURCES, "transactions", *WITH_PATH.values()
            raise ValueError(f"a source is {', '.join(others)}, or {last}")
        return value

    @field_serializer("source")
    def hides_the_password(self, value: str) -> str:
        """Keeps the password out of everything that is written: runs, keys, reports."""
        return without_password(value)

    @model_validator(mode="after")
    def a_query_goes_with_a_database(self) -> "DataConfig":
        """Refuses a database without a query, and a query without a database."""
        if self.source.startswith("sql:") and not self.query:
            raise ValueError("the source sql:URL needs data.query, such as SELECT * FROM payments ORDER BY id")
        if self.query and not self.source.startswith("sql:"):
            raise ValueError("data.query goes with the source sql:URL alone; leave it out")
        return self

    @model_validator(mode="after")
    def settings_go_with_the_source(self) -> "DataConfig":
        """Refuses settings of images for a table, and those of the simulator for any other source."""
        untouched = type(self).model_fields
        if self.is_table and (wrong := [n for n in OF_IMAGES if getattr(self, n) != untouched[n].default]):
            raise ValueError(f"data.{wrong[0]} is of images, and the source is a table; leave it out")
        if self.source != "transactions" and self.simulator != SimulatorConfig():
            raise ValueError("data.simulator goes with the source transactions alone; leave it out")
        return self

    @model_validator(mode="after")
    def leaves_rows_to_train_on(self) -> "DataConfig":
        """Refuses shares that leave under a tenth of the rows to train on."""
        left = round(1 - self.extractor_share - self.validation_share - self.test_share, 9)
        if left < 0.1:
            raise ValueError(f"the shares leave {left:.0%} of the rows to train on; at least 10% is needed")
        return self
