"""Commands about the machine: is it sound, and its servers."""

from pathlib import Path

import click

from flows.cli_base import as_json, cli, config_option, example, open_project, project_file


@cli.command(epilog=example("regen doctor", "regen doctor --fix"))
@click.option("--fix", is_flag=True, help="Mend what can be mended, such as MLflow's paths after the folder was moved.")
@config_option
@as_json
def doctor(config: Path, fix: bool, as_json: bool) -> None:
    """Say whether this machine, this repository and this store are sound; exit code 1 when not."""
    from flows import console

    console.run_doctor(open_project(config), fix=fix, as_json=as_json)


PORT = click.IntRange(1, 65535)


@cli.command(epilog=example("regen up", "regen up --prefect-port 4300 --mlflow-port 5100", "regen up --no-review"))
@config_option
@click.option("--prefect-port", default=4200, show_default=True, type=PORT)
@click.option("--mlflow-port", default=5000, show_default=True, type=PORT)
@click.option("--review-port", default=8321, show_default=True, type=PORT)
@click.option("--workers/--no-workers", default=True, help="Whether a worker serves each of the pools cpu and gpu.")
@click.option("--review/--no-review", default=True, help="Whether people can judge the project's samples.")
def up(config: Path, prefect_port: int, mlflow_port: int, review_port: int, workers: bool, review: bool) -> None:
    """Start the Prefect server, its workers, the MLflow UI and the review page on loopback; Ctrl-C ends all.

    What dies is started again, after 1, 2, 4 and more seconds, at most five times in ten minutes.
    """
    from flows.up import Ports, serve

    config = project_file(config)  # its project is opened from the root, and so is the review page's process
    context = open_project(config)
    ports, model = Ports(prefect_port, mlflow_port, review_port), context.config.model_name("gan")
    serve(context.workspace, ports, config, model, workers=workers, review=review)


@cli.command(epilog=example("regen deploy", "regen deploy configs/fashion_mnist.yaml", "regen deploy --json"))
@config_option
@as_json
def deploy(config: Path, as_json: bool) -> None:
    """Apply prefect.yaml for a project to the server of 'regen up' or PREFECT_API_URL; a second time changes nothing.

    It makes the work pools, the deployments with the project file's schedule, and what starts a retraining on drift.
    """
    from flows import console

    config = project_file(config)
    console.run_deploy(open_project(config), config, as_json=as_json)
