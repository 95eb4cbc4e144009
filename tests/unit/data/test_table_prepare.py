"""From raw rows to a dataset: bad rows set aside, copies dropped, features computed as over the whole, splits written."""

import csv
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from regen.core.config import Config, parse
from regen.core.errors import ConfigError, DataError, ValidationError
from regen.data import table_checks, table_prepare, table_sources, windows
from regen.data.columns import Column, TableSchema
from regen.data.table_splits import SPLITS, TableDataset

SCHEMA = TableSchema(
    (
        Column("id", "integer"), Column("at", "datetime"), Column("who", "categorical"),
        Column("amount", "numeric", low=0), Column("bad", "integer", low=0, high=1),
    ),
    key="id", time="at", label="bad", label_delay_days=3, groups=("who",),
)  # fmt: skip
START = datetime.fromisoformat("2026-01-01")


def payments(n: int = 600) -> pl.DataFrame:
    random = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "id": range(n),
            "at": [START + timedelta(hours=float(hour)) for hour in np.sort(random.uniform(0, 24 * 60, n)).round(2)],
            "who": random.choice(["ann", "bob", "cat"], n),
            "amount": random.uniform(0, 100, n).round(2),
            "bad": (random.random(n) < 0.1).astype(int),
        }
    )


class Prepared:
    """What was found, and what was written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"

    def run(self, rows: pl.DataFrame, schema: TableSchema = SCHEMA, **tables: Any) -> dict[str, Any]:
        for name in ("work", "out"):
            (self.folder / name).mkdir(exist_ok=True)
        rows.write_parquet(self.folder / "rows.parquet")
        config: Config = parse(
            {
                "project": "a",
                "data": {"source": "table:x.csv"},
                "tables": {"amount": "amount", "max_bad_share": 0.2} | tables,
            }
        )
        return table_prepare.prepare(
            self.folder / "rows.parquet", schema, config, self.folder / "work", self.out, "schemas/a.yaml"
        )

    @property
    def rows(self) -> pl.DataFrame:
        dataset = TableDataset.load(self.out)
        return pl.concat([dataset.frame(name) for name in SPLITS]).sort("id")


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return Prepared(tmp_path)


def test_every_sound_row_is_in_one_split_with_its_features(prepared: Prepared) -> None:
    found = prepared.run(payments())

    assert sum(found["splits"].values()) == found["rows"] == 600
    assert (found["bad_rows"], found["duplicates_removed"], found["reasons"]) == (0, 0, [])
    assert prepared.rows.select(payments().columns).equals(
        payments().cast(prepared.rows.select(payments().columns).schema)
    )
    assert prepared.rows.columns == [*payments().columns, *found["features"]]
    assert TableDataset.load(prepared.out).schema.modelled[-1].name == found["features"][-1] == "who_risk_30d"
    assert not list((prepared.folder / "work").iterdir())
    assert not (prepared.out / "quarantine.csv").exists()


def test_chunks_make_no_difference(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prepared.run(payments()), prepared.rows

    monkeypatch.setattr(table_sources, "CHUNK", 37)

    assert prepared.run(payments()) == whole[0]
    assert prepared.rows.equals(whole[1])


def test_features_are_computed_from_the_rows_that_are_kept_alone(prepared: Prepared) -> None:
    rows = payments()
    broken = rows.with_columns(amount=pl.when(pl.col("id") % 50 == 0).then(-1.0).otherwise("amount"))

    found = prepared.run(broken)

    kept = broken.filter(pl.col("amount") >= 0)
    wanted = windows.features(
        kept, SCHEMA, parse({"project": "a", "data": {"source": "transactions"}, "tables": {"amount": "amount"}}).tables
    )
    assert found["bad_rows"] == 12
    assert prepared.rows.select(wanted.columns).equals(wanted)


def test_bad_rows_and_repeated_keys_lie_in_quarantine_with_reasons(prepared: Prepared) -> None:
    rows = payments().with_columns(
        id=pl.when(pl.col("id") == 9).then(8).otherwise("id"),
        who=pl.when(pl.col("id") == 5).then(None).otherwise("who"),
    )

    found = prepared.run(rows)

    with (prepared.out / "quarantine.csv").open(newline="") as file:
        aside = list(csv.DictReader(file))
    assert [(row["row"], row["reason"]) for row in aside] == [
        ("5", f"who: wanted {table_checks.NO_GAP}"),
        ("9", "id: wanted a key of its own"),
    ]
    assert aside[1]["value of id"] == "8"
    assert found["bad_rows"] == 2
    assert {reason["column"]: reason["first"][0]["row"] for reason in found["reasons"]} == {"who": 5, "id": 9}
    assert len(prepared.rows) == 598


def test_a_key_is_looked_at_over_all_chunks(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_sources, "CHUNK", 16)
    rows = payments().with_columns(id=pl.when(pl.col("id") == 599).then(0).otherwise("id"))

    assert prepared.run(rows)["bad_rows"] == 1


def test_copies_are_dropped_before_the_features_see_them(prepared: Prepared) -> None:
    rows = payments()
    copies = rows.head(20).with_columns(id=pl.col("id") + 10_000)

    found = prepared.run(pl.concat([rows, copies]))

    assert found["duplicates_removed"] == 20
    assert prepared.rows["id"].max() == 599
    first = prepared.rows
    prepared.run(rows)
    assert first.equals(prepared.rows)


def test_too_many_copies_are_refused(prepared: Prepared) -> None:
    twice = pl.concat([payments(), payments().with_columns(id=pl.col("id") + 10_000)])

    with pytest.raises(
        ValidationError, match=r"600 of 1200 rows are exact copies .* data\.max_duplicate_share \(0\.05\); look"
    ):
        prepared.run(twice)


def test_too_many_bad_rows_are_refused_with_the_first_ones(prepared: Prepared) -> None:
    with pytest.raises(
        ValidationError, match=r"column amount: wanted at least 0, got -1\.0 in row 0 \(so did rows 1, 2, 3, 4 …"
    ):
        prepared.run(payments().with_columns(amount=pl.lit(-1.0)))


def test_a_table_without_a_time_is_split_by_digest_and_has_no_features(prepared: Prepared) -> None:
    schema = TableSchema(SCHEMA.columns[2:], label="bad")

    found = prepared.run(payments(), schema)

    assert found["features"] == []
    assert found["begins"] == {}
    assert found["splits"]["gap"] == 0
    assert all(found["splits"][name] > 0 for name in SPLITS[:3])


def test_a_table_of_columns_alone_is_prepared(prepared: Prepared) -> None:
    found = prepared.run(payments(), TableSchema(SCHEMA.columns[2:4]))

    assert found["features"] == []
    assert sum(found["splits"].values()) + found["duplicates_removed"] == 600


def test_a_table_without_a_label_has_no_risk_and_counts_no_anomalies(prepared: Prepared) -> None:
    found = prepared.run(payments(), TableSchema(SCHEMA.columns, key="id", time="at", groups=("who",)))

    assert "anomalies" not in found
    assert not any("risk" in name for name in found["features"])


def test_a_table_of_no_rows_or_the_wrong_amount_is_refused(prepared: Prepared) -> None:
    with pytest.raises(DataError, match=r"rows\.parquet holds no rows; add some, then run 'regen data add'"):
        prepared.run(payments().clear())
    with pytest.raises(ConfigError, match=r"tables\.amount is who, which is of kind categorical; name one of amount"):
        prepared.run(payments(), amount="who")
