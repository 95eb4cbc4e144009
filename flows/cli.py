"""The `regen` command: every subcommand, its options and its help; the work is imported only when it is called."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from regen import __version__
from regen.core.errors import WRITE_REFUSALS, RegenError

STAGE_NAMES = ("prepare", "train-extractor", "train-vae", "train-gan", "evaluate", "register", "promote")
EPILOG = 'Tab completion: eval "$(_REGEN_COMPLETE=bash_source regen)" in ~/.bashrc, zsh_source or fish_source in those shells.'


class Group(click.Group):
    """Lists commands in the order they are defined, and names the nearest one to a misspelt one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of their definition."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command."""
        from difflib import get_close_matches

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = get_close_matches(args[0], self.commands, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(self.commands)}"
            raise click.UsageError(f"no such command {args[0]!r}; {hint}", ctx) from error


def example(*lines: str) -> str:
    """An epilog with examples, each on a line of its own."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


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


def _context(config: Path, settings: Sequence[str] = ()) -> Any:
    """The project of a file, its environment made ready."""
    from regen.core.config import load
    from regen.core.environment import bootstrap
    from regen.core.workspace import Workspace

    pairs = [setting.partition("=") for setting in settings]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        raise click.UsageError(f"--set {wrong[0]}: wanted KEY=VALUE, such as vae.images=1000")
    workspace = Workspace.find()
    path = config if config.exists() else workspace.root / config
    loaded = load(path, {key: value for key, _, value in pairs})
    bootstrap(workspace)
    os.chdir(workspace.root)
    from regen.stages.base import Context

    return Context(workspace, loaded)


def _workspace() -> Any:
    from regen.core.environment import bootstrap
    from regen.core.workspace import Workspace

    workspace = Workspace.find()
    bootstrap(workspace)
    return workspace


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, sort_keys=True))


@cli.command(
    epilog=example("regen run", "regen run configs/other.yaml", "regen run --set seed=1 --set gan.images=64000")
)
@config_option
@overrides
@as_json
def run(config: Path, settings: tuple[str, ...], as_json: bool) -> None:
    """Run the retrain flow, here and now: data, training, evaluation, registry, promotion.

    Work that was done before on the same data, configuration and code is found again and not repeated.
    """
    from flows import console

    context = _context(config, settings)
    summary = console.run_retrain(context)
    if as_json:
        _print_json(summary.to_json())
    else:
        console.print_summary(summary)


@cli.command(
    epilog=example(
        "regen stage prepare", "regen stage train-vae", "dvc repro   (runs them all, those whose inputs changed)"
    )
)
@click.argument("name", type=click.Choice(STAGE_NAMES))
@config_option
@overrides
@as_json
def stage(name: str, config: Path, settings: tuple[str, ...], as_json: bool) -> None:
    """Run one stage, as dvc.yaml does; those before it must have run."""
    from flows import console

    outcome = console.run_stage(_context(config, settings), name.replace("-", "_"))
    if as_json:
        _print_json({"stage": outcome.stage, "key": outcome.key, "reused": outcome.reused})
    else:
        click.echo(f"{name}: {'done before, nothing to do' if outcome.reused else 'done'} (key {outcome.key[:16]})")


@cli.group(epilog=example("regen data status", "regen data pull", "regen data add"))
def data() -> None:
    """Versions of the data: what is recorded, what is there."""


@data.command("add", epilog=example("regen data add", "git add data.dvc && git commit -m 'New data'"))
@config_option
@as_json
def data_add(config: Path, as_json: bool) -> None:
    """Record the present data/ as a new version, in data.dvc and DVC's cache."""
    from regen.data import versions

    context = _context(config)
    versions.add(context.workspace)
    found = versions.status(context.workspace, context.config.project)
    if as_json:
        _print_json({"project": context.config.project, "version": found.version})
    else:
        click.echo(
            f"data.dvc now records {context.config.project} {found.version}; commit data.dvc to keep the version"
        )


@data.command("status", epilog=example("regen data status", "regen data status --json"))
@config_option
@as_json
def data_status(config: Path, as_json: bool) -> None:
    """Compare the project's data with what data.dvc records; exit code 1 when they differ."""
    from regen.data import versions

    context = _context(config)
    found = versions.status(context.workspace, context.config.project)
    if as_json:
        _print_json({
            "project": context.config.project, "version": found.version, "clean": found.clean,
            "missing": found.missing, "changed": found.changed,
        })  # fmt: skip
    elif found.clean:
        click.echo(f"data/{context.config.project} is the recorded version {found.version}")
    if not found.clean:
        if as_json:
            sys.exit(1)
        versions.require_clean(context.workspace, context.config.project)


@data.command("pull", epilog=example("regen data pull"))
@config_option
@as_json
def data_pull(config: Path, as_json: bool) -> None:
    """Bring the data to its recorded version: from DVC's cache or remote, else from the source.

    Images of a folder that cannot be read are set aside: data/PROJECT/quarantine.csv lists them with the reason.
    """
    from regen.data import sources, versions

    context = _context(config)
    project = context.config.project
    origin = versions.pull(context.workspace, project, context.config.data)
    if as_json:
        aside = sources.quarantined(context.workspace.data(project))
        _print_json({"project": project, "version": context.data_version, "from": origin, "quarantined": aside})
    else:
        met = "was there already" if origin == "here" else f"came from the {origin}"
        click.echo(f"data/{project} {met}: version {context.data_version}")


@cli.command(epilog=example("regen models", "regen models digits-vae --json"))
@click.argument("model", required=False)
@as_json
def models(model: str | None, as_json: bool) -> None:
    """List registered versions with their aliases, figures and verdicts."""
    from flows import console

    console.list_models(_workspace(), model, as_json=as_json)


@cli.command(
    epilog=example(
        "regen sample digits-gan",
        "regen sample digits-gan@previous --n 100 --seed 7 --out digits.png",
        "regen sample digits-gan --n 16 --class 3",
        "regen sample digits-gan/2 --n 1000 --out folder/",
    )
)
@click.argument("model")
@click.option("--n", default=64, show_default=True, type=click.IntRange(1, 1_000_000), help="How many images.")
@click.option("--class", "wanted", help="Class that all of them shall be of.  [default: as the classes are frequent]")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="The same seed gives the same images."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A .png file for one grid, or a folder for a file an image.  [default: MODEL.png]",
)
@as_json
def sample(model: str, n: int, wanted: str | None, seed: int, out: Path | None, as_json: bool) -> None:
    """Draw images from a registered MODEL: NAME (its champion), NAME@ALIAS or NAME/NUMBER."""
    from regen.stages.sample import sample_images

    target = out or Path(model.replace("@", "-").replace("/", "-") + ".png")
    drawn = sample_images(_workspace(), model, n, seed, target, wanted)
    if as_json:
        _print_json({"model": drawn.model, "version": drawn.number, "n": n, "seed": seed, "out": str(target)})
    else:
        click.echo(f"{n} images from {drawn.model} version {drawn.number}, seed {seed}: {target}")


@cli.command(
    epilog=example(
        "regen metrics real/ fake/",
        "regen metrics real/ fake/ --n 1000 --resolution 64",
        "regen metrics real/ fake/ --extractor inception:pt_inception-2015-12-05-6726825d.pth",
        "regen metrics real.csv fake.parquet --label income --control heldout.csv --json",
    )
)
@click.argument("real", type=click.Path(path_type=Path))
@click.argument("fake", type=click.Path(path_type=Path))
@click.option(
    "--extractor",
    metavar="NAME|inception:FILE",
    help="Whose features images are compared in; the original Inception weights give FID.  [default: random-conv-v1]",
)
@click.option("--label", metavar="COLUMN", help="Column of a table that models shall learn to predict from the others.")
@click.option(
    "--control",
    type=click.Path(path_type=Path),
    metavar="TABLE_OR_FOLDER",
    help="Real rows or images that the model never saw, to tell learning from learning by heart.",
)
@click.option("--n", type=click.IntRange(1), help="Take so many of each, drawn with the seed.  [default: all]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of draws and of intervals.")
@click.option(
    "--resolution", type=click.IntRange(8, 4096), help="Height and width that images are brought to.  [default: theirs]"
)
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read, instead of refusing.")
@as_json
def metrics(real: Path, fake: Path, as_json: bool, **options: Any) -> None:
    """Score FAKE against REAL: two folders of images, or two tables (CSV, Parquet); it needs no project.

    Images get a Fréchet distance, precision, recall, density and coverage; tables the likeness of columns and of pairs of
    them, the distance to the closest record and, with a label, what a model learns from them.
    """
    from flows import console_metrics
    from regen.stages.metrics import Options, score

    with console_metrics.watching() as watch:
        scores = score(real, fake, Options(**options), watch)
    if as_json:
        _print_json(scores.to_json())
    else:
        console_metrics.print_scores(scores)


who = click.option(
    "--by",
    default=lambda: os.environ.get("USER", "someone"),
    show_default="$USER",
    help="Who decides, for the history.",
)
why = click.option("--reason", default="by hand", show_default=True, help="Why, for the history.")


@cli.command(epilog=example("regen promote digits-gan 3 --by ada --reason 'sharper eights'"))
@click.argument("model")
@click.argument("version", type=int)
@who
@why
@click.option("--force", is_flag=True, help="Promote although the gate rejected it.")
@as_json
def promote(model: str, version: int, by: str, reason: str, force: bool, as_json: bool) -> None:
    """Make a VERSION of MODEL its champion; it is loaded and tried first, and all is put back if that fails."""
    from regen.stages.decide import promote_by_hand

    _print_event(promote_by_hand(_workspace(), model, version, by, reason, force=force), as_json)


@cli.command(epilog=example("regen rollback digits-gan --by ada --reason 'odd sevens'", "regen rollback digits-gan 1"))
@click.argument("model")
@click.argument("version", type=int, required=False)
@who
@why
@as_json
def rollback(model: str, version: int | None, by: str, reason: str, as_json: bool) -> None:
    """Go back to the champion before this one, or to an earlier champion by its VERSION."""
    from regen.stages.decide import rollback_by_hand

    _print_event(rollback_by_hand(_workspace(), model, version, by, reason), as_json)


def _print_event(event: Any, as_json: bool) -> None:
    if as_json:
        _print_json({
            "action": event.action, "model": event.model, "version": event.version, "before": event.before,
            "by": event.by, "reason": event.reason,
        })  # fmt: skip
    else:
        was = f", was version {event.before}" if event.before else ""
        click.echo(f"{event.model}@champion is version {event.version} now{was}")


@cli.command(epilog=example("regen doctor", "regen doctor --fix"))
@click.option("--fix", is_flag=True, help="Mend what can be mended, such as MLflow's paths after the folder was moved.")
@config_option
@as_json
def doctor(config: Path, fix: bool, as_json: bool) -> None:
    """Say whether this machine, this repository and this store are sound; exit code 1 when not."""
    from flows import console

    console.run_doctor(_context(config), fix=fix, as_json=as_json)


@cli.command(epilog=example("regen up", "regen up --prefect-port 4300 --mlflow-port 5100"))
@click.option("--prefect-port", default=4200, show_default=True, type=click.IntRange(1, 65535))
@click.option("--mlflow-port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def up(prefect_port: int, mlflow_port: int) -> None:
    """Start the Prefect server and the MLflow UI on loopback; Ctrl-C ends both."""
    from flows.up import serve

    serve(_workspace(), prefect_port, mlflow_port)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; every failure ends in one line and an exit code: 1 failed or refused, 2 wrong usage."""
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    try:
        cli.main(arguments, prog_name="regen", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.UsageError as error:
        place = error.ctx.command_path if error.ctx else "regen"
        _fail(f"{error.format_message()} ('{place} --help' shows how)", code=2)
    except (KeyboardInterrupt, click.Abort):
        _fail("stopped; what was finished is kept, and the next run goes on from the last checkpoint", code=130)
    except RegenError as error:
        if debug:
            raise
        _fail(str(error))
    except OSError as error:
        if debug:
            raise
        reason = WRITE_REFUSALS.get(error.errno or 0, "")
        _fail(f"{error.strerror or error}: {error.filename or ''}" + (f" ({reason})" if reason else ""))
    except Exception as error:  # the last resort: one line, and the way to the rest
        if debug:
            raise
        _fail(f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ('regen --debug ...' shows where)")


def _fail(message: str, code: int = 1) -> None:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
