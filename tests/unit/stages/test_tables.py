"""A table's test rows by what is known of them, and rows of a VAE with columns given."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from regen.core.config import parse
from regen.core.errors import ConfigError, DataError, EvaluationError
from regen.core.sections.table_vae import TableVaeConfig
from regen.core.workspace import Workspace
from regen.data.codebook import Codebook
from regen.data.columns import Column, TableSchema
from regen.data.table_splits import TableDataset
from regen.models.cells import Cells, Layout
from regen.models.table_scorer import TableScorer
from regen.stages.base import Context
from regen.stages.sample import parse_given
from regen.stages.tables.evaluate import Test, note
from regen.stages.tables.models import _of_vae
from regen.stages.tables.rows import TableRows
from regen.stages.tables.train import LOOPS
from regen.training.runtime import Runtime
from regen.training.table_vae import train_table_vae
from tests.unit.stages.conftest import Shown

SCHEMA = TableSchema(
    (
        Column("id", "integer"), Column("at", "datetime"), Column("amount", "numeric"), Column("fraud", "integer", nullable=True),
    ),
    key="id", time="at", label="fraud",
)  # fmt: skip
CONFIG = parse({"project": "ledger", "data": {"source": "table:ledger.csv"}, "tables": {"calendar": False}})
BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001  # tables hold times of UTC without a zone


def made(tmp_path: Path, labels: np.ndarray) -> Test:
    n = len(labels)
    rows = pl.DataFrame({
        "id": np.arange(n), "at": [BEGIN + timedelta(hours=6 * i) for i in range(n)], "amount": np.arange(n) / 7,
        "fraud": pl.Series(labels.tolist(), dtype=pl.Int64),
    })  # fmt: skip
    dataset = TableDataset.of(rows, SCHEMA, CONFIG.data)
    return Test(Context(Workspace(tmp_path), CONFIG), TableRows(dataset, CONFIG))


def every_fifth(n: int) -> np.ndarray:
    return (np.arange(n) % 5 == 0).astype(object)


def test_rows_whose_label_is_not_known_are_neither_normal_nor_anomalies(tmp_path: Path, shown: Shown) -> None:
    labels = every_fifth(400)
    labels[-30:] = None

    found, every = made(tmp_path, labels), made(tmp_path, every_fifth(400))

    assert found.detection is not None
    assert every.detection is not None
    n = len(found.frame)
    assert (found.unknown, every.unknown) == (30, 0)
    assert found.detection.known is not None
    assert found.detection.known.tolist() == list(range(n - 30))
    assert found.detection.is_anomaly.tolist() == every.detection.is_anomaly[: n - 30].tolist()
    assert found.detection.days is not None
    assert len(found.detection.days) == n - 30
    found.tell_unknown()
    every.tell_unknown()
    assert shown.lines == [f"  evaluate: 30 of {n} test rows have no known label and are left out of detection"]


def test_labels_that_are_all_known_leave_every_row_in_its_place(tmp_path: Path) -> None:
    found = made(tmp_path, every_fifth(400))
    scores = np.random.default_rng(0).normal(size=len(found.frame))

    assert found.detection is not None
    assert np.array_equal(found.detection.of(scores), scores)


@pytest.mark.parametrize("last", [None, 0])
def test_too_few_known_anomalies_are_told_with_what_to_do(tmp_path: Path, last: Any) -> None:
    labels = every_fifth(400)
    labels[200:] = last

    with pytest.raises(
        EvaluationError, match=r"whose label is known, got 0 and \d+ of \d+ by fraud; raise data.test_share, add rows"
    ):
        made(tmp_path, labels).detection  # noqa: B018


def test_what_could_not_be_measured_is_not_trained(tmp_path: Path) -> None:
    dataset = made(tmp_path, np.zeros(400, object)).rows.dataset

    for train in LOOPS.values():
        with pytest.raises(EvaluationError, match="whose label is known, got 0 and"):
            train(CONFIG, dataset, Runtime(), tmp_path)


@pytest.mark.parametrize(("unknown", "said"), [(0, "Measured on 1,000 test rows, 5.00% of them anomalies"), (500, "1,000 test rows, detection on the 500 of them whose label is known, 10.00% of them anomalies")])  # fmt: skip
def test_the_note_says_how_many_rows_detection_is_measured_on(unknown: int, said: str) -> None:
    found = {"rows": {"test": 1000}, "label": "fraud", "unknown_labels": unknown, "anomalies": 50, "baselines": {}}

    assert said in note(found)


@pytest.fixture(scope="module")
def scorer() -> TableScorer:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"amount": rng.lognormal(size=400), "trade": rng.choice(["fuel", "travel"], 400)})
    columns = (Column("amount", "numeric"), Column("trade", "categorical"))
    book = Codebook.of([frame], columns)
    table = book.table(frame)
    config = TableVaeConfig(widths=(8,), latent_dim=2, rows=3200, score_draws=2, score_reference=100)
    cells = Cells.of(table)
    vae = train_table_vae(config, Layout.of(table, ("trade",)), cells, cells.thinned(100), 0, Runtime()).vae
    return TableScorer(vae, book, TableSchema(columns), CONFIG.tables)


def drawn(scorer: TableScorer, given: dict[str, Any]) -> pd.DataFrame:
    return _of_vae(scorer, 5, torch.Generator().manual_seed(0), given, "ledger-vae")


def test_rows_of_a_vae_have_what_is_given(scorer: TableScorer) -> None:
    assert drawn(scorer, {"trade": "travel"})["trade"].tolist() == ["travel"] * 5


@pytest.mark.parametrize(("value", "shown"), [("voyage", "voyage"), (None, "nothing"), (True, "true")])
def test_a_category_that_training_never_saw_is_refused_with_those_that_it_saw(
    scorer: TableScorer, value: Any, shown: str
) -> None:
    with pytest.raises(DataError, match=f"--given trade={shown}: no training row had it; wanted one of fuel, travel"):
        drawn(scorer, {"trade": value})


def test_a_column_that_the_vae_was_not_trained_with_is_refused(scorer: TableScorer) -> None:
    with pytest.raises(ConfigError, match="trained with trade given"):
        drawn(scorer, {"amount": 3})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trade=[fuel, travel]"], "is more than one value"),
        (["trade=fuel", "trade=travel"], "a column is given twice"),
        (["trade='fuel"], "a value cannot be read"),
        (["trade"], "gives no value"),
    ],
)
def test_words_that_give_no_single_value_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_given(words)
