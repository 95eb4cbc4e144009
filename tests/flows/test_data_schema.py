"""The command that infers a schema: printed or written, from a table or from a project's source, and never over an edited file."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from flows.cli import cli
from regen.core.errors import ConfigError, DataError
from regen.data import table_schema
from regen.data.transactions import SCHEMA

PROJECT = """\
project: payments
data: {source: transactions, simulator: {customers: 60, terminals: 60, days: 10}}
"""


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["data", "schema", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    monkeypatch.chdir(tmp_path)
    table = pl.DataFrame({"id": range(30), "amount": [i / 2 for i in range(30)], "fraud": [0, 1] * 15})
    table.write_csv("payments.csv")
    return table


def test_a_schema_is_printed_as_the_file_that_it_would_be(rows: pl.DataFrame) -> None:
    found = table_schema.from_yaml(run("payments.csv"))

    assert (found.key, found.label) == ("id", "fraud")
    assert [column.name for column in found.columns] == rows.columns


def test_a_schema_is_written_to_a_file_and_told(rows: pl.DataFrame) -> None:
    told = run("payments.csv", "--out", "schemas/payments.yaml")

    assert told.startswith("schemas/payments.yaml: 3 columns; key: id; time: none; label: fraud; groups: none.")
    assert table_schema.load(Path("schemas/payments.yaml")).label == "fraud"


def test_machines_get_one_object(rows: pl.DataFrame) -> None:
    found = json.loads(run("payments.csv", "--json"))

    assert found["columns"] == {"id": "integer", "amount": "numeric", "fraud": "integer"}
    assert (found["key"], found["out"]) == ("id", None)


def test_an_edited_schema_is_kept_unless_forced(rows: pl.DataFrame) -> None:
    Path("edited.yaml").write_text("mine")

    with pytest.raises(
        ConfigError, match=r"edited\.yaml is there already, perhaps edited; name another file, or add --force"
    ):
        run("payments.csv", "--out", "edited.yaml")
    run("payments.csv", "--out", "edited.yaml", "--force")

    assert table_schema.load(Path("edited.yaml")).key == "id"


def test_a_file_that_is_not_there_is_refused(rows: pl.DataFrame) -> None:
    with pytest.raises(DataError, match=r"there is no table none\.csv"):
        run("none.csv")


def test_the_schema_of_a_projects_source_is_that_of_the_simulator_but_for_its_ranges(project: Path) -> None:
    (project / "payments.yaml").write_text(PROJECT)

    found = table_schema.from_yaml(run("payments.yaml"))

    assert [(column.name, column.kind) for column in found.columns] == [(c.name, c.kind) for c in SCHEMA.columns]
    assert (found.key, found.time, found.label, found.groups) == (SCHEMA.key, SCHEMA.time, SCHEMA.label, SCHEMA.groups)


def test_a_project_of_images_has_no_schema(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.source is digits, which gives images; a schema is a table's"):
        run("params.yaml")
