"""Commands about the machine: is it sound, and its servers."""

from pathlib import Path

import click

from flows.cli_base import as_json, cli, config_option, example, open_project, open_workspace


@cli.command(epilog=example("regen doctor", "regen doctor --fix"))
@click.option("--fix", is_flag=True, help="Mend what can be mended, such as MLflow's paths after the folder was moved.")
@config_option
@as_json
def doctor(config: Path, fix: bool, as_json: bool) -> None:
    """Say whether this machine, this repository and this store are sound; exit code 1 when not."""
    from flows import console

    console.run_doctor(open_project(config), fix=fix, as_json=as_json)


@cli.command(epilog=example("regen up", "regen up --prefect-port 4300 --mlflow-port 5100"))
@click.option("--prefect-port", default=4200, show_default=True, type=click.IntRange(1, 65535))
@click.option("--mlflow-port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def up(prefect_port: int, mlflow_port: int) -> None:
    """Start the Prefect server and the MLflow UI on loopback; Ctrl-C ends both."""
    from flows.up import serve

    serve(open_workspace(), prefect_port, mlflow_port)
