"""`regen align`: from votes to a tuned model that has shown its gain."""

from pathlib import Path

import click

from flows.cli_base import as_json, cli, config_option, example, open_project, overrides, print_json


@cli.command(
    epilog=example(
        "regen align",
        "regen align --model digits-gan@champion",
        "regen align --by-kind vae --json",
        "regen align --controls --set align.gan.reward_weight=0.3",
    )
)
@config_option
@click.option(
    "--model", "models", multiple=True, metavar="NAME@ALIAS",
    help="Which model is tuned: NAME, NAME@ALIAS or NAME/NUMBER; more than one if repeated.  [default: the champions whose "
    "samples enough people voted on]",
)  # fmt: skip
@click.option(
    "--by-kind", "kind", type=click.Choice(["gan", "vae"]), help="Of the champions, only the one of this kind."
)
@click.option(
    "--controls", is_flag=True, help="Also measure tunings without votes that mean anything: λ = 0, and shuffled votes."
)
@overrides
@as_json
def align(
    config: Path, models: tuple[str, ...], kind: str | None, controls: bool, settings: tuple[str, ...], as_json: bool
) -> None:
    """Tune models toward the votes on their samples, prove the gain, register the result and judge it.

    A reward is learned from the votes; the model is tuned toward it, watched by a judge learned from other votes and by the
    Fréchet distance. The same votes are never learned from twice.
    """
    from flows import console_align

    found = console_align.run_align(open_project(config, settings), models, kind, controls=controls)
    if as_json:
        print_json([summary.to_json() for summary in found])
    else:
        console_align.print_alignments(found)
