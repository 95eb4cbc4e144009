"""The codebook: one meaning for each code, whatever frame comes."""

import json

import numpy as np
import pandas as pd
import pytest

from regen.core.errors import DataError
from regen.data.codebook import MISSING, UNKNOWN, Codebook
from regen.data.columns import Column

COLUMNS = (
    Column("trade", "categorical", categories=("fuel", "travel")), Column("amount", "numeric"),
    Column("at", "datetime"), Column("online", "boolean"),
)  # fmt: skip


def frame() -> pd.DataFrame:
    return pd.DataFrame({
        "amount": [1.5, np.nan, -0.0], "trade": ["travel", "toys", None], "online": [True, False, True],
        "at": pd.to_datetime(["1970-01-02", None, "1970-01-01"]), "key": [1, 2, 3],
    })  # fmt: skip


def test_numbers_come_first_and_codes_are_the_schemas_before_those_met() -> None:
    book = Codebook.of([frame()], COLUMNS)

    table = book.table(frame())

    assert table.columns == ("amount", "at", "trade", "online")
    np.testing.assert_array_equal(table.numbers, [[1.5, 86400], [np.nan, np.nan], [0, 0]])
    assert not np.signbit(table.numbers[2, 0])
    assert table.codes.tolist() == [[1, 1], [2, 0], [3, 1]]
    assert table.sizes == (4, 2)


def test_what_was_not_seen_is_unknown() -> None:
    book = Codebook.of([frame().head(1)], COLUMNS)

    assert book.table(frame()).codes[:, 0].tolist() == [1, UNKNOWN, UNKNOWN]


def test_it_comes_back_from_json_and_codes_the_same() -> None:
    book = Codebook.of([frame()], COLUMNS)
    again = Codebook.of_json(json.loads(json.dumps(book.to_json(), sort_keys=True)))

    assert again == book
    assert again.columns == book.columns
    np.testing.assert_array_equal(again.table(frame()).codes, book.table(frame()).codes)


def test_values_are_shown_as_people_write_them() -> None:
    book = Codebook.of([frame()], COLUMNS)

    assert [book.shown("trade", code) for code in (0, 3, -1)] == ["fuel", MISSING, "(unknown)"]
    assert book.shown("amount", np.nan) == MISSING
    assert book.shown("amount", 1234.5678) == "1235"
    assert book.shown("at", 0.0) == "1970-01-01 00:00:00"


def test_a_frame_without_a_column_is_refused() -> None:
    with pytest.raises(DataError, match="lack the columns amount; they have trade"):
        Codebook.of([frame()[["trade"]]], COLUMNS)


def test_texts_where_numbers_should_be_are_refused() -> None:
    book = Codebook.of([frame()], COLUMNS)

    with pytest.raises(DataError, match="the column amount is numeric by its schema"):
        book.table(frame().assign(amount=["a", "b", "c"]))
