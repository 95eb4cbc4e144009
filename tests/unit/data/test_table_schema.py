"""Schemas: the file, our value and pandera's say the same, and a file that cannot be is refused in one line."""

import dataclasses
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regen.core.errors import ConfigError, DataError
from regen.core.sections.data import DataConfig
from regen.data import table_checks, table_inference, table_schema
from regen.data.columns import Column, TableSchema
from regen.data.raw import Place
from regen.data.table_checks import Report
from regen.data.table_inference import with_slack

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
bounds = st.tuples(st.none() | st.floats(-1e12, 0), st.none() | st.floats(0, 1e12))


@st.composite
def columns(draw: st.DrawFn, name: str) -> Column:
    kind = draw(st.sampled_from(["numeric", "integer", "categorical", "boolean", "datetime"]))
    low = high = None
    if kind in ("numeric", "integer"):
        low, high = draw(bounds)
    if kind == "datetime":
        low = draw(st.none() | st.integers(-(10**9), 4 * 10**9).map(float))
    texts = tuple(draw(st.lists(names, unique=True, max_size=4))) if kind == "categorical" else ()
    return Column(name, kind, draw(st.booleans()), low, high, texts)


@st.composite
def schemas(draw: st.DrawFn) -> TableSchema:
    each = [draw(columns(name)) for name in draw(st.lists(names, unique=True, min_size=1, max_size=4))]
    key, when = Column("the key", "integer"), Column("the time", "datetime")
    label = Column("the label", "integer", low=0, high=1)
    group = Column("the group", "categorical")
    return TableSchema(
        (key, when, *each, label, group), "the key", "the time", "the label", draw(st.floats(0, 90)), ("the group",)
    )


@settings(max_examples=80, deadline=None)
@given(schemas())
def test_a_schema_survives_its_file(schema: TableSchema) -> None:
    assert table_schema.from_yaml(table_schema.to_yaml(schema)) == schema


def test_a_schema_survives_the_disk(tmp_path: Path) -> None:
    schema = TableSchema((Column("x", "numeric", low=0.5),))

    table_schema.save(schema, tmp_path / "x.yaml")

    assert table_schema.load(tmp_path / "x.yaml") == schema


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("columns: [", "cannot be read as YAML"),
        ("key: a", "holds no columns; write it anew by 'regen data schema"),
        ("lable: y\ncolumns: {y: {kind: integer}}", "unknown key lable; did you mean label"),
        ("columns: {x: {kind: numerical}}", r"columns\.x\.kind is 'numerical'; did you mean numeric"),
        ("columns: {x: {kind: blob}}", "wanted one of numeric, integer"),
        ("columns: {x: numeric}", "wanted its kind at least"),
        ("columns: {x: {kind: numeric, lo: 1}}", r"unknown key columns\.x\.lo; did you mean columns\.x\.low"),
        ("columns: {x: {kind: numeric, low: one}}", "wanted a finite number"),
        ("columns: {x: {kind: numeric, low: 2, high: 1}}", "low is above high; exchange them"),
        ("columns: {x: {kind: numeric, nullable: 3}}", "wanted true or false"),
        ("columns: {x: {kind: boolean, low: 0}}", "has no meaning for a boolean column; leave it out"),
        ("columns: {x: {kind: numeric, categories: [a]}}", "wanted a list, of a categorical column"),
        ("columns: {x: {kind: categorical, categories: [a, a]}}", "names a twice; leave one out"),
        ("columns: {x: {kind: datetime, low: soon}}", "wanted a time such as 2026-01-31T12:00:00"),
        ("label: z\ncolumns: {x: {kind: numeric}}", "label is z, which is no column; there are x"),
        ("time: x\ncolumns: {x: {kind: numeric}, y: {kind: numeric}}", "set its kind to datetime"),
        ("label: x\ncolumns: {x: {kind: categorical}, y: {kind: numeric}}", "write it as 0 and 1"),
        (
            "key: x\ngroups: [x]\ncolumns: {x: {kind: integer}, y: {kind: numeric}}",
            "x is both key and groups; give it one part",
        ),
        ("groups: x\ncolumns: {x: {kind: integer}}", r"wanted a list of columns, such as \[customer\]"),
        ("label_delay_days: -1\ncolumns: {x: {kind: integer}}", "wanted a number of days, 0 or more"),
        ("key: x\ncolumns: {x: {kind: integer}}", "models need at least one other"),
    ],
)
def test_a_schema_that_cannot_be_is_refused_with_the_way_out(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        table_schema.from_yaml(text)


def test_a_schema_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no schema .*; infer one by 'regen data schema CONFIG --out"):
        table_schema.load(tmp_path / "none.yaml")


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(0, 1e9), st.booleans())
def test_a_range_with_slack_holds_the_range_and_keeps_its_sign(low: float, span: float, whole: bool) -> None:
    below, above = with_slack(low, low + span, whole=whole)

    assert below <= low <= low + span <= above
    assert below >= 0 or low < 0
    assert above <= 0 or low + span > 0


def ledger(n: int = 60) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "payment_id": range(n),
            "at": [f"2026-01-01T00:00:{i:02}" for i in range(n)],
            "customer": [i % 25 for i in range(n)],
            "amount": [None if i == 3 else i / 2 for i in range(n)],
            "shop": [("a", "b")[i % 2] for i in range(n)],
            "is_fraud": [int(i == 5) for i in range(n)],
        }
    )


def test_key_time_label_and_groups_are_guessed_from_names_and_values() -> None:
    found = table_inference.infer(ledger().lazy(), "the ledger")

    assert (found.key, found.time, found.label, found.groups) == ("payment_id", "at", "is_fraud", ("customer",))
    assert {column.name: column.kind for column in found.columns} == {
        "payment_id": "integer", "at": "datetime", "customer": "integer", "amount": "numeric", "shop": "categorical",
        "is_fraud": "integer",
    }  # fmt: skip
    by_name = {column.name: column for column in found.columns}
    assert by_name["amount"] == Column("amount", "numeric", nullable=True, low=0, high=45)
    assert by_name["shop"].categories == ("a", "b")
    assert by_name["customer"].high is None


def test_rows_meet_the_schema_that_was_inferred_from_them() -> None:
    report, rows = Report(), ledger()

    list(table_checks.check(iter([rows]), table_inference.infer(rows.lazy(), "the ledger"), report))

    assert (report.rows, report.bad_rows) == (60, 0)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_rows_meet_the_schema_that_was_inferred_from_them(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12))
    kinds = {
        "f": st.none() | st.floats(-1e9, 1e9), "i": st.none() | st.integers(-(2**40), 2**40), "t": st.none() | names,
        "b": st.none() | st.booleans(),
    }  # fmt: skip
    values = {name: data.draw(st.lists(each, min_size=n, max_size=n)) for name, each in kinds.items()}
    rows = pl.DataFrame(values, schema={"f": pl.Float64, "i": pl.Int64, "t": pl.String, "b": pl.Boolean})
    report = Report()

    schema = dataclasses.replace(table_inference.infer(rows.lazy(), "rows"), key=None)
    (good, _), *_ = table_checks.check(iter([rows]), schema, report)

    assert report.bad_rows == 0
    assert good.drop(table_checks.ROW).equals(rows.with_columns(pl.col("f").cast(pl.Float64)))


def test_a_schema_of_no_rows_is_refused() -> None:
    with pytest.raises(DataError, match="the ledger holds no rows; a schema is inferred from at least one"):
        table_inference.infer(ledger().clear().lazy(), "the ledger")


def test_a_column_of_lists_is_refused_by_its_name() -> None:
    with pytest.raises(
        DataError, match=r"the column x holds List\(Int64\), which no kind of column fits; leave it out"
    ):
        table_inference.infer(pl.LazyFrame({"x": [[1]]}), "the ledger")


def test_the_schema_of_a_projects_source_never_holds_the_scenario() -> None:
    config = DataConfig.model_validate(
        {"source": "transactions", "simulator": {"customers": 50, "terminals": 50, "days": 9}}
    )

    found = table_inference.of_source(config, Place())

    assert [column.name for column in found.columns][-1] == "fraud"
    assert (found.key, found.time, found.label, found.groups) == (
        "transaction",
        "time",
        "fraud",
        ("customer", "terminal"),
    )


def test_a_label_that_is_missing_here_and_there_is_one_though_it_is_written_as_a_float() -> None:
    rows = pl.DataFrame({"amount": [1.5, 2.5, 3.5, 4.5], "fraud": [0.0, None, 1.0, 0.0]})

    found = table_inference.infer(rows.lazy(), "the ledger")

    assert found.label == "fraud"
    assert found.columns[1] == Column("fraud", "integer", nullable=True, low=0, high=1)


@pytest.mark.parametrize("texts", [["1,5", "-22,75", None], ["1,234", "5,678", "9,000"]])
def test_numbers_with_a_comma_are_no_categories(texts: list[str | None]) -> None:
    rows = pl.LazyFrame({"amount": texts})

    with pytest.raises(
        DataError, match=r"the column amount holds numbers with a comma, such as .*; write them with a point and"
    ):
        table_inference.infer(rows, "the ledger")


def test_long_texts_are_not_listed_as_categories() -> None:
    rows = pl.LazyFrame({"note": ["x" * 300, "y"], "kind": ["a", "b"]})

    found = table_inference.infer(rows, "the ledger")

    assert [column.categories for column in found.columns] == [(), ("a", "b")]


def test_names_that_are_kept_for_computed_columns_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="names such as __row__ are kept for columns that are computed; name it otherwise"
    ):
        table_schema.from_yaml("columns: {__row__: {kind: numeric}, a: {kind: numeric}}")


def test_a_column_of_numbers_that_are_all_too_large_is_refused_where_the_schema_is_inferred():
    rows = pl.LazyFrame({"big": [1e160, None, -1e200]})

    with pytest.raises(DataError, match=r"big holds no number up to 1e\+150, .*another unit"):
        table_inference.infer(rows, "big.csv")
