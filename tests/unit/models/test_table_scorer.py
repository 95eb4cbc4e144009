"""A table's scorer: rows as they come in, their past from what travels with the model, and columns that say why."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from regen.core.errors import DataError
from regen.core.sections.table_vae import TableVaeConfig
from regen.core.sections.tables import TablesConfig
from regen.data import windows
from regen.data.codebook import Codebook
from regen.data.columns import Column, TableSchema
from regen.models.cells import Cells, Layout
from regen.models.table_scorer import CODEBOOK, TableScorer, recent
from regen.training.runtime import Runtime
from regen.training.table_vae import train_table_vae

SCHEMA = TableSchema(
    (
        Column("id", "integer"), Column("at", "datetime"), Column("card", "integer"),
        Column("zone", "categorical", categories=("a", "b")), Column("amount", "numeric", low=0),
        Column("fraud", "integer", low=0, high=1),
    ),
    key="id", time="at", label="fraud", label_delay_days=2, groups=("card",),
)  # fmt: skip
RULES = TablesConfig(amount="amount", windows_days=[1, 7], calendar=False)
BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001  # tables hold times of UTC without a zone


def made(n: int, seed: int = 0) -> pl.DataFrame:
    """Payments, an hour apart."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame({
        "id": np.arange(n), "at": [BEGIN + timedelta(hours=i) for i in range(n)], "card": rng.integers(0, 4, n),
        "zone": rng.choice(["a", "b"], n), "amount": rng.lognormal(3, 0.5, n), "fraud": (rng.random(n) < 0.05).astype(int),
    }).with_columns(pl.col("at").dt.cast_time_unit("us"))  # fmt: skip


@pytest.fixture(scope="module")
def scorer() -> TableScorer:
    rows = made(600)
    extended = windows.extended(SCHEMA, RULES)
    full = rows.hstack(windows.features(rows, SCHEMA, RULES))
    frame = full.select(column.name for column in extended.modelled).to_pandas()
    book = Codebook.of([frame], extended.modelled)
    table = book.table(frame)
    cells = Cells.of(table)
    config = TableVaeConfig(widths=(16,), latent_dim=2, rows=6400, score_draws=2, score_reference=100)
    vae = train_table_vae(config, Layout.of(table), cells, cells.thinned(200), 0, Runtime()).vae
    return TableScorer(vae, book, SCHEMA, RULES, recent(rows, SCHEMA, RULES))


def test_a_scorer_comes_back_from_disk_and_scores_the_same(scorer: TableScorer, tmp_path: Path) -> None:
    scorer.save(tmp_path)
    rows = made(600).tail(20).drop("fraud").to_pandas()

    pd.testing.assert_frame_equal(TableScorer.load(tmp_path).predict(rows), scorer.predict(rows))


def test_the_kept_past_reaches_as_far_back_as_windows_and_delay(scorer: TableScorer) -> None:
    assert scorer.history is not None
    assert scorer.history["at"].min() == BEGIN + timedelta(hours=599 - 24 * 9)
    assert scorer.history.columns == ["id", "at", "amount", "fraud", "card"]


def test_new_rows_have_the_features_that_preparing_would_give_them(scorer: TableScorer) -> None:
    every = made(640)
    wanted = windows.features(every, SCHEMA, RULES).tail(30).to_pandas()
    history = every.head(610)

    found = scorer.featurise(every.tail(30).drop("fraud").to_pandas(), history)

    pd.testing.assert_frame_equal(found[list(wanted)], wanted)


def test_rows_that_the_past_holds_already_are_not_counted_twice(scorer: TableScorer) -> None:
    every = made(600)
    again = every.tail(5).drop("fraud").to_pandas()

    found = scorer.featurise(again)

    wanted = windows.features(every, SCHEMA, RULES).tail(5)
    assert found["card_count_7d"].tolist() == wanted["card_count_7d"].to_list()


def test_what_is_strange_scores_high_and_its_column_is_named(scorer: TableScorer) -> None:
    rows = made(601).tail(1).drop("fraud").to_pandas()
    strange = rows.assign(amount=1e6)

    usual, found = scorer.predict(rows), scorer.predict(strange)

    assert found["anomaly_score"].item() > usual["anomaly_score"].item()
    assert found["is_anomaly"].item()
    assert "amount" in found["top_columns"].item() or "card_mean" in found["top_columns"].item()
    assert len(scorer.explained(scorer.featurise(strange))[0]) == 3


def test_a_table_without_a_time_needs_no_past() -> None:
    schema = TableSchema((Column("x", "numeric"),))

    assert recent(pl.DataFrame({"x": [1.0]}), schema, RULES) is None


def test_rows_without_a_column_or_a_time_are_refused(scorer: TableScorer) -> None:
    rows = made(601).tail(1).drop("fraud").to_pandas()

    with pytest.raises(DataError, match="the rows lack the columns amount"):
        scorer.predict(rows.drop(columns="amount"))
    with pytest.raises(DataError, match="1 of 1 rows lack at"):
        scorer.predict(rows.assign(at=pd.NaT))


def test_a_damaged_file_is_told(scorer: TableScorer, tmp_path: Path) -> None:
    scorer.save(tmp_path)
    (tmp_path / CODEBOOK).write_text("{}")

    with pytest.raises(DataError, match="cannot be loaded"):
        TableScorer.load(tmp_path)


def test_the_past_comes_from_files_and_each_row_of_it_once(scorer: TableScorer, tmp_path: Path) -> None:
    every = made(640)
    every.head(620).write_parquet(tmp_path / "known.parquet")
    every.tail(40).drop("fraud").write_csv(tmp_path / "new.csv")
    asked = every.tail(10).drop("fraud").to_pandas()

    past = scorer.past_in([tmp_path / "known.parquet", tmp_path / "new.csv"])

    found = scorer.featurise(asked, past)
    wanted = windows.features(every.with_columns(fraud=pl.when(pl.col("id") < 620).then("fraud")), SCHEMA, RULES)
    pd.testing.assert_frame_equal(found[list(wanted.columns)], wanted.tail(10).to_pandas())


def written(rows: pl.DataFrame, path: Path) -> Path:
    """A batch as a file, with a blank line if it is CSV."""
    if path.suffix == ".parquet":
        rows.write_parquet(path)
    else:
        first, _, rest = rows.write_csv().partition("\n")
        path.write_text(f"{first}\n\n{rest}")
    return path


def in_shards(scorer: TableScorer, path: Path, rows: pl.DataFrame, size: int, known: Path | None) -> pd.DataFrame:
    """A batch's rows with their features, some at a time."""
    past = scorer.past_in([known]) if known is not None else None
    parts = [
        scorer.featurise(part.to_pandas(), past, scorer.others_in(path, range(at, at + len(part))))
        for at, part in ((at, rows[at : at + size]) for at in range(0, len(rows), size))
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("name", ["batch.csv", "batch.parquet"])
@pytest.mark.parametrize("is_known", [True, False])
def test_features_do_not_depend_on_the_size_of_a_shard(
    scorer: TableScorer, tmp_path: Path, name: str, *, is_known: bool
) -> None:
    every = made(900)
    every.head(640).write_parquet(tmp_path / "known.parquet")
    batch = pl.concat([every.tail(300), every.tail(20)]).with_columns(
        fraud=pl.lit(1)
    )  # keys twice, labels that say much
    path, known = written(batch, tmp_path / name), tmp_path / "known.parquet" if is_known else None

    found = {size: in_shards(scorer, path, batch, size, known) for size in (7, 100, 1000)}

    pd.testing.assert_frame_equal(found[7], found[1000], rtol=1e-9)
    pd.testing.assert_frame_equal(found[100], found[1000], rtol=1e-9)


def test_rows_without_a_key_are_counted_once_whatever_the_shard(scorer: TableScorer, tmp_path: Path) -> None:
    every = made(700)
    schema = replace(SCHEMA, columns=SCHEMA.columns[1:], key=None)
    keyless = replace(scorer, schema=schema, history=recent(every.head(600), schema, RULES))
    batch = every.tail(100).drop("id", "fraud")
    path = written(batch, tmp_path / "batch.csv")

    found = in_shards(keyless, path, batch, 9, None)

    wanted = windows.features(every.with_columns(fraud=pl.when(pl.col("id") < 600).then("fraud")), SCHEMA, RULES)
    pd.testing.assert_frame_equal(found[list(wanted.columns)], wanted.tail(100).to_pandas())


def test_a_batch_takes_its_labels_from_the_past_alone(scorer: TableScorer, tmp_path: Path) -> None:
    every = made(700)
    batch = every.tail(200).with_columns(fraud=1 - pl.col("fraud"))
    every.head(650).write_parquet(tmp_path / "known.parquet")
    path = written(batch, tmp_path / "batch.parquet")

    found = in_shards(scorer, path, batch, 50, tmp_path / "known.parquet")

    wanted = windows.features(every.with_columns(fraud=pl.when(pl.col("id") < 650).then("fraud")), SCHEMA, RULES)
    pd.testing.assert_frame_equal(found[list(wanted.columns)], wanted.tail(200).to_pandas())


def test_a_batch_that_lacks_a_column_is_told(scorer: TableScorer, tmp_path: Path) -> None:
    for name in ("batch.csv", "batch.parquet"):
        path = written(made(5).drop("card"), tmp_path / name)

        with pytest.raises(DataError, match="cannot be read as a table"):
            scorer.others_in(path, [0])


@pytest.mark.parametrize("number", [-1, 5])
def test_a_row_that_the_batch_does_not_hold_is_told(scorer: TableScorer, tmp_path: Path, number: int) -> None:
    path = written(made(5), tmp_path / "batch.parquet")

    with pytest.raises(DataError, match=f"holds 5 rows and none of number {number}; name the file of this batch"):
        scorer.others_in(path, [0, number])


def test_a_version_that_was_packaged_before_batches_were_known_still_scores(
    scorer: TableScorer, tmp_path: Path
) -> None:
    made(620).write_parquet(tmp_path / "known.parquet")
    rows = made(640).tail(20).drop("fraud").to_pandas()

    found = scorer.predict(rows, scorer.past_in([tmp_path / "known.parquet"], rows))

    pd.testing.assert_frame_equal(found, scorer.predict(rows, scorer.past_in([tmp_path / "known.parquet"])))
