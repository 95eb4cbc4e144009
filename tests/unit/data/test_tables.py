"""Tables: every kind of column comes to numbers or to codes, alike from CSV and Parquet, and a bad file is named."""

import gzip
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from regen.core.errors import DataError
from regen.data.tables import Table, encode, read_table

MIXED = pd.DataFrame(
    {
        "age": [30, 41, 52],
        "income": [1.5, np.nan, -2.0],
        "job": ["nurse", None, "smith"],
        "member": [True, False, True],
        "since": ["2020-01-01", "1970-01-02", "2021-06-01"],
    }
)


def encoded(*frames: pd.DataFrame) -> list[Table]:
    return encode(frames, ["REAL", "FAKE", "CONTROL"][: len(frames)])


@pytest.fixture(params=["csv", "csv.gz", "parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The mixed table in each format."""
    path = tmp_path / f"rows.{request.param}"
    if request.param == "parquet":
        MIXED.to_parquet(path)
    else:
        MIXED.to_csv(path, index=False)
    return path


def test_every_format_gives_the_same_columns(file: Path) -> None:
    (table,) = encoded(read_table(file))

    assert table.names == ("age", "income", "since")
    assert table.category_names == ("job", "member")
    np.testing.assert_array_equal(table.numbers[:, 0], [30, 41, 52])
    np.testing.assert_array_equal(table.numbers[:, 1], [1.5, np.nan, -2.0])
    assert table.numbers[1, 2] == 86400
    assert table.sizes == (3, 2)
    assert len(set(table.column("job"))) == 3
    assert table.column("member")[0] == table.column("member")[2] != table.column("member")[1]


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (pd.to_datetime(["1970-01-01 00:01", None]), [60, np.nan]),
        (pd.to_datetime(["1970-01-01 01:00+01:00", "1970-01-01 00:01+00:00"], utc=True), [0, 60]),
        (pd.to_timedelta(["2 s", "1 min"]), [2, 60]),
        ([Decimal("1.25"), None], [1.25, np.nan]),
        (pd.array([3, None], dtype="Int64"), [3, np.nan]),
    ],
    ids=["dates", "time zones", "durations", "decimals", "whole numbers with a gap"],
)
def test_what_is_like_a_number_becomes_one(tmp_path: Path, values: object, seconds: list[float]) -> None:
    pd.DataFrame({"a": values}).to_parquet(tmp_path / "rows.parquet")

    (table,) = encoded(read_table(tmp_path / "rows.parquet"))

    np.testing.assert_array_equal(table.column("a"), seconds)


@pytest.mark.parametrize(
    "values",
    [
        pd.Categorical(["x", "y", "x"]),
        pd.array([True, None, False], dtype="boolean"),
        ["2020-01-01", "2020-01-02", "some day"],
        [date(2020, 1, 1), None, "x"],
        [None, None, None],
    ],
    ids=["categories", "truth with a gap", "nearly dates", "objects", "nothing at all"],
)
def test_everything_else_becomes_categories(tmp_path: Path, values: object) -> None:
    pd.DataFrame(
        {"a": pd.Series(values).astype("object").map(str, na_action="ignore") if isinstance(values, list) else values}
    ).to_parquet(tmp_path / "rows.parquet")

    (table,) = encoded(read_table(tmp_path / "rows.parquet"))

    assert table.category_names == ("a",)
    assert len(set(table.column("a"))) == pd.Series(values).nunique(dropna=False)


def test_row_numbers_that_pandas_wrote_are_left_out(tmp_path: Path) -> None:
    MIXED.to_csv(tmp_path / "rows.csv")

    assert list(read_table(tmp_path / "rows.csv").columns) == list(MIXED.columns)


def test_tables_that_are_encoded_together_share_their_codes() -> None:
    one, other = encoded(pd.DataFrame({"a": ["x", "y"]}), pd.DataFrame({"a": ["y", "z"]}))

    assert one.codes.tolist() == [[0], [1]]
    assert other.codes.tolist() == [[1], [2]]
    assert one.sizes == other.sizes == (3,)


def test_the_first_tables_order_of_columns_holds() -> None:
    one, other = encoded(pd.DataFrame({"a": [1.0], "b": [2.0]}), pd.DataFrame({"b": [4.0], "a": [3.0]}))

    assert one.names == other.names == ("a", "b")
    assert other.numbers.tolist() == [[3, 4]]


def test_a_column_that_is_empty_in_one_table_is_of_the_others_kind() -> None:
    empty = pd.DataFrame({"a": pd.Series([None, None], dtype="str")})

    for frames in ([pd.DataFrame({"a": [1.0, 2.0]}), empty], [empty, pd.DataFrame({"a": [1.0, 2.0]})]):
        assert [table.names for table in encoded(*frames)] == [("a",), ("a",)]


def test_rows_and_columns_are_taken_out() -> None:
    (table,) = encoded(pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"], "c": ["u", None]}))

    assert len(table.take(np.array([1, 1, 0]))) == 3
    assert table.take(np.array([1])).numbers.tolist() == [[2]]
    assert table.without("a").columns == ("b", "c")
    assert table.without("b").columns == ("a", "c")
    assert table.without("b").codes.tolist() == table.codes[:, 1:].tolist()


@given(st.lists(st.one_of(st.none(), st.sampled_from("abc")), min_size=1, max_size=20))
def test_two_values_have_one_code_only_if_they_are_equal(values: list[str | None]) -> None:
    (table,) = encoded(pd.DataFrame({"a": pd.Series(values, dtype="str")}))

    codes = table.column("a")
    for i, one in enumerate(values):
        for j, other in enumerate(values):
            assert (codes[i] == codes[j]) == (one == other)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.xlsx", b"", "is no table by its name; wanted one that ends in .csv, .csv.gz, .parquet"),
        ("rows.csv", b"", "cannot be read as a table"),
        ("rows.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read as a table .*export it as UTF-8 CSV or Parquet"),
        ("rows.csv", b"a\n\xff\xfe\n", "cannot be read as a table"),
        ("rows.csv", b"a,b\n", "holds 0 rows of 2 columns; add rows"),
        ("rows.csv", b"a\n1\ninf\n", "the column a holds infinity"),
        ("rows.csv.gz", b"no gzip", "cannot be read as a table"),
        ("rows.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-20], "cannot be read as a table"),
        ("rows.parquet", b"no parquet", "cannot be read as a table"),
    ],
)
def test_a_file_that_is_no_table_is_named_with_the_way_out(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=f"{name}.*{words}"):
        read_table(tmp_path / name)


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "rows.parquet")

    with pytest.raises(DataError, match=r"rows\.parquet cannot be read as a table \(two columns are called a\)"):
        read_table(tmp_path / "rows.parquet")


@pytest.mark.parametrize(
    ("fake", "words"),
    [
        ({"b": [1.0]}, "FAKE lacks the columns a and has the columns b beside them; wanted those of REAL: a"),
        ({"a": [1.0], "b": [1.0]}, "FAKE has the columns b beside them; wanted those of REAL: a"),
        ({"a": ["n/a"]}, "the column a holds numbers in REAL and categories in FAKE, such as 'n/a'; write them alike"),
    ],
)
def test_tables_of_other_columns_are_refused(fake: dict[str, list[object]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        encoded(pd.DataFrame({"a": [1.0]}), pd.DataFrame(fake))


def test_durations_count_in_seconds(tmp_path: Path) -> None:
    pd.DataFrame({"a": [timedelta(minutes=2)]}).to_parquet(tmp_path / "rows.parquet")

    assert read_table(tmp_path / "rows.parquet")["a"].tolist() == [120.0]


def test_lines_that_end_in_a_comma_keep_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "trailing.csv"
    path.write_text("a,b\n1,2,\n3,4,\n")

    found = read_table(path)

    assert found.to_dict("list") == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b,a\n1,2,3\n", "two columns are called a"),
        ("a,b\n1e200,2\n", "the column a holds infinity, or a number beyond 1e\\+150"),
        ("a,b\n1,2,3\n4,5,6\n", "cannot be read as a table"),
    ],
)
def test_tables_that_would_be_misread_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(text)

    with pytest.raises(DataError, match=words):
        read_table(path)
