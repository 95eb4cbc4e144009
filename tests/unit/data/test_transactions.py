"""Simulated payments: the handbook's world, the same for the same seed, with a day from which it is another one."""

import time

import numpy as np
import polars as pl
import pytest

from regen.core.sections.tables import SimulatorConfig
from regen.data import table_checks, table_schema, transactions
from regen.data.transactions import SCENARIO, SCHEMA, simulate
from tests.conftest import REPOSITORY

SMALL = {"customers": 200, "terminals": 200, "days": 40}


def payments(**settings: float) -> pl.DataFrame:
    return pl.concat(simulate(SimulatorConfig.model_validate(SMALL | settings)))


def test_the_same_seed_gives_the_same_rows_whatever_the_size_of_the_chunks() -> None:
    config = SimulatorConfig.model_validate(SMALL)

    one, other = pl.concat(simulate(config, chunk_rows=1)), pl.concat(simulate(config, chunk_rows=10_000))

    assert one.equals(other)
    assert not one.equals(payments(seed=1))


def test_the_rows_meet_their_own_schema_in_the_order_of_time() -> None:
    rows, report = payments(), table_checks.Report()

    (_, bad), *_ = table_checks.check(iter([rows]), SCHEMA, report)

    assert bad.is_empty()
    assert rows["time"].is_sorted()
    assert rows["transaction"].to_list() == list(range(len(rows)))


def test_the_committed_schema_is_that_of_the_simulator() -> None:
    assert table_schema.load(REPOSITORY / "schemas" / "transactions.yaml") == SCHEMA


def test_a_row_is_a_fraud_exactly_when_a_scenario_made_it_one() -> None:
    rows = payments(compromised_a_day=1)

    assert (rows["fraud"] == (rows[SCENARIO] > 0).cast(pl.Int8)).all()
    assert set(rows[SCENARIO].unique()) == {0, 1, 2, 3}
    assert 0.002 < (rows["fraud"] == 1).sum() / len(rows) < 0.03


def test_every_amount_above_the_limit_is_a_fraud_and_no_other_of_the_first_scenario() -> None:
    rows = payments(large_amount=150, compromised_a_day=0, stolen_a_day=0)

    assert ((rows["amount"] > 150) == (rows["fraud"] == 1)).all()


def test_every_payment_at_a_compromised_terminal_is_a_fraud_for_as_many_days_as_said() -> None:
    rows = payments(compromised_a_day=5, compromised_days=3, stolen_a_day=0, large_amount=1e9)
    days = rows.with_columns(day=pl.col("time").dt.date()).group_by("terminal", "day").agg(pl.col("fraud").mean())

    assert set(days["fraud"].unique()) == {0, 1}
    longest = days.filter(fraud=1).group_by("terminal").len()["len"]
    assert longest.median() == 3


def test_a_third_of_a_stolen_cards_payments_are_misused_at_a_multiple_of_the_amount() -> None:
    rows = payments(
        customers=400, stolen_a_day=100, stolen_days=100, compromised_a_day=0, large_amount=1e9, stolen_factor=5
    )
    late = rows.filter(pl.col("time") > transactions.START.replace(tzinfo=None) + pl.duration(days=35))

    assert late["fraud"].mean() == pytest.approx(1 / 3, abs=0.03)
    mean = {fraud: late.filter(fraud=fraud)["amount"].mean() for fraud in (0, 1)}
    assert mean[1] / mean[0] == pytest.approx(5, rel=0.15)


def test_a_person_pays_about_twice_a_day_at_few_terminals_around_noon() -> None:
    rows = payments(terminals=2000)

    assert len(rows) / 200 / 40 == pytest.approx(2, abs=0.3)
    assert rows["time"].dt.hour().mean() == pytest.approx(12, abs=0.7)
    assert rows.group_by("customer").agg(pl.col("terminal").n_unique())["terminal"].max() < 60


def test_the_world_before_the_day_of_drift_is_the_same_world() -> None:
    still, moved = payments(), payments(drift_day=20, drift_amount_factor=2, drift_online_share=0.6)
    day = transactions.START.replace(tzinfo=None) + pl.duration(days=20)

    assert still.filter(pl.col("time") < day).equals(moved.filter(pl.col("time") < day))
    later = moved.filter(pl.col("time") >= day)
    assert later["amount"].mean() / still.filter(pl.col("time") >= day)["amount"].mean() == pytest.approx(2, rel=0.05)
    assert (later["channel"] == "online").mean() == pytest.approx(0.6, abs=0.03)


def test_drift_can_make_frauds_more_frequent() -> None:
    rows = payments(drift_day=20, drift_fraud_factor=10, large_amount=1e9)
    half = transactions.START.replace(tzinfo=None) + pl.duration(days=20)

    before, after = (rows.filter(chosen)["fraud"].mean() for chosen in (pl.col("time") < half, pl.col("time") >= half))
    assert after > 3 * before


def test_a_person_far_from_every_terminal_pays_at_the_nearest() -> None:
    rows = payments(terminals=1)

    assert set(rows["terminal"].unique()) == {0}


def test_a_second_of_the_processor_gives_a_hundred_thousand_rows() -> None:
    config = SimulatorConfig(customers=2000, terminals=4000, days=50)
    start = time.process_time()

    n = sum(map(len, simulate(config)))

    assert n / (time.process_time() - start) > 100_000


def test_models_see_trade_channel_and_amount_alone() -> None:
    assert [column.name for column in SCHEMA.modelled] == ["trade", "channel", "amount"]
    assert np.isclose(sum(transactions.TRADE_SHARES), 1)
