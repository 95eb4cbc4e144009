"""Rows of mixed types and their layout."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from regen.core.errors import DataError
from regen.data.tables import Table
from regen.models.cells import VIEWS, Cells, Layout
from tests.unit.models.mixed import LAYOUT, mixed

TABLE = Table(
    ("amount", "age"), np.array([[1.0, np.nan], [2.0, 30.0]]), ("country", "card"), np.array([[0, 1], [2, 0]]), (3, 2)
)


def test_a_tables_layout_counts_numbers_first_and_finds_where_values_are_missing() -> None:
    assert Layout.of(TABLE, given=("card", "amount")) == Layout(2, (3, 2), nullable=(1,), given=(0, 3))


def test_slots_are_views_flags_and_a_unit_for_each_category() -> None:
    layout = Layout.of(TABLE)

    assert layout.slots == len(layout.column_of_slot) == VIEWS * 2 + 1 + 3 + 2
    assert layout.column_of_slot == [0, 1, 0, 1, 0, 1, 1, 2, 2, 2, 3, 3]


def test_a_given_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"no column city to be given; its columns are amount, age, country, card"):
        Layout.of(TABLE, given=("city",))


def test_a_model_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match=r"every column is given, so none is left to model"):
        Layout.of(TABLE, given=TABLE.columns)


def test_rows_of_other_columns_are_refused() -> None:
    with pytest.raises(DataError, match=r"rows have 2 numbers and 2 categories, wanted 3 and 2; encode them"):
        LAYOUT.require(Cells.of(TABLE))


def test_chunks_are_all_rows_in_order() -> None:
    rows = mixed(25)

    parts = list(rows.chunks(10))

    assert [len(part) for part in parts] == [10, 10, 5]
    torch.testing.assert_close(torch.cat([part.numbers for part in parts]), rows.numbers, equal_nan=True)


def test_thinned_rows_are_spread_evenly_over_all() -> None:
    rows = Cells.of_numbers(torch.arange(9.0)[:, None])

    assert rows.thinned(3).numbers.flatten().tolist() == [0, 4, 8]
    assert rows.thinned(9) is rows


def test_a_layout_comes_back_from_json() -> None:
    layout = Layout.of(TABLE, given=("card",))

    assert Layout.from_json(json.loads(json.dumps(asdict(layout)))) == layout
