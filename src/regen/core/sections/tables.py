"""How a table is read, simulated and prepared."""

from typing import Annotated

from pydantic import Field

from regen.core.sections.base import Count, Positive, Section, Share
from regen.core.sections.table_gan import TableGanConfig
from regen.core.sections.table_vae import TableVaeConfig

TABLE_SOURCES = ("transactions", "table", "sql")
"""What `data.source` says up to a colon when the rows are those of a table."""
Factor = Annotated[float, Field(gt=0, le=100)]
Rate = Annotated[float, Field(ge=0, le=1000)]


class SimulatorConfig(Section):
    """The card payments that the source transactions simulates."""

    customers: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """People who pay by card, each with amounts and a frequency of their own."""
    terminals: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    """Places where they pay; each person goes to those nearby."""
    days: Annotated[int, Field(ge=1, le=3660)] = 150
    """How many days, from 2026-01-01 on; a person pays about twice a day."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Every draw of the simulator descends from it; apart from the project's `seed`, as the data is the same for all."""
    large_amount: Positive = 220.0
    """Payments above it are frauds (scenario 1)."""
    compromised_a_day: Rate = 0.2
    """Of a thousand terminals, how many are compromised each day: every payment there is a fraud (scenario 2)."""
    compromised_days: Count = 28
    """How many days a terminal stays so."""
    stolen_a_day: Rate = 0.6
    """Of a thousand people, how many have their card stolen each day: of their payments a third are frauds (scenario 3)."""
    stolen_days: Count = 14
    """How many days a card is misused."""
    stolen_factor: Factor = 5.0
    """What a misused card's amounts are multiplied by."""
    drift_day: Annotated[int, Field(ge=0)] | None = None
    """The day, from 0, on which the world changes as the next three keys say; never when absent."""
    drift_amount_factor: Factor = 1.0
    """What all amounts, and the large amount with them, are multiplied by from that day on."""
    drift_fraud_factor: Annotated[float, Field(ge=0, le=100)] = 1.0
    """What the rates of compromised terminals and stolen cards are multiplied by from that day on."""
    drift_online_share: Share = 0.25
    """Share of payments made online from that day on; before it, a quarter."""


class TablesConfig(Section):
    """How a table's rows are checked, what is computed from their past, by which columns, and the two models of them."""

    schema_file: str | None = None
    """The YAML file that `regen data schema` wrote and you may have edited; schemas/PROJECT.yaml when absent."""
    amount: str | None = None
    """Column of numbers that the windows average; they only count rows when absent."""
    windows_days: Annotated[list[Annotated[float, Field(gt=0, le=36_500)]], Field(max_length=20)] = [1, 7, 30]
    """Lengths, in days, of the windows that look back from each row within each group; an empty list leaves them out."""
    calendar: bool = True
    """Whether the hour, weekend and night of the time column become columns of their own."""
    max_bad_share: Share = 0.01
    """Largest share of rows that fail the schema; up to it they are set aside with the reason, beyond it preparing fails."""
    vae: TableVaeConfig = TableVaeConfig()
    gan: TableGanConfig = TableGanConfig()
