"""Causal features: what a hand counts, what pandas' rolling windows say, and nothing of the future."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regen.core.errors import ConfigError
from regen.core.sections.tables import TablesConfig
from regen.data import windows
from regen.data.columns import Column, TableSchema

COLUMNS = (
    Column("time", "datetime"),
    Column("who", "integer"),
    Column("amount", "numeric", nullable=True),
    Column("bad", "integer", nullable=True, low=0, high=1),
)
SCHEMA = TableSchema(COLUMNS, time="time", label="bad", label_delay_days=2, groups=("who",))
CONFIG = TablesConfig(amount="amount", windows_days=[1, 7])
START = datetime.fromisoformat("2026-01-01")


def table(hours: list[float], who: list[int], amount: list[float | None], bad: list[int | None]) -> pl.DataFrame:
    times = [START + timedelta(hours=hour) for hour in hours]
    kinds = {"time": pl.Datetime("us"), "who": pl.Int64, "amount": pl.Float64, "bad": pl.Int64}
    return pl.DataFrame({"time": times, "who": who, "amount": amount, "bad": bad}, schema=kinds)


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    n = draw(st.integers(1, 25))
    lists = {
        "hours": st.integers(0, 400), "who": st.integers(0, 2), "amount": st.none() | st.floats(-1e6, 1e6),
        "bad": st.none() | st.integers(0, 1),
    }  # fmt: skip
    return table(**{name: draw(st.lists(each, min_size=n, max_size=n)) for name, each in lists.items()})


def test_counts_means_and_ratios_are_those_that_a_hand_computes() -> None:
    rows = table([0, 12, 30, 31], [1, 1, 1, 2], [10, 20, 60, 5], [0, 0, 0, 0])

    found = windows.features(rows, SCHEMA, CONFIG)

    assert found["who_count_1d"].to_list() == [1, 2, 2, 1]
    assert found["who_mean_1d"].to_list() == [10, 15, 40, 5]
    assert found["who_mean_7d"].to_list() == [10, 15, 30, 5]
    assert found["who_ratio_7d"].to_list() == [1, 2, 4, 1]


def test_a_risk_counts_a_label_only_once_its_delay_has_passed() -> None:
    rows = table([0, 24, 48, 49, 73], [1] * 5, [1] * 5, [1, 0, 0, 0, 0])

    found = windows.features(rows, SCHEMA, CONFIG)

    assert found["who_risk_7d"].to_list() == [0, 0, 0, 1, 0.5]


def test_a_label_is_not_its_own_risk_even_without_a_delay() -> None:
    schema = TableSchema(COLUMNS, time="time", label="bad", groups=("who",))
    rows = table([0, 0, 1], [1, 1, 1], [1, 1, 1], [1, 1, 0])

    assert windows.features(rows, schema, CONFIG)["who_risk_1d"].to_list() == [0, 0, 1]


def test_a_missing_label_is_never_known_and_a_missing_amount_in_no_sum() -> None:
    rows = table([0, 1, 100], [1, 1, 1], [None, 4, None], [None, 1, 0])

    found = windows.features(rows, SCHEMA, CONFIG)

    assert found["who_risk_7d"].to_list() == [0, 0, 1]
    assert found["who_mean_7d"].to_list() == [0, 4, 4]
    assert found["who_ratio_7d"].to_list() == [1, 1, 1]


def test_hour_weekend_and_night_are_those_of_the_calendar() -> None:
    rows = table([5, 6, 24 * 2 + 12], [1, 1, 1], [1, 1, 1], [0, 0, 0])  # 2026-01-01 is a Thursday

    found = windows.features(rows, SCHEMA, CONFIG)

    assert found["hour"].to_list() == [5, 6, 12]
    assert found["night"].to_list() == [True, False, False]
    assert found["weekend"].to_list() == [False, False, True]


def test_windows_agree_with_those_that_pandas_rolls() -> None:
    random = np.random.default_rng(0)
    hours = np.sort(random.choice(5000, 400, replace=False)).tolist()
    rows = table(hours, random.integers(0, 3, 400).tolist(), random.uniform(0, 9, 400).tolist(), [0] * 400)
    frame = rows.to_pandas().set_index("time")

    found = windows.features(rows, SCHEMA, CONFIG).to_pandas()

    for days in (1, 7):
        rolled = frame.groupby("who")["amount"].rolling(f"{days}D", closed="both")
        wanted = pd.DataFrame({"n": rolled.count(), "mean": rolled.mean()}).reset_index("who", drop=True).sort_index()
        np.testing.assert_array_equal(found[f"who_count_{days}d"], wanted["n"])
        np.testing.assert_allclose(found[f"who_mean_{days}d"], wanted["mean"])


@settings(max_examples=150, deadline=None)
@given(tables(), tables(), st.integers(0, 400))
def test_no_change_of_the_future_changes_a_feature_of_the_past(
    rows: pl.DataFrame, other: pl.DataFrame, at: int
) -> None:
    moment = START + timedelta(hours=at)
    past = rows.filter(pl.col("time") <= moment)
    unknown = pl.col("time") + timedelta(days=SCHEMA.label_delay_days) >= moment
    changed = past.with_columns(bad=pl.when(unknown).then(1 - pl.col("bad").fill_null(0)).otherwise("bad"))
    future = pl.concat([rows, other]).filter(pl.col("time") > moment).sample(fraction=1, shuffle=True, seed=at)

    before = windows.features(rows, SCHEMA, CONFIG).filter(rows["time"] <= moment)
    after = windows.features(pl.concat([future, changed]), SCHEMA, CONFIG)[len(future) :]

    assert after.equals(before)


@settings(max_examples=50, deadline=None)
@given(tables(), st.randoms())
def test_features_do_not_depend_on_the_order_of_the_rows_nor_on_that_of_ties(
    rows: pl.DataFrame, random: object
) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]

    shuffled = windows.features(rows[order], SCHEMA, CONFIG)

    found = windows.features(rows, SCHEMA, CONFIG)[order]
    for name in found.columns:
        np.testing.assert_allclose(shuffled[name].cast(pl.Float64), found[name].cast(pl.Float64), rtol=1e-6, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(tables())
def test_every_feature_lies_where_its_column_says_and_none_is_missing(rows: pl.DataFrame) -> None:
    found = windows.features(rows, SCHEMA, CONFIG)

    assert found.columns == [column.name for column in windows.columns(SCHEMA, CONFIG)]
    for column in windows.columns(SCHEMA, CONFIG):
        values = found[column.name]
        assert values.null_count() == 0
        assert column.kind == "boolean" or values.is_finite().all() if values.dtype.is_float() else True
        assert column.low is None or values.min() >= column.low
        assert column.high is None or values.max() <= column.high


def test_without_an_amount_windows_only_count() -> None:
    names = [column.name for column in windows.columns(SCHEMA, TablesConfig(windows_days=[7], calendar=False))]

    assert names == ["who_count_7d", "who_risk_7d"]


def test_without_a_time_column_or_windows_there_are_no_features() -> None:
    rows = table([0], [1], [1], [0])
    timeless = TableSchema(COLUMNS[1:], label="bad", groups=("who",))

    assert windows.columns(timeless, CONFIG) == ()
    assert windows.features(rows, timeless, CONFIG).width == 0
    assert windows.columns(SCHEMA, TablesConfig(windows_days=[], calendar=False)) == ()


def test_an_amount_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tables\.amount is time, which is of kind datetime; name one of amount"):
        windows.require_usable(SCHEMA, TablesConfig(amount="time"))
    with pytest.raises(
        ConfigError, match=r"tables\.amount is money, which is no column of the schema; name one of amount"
    ):
        windows.require_usable(SCHEMA, TablesConfig(amount="money"))


def test_a_column_with_the_name_of_a_feature_is_refused() -> None:
    schema = TableSchema((*COLUMNS, Column("night", "boolean")), time="time", groups=("who",))

    with pytest.raises(ConfigError, match="the column night has the name of a feature"):
        windows.require_usable(schema, CONFIG)
