"""Rows against their schema: values brought to their types, and each bad row set aside with the column and the reason."""

from datetime import datetime

import polars as pl
import pytest

from regen.core.errors import ValidationError
from regen.data import table_checks
from regen.data.columns import Column, TableSchema
from regen.data.table_checks import ROW, Report

SCHEMA = TableSchema(
    (
        Column("id", "integer"),
        Column("at", "datetime", low=0),
        Column("amount", "numeric", nullable=True, low=0, high=100),
        Column("kind", "categorical", categories=("a", "b")),
        Column("open", "boolean"),
        Column("fraud", "integer", nullable=True, low=0, high=1),
    ),
    key="id",
    time="at",
    label="fraud",
)
GOOD = {"id": 1, "at": datetime.fromisoformat("2026-01-01"), "amount": 5.0, "kind": "a", "open": True, "fraud": 0}


def judged(*rows: dict[str, object], chunk: int = 100) -> tuple[pl.DataFrame, pl.DataFrame, Report]:
    table, report = pl.DataFrame([GOOD | row for row in rows], infer_schema_length=None, strict=False), Report()
    chunks = (table[at : at + chunk] for at in range(0, len(table), chunk))
    parts = list(table_checks.check(chunks, SCHEMA, report))
    return pl.concat([good for good, _ in parts]), pl.concat([bad for _, bad in parts]), report


def test_sound_rows_pass_in_the_types_of_their_schema() -> None:
    good, bad, report = judged({}, {"amount": None, "fraud": None})

    assert bad.is_empty()
    assert report == Report(rows=2)
    assert good[ROW].to_list() == [0, 1]
    assert good.schema["at"] == pl.Datetime("us")


@pytest.mark.parametrize(
    ("column", "value", "wanted"),
    [
        ("id", 1.5, "a whole number"),
        ("id", "x1", "a whole number"),
        ("id", None, r"a value \(the column is not nullable\)"),
        ("at", "yesterday", "a time such as 2026-01-31T12:00:00"),
        ("at", "9999-12-31", "a time such as 2026-01-31T12:00:00, of 1678 to 2261"),
        ("at", datetime.fromisoformat("1200-01-01"), "a time such as .*, of 1678 to 2261"),
        ("at", datetime.fromisoformat("1969-01-01"), "at least 1970-01-01T00:00:00"),
        ("amount", -1.0, "at least 0"),
        ("amount", 101.0, "at most 100"),
        ("amount", float("inf"), "a finite number up to 1e150"),
        ("amount", -1e200, "a finite number up to 1e150"),
        ("amount", "much", "a finite number up to 1e150"),
        ("kind", "c", "one of a, b"),
        ("kind", None, r"a value \(the column is not nullable\)"),
        ("open", "perhaps", "true or false"),
        ("fraud", 2, "0 or 1, as a label"),
    ],
)
def test_a_bad_value_is_set_aside_with_its_column_and_what_was_wanted(column: str, value: object, wanted: str) -> None:
    table = pl.DataFrame([GOOD]).with_columns(pl.lit(value).alias(column))
    report = Report()

    (good, bad), *_ = table_checks.check(iter([table]), SCHEMA, report)

    assert good.is_empty()
    assert bad[ROW].to_list() == [0]
    with pytest.raises(ValidationError, match=f"column {column}: wanted {wanted}.*, got .* in row 0"):
        report.require_sound(0.0, "loosen the schema")


def test_texts_as_a_csv_holds_them_become_numbers_times_and_flags() -> None:
    table = pl.DataFrame(
        {"id": [" 7 ", "9007199254740993"], "at": ["2026-01-01T01:00:00+01:00", "2026-01-02"], "amount": ["1e1", ""],
         "kind": ["a", "b"], "open": ["TRUE", "0"], "fraud": ["1", "0"]}
    )  # fmt: skip

    (good, bad), *_ = table_checks.check(iter([table]), SCHEMA, Report())

    assert bad.is_empty()
    assert good["id"].to_list() == [7, 9007199254740993]
    assert good["at"].to_list() == [datetime.fromisoformat("2026-01-01"), datetime.fromisoformat("2026-01-02")]
    assert good["amount"].to_list() == [10, None]
    assert good["open"].to_list() == [True, False]


def test_a_time_of_another_zone_is_brought_to_utc() -> None:
    table = pl.DataFrame([GOOD]).with_columns(pl.col("at").dt.replace_time_zone("Europe/Paris"))

    (good, _), *_ = table_checks.check(iter([table]), SCHEMA, Report())

    assert good["at"].to_list() == [datetime.fromisoformat("2025-12-31T23:00")]


def test_rows_are_numbered_through_all_chunks() -> None:
    rows = [{"id": number, "amount": -1.0 if number in (3, 4, 7) else 1.0} for number in range(9)]

    good, bad, report = judged(*rows, chunk=2)

    assert bad[ROW].to_list() == [3, 4, 7]
    assert good[ROW].to_list() == [0, 1, 2, 5, 6, 8]
    assert (report.rows, report.bad_rows) == (9, 3)
    assert report.worst[0].first == [(3, "-1.0"), (4, "-1.0"), (7, "-1.0")]


def test_a_row_that_fails_twice_is_counted_once_with_both_reasons() -> None:
    _, bad, report = judged({"amount": -1.0, "kind": "z"})

    assert report.bad_rows == 1
    assert sorted(bad[table_checks.REASON][0].split("; ")) == ["amount: wanted at least 0", "kind: wanted one of a, b"]


def test_few_bad_rows_pass_and_many_do_not() -> None:
    *_, report = judged(*[{"amount": -1.0 if number == 0 else 1.0} for number in range(10)])

    report.require_sound(0.1, "loosen the schema")
    with pytest.raises(
        ValidationError, match=r"1 of 10 rows fail their schema, over tables\.max_bad_share \(0\.05\)"
    ) as caught:
        report.require_sound(0.05, "loosen the schema")
    assert [(failure.row, failure.value) for failure in caught.value.failures] == [(0, "-1.0")]


def test_a_missing_column_is_named_with_the_nearest_one() -> None:
    table = pl.DataFrame([GOOD]).rename({"amount": "amout"})

    with pytest.raises(
        ValidationError, match=r"lacks the column amount, which the schema names \(did you mean amout\?\)"
    ):
        list(table_checks.check(iter([table]), SCHEMA, Report()))


def test_a_column_that_the_schema_does_not_name_is_left_out() -> None:
    good, _, _ = judged({"note": "hello"})

    assert "note" not in good.columns


def test_a_repeated_key_is_bad_in_all_but_the_first_row() -> None:
    report = Report(rows=4)

    again = table_checks.repeated(pl.Series("id", [5, 6, 5, 5]), pl.Series([0, 1, 2, 3]), report)

    assert again.to_list() == [False, False, True, True]
    assert report.bad_rows == 2
    assert str(report.worst[0]) == "column id: wanted a key of its own, got 5 in row 2 (so did rows 3: 2 in all)"


def test_a_column_that_is_called_reason_keeps_its_values() -> None:
    schema = TableSchema((Column("reason", "categorical"), Column("amount", "numeric", low=0)))
    table = pl.DataFrame({"reason": ["gift", "rent"], "amount": [1.0, -1.0]})

    (good, bad), *_ = table_checks.check(iter([table]), schema, Report())

    assert good["reason"].to_list() == ["gift"]
    assert bad["reason"].to_list() == ["rent"]
    assert bad[table_checks.REASON].to_list() == ["amount: wanted at least 0"]
