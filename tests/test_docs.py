"""The documentation says what is so: every command, key, default, example, stage and picture in it is real."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel

from flows.cli import cli
from regen.core.config import Config, keys
from regen.stages.base import AFTER, READS, SEEDLESS
from tests.conftest import REPOSITORY

COMMON = {"project", "seed", "training.device"}
"""What stages read beside their own sections."""


GUIDES = ("README.md", "ARCHITECTURE.md", *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")))
"""The documents that say how to use and to change the project."""
DOCUMENTS = (*GUIDES, "DECISIONS.md", "CHANGELOG.md")


def read(name: str) -> str:
    return (REPOSITORY / name).read_text()


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, by its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def shown_commands(text: str) -> list[str]:
    """The `regen` commands in a document's sh blocks, comments taken off."""
    blocks = re.findall(r"^```(?:sh|bash|shell|console)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in re.split(r"&&|\||;", line.split(" #")[0])]
    return [part for part in parts if part.startswith("regen ")]


def examples(command: click.Command) -> list[str]:
    """The `regen` commands in a help's examples."""
    lines = [line.strip() for line in (command.epilog or "").splitlines()]
    return [line.split("   (")[0] for line in lines if line.startswith("regen ")]


def parse(line: str) -> tuple[list[str], click.Context]:
    """Reads a command line as the shell and click do, without running it: the command's words, and what click made of it."""
    words, path = shlex.split(line)[1:], list[str]()
    command: click.Command = cli
    context = click.Context(cli, info_name="regen")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, found, words = command.resolve_command(context, words)
        assert name is not None
        assert found is not None
        path.append(name)
        command = found
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(click.Context, "exit", lambda self, code=0: None)  # --help ends a parse
        return path, command.make_context("regen", words, parent=context)


def default_of(dotted: str) -> object:
    """A key's default in the code; `required` where there is none."""
    model: type[BaseModel] = Config
    *sections, last = dotted.split(".")
    for section in sections:
        annotation = model.model_fields[section].annotation
        assert isinstance(annotation, type)
        model = annotation
    field = model.model_fields[last]
    if field.is_required():
        return "required"
    found = field.get_default()
    return list(found) if isinstance(found, tuple) else found  # YAML has lists alone


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_there_and_has_a_title(name):
    assert read(name).startswith("# ")


def test_the_readme_can_be_read_in_one_go():
    assert 60 <= len(read("README.md").splitlines()) <= 200


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_every_command_is_documented(words):
    assert f"regen {' '.join(words)}" in "".join(map(read, GUIDES))


@pytest.mark.parametrize(
    ("words", "command"), list(commands()), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_explains_itself_with_an_example(words, command):
    done = CliRunner().invoke(cli, [*words, "--help"])

    assert done.exit_code == 0, done.output
    assert "Example" in done.output
    assert examples(command)


@pytest.mark.parametrize("line", [line for _, command in commands() for line in examples(command)])
def test_every_example_in_a_help_parses(line):
    path, context = parse(line)

    assert path
    assert not context.args


def test_every_command_shown_in_the_documents_parses_and_has_a_help():
    lines = shown_commands("\n".join(map(read, GUIDES)))

    assert lines, "the README shows no command"
    for line in lines:
        path, _ = parse(line)
        assert CliRunner().invoke(cli, [*path, "--help"]).exit_code == 0, line


@pytest.mark.parametrize("key", list(keys()))
def test_every_key_of_the_project_file_is_documented(key):
    last = key.rpartition(".")[2]

    assert re.search(rf"`(?:\w+\.)*{last}`", read("docs/configuration.md")), f"`{key}` is not in docs/configuration.md"


def documented_keys() -> dict[str, str]:
    """Each key in the table of docs/configuration.md, with the default it shows there; empty for a section."""
    rows = re.findall(r"^\| \**`([\w.]+)`\** \| ([^|]*?) ?\|", read("docs/configuration.md"), flags=re.MULTILINE)
    return {key: default for key, default in rows if key.split(".")[0] in Config.model_fields}


def test_no_documented_key_is_unknown():
    found = documented_keys()

    assert len(found) > 40
    assert not found.keys() - set(keys())


def test_every_documented_default_is_the_real_one():
    shown = {key: default for key, default in documented_keys().items() if default}

    wrong = {
        key: f"{default} instead of {default_of(key)}"
        for key, default in shown.items()
        if (None if default == "none" else yaml.safe_load(default)) != default_of(key)
    }

    assert len(shown) > 30
    assert not wrong


def test_every_picture_and_every_file_that_a_document_links_is_there():
    targets = {
        name: re.findall(r"\]\(([^)#\s]+)[^)]*\)", read(name)) + re.findall(r"<img[^>]*src=\"([^\"]+)\"", read(name))
        for name in DOCUMENTS
    }

    missing = [
        f"{name}: {target}"
        for name, found in targets.items()
        for target in found
        if "://" not in target and not ((REPOSITORY / name).parent / target).exists()
    ]

    assert not missing


def stages() -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = yaml.safe_load(read("dvc.yaml"))["stages"]
    return found


def test_dvc_knows_every_stage_in_the_order_they_run():
    from regen.stages.catalogue import STAGES

    assert list(stages()) == list(STAGES)


@pytest.mark.parametrize("stage", list(READS))
def test_dvc_watches_the_sections_that_a_stage_reads(stage):
    params = set(stages()[stage]["params"])

    assert params - COMMON == set(READS[stage])
    assert ("seed" in params) == (stage not in SEEDLESS)
    assert ("training.device" in params) == stage.startswith("train_")


@pytest.mark.parametrize("stage", list(READS))
def test_dvc_runs_a_stage_after_those_whose_results_it_reads(stage):
    entry = stages()[stage]

    assert entry["cmd"] == f"regen stage {stage.replace('_', '-')}"
    assert entry["outs"] == [f"outputs/digits/{stage}"]
    assert {f"outputs/digits/{before}" for before in AFTER[stage]} <= set(entry["deps"])
    assert "src/regen" in entry["deps"]


def test_the_command_offers_every_stage():
    from flows.cli_work import STAGE_NAMES

    assert [name.replace("-", "_") for name in STAGE_NAMES] == list(stages())
