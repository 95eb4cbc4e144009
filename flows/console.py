"""What the command prints: progress while it works, then tables for people or JSON for machines."""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import psutil
from rich.console import Console
from rich.table import Column, Table

from regen.core.workspace import Workspace, require_room
from regen.data import versions
from regen.stages import progress
from regen.stages.base import Context, Outcome, jsonable

if TYPE_CHECKING:  # they load torch and scikit-learn, which other commands do without
    from regen.stages.reevaluate import Reevaluation
    from regen.stages.summary import Summary

SHORT = {
    "anomaly_auc": "AUC", "anomaly_ap": "AP", "frechet_distance": "FD", "column_shapes": "shapes", "utility_auc": "utility",
    "accuracy": "accuracy",
}  # fmt: skip
"""How a narrow column calls a figure."""
WORDS = {"better": "green", "worse": "red", "no difference": "dim"}
STYLES = {"PROMOTE": "green", "HOLD": "yellow", "REJECT": "red"}


@contextmanager
def showing_progress() -> Iterator[None]:
    """Bars in a terminal, lines elsewhere, until the work is done."""
    if not sys.stderr.isatty():
        progress.use(progress.Lines())
        yield
        return
    with progress.Bars() as bars:
        progress.use(bars)
        try:
            yield
        finally:
            progress.use(progress.Lines())


def run_retrain(context: Context) -> "Summary":
    """Runs the retrain flow against the server of `regen up` if there is one, else an ephemeral one.

    Work that was done before is found here already, since to ask costs less than to start a flow.
    """
    from flows.up import use_running_server
    from regen.stages.summary import find_finished

    versions.pull(context.workspace, context.config.project, context.config.data, progress.current().say)
    if (earlier := find_finished(context)) is not None:
        return earlier
    require_room(context.workspace)
    progress.current().say(
        f"regen: project {context.config.project}; the first flow on a machine takes some seconds to start"
    )
    use_running_server(context.workspace)
    from flows.retrain import retrain

    return cast("Summary", run_flow(context, lambda: retrain(context.config)))  # a state is unwrapped by Prefect


T = TypeVar("T")


def run_flow(context: Context, call: Callable[[], T]) -> T:
    """Calls a flow with its progress shown; Ctrl-C and SIGTERM end every process of it at once."""
    keep_prefect_quiet()
    with showing_progress():
        try:
            return call()
        except RuntimeError:  # Prefect's own server could not start, or a part of torch failed
            require_room(context.workspace)
            raise


def keep_prefect_quiet() -> None:
    """Leaves the last word of a flow to the command: no log but with --debug, and a signal ends all at once."""
    if not logging.getLogger("prefect").isEnabledFor(logging.DEBUG):
        for name in ("prefect", "prefect.flow_runs", "prefect.task_runs", "prefect.flow_engine", "prefect.task_engine"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_at_once)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """Ends every process of this run, then this one: Prefect would first wait for its tasks, and so for the trainings."""
    cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # the bars hide it
    told = "error: stopped; what was finished is kept, and the next run goes on from the last checkpoint"
    print(cursor + told, file=sys.stderr, flush=True)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())  # Prefect's threads would complain of the server that goes away
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    for child in psutil.wait_procs(children, timeout=10)[1]:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(128 + number)


def run_stage(context: Context, name: str) -> Outcome:
    """Runs one stage in this process."""
    from regen.stages.catalogue import STAGES

    with showing_progress():
        return STAGES[name](context)


def print_summary(summary: "Summary") -> None:
    """A table a model, its verdict with the reasons, and where to look further."""
    console = Console(highlight=False)
    if summary.reused:
        console.print(f"Nothing to do: {summary.same_as_before}. What that run came to:\n")
    for model in summary.models:
        against = f"champion (version {model.champion})" if model.champion else "champion (none before)"
        table = Table(
            "figure",
            Column("candidate", no_wrap=True),
            Column(against, no_wrap=True),
            title=f"{model.model}, version {model.version}",
            title_justify="left",
        )
        for label, (mine, theirs) in model.figures.items():
            table.add_row(label, mine, theirs or "–")
        console.print(table)
        style = STYLES[model.decision]
        console.print(f"[{style}]{model.decision}[/]: {model.standing}", soft_wrap=True)
        for reason in (*model.reasons, *([model.way_on] if model.waits else [])):
            console.print(f"  · {reason}", markup=False, soft_wrap=True)
        console.print()
    console.print(summary.note, markup=False, soft_wrap=True)
    console.print(f"Report: {summary.report}", soft_wrap=True)
    first = summary.models[0].model
    console.print(f"Look further: regen up (Prefect and MLflow), regen models, regen sample {first}", soft_wrap=True)


def run_evaluate(
    workspace: Workspace,
    model: str,
    against: str | None,
    n: int | None,
    config: Path | None,
    out: Path | None,
    *,
    record: bool,
) -> "Reevaluation":
    """Scores registered models anew."""
    from regen.stages.reevaluate import reevaluate

    with showing_progress():
        return reevaluate(workspace, model, against, n, config, out, record=record)


def print_evaluation(found: "Reevaluation") -> None:
    """A row a figure: the model's and, with another beside it, the other's, their difference, and a word."""
    from regen.evaluation.report import LABELS

    console = Console(highlight=False)
    beside = (found.against, "difference", "") if found.against else ()
    table = Table("figure", found.model, *beside)
    for line in found.lines:
        row = [LABELS.get(line.metric, line.metric), str(line.mine)]
        if found.against:
            row += [str(line.theirs), str(line.difference), f"[{WORDS[line.word]}]{line.word}[/]"]
        table.add_row(*row)
    console.print(table)
    judged = found.judged_by
    console.print(
        f"Measured on {judged['n']} test rows ({str(judged['rows'])[:8]}), {found.confidence:.0%} intervals"
        + (
            f"; Fréchet distances are FD[{judged['extractor']}@{str(judged['sha256'])[:8]}, n={judged['n']}]"
            if judged["extractor"]
            else ""
        ),
        markup=False, soft_wrap=True,
    )  # fmt: skip
    if found.against:
        console.print(f"The difference is {found.model} minus {found.against}, paired row by row", soft_wrap=True)
    if found.run:
        console.print(f"Recorded in MLflow run {found.run}", soft_wrap=True)


def list_models(workspace: Workspace, model: str | None, *, as_json: bool) -> None:
    """Registered versions, newest first."""
    from regen.stages.decide import describe_models

    found = describe_models(workspace, model)
    if as_json:
        print(json.dumps(found, indent=2, sort_keys=True))
        return
    console = Console(highlight=False)
    if not found["versions"]:
        console.print("No model is registered yet; 'regen run' trains and registers the first ones.")
        return
    table = Table(
        Column("model", overflow="fold"), "version", "alias", "verdict", "figures", Column("made", no_wrap=True)
    )
    for version in found["versions"]:
        figures = "\n".join(f"{SHORT[name]} {_short(value)}" for name, value in version["figures"].items())
        made = datetime.fromtimestamp(version["created"] / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        style = STYLES.get(version["verdict"], "dim")
        table.add_row(
            version["model"], str(version["version"]), ", ".join(version["aliases"]),
            f"[{style}]{version['verdict'] or 'not judged'}[/]{approval_of(version)}", figures, made,
        )  # fmt: skip
    console.print(table)
    for version in found["versions"]:
        if said := _remark(version):
            console.print(f"{version['model']} {version['version']}: {said}", markup=False, soft_wrap=True)


def _short(value: float) -> str:
    """Three digits, and no exponent where a figure is large."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _remark(version: dict[str, Any]) -> str:
    """What to know of a listed version beside its row."""
    approval = version["approval"] or {"state": ""}
    if approval["state"] == "pending":
        until = datetime.fromtimestamp(approval["until"] / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"waits for approval until {until}; regen promote {version['model']} {version['version']} --by NAME"
    if approval["state"] == "expired" and approval["why"]:
        return f"its approval has expired: {approval['why']}"
    return "; ".join(version["reasons"]) if version["verdict"] == "REJECT" else ""


def run_deploy(context: Context, config: Path, *, as_json: bool) -> None:
    """Applies prefect.yaml and prints a line for each thing on the server."""
    from flows.up import use_running_server

    use_running_server(context.workspace)  # before Prefect reads where its server is
    from flows.deploy import deploy

    steps = deploy(context.workspace, context.config, config)
    if as_json:
        print(json.dumps({"server": os.environ["PREFECT_API_URL"], "steps": jsonable(steps)}, indent=2))
        return
    console = Console(highlight=False)
    table = Table("what", "name", "done", "detail")
    for step in steps:
        table.add_row(
            step.kind, step.name, f"[{'dim' if step.done == 'unchanged' else 'green'}]{step.done}[/]", step.detail
        )
    console.print(table)
    console.print(f"Server: {os.environ['PREFECT_API_URL']}", soft_wrap=True)


def approval_of(version: dict[str, Any]) -> str:
    """Where a listed version stands with people, to be said after the gate's word."""
    found = version["approval"]
    return "" if found is None or found["state"] == "approved" else f", {found['state']}"


def run_doctor(context: Context, *, fix: bool, as_json: bool) -> None:
    """Prints each check; exits with 1 when one fails."""
    from regen.stages.doctor import examine

    checks = examine(context, fix=fix)
    failed = [check for check in checks if not check.ok]
    if as_json:
        rows: list[dict[str, Any]] = [
            {"check": c.name, "ok": c.ok, "found": c.found, "way_out": c.way_out} for c in checks
        ]
        print(json.dumps({"ok": not failed, "checks": rows}, indent=2))
    else:
        console = Console(highlight=False)
        for check in checks:
            mark = "[green]ok[/]  " if check.ok else "[red]no[/]  "
            console.print(f"{mark}{check.name}: ", end="")
            console.print(check.found + ("" if check.ok else f"; {check.way_out}"), markup=False, soft_wrap=True)
    if failed:
        sys.exit(1)
