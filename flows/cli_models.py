"""Commands that use models and decide about them: list, sample, score, promote, roll back."""

import os
from pathlib import Path
from typing import Any

import click

from flows.cli_base import as_json, cli, example, open_workspace, print_json


@cli.command(epilog=example("regen models", "regen models digits-vae --json"))
@click.argument("model", required=False)
@as_json
def models(model: str | None, as_json: bool) -> None:
    """List registered versions with their aliases, figures and verdicts."""
    from flows import console

    console.list_models(open_workspace(), model, as_json=as_json)


@cli.command(
    epilog=example(
        "regen sample digits-gan",
        "regen sample digits-gan@previous --n 100 --seed 7 --out digits.png",
        "regen sample digits-gan --n 16 --class 3",
        "regen sample digits-gan/2 --n 1000 --out folder/",
        "regen sample transactions-gan --n 1000 --given fraud=1 --given trade=travel --out frauds.parquet",
    )
)
@click.argument("model")
@click.option("--n", default=64, show_default=True, type=click.IntRange(1, 1_000_000), help="How many images or rows.")
@click.option("--class", "wanted", help="Class that all images shall be of.  [default: as the classes are frequent]")
@click.option(
    "--given", multiple=True, metavar="COLUMN=VALUE", help="A value that all rows shall have; may be repeated."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The same seed gives the same ones.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Of images a .png file for one grid, or a folder for a file an image; of rows a .csv or .parquet file.  "
    "[default: MODEL.png or MODEL.csv]",
)
@as_json
def sample(
    model: str, n: int, wanted: str | None, given: tuple[str, ...], seed: int, out: Path | None, as_json: bool
) -> None:
    """Draw images or rows from a registered MODEL: NAME (its champion), NAME@ALIAS or NAME/NUMBER."""
    from regen.stages.sample import sample as draw

    drawn = draw(open_workspace(), model, n, seed, out, wanted, given)
    version = drawn.version
    if as_json:
        print_json({"model": version.model, "version": version.number, "n": n, "seed": seed, "out": str(drawn.out)})
    else:
        click.echo(f"{n} {drawn.what} from {version.model} version {version.number}, seed {seed}: {drawn.out}")


@cli.command(
    epilog=example(
        "regen evaluate digits-gan",
        "regen evaluate digits-gan/2 --against digits-gan@champion",
        "regen evaluate digits-vae --against digits-gan --n 200 --out scores/",
    )
)
@click.argument("model")
@click.option("--against", help="Another model of the project, measured on the same rows and latents.")
@click.option("--n", type=click.IntRange(1), help="How many test rows, evenly spaced.  [default: all]")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The project file.  [default: the one that names the model's project]",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="A folder for the figures as files.")
@click.option("--record", is_flag=True, help="Also record the figures in an MLflow run of their own.")
@as_json
def evaluate(
    model: str, against: str | None, n: int | None, config: Path | None, out: Path | None, record: bool, as_json: bool
) -> None:
    """Score a registered MODEL anew on the test rows: NAME (its champion), NAME@ALIAS, NAME/NUMBER or an MLflow RUN_ID.

    With --against two models stand side by side; a figure is better or worse only when the whole interval of the paired
    difference says so. The registry stays as it is.
    """
    from flows import console

    found = console.run_evaluate(open_workspace(), model, against, n, config, out, record=record)
    if as_json:
        print_json(found.to_json())
    else:
        console.print_evaluation(found)


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
    help="Whose features images are compared in: a project's own such as digits-extractor, or the original Inception "
    "weights, which give FID.  [default: random-conv-v1]",
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

    Images get Fréchet and kernel distances, precision, recall, density and coverage; tables the likeness of columns and of
    pairs of them, the distance to the closest record and, with a label, what a model learns from them.
    """
    from flows import console_metrics
    from regen.stages.metrics import Options, score

    with console_metrics.watching() as watch:
        scores = score(real, fake, Options(**options), watch)
    if as_json:
        print_json(scores.to_json())
    else:
        console_metrics.print_scores(scores)


who = click.option(
    "--by",
    default=lambda: os.environ.get("USER", "someone"),
    show_default="$USER",
    help="Who decides, for the history.",
)
why = click.option("--reason", default="by hand", show_default=True, help="Why, for the history.")


@cli.command(
    epilog=example(
        "regen promote digits-gan 3 --by ada --reason 'sharper eights'",
        "regen promote digits-gan 3 --reject --by ada --reason 'odd sevens'",
    )
)
@click.argument("model")
@click.argument("version", type=int)
@who
@why
@click.option("--reject", is_flag=True, help="Say no to a version that waits for approval.")
@click.option("--force", is_flag=True, help="Promote although the gate rejected it or its approval has expired.")
@as_json
def promote(model: str, version: int, by: str, reason: str, reject: bool, force: bool, as_json: bool) -> None:
    """Make a VERSION of MODEL its champion, or reject it; it is loaded and tried first, all is put back if that fails."""
    from regen.stages.decide import promote_by_hand, reject_by_hand

    if reject and force:
        raise click.UsageError("--reject and --force exclude each other")
    if reject:
        _print_event(reject_by_hand(open_workspace(), model, version, by, reason), as_json)
    else:
        _print_event(promote_by_hand(open_workspace(), model, version, by, reason, force=force), as_json)


@cli.command(epilog=example("regen rollback digits-gan --by ada --reason 'odd sevens'", "regen rollback digits-gan 1"))
@click.argument("model")
@click.argument("version", type=int, required=False)
@who
@why
@as_json
def rollback(model: str, version: int | None, by: str, reason: str, as_json: bool) -> None:
    """Go back to the champion before this one, or to an earlier champion by its VERSION."""
    from regen.stages.decide import rollback_by_hand

    _print_event(rollback_by_hand(open_workspace(), model, version, by, reason), as_json)


@cli.command(epilog=example("regen delete digits-gan 2 --by ada --reason 'never good'"))
@click.argument("model")
@click.argument("version", type=int)
@who
@why
@as_json
def delete(model: str, version: int, by: str, reason: str, as_json: bool) -> None:
    """Take a VERSION of MODEL out of the registry for good; never one with an alias, nor one to roll back to."""
    from regen.stages.decide import delete_by_hand

    _print_event(delete_by_hand(open_workspace(), model, version, by, reason), as_json)


def _print_event(event: Any, as_json: bool) -> None:
    if as_json:
        print_json({
            "action": event.action, "model": event.model, "version": event.version, "before": event.before,
            "by": event.by, "reason": event.reason,
        })  # fmt: skip
    else:
        click.echo(_said(event))


def _said(event: Any) -> str:
    version = f"{event.model} version {event.version}"
    if event.action == "reject":
        return f"{version} is rejected; the champion stays {event.before or 'none'}"
    if event.action == "delete":
        return f"{version} is deleted; its MLflow run stays"
    was = f", was version {event.before}" if event.before else ""
    return f"{event.model}@champion is version {event.version} now{was}"
