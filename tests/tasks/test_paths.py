"""Paths given to commands are meant from where the caller stands, also below the project's root."""

from pathlib import Path

import pytest

from flows.cli import cli
from regen.core.errors import ConfigError
from tests.conftest import TINY


@pytest.fixture
def below(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below the root, as current one, with a project file of its own."""
    folder = project / "configs" / "mine"
    folder.mkdir(parents=True)
    (folder / "parts.yaml").write_text(TINY.replace("project: digits", "project: parts"))
    monkeypatch.setattr("regen.core.environment.bootstrap", lambda workspace: None)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """What `deploy` and `up` are told: whose project it is, and which file."""
    found: list[tuple[str, Path]] = []

    def deploy(context, config, *, as_json):
        found.append((context.config.project, config))

    def serve(workspace, ports, config, model, *, workers, review):
        found.append((model.removesuffix("-gan"), config))

    monkeypatch.setattr("flows.console.run_deploy", deploy)
    monkeypatch.setattr("flows.up.serve", serve)
    return found


@pytest.mark.parametrize("command", ["deploy", "up"])
@pytest.mark.parametrize(
    ("named", "whose", "file"),
    [
        (["parts.yaml"], "parts", "configs/mine/parts.yaml"),
        (["../mine/parts.yaml"], "parts", "configs/mine/parts.yaml"),
        (["configs/mine/parts.yaml"], "parts", "configs/mine/parts.yaml"),
        ([], "digits", "params.yaml"),
    ],
    ids=["beside the caller", "by way of the folder above", "from the root", "the default"],
)
def test_a_project_file_is_the_one_that_the_caller_sees(below, given, command, named, whose, file):
    root = below.parents[1]

    cli.main([command, *named], standalone_mode=False)

    ((project, path),) = given
    assert project == whose
    assert path.is_absolute()
    assert path.resolve() == root / file


def test_a_schema_of_a_projects_source_lands_where_the_caller_stands(below, monkeypatch, capsys):
    from regen.data import table_inference
    from regen.data.columns import Column, TableSchema

    (below / "parts.yaml").write_text('project: parts\ndata: {source: "table:rows.csv"}\n')
    monkeypatch.setattr(table_inference, "of_source", lambda data, place: TableSchema((Column("a", "numeric"),)))

    cli.main(["data", "schema", "parts.yaml", "--out", "parts-schema.yaml"], standalone_mode=False)

    assert (below / "parts-schema.yaml").is_file()
    assert "parts-schema.yaml: 1 columns" in capsys.readouterr().out


def test_a_project_file_that_is_nowhere_is_named(below):
    with pytest.raises(ConfigError, match=r"there is no project file .*none\.yaml"):
        cli.main(["deploy", "none.yaml"], standalone_mode=False)
