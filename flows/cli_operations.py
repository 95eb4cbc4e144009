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
