"""The command that sweeps over seeds and settings."""

import os
from pathlib import Path
from typing import Literal

import click

from flows.cli_base import as_json, cli, config_option, example, open_project, overrides, print_json


@cli.command(
    epilog=example(
        "regen sweep --over seed=0,1,2,3 --model gan",
        "regen sweep --over gan.loss=r3,hinge --over seed=0,1,2 --set gan.images=32000",
        "regen sweep --over vae.learning_rate=log:0.0001..0.01 --over vae.latent_dim=8..32 --search --trials 20",
        "regen sweep --over seed=0,1,2,3 --model vae --metric anomaly_ap --ray",
    )
)
@config_option
@click.option(
    "--over", multiple=True, required=True, metavar="KEY=VALUES",
    help="A key and what to try: KEY=A,B,C, and in a search also KEY=LOW..HIGH or KEY=log:LOW..HIGH.",
)  # fmt: skip
@click.option("--model", type=click.Choice(["gan", "vae"]), help="Whose figure decides, when the keys do not tell.")
@click.option("--metric", help="The figure that decides; that model's gate primary when absent.")
@click.option("--search", is_flag=True, help="Let Optuna choose (TPE, seeded) instead of trying every combination.")
@click.option("--trials", type=click.IntRange(min=1), help="How many trials a search makes.")
@click.option("--at-once", type=click.IntRange(min=1), help="Trials at the same time; as many as cores when absent.")
@click.option(
    "--ray", is_flag=False, flag_value="local", metavar="[ADDRESS]",
    help="Run the trials on the Ray cluster at ADDRESS, such as auto or ray://host:10001; without one, on a local one.",
)  # fmt: skip
@overrides
@as_json
def sweep(
    config: Path, over: tuple[str, ...], model: Literal["gan", "vae"] | None, metric: str | None, search: bool,
    trials: int | None, at_once: int | None, ray: str | None, settings: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Train and measure a candidate for each setting, and name the best; nothing is registered or promoted.

    Trials are nested MLflow runs under one of the sweep. One that is interrupted goes on where it was: what has finished
    is found by its key, with whatever else it shares with earlier runs.
    """
    from flows import console_sweep

    if search != (trials is not None):
        raise click.UsageError(
            "--search and --trials go together: a search makes so many trials, a grid makes them all"
        )
    context = open_project(config, settings)
    plan = console_sweep.plan(context, over, model, metric, at_once or os.cpu_count() or 1, trials)
    found = console_sweep.run_sweep(context, plan, ray)
    if as_json:
        print_json(found.to_json())
    else:
        console_sweep.print_sweep(found, config, settings)
