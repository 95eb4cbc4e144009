"""Splits of a table: in the order of time with gaps as long as a label's delay, or by digest; copies are kept once."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regen.core.errors import DataError
from regen.core.sections.data import DataConfig
from regen.data import table_splits
from regen.data.columns import Column, TableSchema
from regen.data.table_splits import SPLITS, TableDataset
from regen.data.windows import DAY

CONFIG = DataConfig(source="table:x.csv", validation_share=0.2, test_share=0.3)
TIMED = TableSchema(
    (Column("id", "integer"), Column("at", "datetime"), Column("x", "numeric"), Column("bad", "integer", nullable=True)),
    key="id", time="at", label="bad", label_delay_days=7,
)  # fmt: skip
TIMELESS = TableSchema(
    (Column("x", "numeric"), Column("kind", "categorical", nullable=True), Column("bad", "integer")), label="bad"
)
START = datetime.fromisoformat("2026-01-01")


def ledger(days: int = 100, a_day: int = 4) -> pl.DataFrame:
    n = days * a_day
    times = [START + timedelta(hours=24 / a_day * i) for i in range(n)]
    return pl.DataFrame(
        {"id": range(n), "at": times, "x": [float(i) for i in range(n)], "bad": [int(i % 10 == 0) for i in range(n)]},
        schema={"id": pl.Int64, "at": pl.Datetime("us"), "x": pl.Float64, "bad": pl.Int64},
    )


def timeless(n: int = 2000) -> pl.DataFrame:
    return pl.DataFrame({"x": [float(i) for i in range(n)], "kind": [None, "a"] * (n // 2), "bad": [0, 1] * (n // 2)})


def test_test_rows_are_the_newest_and_a_gap_of_the_delay_lies_before_each_split() -> None:
    dataset = TableDataset.of(ledger(), TIMED, CONFIG)
    times = {name: dataset.times(name) for name in SPLITS}

    assert dataset.begins == {"validation": "2026-02-20T00:00:00", "test": "2026-03-12T00:00:00"}
    assert dataset.sizes == {"train": 172, "validation": 52, "test": 120, "gap": 56}
    assert times["train"].max() + 7 * DAY < times["validation"].min()
    assert times["validation"].max() + 7 * DAY < times["test"].min()


def test_every_label_of_a_split_is_known_when_the_next_one_begins() -> None:
    dataset = TableDataset.of(ledger(), TIMED, CONFIG)
    begins = {name: int(np.datetime64(moment, "us").astype(int)) for name, moment in dataset.begins.items()}

    assert dataset.times("train").max() + 7 * DAY < begins["validation"]
    assert dataset.times("validation").max() + 7 * DAY < begins["test"]
    assert dataset.times("test").min() >= begins["test"]


def test_a_missing_label_is_unknown() -> None:
    rows = ledger().with_columns(bad=pl.when(pl.col("id") % 2 == 0).then("bad"))

    assert set(TableDataset.of(rows, TIMED, CONFIG).labels("test")) == {0, 1, -1}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 60 * DAY), min_size=20, max_size=80), st.floats(0, 5))
def test_no_row_of_one_moment_is_in_two_splits_and_the_splits_follow_each_other(times: list[int], delay: float) -> None:
    time = np.array(times)

    chosen, (validation, test) = table_splits.by_time(time, delay, CONFIG)

    assert all(len(set(chosen[time == moment])) == 1 for moment in set(times))
    assert (time[chosen == 0] < validation - delay * DAY).all()
    assert ((time[chosen == 1] >= validation) & (time[chosen == 1] < test - delay * DAY)).all()
    assert (chosen[time >= test] == 2).all()


def test_a_table_of_hours_is_not_split_at_midnight() -> None:
    hours = ledger(days=2, a_day=100)

    dataset = TableDataset.of(hours, TableSchema(TIMED.columns, key="id", time="at", label="bad"), CONFIG)

    assert dataset.sizes == {"train": 100, "validation": 40, "test": 60, "gap": 0}


def test_without_a_time_a_row_keeps_its_split_when_the_table_grows() -> None:
    small, large = (TableDataset.of(rows, TIMELESS, CONFIG) for rows in (timeless(1000), timeless(2000)))

    for name in SPLITS[:3]:
        assert set(small.frame(name)["x"]) <= set(large.frame(name)["x"])
    assert large.sizes["test"] / 2000 == pytest.approx(0.3, abs=0.03)
    assert large.sizes["validation"] / 2000 == pytest.approx(0.2, abs=0.03)


def test_another_split_seed_gives_other_splits() -> None:
    digests = table_splits.row_digests(timeless(), TIMELESS)

    one, other = (table_splits.by_digest(digests, CONFIG.model_copy(update={"split_seed": seed})) for seed in (0, 1))

    assert 0.3 < (one == other).mean() < 0.45  # .38 is what chance gives


def test_copies_are_kept_once_and_differ_by_more_than_their_key() -> None:
    rows = pl.concat([ledger(), ledger().with_columns(id=pl.col("id") + 10_000)])

    assert sum(TableDataset.of(rows, TIMED, CONFIG).sizes.values()) == 400


def test_a_digest_tells_a_missing_value_from_an_empty_text_and_one_column_from_the_next() -> None:
    schema = TableSchema((Column("a", "categorical"), Column("b", "categorical")))
    rows = pl.DataFrame({"a": [None, "", "x", "xy"], "b": ["", None, "yz", "z"]})

    assert len(set(table_splits.row_digests(rows, schema))) == 4


def test_a_dataset_survives_the_disk_and_is_known_by_its_digest(tmp_path: Path) -> None:
    dataset = TableDataset.of(ledger(), TIMED, CONFIG)

    saved = dataset.save(tmp_path)

    assert saved.digest == TableDataset.load(tmp_path).digest
    assert (saved.schema, saved.sizes, saved.begins) == (dataset.schema, dataset.sizes, dataset.begins)
    assert all(saved.frame(name).equals(dataset.frame(name)) for name in SPLITS)
    (tmp_path / "other").mkdir()
    assert TableDataset.of(ledger(99), TIMED, CONFIG).save(tmp_path / "other").digest != saved.digest


def test_models_see_neither_key_nor_time_nor_label() -> None:
    assert TableDataset.of(ledger(), TIMED, CONFIG).frame("train", modelled_only=True).columns == ["x"]


def test_an_empty_split_is_refused_with_what_the_gaps_took() -> None:
    with pytest.raises(
        DataError, match=r"no rows fall to train, validation; .*28 rows lie in the gaps of label_delay_days \(7\)"
    ):
        TableDataset.of(ledger(days=10), TIMED, CONFIG)


def test_labels_and_times_of_a_table_without_them_are_refused(tmp_path: Path) -> None:
    dataset = TableDataset.of(timeless(), TableSchema(TIMELESS.columns), CONFIG)

    with pytest.raises(DataError, match="the schema names no label; set label in its file"):
        dataset.labels("train")
    with pytest.raises(DataError, match="the schema names no time; set time in its file"):
        dataset.days("train")
    with pytest.raises(DataError, match=r"dataset\.json is missing; run 'regen stage prepare'"):
        TableDataset.load(tmp_path)
