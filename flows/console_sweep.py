"""What `regen sweep` prints: progress while it works, then a table of the trials and the best one by name."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table

from flows.console import keep_prefect_quiet, showing_progress
from regen.core.errors import ConfigError
from regen.core.workspace import require_room
from regen.data import versions
from regen.stages import progress
from regen.stages.base import Context
from regen.stages.sweep import Kind, Plan, Sweep, Trial


def plan(
    context: Context, over: Sequence[str], model: Kind | None, metric: str | None, at_once: int, trials: int | None
) -> Plan:
    """The plan that the options ask for; a metric that there is none of is named with its nearest."""
    from difflib import get_close_matches

    from regen.evaluation.gate import HIGHER_IS_BETTER

    if metric is not None and metric not in HIGHER_IS_BETTER:
        near = get_close_matches(metric, list(HIGHER_IS_BETTER), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(HIGHER_IS_BETTER)}"
        raise ConfigError(f"--metric {metric}: there is no such figure; {hint}")
    return Plan.of(context.config, over, model, metric, at_once, trials)


def run_sweep(context: Context, plan: Plan, ray: str | None) -> Sweep:
    """Runs the sweep's flow against the server of `regen up` if there is one, else an ephemeral one."""
    from flows.up import use_running_server

    versions.pull(context.workspace, context.config.project, context.config.data, progress.current().say)
    require_room(context.workspace)
    use_running_server(context.workspace)
    from flows.sweep import runner, sweep

    keep_prefect_quiet()
    with showing_progress():
        found: Sweep = sweep.with_options(task_runner=runner(context.workspace, plan, ray))(context.config, plan)
        return found


def print_sweep(found: Sweep, config: Path, settings: Sequence[str]) -> None:
    """A row a trial, best first, and how to make a candidate of the best."""
    from regen.evaluation.report import LABELS

    console = Console(highlight=False)
    label = LABELS.get(found.plan.metric, found.plan.metric)
    keys = list(found.plan.axes)
    table = Table(Column("trial", justify="right"), *keys, f"{found.plan.kind}: {label}", "")
    for trial in found.ranked:
        table.add_row(
            str(trial.number),
            *(
                f"{trial.settings[key]:.4g}" if isinstance(trial.settings[key], float) else str(trial.settings[key])
                for key in keys
            ),
            _figure(trial),
            _state(trial),
        )
    console.print(table)
    best = found.best
    chosen = [f"{key}={value}" for key, value in best.settings.items()]
    click.echo(f"Best: trial {best.number}, {', '.join(chosen)}: {label} {_figure(best)}")
    click.echo(
        "It was picked on the test rows, so its figure flatters it; the gate measures a candidate beside the champion."
    )
    words = ["regen", "run", *([str(config)] if str(config) != "params.yaml" else [])]
    words += [word for one in (*settings, *chosen) for word in ("--set", one)]
    click.echo(f"Make it a candidate: {shlex.join(words)}")
    click.echo(f"MLflow run {found.run}, its trials nested in it")


def _figure(trial: Trial) -> str:
    if trial.figure is None:
        return "–"
    value, low, high = trial.figure
    return f"{value:.4g} [{low:.4g}, {high:.4g}]"


def _state(trial: Trial) -> str:
    if trial.figure is None:
        return f"[red]failed[/]: {trial.error}"
    return "[dim]done before[/]" if trial.reused else ""
