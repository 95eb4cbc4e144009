"""Sources of tables: files, databases and simulated payments become one Parquet file, the same bytes every time."""

import sqlite3
from pathlib import Path

import polars as pl
import pytest

from regen.core import files
from regen.core.config import parse
from regen.core.errors import ConfigError, DataError
from regen.core.sections.data import DataConfig, without_password
from regen.data import sources, table_sources
from regen.data.raw import Place
from regen.data.table_sources import ROWS, SCENARIOS, ParquetFile

SIMULATED = {"source": "transactions", "simulator": {"customers": 60, "terminals": 60, "days": 10}}


def rows(n: int = 50) -> pl.DataFrame:
    return pl.DataFrame(
        {"id": range(n), "x": [None if i % 7 == 0 else i / 4 for i in range(n)], "kind": ["a,b", "c"] * (n // 2)}
    )


def made(folder: Path, **settings: object) -> pl.DataFrame:
    sources.materialise(DataConfig.model_validate(settings), folder / "out", Place(folder))
    return pl.read_parquet(folder / "out" / ROWS)


def database(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        rows().to_pandas().to_sql("payments", connection, index=False)
    return f"sql:sqlite:///{path}"


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_a_file_is_read_as_it_stands(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        rows().write_parquet(tmp_path / name)
    else:
        rows().to_pandas().to_csv(tmp_path / name, index=False)

    assert made(tmp_path, source=f"table:{name}").equals(rows())


def test_a_column_of_a_csv_is_what_every_row_of_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_sources, "LOOKED_AT", 1)
    (tmp_path / "t.csv").write_text(
        "whole,number,text,flag,at,day,code,none\n"
        "1,1,1,true,2026-01-01T00:00:00,2026-01-01,007,\n"
        "-2,2.5,2,FALSE,2026-01-01T00:00:00.25,2026-01-02,100,\n"
        ",,x,,,,200,\n"
    )

    found = made(tmp_path, source="table:t.csv")

    assert dict(found.schema) == {
        "whole": pl.Int64, "number": pl.Float64, "text": pl.String, "flag": pl.Boolean, "at": pl.Datetime("us"),
        "day": pl.Datetime("us"), "code": pl.String, "none": pl.Int64,
    }  # fmt: skip
    assert found.row(1)[:4] == (-2, 2.5, "2", False)
    assert found.row(2)[:4] == (None, None, "x", None)


def test_what_a_query_selects_is_read_in_parts_whose_types_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        table_sources, "CHUNK", 16
    )  # so that the first part of x, which is all missing, has no type yet

    found = made(
        tmp_path, source=database(tmp_path / "t.db"), query="SELECT * FROM payments ORDER BY x IS NOT NULL, id"
    )

    assert found.sort("id").equals(rows())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", ROWS]


def test_the_same_source_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("one", "other"):
        sources.materialise(DataConfig.model_validate(SIMULATED), tmp_path / name)

    for name in (ROWS, SCENARIOS, "manifest.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_row_groups_are_of_one_size_whatever_the_chunks_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_sources, "CHUNK", 8)
    for name, size in (("one", 3), ("other", 20)):
        written = ParquetFile(tmp_path / name)
        for at in range(0, 50, size):
            written.add(rows()[at : at + size])
        written.close()

    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert pl.read_parquet(tmp_path / "one").equals(rows())


def test_scenarios_are_kept_apart_from_the_rows(tmp_path: Path) -> None:
    found = made(tmp_path, **SIMULATED)

    assert "scenario" not in found.columns
    apart = pl.read_parquet(tmp_path / "out" / SCENARIOS)
    assert apart.columns == ["transaction", "scenario"]
    assert apart["transaction"].equals(found["transaction"])


def test_most_rows_are_the_first_ones(tmp_path: Path) -> None:
    rows().write_csv(tmp_path / "t.csv")

    assert made(tmp_path, source="table:t.csv", max_rows=7)["id"].to_list() == list(range(7))


def test_the_manifest_names_columns_count_digests_and_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_sources, "read_sql", lambda url, query, place: iter([rows()]))

    made(tmp_path, source="sql:postgresql+psycopg://ada:se/cr@t@host/ledger", query="SELECT 1")

    text = (tmp_path / "out" / "manifest.json").read_text()
    manifest = files.read_json(tmp_path / "out" / "manifest.json")
    assert "cr@t" not in text
    assert manifest["source"] == "sql:postgresql+psycopg://ada:***@host/ledger"
    assert (manifest["count"], manifest["columns"]["x"]) == (50, "Float64")
    assert manifest["sha256"] == {ROWS: files.sha256(tmp_path / "out" / ROWS)}


def test_no_password_is_in_a_dump_or_an_error_of_the_project_file() -> None:
    config = parse({"project": "a", "data": {"source": "sql:mysql://ada:secret@host/x", "query": "SELECT 1"}})

    assert "secret" not in config.model_dump_json()
    with pytest.raises(ConfigError) as caught:
        parse({"project": "a", "data": {"source": "sqll:mysql://ada:secret@host/x"}})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "query", ["DROP TABLE payments", "DELETE FROM payments RETURNING *", "PRAGMA user_version = 7"]
)
def test_a_query_cannot_change_its_database(tmp_path: Path, query: str) -> None:
    database(tmp_path / "ledger.db")
    before = (tmp_path / "ledger.db").read_bytes()

    with pytest.raises(DataError, match=r"does not answer data\.query|holds no rows"):
        made(tmp_path, source=f"sql:sqlite:///{tmp_path / 'ledger.db'}", query=query)

    assert (tmp_path / "ledger.db").read_bytes() == before


@pytest.mark.parametrize(
    "url",
    ["postgresql://h/d?user=u&password=hush", "mssql+pyodbc:///?odbc_connect=PWD%3Dhush", "x://u:hush@h/d?Passwd=hush"],
)
def test_no_password_among_the_parameters_of_a_url_is_shown(url: str) -> None:
    config = parse({"project": "a", "data": {"source": f"sql:{url}", "query": "SELECT 1"}})

    assert "hush" not in config.model_dump_json()
    assert "hush" not in without_password(f"cannot reach '{url}'")


def test_a_password_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database(tmp_path / "secret.db")
    monkeypatch.setenv("LEDGER_FILE", str(tmp_path / "secret.db"))

    assert made(tmp_path, source="sql:sqlite:///${LEDGER_FILE}", query="SELECT * FROM payments ORDER BY id").equals(
        rows()
    )


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"source": "table:none.csv"}, r"there is no table .*none\.csv; name a file that ends in"),
        ({"source": "table:t.xlsx"}, r"is no table by its name; wanted one that ends in \.parquet"),
        ({"source": "table:empty.csv"}, r"empty\.csv is empty; wanted a line of column names"),
        ({"source": "table:head.csv"}, "holds no rows; add some"),
        ({"source": "table:twice.csv"}, r"two columns are called a; rename one"),
        ({"source": "table:ragged.csv"}, "cannot be read as a table .* export it as UTF-8 CSV or Parquet"),
        ({"source": "table:bad.parquet"}, "cannot be read as a table .* export it as UTF-8 CSV or Parquet"),
        (
            {"source": "sql:nodb://u:pw@h/x", "query": "q"},
            r"^nodb://u:\*\*\*@h/x: no driver for it .*; install that of your",
        ),
        (
            {"source": "sql:mysql://u:pw@h/x", "query": "q"},
            r"^mysql://u:\*\*\*@h/x: no driver for it .*; install PyMySQL",
        ),
        ({"source": "sql:nonsense", "query": "q"}, "no driver for it"),
        ({"source": "table:wide.csv"}, r"wide\.csv: its column names are not text in UTF-8; export it as UTF-8 CSV"),
        ({"source": "table:latin.csv"}, r"latin\.csv: its column names are not text in UTF-8"),
        (
            {"source": "table:nameless.csv"},
            r"column 2 wants a name of 1 to 120 printable characters, got ''; rename it",
        ),
        (
            {"source": "table:semicolons.csv"},
            r"semicolons\.csv: its columns are separated by semicolons; export it with commas",
        ),
        ({"source": "table:tabs.csv"}, r"tabs\.csv: its columns are separated by tabs; export it with commas"),
        ({"source": "table:vast.parquet"}, r"vast\.parquet: a holds integers of 128 bits; cast it to 64 bits"),
        (
            {"source": "sql:sqlite:///none.db", "query": "SELECT 1"},
            r"none\.db: there is no such file; write sqlite:///PATH",
        ),
        (
            {"source": "sql:pg://u:$NO_SUCH_VARIABLE@h", "query": "q"},
            "names NO_SUCH_VARIABLE, which the environment does not",
        ),
        ({"source": "sql:sqlite://", "query": "SELECT x FROM y"}, r"does not answer data\.query \(no such table: y\)"),
        ({"source": "sql:sqlite://", "query": "SELECT 1 AS a, 2 AS a"}, r"data\.query selects a twice"),
        ({"source": "sql:sqlite://", "query": "SELECT 1 AS a WHERE 0"}, "holds no rows; add some, or select others"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_and_leaves_nothing(
    tmp_path: Path, settings: dict[str, object], told: str
) -> None:
    (tmp_path / "t.xlsx").write_text("x")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "head.csv").write_text("a,b\n")
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n")
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no parquet at all")
    (tmp_path / "wide.csv").write_bytes("a,b\n1,2\n".encode("utf-16"))
    (tmp_path / "latin.csv").write_bytes("a,Größe\n1,2\n".encode("latin-1"))
    (tmp_path / "semicolons.csv").write_text("a;b\n1,5;2\n")
    (tmp_path / "tabs.csv").write_text("a\tb\n1\t2\n")
    (tmp_path / "nameless.csv").write_text("a,\n1,2\n")
    pl.DataFrame({"a": [1]}, schema={"a": pl.Int128}).write_parquet(tmp_path / "vast.parquet")

    with pytest.raises(DataError, match=told) as caught:
        made(tmp_path, **settings)
    assert ":pw@" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"source": "sql:sqlite://"}, r"the source sql:URL needs data\.query"),
        ({"source": "digits", "query": "SELECT 1"}, r"data\.query goes with the source sql:URL alone"),
        ({"source": "table:"}, r"a source is digits, .*transactions, table:PATH, sql:URL, or folder:PATH"),
    ],
)
def test_a_source_that_says_too_little_is_refused(settings: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse({"project": "a", "data": settings})


@pytest.mark.parametrize("harm", [b"", b"PAR1"])
def test_a_damaged_file_is_refused_by_its_name(tmp_path: Path, harm: bytes) -> None:
    made(tmp_path, **SIMULATED)
    assert table_sources.rows_file(tmp_path / "out") == tmp_path / "out" / ROWS
    (tmp_path / "out" / ROWS).write_bytes(harm)

    with pytest.raises(
        DataError, match=r"rows\.parquet is corrupt or cut short.*; remove it, then run 'regen data pull'"
    ):
        table_sources.rows_file(tmp_path / "out")
    (tmp_path / "out" / ROWS).unlink()
    with pytest.raises(DataError, match=r"rows\.parquet is missing; run 'regen data pull'"):
        table_sources.rows_file(tmp_path / "out")


def test_data_simulated_with_other_settings_is_told_by_the_setting() -> None:
    made_with = sources.made_with(DataConfig.model_validate(SIMULATED))

    other = DataConfig.model_validate(
        {"source": "transactions", "simulator": {"customers": 61, "terminals": 60, "days": 10}}
    )

    assert sources.misfit(other, made_with) == "data.simulator.customers is 61, but it was made with 60"
    assert sources.misfit(DataConfig.model_validate(SIMULATED), made_with) == ""
