"""Commands of daily operation: new data in, batches scored, drift watched."""

from dataclasses import asdict
from pathlib import Path

import click

from flows.cli_base import as_json, cli, config_option, example, open_project, open_workspace, overrides, print_json

SOURCES = ("folder", "table", "mnist", "fashion-mnist", "cifar10")


@cli.command(
    epilog=example(
        "regen ingest new-photos/",
        "regen ingest monday.parquet configs/transactions.yaml",
        "regen ingest more/ --set ingest.max_bad_share=0.2 --set ingest.push=true",
        "regen ingest ~/downloads/mnist configs/mnist.yaml --source mnist",
    )
)
@click.argument("path", type=click.Path(path_type=Path))
@config_option
@click.option(
    "--source",
    type=click.Choice(SOURCES),
    help="How PATH is read.  [default: a folder as images with a subfolder a class, a file as a table]",
)
@overrides
@as_json
def ingest(path: Path, config: Path, source: str | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Take new images or rows at PATH into the project's data, and record the new version.

    What fails a check is set aside with its reasons in quarantine/; more than ingest.max_bad_share of it stops the work
    with nothing changed. Copies of what is there are counted and left out.
    """
    from flows import console_operations as console

    path = path.absolute()
    found = console.run_ingest(open_project(config, settings), path, source)
    if as_json:
        print_json(asdict(found))
    else:
        console.print_ingested(found)


@cli.command(
    epilog=example(
        "regen score new-photos/ --model parts-vae@champion --output scores.parquet",
        "regen score monday.csv --model transactions-vae/3 --output scores.csv --shard-rows 50000",
    )
)
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="NAME (its champion), NAME@ALIAS or NAME/NUMBER of a model of anomalies.")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The file to write, which ends in .parquet or .csv.",
)
@click.option(
    "--shard-rows", default=10_000, show_default=True, type=click.IntRange(1),
    help="Rows or images that are done again at most after a kill.",
)  # fmt: skip
@as_json
def score(source: Path, model: str, output: Path, shard_rows: int, as_json: bool) -> None:
    """Score every row of INPUT, a Parquet or CSV file or a folder of images, larger than memory if need be.

    The output holds score, flag and, where the model tells them, the columns that make a row strange, with the model's
    name and version. A run that was killed goes on where it stopped.
    """
    from flows import console_operations as console

    source, output = source.absolute(), output.absolute()
    found = console.run_score(open_workspace(), source, model, output, shard_rows)
    if as_json:
        print_json(asdict(found))
    else:
        console.print_scored(found)


@cli.command(
    epilog=example(
        "regen monitor",
        "regen monitor configs/parts.yaml --no-retrain",
        "regen monitor new-photos/",
        "regen monitor configs/parts.yaml new-photos/ --retrain",
    )
)
@config_option
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option(
    "--retrain/--no-retrain", "start_retraining", default=None,
    help="Whether drift starts a retraining.  [default: it does for rows taken in, and not for those at PATH]",
)  # fmt: skip
@overrides
@as_json
def monitor(
    config: Path, path: Path | None, start_retraining: bool | None, settings: tuple[str, ...], as_json: bool
) -> None:
    """Say whether the data has drifted from what the champion was trained on, and retrain where it has.

    Looked at are the rows taken in since then or, if named, those at PATH, which --retrain takes in first; a CONFIG that
    does not end in .yaml is taken for the PATH. With a
    Prefect server the event data.drift.detected is sent, on which its automation retrains; without one it is done here.
    """
    from flows import console_operations as console

    if path is None and config.suffix not in (".yaml", ".yml"):
        config, path = Path("params.yaml"), config
    path = None if path is None else path.absolute()
    found = console.run_monitor(open_project(config, settings), path, start_retraining)
    if as_json:
        print_json(found.to_json())
    else:
        console.print_watched(found)
