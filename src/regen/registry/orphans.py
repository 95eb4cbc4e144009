"""Runs that MLflow takes for running though their process is gone: killed trainings, mostly."""

import socket
from dataclasses import dataclass

import psutil

from regen.registry.tracking import PROCESS, speaking_plainly


@dataclass(frozen=True)
class Running:
    """The runs that are marked as running."""

    alive: int
    """Whose process runs on this machine."""
    elsewhere: int
    """Whose process is another machine's, which can't be asked."""
    orphans: tuple[str, ...]
    """Ids of those whose process is gone."""


def running() -> Running:
    """Every run that is marked as running, told apart by whether its process still runs."""
    import mlflow

    client = mlflow.MlflowClient()
    with speaking_plainly("looking for running runs"):
        owners = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(owners, "attributes.status = 'RUNNING'", max_results=5000) if owners else []
    named = {run.info.run_id: run.data.tags.get(PROCESS) for run in found}
    states = {run: _state(process) for run, process in named.items() if process}
    kinds = list(states.values())
    return Running(
        kinds.count("alive"), kinds.count("elsewhere"), tuple(run for run, state in states.items() if state == "gone")
    )


def end(orphans: tuple[str, ...]) -> None:
    """Marks runs as killed; a rerun goes on in them."""
    import mlflow

    with speaking_plainly("ending orphaned runs"):
        for run in orphans:
            mlflow.MlflowClient().set_terminated(run, status="KILLED")


def _state(process: str) -> str:
    host, number, start = process.rsplit(" ", 2)
    if host != socket.gethostname():
        return "elsewhere"
    try:
        same = abs(psutil.Process(int(number)).create_time() - float(start)) < 2  # seconds; the clock may be adjusted
    except psutil.NoSuchProcess:
        return "gone"
    return "alive" if same else "gone"
