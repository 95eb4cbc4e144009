"""Simulated card payments: people × terminals × three kinds of fraud, in the order of time, the same rows for the same seed.

The world is the one that "Reproducible Machine Learning for Credit Card Fraud Detection" (Le Borgne, Siblini, Lebichot and
Bontempi, 2022, chapter 3) describes: people and terminals lie on a map of 100×100; each person has a mean amount and a mean
number of payments a day, and pays at terminals within a radius of 5. A payment is a fraud

1. when its amount is above a limit,
2. when its terminal is compromised, for some weeks, or
3. as one in three payments of a stolen card, for some weeks, its amount a multiple of what it would have been.

Of our own are the terminals' trades, the channels, and a day from which the world is another one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int64

from regen.core.sections.tables import SimulatorConfig
from regen.core.seeds import derive
from regen.data.columns import Column, TableSchema

START = datetime(2026, 1, 1, tzinfo=UTC)
RADIUS = 5.0
SECONDS = 86_400
STOLEN_SHARE = 1 / 3
CONTACTLESS_MOST = 50.0
ONLINE_SHARE = 0.25
STOLEN_ONLINE_SHARE = 0.6
CHANNELS = ("chip", "contactless", "online")
TRADES = ("clothing", "electronics", "fuel", "groceries", "restaurant", "travel")
TRADE_SHARES = (0.15, 0.1, 0.15, 0.3, 0.2, 0.1)
TRADE_FACTORS = (1.0, 1.1, 0.9, 0.7, 0.8, 1.15)
"""What a person's amounts are multiplied by in each trade."""
SCENARIO = "scenario"
"""The column that says how a row came to be a fraud; it lies in a file of its own, and models never see it."""
SCHEMA = TableSchema(
    (
        Column("transaction", "integer", low=0),
        Column("time", "datetime", low=START.timestamp()),
        Column("customer", "integer", low=0),
        Column("terminal", "integer", low=0),
        Column("trade", "categorical", categories=TRADES),
        Column("channel", "categorical", categories=CHANNELS),
        Column("amount", "numeric", low=0, high=10_000),
        Column("fraud", "integer", low=0, high=1),
    ),
    key="transaction", time="time", label="fraud", label_delay_days=7, groups=("customer", "terminal"),
)  # fmt: skip
"""What the columns are; `schemas/transactions.yaml` is its file."""


@dataclass(frozen=True)
class World:
    """Who pays where, and when what is stolen or compromised."""

    mean_amount: Float64[np.ndarray, " p"]
    payments_a_day: Float64[np.ndarray, " p"]
    near: Int64[np.ndarray, " k"]
    """The terminals near each person, one person after the other."""
    first: Int64[np.ndarray, " p"]
    """Where each person's begin in `near`."""
    count: Int64[np.ndarray, " p"]
    trade: Int64[np.ndarray, " t"]
    compromised: Bool[np.ndarray, "d t"]
    stolen: Bool[np.ndarray, "d p"]

    @classmethod
    def draw(cls, config: SimulatorConfig) -> "World":
        """The world of this seed."""
        from scipy.spatial import cKDTree

        random = np.random.default_rng(derive(config.seed, "world"))
        people = random.uniform(0, 100, (config.customers, 2))
        tree = cKDTree(random.uniform(0, 100, (config.terminals, 2)))
        nearby = tree.query_ball_point(people, RADIUS, return_sorted=True)
        nearest = tree.query(people)[1]
        near = [found or [int(one)] for found, one in zip(nearby, nearest, strict=True)]
        count = np.array([len(found) for found in near], np.int64)
        return cls(
            random.uniform(5, 100, config.customers),
            random.uniform(0, 4, config.customers),
            np.concatenate([np.array(found, np.int64) for found in near]),
            np.cumsum(count) - count,
            count,
            random.choice(len(TRADES), config.terminals, p=TRADE_SHARES),
            _spells(random, config, config.terminals, config.compromised_a_day, config.compromised_days),
            _spells(random, config, config.customers, config.stolen_a_day, config.stolen_days),
        )


def _spells(
    random: np.random.Generator, config: SimulatorConfig, n: int, a_day: float, length: int
) -> Bool[np.ndarray, "d n"]:
    """On which days which of n are struck: each day some are drawn, and each of them stays so for `length` days."""
    struck = np.zeros((config.days, n), bool)
    for day in range(config.days):
        rate = a_day * n / 1000 * (config.drift_fraud_factor if _drifted(config, day) else 1)
        drawn = random.integers(n, size=random.poisson(rate))
        struck[day : day + length, drawn] = True
    return struck


def _drifted(config: SimulatorConfig, day: int) -> bool:
    return config.drift_day is not None and day >= config.drift_day


def _draw_day(world: World, config: SimulatorConfig, day: int) -> dict[str, np.ndarray]:
    """One day's payments, in the order of time."""
    random = np.random.default_rng(derive(config.seed, "day", day))
    drifted = _drifted(config, day)
    scale = config.drift_amount_factor if drifted else 1.0
    customer = np.repeat(np.arange(config.customers), random.poisson(world.payments_a_day))
    second = random.normal(SECONDS / 2, 20_000, len(customer)).astype(np.int64)
    kept = (second > 0) & (second < SECONDS)  # as the handbook does: what falls outside the day is not paid
    customer, second = customer[kept], second[kept]
    order = np.argsort(second, kind="stable")
    customer, second, n = customer[order], second[order], len(order)

    terminal = world.near[world.first[customer] + (random.random(n) * world.count[customer]).astype(np.int64)]
    trade = world.trade[terminal]
    mean = world.mean_amount[customer] * np.array(TRADE_FACTORS)[trade] * scale
    amount = random.normal(mean, mean / 2)
    amount = np.where(amount < 0, random.uniform(0, 2 * mean), amount)
    misused = world.stolen[day, customer] & (random.random(n) < STOLEN_SHARE)
    amount = np.round(np.where(misused, amount * config.stolen_factor, amount), 2)

    usual = config.drift_online_share if drifted else ONLINE_SHARE
    online = random.random(n) < np.where(misused, STOLEN_ONLINE_SHARE, usual)
    contactless = (amount <= CONTACTLESS_MOST * scale) & (random.random(n) < 0.7)
    scenario = np.where(amount > config.large_amount * scale, 1, 0)
    scenario = np.where(world.compromised[day, terminal], 2, scenario)
    scenario = np.where(misused, 3, scenario)
    return {
        "second": second + day * SECONDS, "customer": customer, "terminal": terminal, "trade": trade,
        "channel": np.where(online, 2, np.where(contactless, 1, 0)), "amount": amount, SCENARIO: scenario,
    }  # fmt: skip


def simulate(config: SimulatorConfig, chunk_rows: int = 1 << 17) -> Iterator[pl.DataFrame]:
    """Whole days of payments, about `chunk_rows` rows at a time, with the column `scenario`: 0, or why it is a fraud."""
    world = World.draw(config)
    kept: list[dict[str, np.ndarray]] = []
    first = 0
    for day in range(config.days):
        kept.append(_draw_day(world, config, day))
        n = sum(len(part["second"]) for part in kept)
        if n and (n >= chunk_rows or day == config.days - 1):
            yield _frame({name: np.concatenate([part[name] for part in kept]) for name in kept[0]}, first)
            first, kept = first + n, []


def _frame(drawn: dict[str, np.ndarray], first: int) -> pl.DataFrame:
    n = len(drawn["second"])
    begin = int(START.timestamp())
    return pl.DataFrame(
        {
            "transaction": np.arange(first, first + n),
            "time": pl.Series((drawn["second"] + begin) * 1_000_000).cast(pl.Datetime("us")),
            "customer": drawn["customer"],
            "terminal": drawn["terminal"],
            "trade": _texts(drawn["trade"], TRADES),
            "channel": _texts(drawn["channel"], CHANNELS),
            "amount": drawn["amount"],
            "fraud": (drawn[SCENARIO] > 0).astype(np.int8),
            SCENARIO: drawn[SCENARIO].astype(np.int8),
        }
    )


def _texts(codes: np.ndarray, names: tuple[str, ...]) -> pl.Series:
    return pl.Series(names).gather(codes)
