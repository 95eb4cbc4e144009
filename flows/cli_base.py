"""What every command shares: the group, its options, and how a project and a workspace are opened."""

import json
import os
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import click

from regen import __version__

EPILOG = 'Tab completion: eval "$(_REGEN_COMPLETE=bash_source regen)" in ~/.bashrc, zsh_source or fish_source in those shells.'


ORDER = (
    "run", "ingest", "monitor", "score", "stage", "sweep", "data", "models", "sample", "evaluate", "metrics", "promote",
    "rollback", "delete", "review", "votes", "align", "up", "deploy", "doctor",
)  # fmt: skip


class Group(click.Group):
    """Lists commands in the order that people meet them, and names the nearest one to a misspelt one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in `ORDER`, or in that of their definition."""
        return sorted(self.commands, key=lambda name: ORDER.index(name) if name in ORDER else 0)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command."""
        from difflib import get_close_matches

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = get_close_matches(args[0], self.commands, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(self.list_commands(ctx))}"
            raise click.UsageError(f"no such command {args[0]!r}; {hint}", ctx) from error


def example(*lines: str) -> str:
    """An epilog with examples, each on a line of its own."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class FiniteRange(click.FloatRange):
    """A number within bounds; nan, which no comparison finds outside of any, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Reads it."""
        found = super().convert(value, param, ctx)
        return found if isfinite(found) else self.fail(f"{value} is no finite number", param, ctx)


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object for machines.")
config_option = click.argument("config", type=click.Path(path_type=Path), default="params.yaml")
overrides = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace a value of the project file, such as vae.images=1000.",
)


@click.group(cls=Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback behind an error, and what the libraries log.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Keeps generative models fresh in production: versions, validates, trains, measures, compares and promotes."""
    ctx.obj = debug
    if debug:
        os.environ["PREFECT_LOGGING_LEVEL"] = "DEBUG"


def project_file(config: Path) -> Path:
    """A project file's path as this process can use it from anywhere: as the caller stands, else from the project's root."""
    return _as_it_stands(config).absolute()


def _as_it_stands(config: Path) -> Path:
    from regen.core.workspace import Workspace

    return config if config.exists() else Workspace.find().root / config


def open_project(config: Path, settings: Sequence[str] = ()) -> Any:
    """The project of a file, its environment made ready."""
    from regen.core.config import load
    from regen.core.environment import bootstrap
    from regen.core.workspace import Workspace

    pairs = [setting.partition("=") for setting in settings]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        raise click.UsageError(f"--set {wrong[0]}: wanted KEY=VALUE, such as vae.images=1000")
    workspace = Workspace.find()
    loaded = load(_as_it_stands(config), {key: value for key, _, value in pairs})
    bootstrap(workspace)
    os.chdir(workspace.root)
    from regen.stages.base import Context

    return Context(workspace, loaded)


def open_workspace() -> Any:
    """The workspace around the current folder, its environment made ready."""
    from regen.core.environment import bootstrap
    from regen.core.workspace import Workspace

    workspace = Workspace.find()
    bootstrap(workspace)
    return workspace


def persons(n: int) -> str:
    """How many people, in words.

    Example:
        >>> persons(1), persons(3)
        ('1 person', '3 people')
    """
    return f"{n:,} {'person' if n == 1 else 'people'}"


def print_json(value: Any) -> None:
    """Prints one JSON object; null stands for a number that is none, which JSON cannot say."""
    click.echo(json.dumps(_speakable(value), indent=2, sort_keys=True, allow_nan=False))


def _speakable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _speakable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_speakable(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value
