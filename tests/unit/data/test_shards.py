"""What is to be scored comes a shard at a time, in its order, and each row fits the model or says why not."""

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regen.core.errors import DataError
from regen.data.shards import ImageFiles, TableFile, _sized, fitted, open_input

COLUMNS = {"a": "number", "b": "integer", "c": "text", "d": "boolean", "e": "date"}


def write(path: Path, n: int = 10, **options) -> Path:
    frame = pd.DataFrame({"a": np.arange(n), "c": [f"w{i}" for i in range(n)]})
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pandas(frame), path, **options)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.parquet"])
def test_a_tables_rows_come_in_their_order_and_none_is_left_out(tmp_path, name):
    found = open_input(write(tmp_path / name))

    parts = list(found.shards(4))

    assert len(found) == 10
    assert found.names == ("a", "c")
    assert [len(part) for part in parts] == [4, 4, 2]
    assert pd.concat(parts)["c"].tolist() == [f"w{i}" for i in range(10)]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(1, 9))
def test_shards_are_of_one_size_whatever_the_files_row_groups_are(groups, size):
    table = pa.table({"a": list(range(sum(groups)))})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema) as writer:
        for at, n in zip(np.cumsum([0, *groups]), groups, strict=False):
            writer.write_table(table.slice(int(at), n))

    parts = [part["a"].to_pylist() for part in _sized(pq.ParquetFile(sink.getvalue()), size)]

    assert all(len(part) == size for part in parts[:-1])
    assert [value for part in parts for value in part] == table["a"].to_pylist()


def test_the_images_below_a_folder_come_in_the_order_of_their_paths(tmp_path):
    for name in ("b/2.png", "a/1.png", "0.png", "a/note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name) if name.endswith("png") else (tmp_path / name).write_text("")

    found = open_input(tmp_path)

    assert list(found.shards(2)) == [("0.png", "a/1.png"), ("b/2.png",)]
    assert len(found) == 3


@pytest.mark.parametrize("kind", ["table", "images"])
def test_an_input_is_known_by_its_content_until_it_changes(tmp_path, kind):
    path = write(tmp_path / "rows.csv") if kind == "table" else tmp_path
    Image.new("L", (4, 4)).save(tmp_path / "0.png")
    first = open_input(path).identity

    same = open_input(path).identity
    (tmp_path / "rows.csv").write_text("a,c\n1,w\n") if kind == "table" else Image.new("L", (9, 9)).save(
        tmp_path / "0.png"
    )

    assert first == same != open_input(path).identity


@pytest.mark.parametrize("kind", ["table", "images"])
def test_other_content_of_the_same_size_and_time_is_another_input(tmp_path, kind):
    file = write(tmp_path / "rows.csv") if kind == "table" else tmp_path / "0.png"
    file.touch()
    file.write_bytes(file.read_bytes() or b"x")
    path, stat = file if kind == "table" else tmp_path, file.stat()
    first = open_input(path).identity

    file.write_bytes(file.read_bytes()[:-1] + b"y")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert open_input(path).identity != first


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.csv", None, r"none\.csv does not exist; name a folder of images"),
        ("note.txt", b"a", r"note\.txt is neither a folder nor a table"),
        ("rows.parquet", b"PAR1 no", r"rows\.parquet cannot be read as a table"),
        ("rows.csv", b"", r"rows\.csv cannot be read as a table"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=words):
        open_input(tmp_path / name)


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        open_input(tmp_path)


def test_a_file_that_is_damaged_further_down_is_named(tmp_path):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"a,c\n" + b"1,w\n" * 10))
    found = TableFile(path, ("a", "c"), 10)
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(DataError, match="cannot be read as a table"):
        list(found.shards(4))


def test_values_become_what_the_model_wants():
    rows = pd.DataFrame(
        {"a": ["1.5", None], "b": ["2", "3"], "c": ["x", None], "d": ["true", "0"], "e": ["2026-01-01"] * 2}
    )

    table, bad = fitted(rows, COLUMNS)

    assert bad == {}
    assert table.dtypes.map(str).to_dict() == {
        "a": "float64", "b": "int64", "c": "str", "d": "bool", "e": "datetime64[us]",
    }  # fmt: skip
    assert table["d"].tolist() == [True, False]


def test_a_row_that_does_not_fit_says_why_and_the_others_keep_their_numbers():
    rows = pd.DataFrame({"a": ["1", "x", "3"], "b": ["1", None, "1.5"]})

    table, bad = fitted(rows, {"a": "number", "b": "integer"})

    assert table.index.tolist() == [0]
    assert bad == {
        1: "a: wanted a finite number up to 1e150, got 'x'; b: wanted a whole number, got nothing",
        2: "b: wanted a whole number, got '1.5'",
    }


@pytest.mark.parametrize("required", [frozenset(), frozenset({"a", "c"})])
def test_a_value_may_be_absent_where_none_is_required(required):
    rows = pd.DataFrame({"a": ["1", None, "3"], "c": ["x", "y", None]})

    table, bad = fitted(rows, {"a": "number", "c": "text"}, required)

    wanted = {1: "a: wanted a finite number up to 1e150, got nothing", 2: "c: wanted text, got nothing"}
    assert bad == (wanted if required else {})
    assert len(table) == 3 - len(bad)


@pytest.mark.parametrize("value", [np.inf, -np.inf, "inf", "-1e+200"])
def test_infinity_is_no_number_nor_what_becomes_it_when_squared(value):
    _, bad = fitted(pd.DataFrame({"a": [value], "b": [value]}), {"a": "number", "b": "integer"})

    assert bad == {0: f"a: wanted a finite number up to 1e150, got '{value}'; b: wanted a whole number, got '{value}'"}


@pytest.mark.parametrize(
    "times",
    [
        ["2026-01-01T05:00:00+05:00", "2026-01-01T00:00:00Z", "2026-01-01"],
        pd.to_datetime(["2026-01-01T05:00:00"] * 3).tz_localize("Asia/Karachi"),
        pd.to_datetime(["2026-01-01"] * 3).astype("datetime64[ms]"),
    ],
)
def test_times_are_those_of_utc_without_a_zone(times):
    table, bad = fitted(pd.DataFrame({"e": times}), {"e": "date"})

    assert bad == {}
    assert table["e"].tolist() == [pd.Timestamp("2026-01-01")] * 3


@pytest.mark.parametrize("whole", [True, False])
def test_a_time_that_nanoseconds_cannot_hold_fails_its_row_alone(whole):
    times = pd.Series(["2990-01-01T00:00:00", "2026-01-01T00:00:00"])
    given = times if whole else times.astype("datetime64[us]")

    table, bad = fitted(pd.DataFrame({"e": given}), {"e": "date"})

    assert list(bad) == [0]
    assert bad[0].startswith("e: wanted a date of 1678 to 2261 as ISO 8601 writes it, got '2990-01-01")
    assert table["e"].astype("datetime64[ns]").tolist() == [pd.Timestamp("2026-01-01")]


def test_columns_that_the_model_does_not_read_are_left_out():
    table, _ = fitted(pd.DataFrame({"a": [1], "other": [2]}), {"a": "number"})

    assert list(table) == ["a"]


def test_the_images_of_a_folder_are_files():
    assert len(ImageFiles(Path(), ("a.png",))) == 1


@pytest.mark.parametrize("first", ["id,amount,amount", "id,,"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, first: str) -> None:
    (tmp_path / "rows.csv").write_text(f"{first}\n1,2,3\n")

    with pytest.raises(DataError, match=r"cannot be read as a table .two columns are called (amount|nothing)"):
        TableFile.of(tmp_path / "rows.csv")


def test_rows_with_more_values_than_columns_do_not_move_into_their_neighbours(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2,3\n4,5,6\n")

    with pytest.raises(DataError, match="cannot be read as a table"):
        list(TableFile.of(tmp_path / "rows.csv").shards(10))


def test_a_text_that_pandas_takes_for_a_missing_value_stays_one(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("country,amount\nNA,1\n,2\nnull,\n")

    (found,) = TableFile.of(tmp_path / "rows.csv").shards(10)

    assert found["country"].tolist()[::2] == ["NA", "null"]
    assert found["country"].isna().tolist() == [False, True, False]
    assert found["amount"].isna().tolist() == [False, False, True]


def test_whole_numbers_stay_whole_beside_missing_ones(tmp_path: Path) -> None:
    pd.DataFrame({"zone": pd.array([1, None, 3], dtype="Int64")}).to_parquet(tmp_path / "rows.parquet")

    (found,) = TableFile.of(tmp_path / "rows.parquet").shards(10)

    assert fitted(found, {"zone": "text"})[0]["zone"].dropna().tolist() == ["1", "3"]


@pytest.mark.parametrize("kind", ["number", "integer"])
def test_a_time_and_a_list_are_no_numbers(kind: str) -> None:
    times, lists = pd.Series([pd.Timestamp("2026-01-01"), pd.NaT]), pd.Series([np.array([1, 2]), np.array([3])])

    assert list(fitted(pd.DataFrame({"a": times}), {"a": kind}, {"a"})[1]) == [0, 1]
    assert list(fitted(pd.DataFrame({"a": lists}), {"a": kind})[1]) == [0, 1]


def test_truth_values_are_the_texts_that_training_knew() -> None:
    assert fitted(pd.DataFrame({"a": [True, False]}), {"a": "text"})[0]["a"].tolist() == ["true", "false"]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"\xef\xbb\xbfid,amount\n1,2\n")

    found = TableFile.of(tmp_path / "rows.csv")

    assert found.names == ("id", "amount")
    assert next(found.shards(5))["id"].tolist() == ["1"]
