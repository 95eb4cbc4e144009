"""A seeded table of people, of the kind of census data: mixed types, skewed and tied numbers, categories that hang together.

A hidden wealth and taste bind education, job and income; whether somebody is rich follows from steps, products and logs of
what the table shows, and from chance.
"""

import numpy as np
import pandas as pd

from regen.data.columns import Column, TableSchema

EDUCATIONS = ("none", "primary", "lower", "upper", "college", "bachelor", "master", "doctorate")
JOBS = ("farm", "craft", "service", "clerk", "sales", "care", "teaching", "engineering", "management", "law")
REGIONS = tuple(f"region {number:02d}" for number in range(14))
WEALTH_OF_JOB = np.array([-1.6, -1.0, -0.8, -0.1, 0.1, 0.2, 0.8, 1.1, 1.2, 1.5])
TASTE_OF_JOB = np.array([0.4, 1.1, -0.2, -0.9, 0.0, -1.3, -0.7, 1.0, 0.4, 0.1])
SCHEMA = TableSchema(
    (
        Column("age", "integer"),
        Column("education", "categorical", categories=EDUCATIONS),
        Column("job", "categorical", categories=JOBS),
        Column("male", "boolean"),
        Column("status", "categorical", categories=("single", "married", "divorced", "widowed")),
        Column("region", "categorical", categories=REGIONS),
        Column("hours", "integer"),
        Column("gain", "integer"),
        Column("tenure", "numeric", nullable=True),
        Column("debt", "numeric"),
        Column("joined", "datetime"),
        Column("rich", "boolean"),
    ),
    label="rich",
)


def people(n: int, seed: int) -> pd.DataFrame:
    """`n` people; 31 in 100 are rich, 18 in 100 have no tenure, and nine in ten no gain."""
    rng = np.random.default_rng(seed)
    wealth = rng.normal(size=n)
    age = np.clip(18 + rng.gamma(2.2, 10, n), 18, 90).astype(np.int64)
    schooling = 3.2 + 1.3 * wealth + rng.normal(0, 1.2, n) - 0.02 * np.maximum(age - 60, 0)
    education = np.clip(np.round(schooling), 0, 7).astype(np.int64)
    male = rng.random(n) < 0.48
    pull = 1.1 * (education[:, None] - 3.2) / 1.5 * WEALTH_OF_JOB + 0.7 * np.where(male, 1, -1)[:, None] * TASTE_OF_JOB
    job = (pull + rng.gumbel(size=pull.shape)).argmax(axis=1)
    married = rng.random(n) < _logistic(0.09 * (np.minimum(age, 55) - 32) - 0.03 * np.maximum(age - 65, 0))
    was_married = rng.random(n) < _logistic((age - 45) / 8)
    widowed = rng.random(n) < np.clip((age - 50) / 60, 0, 1)
    apart = np.where(was_married, np.where(widowed, "widowed", "divorced"), "single")
    shares = 1 / np.arange(1, len(REGIONS) + 1) ** 1.1
    region = rng.choice(len(REGIONS), n, p=shares / shares.sum())
    usual = 38 + 3 * (job >= 7) - 6 * (~male & married) - 8 * (age > 65)
    hours = np.where(rng.random(n) < 0.45, 40, np.round(rng.normal(usual, 9))).clip(4, 90).astype(np.int64)
    gains = rng.random(n) < 0.03 + 0.05 * (wealth > 0.8)
    gain = np.where(gains, rng.lognormal(7.5 + 0.6 * wealth, 1.1), 0.0).round().astype(np.int64)
    worked = (np.maximum(age - 18, 0) * rng.beta(1.2, 3, n)).round(1)
    tenure = np.where(rng.random(n) < 0.12 + 0.15 * (job < 3), np.nan, worked)
    debt = rng.lognormal(-1.2 - 0.3 * wealth + 0.5 * married, 0.9).round(4)
    days = (3650 * rng.beta(2 + 1.0 * (job >= 6), 1.2)).astype(np.int64)
    score = (
        -3.3 + 0.55 * (education - 3.2) + 0.045 * np.minimum(age - 18, 35) - 0.04 * np.maximum(age - 60, 0)
        + 0.035 * (hours - 38) + 1.5 * married * (hours > 30) + 0.9 * (job >= 7) - 1.1 * (job == 0) + 1.8 * (gain > 3000)
        - 0.5 * np.log(debt / 0.3) * ~married + 0.03 * np.nan_to_num(tenure, nan=-5.0) + 0.5 * male * married
        + 0.4 * np.isin(region, [0, 3]) + rng.logistic(0, 0.55, n)
    )  # fmt: skip
    return pd.DataFrame(
        {
            "age": age, "education": np.array(EDUCATIONS)[education], "job": np.array(JOBS)[job], "male": male,
            "status": np.where(married, "married", apart), "region": np.array(REGIONS)[region], "hours": hours,
            "gain": gain, "tenure": tenure, "debt": debt,
            "joined": pd.Timestamp("2015-01-01") + pd.to_timedelta(days, unit="D"), "rich": score > 0,
        }
    )  # fmt: skip


def _logistic(numbers: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1 / (1 + np.exp(-numbers))
    return found
