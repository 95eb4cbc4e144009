"""Applies prefect.yaml to a Prefect server: pools, limits, deployments with their schedules, and automations.

Everything is compared with what the server holds before it is written, so a second time changes nothing.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker
from pydantic import ValidationError

from flows import automations
from flows.up import answers, use_running_server
from regen.core.config import Config
from regen.core.errors import ConfigError, RegenError
from regen.core.sections.deployment import ScheduleConfig
from regen.core.workspace import Workspace

FILE = "prefect.yaml"
WORKSPACE_VARIABLE = "REGEN_WORKSPACE"
RETRAIN, MONITOR, TRAIN = "flows.retrain.retrain", "flows.monitor.monitor", "flows.train.train"


@dataclass(frozen=True)
class Wanted:
    """One deployment as the file and the project want it."""

    entrypoint: str
    name: str
    pool: str
    parameters: dict[str, Any]
    schedules: tuple[CronSchedule, ...]
    active: bool
    limit: int | None
    collision: str | None


@dataclass(frozen=True)
class Step:
    """What was done about one thing on the server."""

    kind: str
    """pool, limit, deployment or automation."""
    name: str
    done: str
    """made, changed or unchanged."""
    detail: str = ""


def require_server(workspace: Workspace) -> str:
    """The address of the Prefect server that is deployed to.

    Raises:
        RegenError: none is named and none of `regen up` runs, or it does not answer.
    """
    use_running_server(workspace)
    address = os.environ.get("PREFECT_API_URL")
    if not address:
        raise RegenError("no Prefect server runs here; start one by 'regen up', or name one by PREFECT_API_URL")
    if not answers(f"{address}/health"):
        raise RegenError(f"the Prefect server {address} does not answer; start it, or set PREFECT_API_URL to another")
    return address


def cron(expression: str, timezone: str, key: str) -> CronSchedule:
    """A schedule as Prefect keeps it.

    Raises:
        ConfigError: the expression or the time zone is none.
    """
    try:
        return CronSchedule(cron=expression, timezone=timezone)
    except (ValidationError, ValueError):
        raise ConfigError(
            f"{key} is {expression!r} in {timezone}, wanted a cron expression such as '0 3 * * *' (daily at three)"
        ) from None


def schedules_of(schedule: ScheduleConfig) -> dict[str, tuple[CronSchedule, ...]]:
    """Entrypoint to schedules, for the flows whose times stand in the project file.

    Raises:
        ConfigError: an expression is none.
    """
    monitor = schedule.monitor_cron
    return {
        RETRAIN: (cron(schedule.cron, schedule.timezone, "schedule.cron"),),
        MONITOR: () if monitor is None else (cron(monitor, schedule.timezone, "schedule.monitor_cron"),),
    }


def read(path: Path) -> tuple[list[Wanted], list[dict[str, Any]]]:
    """The deployments and the pull steps of a prefect.yaml.

    Raises:
        ConfigError: it is missing, or is not such a file.
    """
    try:
        raw = yaml.safe_load(path.read_text())
        return [_wanted(entry) for entry in raw["deployments"]], list(raw.get("pull") or [])
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}; copy the one that Regen comes with") from None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path} is no file of deployments: {type(error).__name__} {error}") from None


def _wanted(entry: dict[str, Any]) -> Wanted:
    limit = entry.get("concurrency_limit") or {}
    schedules = entry.get("schedules") or []
    return Wanted(
        entry["entrypoint"], entry["name"], entry["work_pool"]["name"], entry.get("parameters") or {},
        tuple(cron(s["cron"], s["timezone"], entry["entrypoint"]) for s in schedules),
        all(s["active"] for s in schedules), limit.get("limit"), limit.get("collision_strategy"),
    )  # fmt: skip


def for_project(wanted: Wanted, config: Config, path: str) -> Wanted:
    """The deployment for a project: named after it, with its file, its schedules and its training pool."""
    times = schedules_of(config.schedule)
    return replace(
        wanted,
        name=config.project,
        parameters=wanted.parameters | ({"config": path} if "config" in wanted.parameters else {}),
        schedules=times.get(wanted.entrypoint, wanted.schedules),
        active=config.schedule.active if wanted.entrypoint in times else wanted.active,
        pool=(config.training.pool or wanted.pool) if wanted.entrypoint == TRAIN else wanted.pool,
    )


def deploy(workspace: Workspace, config: Config, path: Path) -> list[Step]:
    """Applies prefect.yaml for a project; says what was made, changed, and found as it should be.

    Args:
        path: the project's file, which the workers read anew at each run.

    Raises:
        ConfigError: the schedule or the file cannot be used.
        RegenError: no server answers.
    """
    schedules_of(config.schedule)
    entries, pull = read(workspace.root / FILE)
    where = os.environ.get(WORKSPACE_VARIABLE, str(workspace.root))
    pull = [{step: _filled(inputs, where) for step, inputs in entry.items()} for entry in pull]
    file = path.resolve()
    shown = str(file.relative_to(workspace.root) if file.is_relative_to(workspace.root) else file)
    wanted = [for_project(entry, config, shown) for entry in entries]
    require_server(workspace)
    with get_client(sync_client=True) as client:
        return list(_apply(client, config, wanted, pull))


def _filled(inputs: dict[str, Any], where: str) -> dict[str, Any]:
    variable = "{{ $" + WORKSPACE_VARIABLE + " }}"
    return {key: where if value == variable else value for key, value in inputs.items()}


def _apply(
    client: SyncPrefectClient, config: Config, wanted: list[Wanted], pull: list[dict[str, Any]]
) -> Iterator[Step]:
    for pool in sorted({entry.pool for entry in wanted}):
        yield _pool(client, pool)
    for pool in sorted({entry.pool for entry in wanted if entry.entrypoint == TRAIN}):
        yield _limit(client, pool)
    for entry in wanted:
        yield _deployment(client, entry, pull)
    retrain = client.read_deployment_by_name(f"retrain/{config.project}").id
    for automation in (automations.on_drift(config.project, retrain), automations.on_silence()):
        yield Step("automation", automation.name, automations.apply(client, automation))


def _pool(client: SyncPrefectClient, name: str) -> Step:
    try:
        return Step("pool", name, "unchanged", client.read_work_pool(name).type)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template))
        return Step("pool", name, "made", ProcessWorker.type)


def _limit(client: SyncPrefectClient, name: str) -> Step:
    try:
        limit = client.read_global_concurrency_limit_by_name(name).limit
        return Step("limit", name, "unchanged", f"trainings at a time: {limit}")
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
        return Step("limit", name, "made", "trainings at a time: 1")


def _deployment(client: SyncPrefectClient, wanted: Wanted, pull: list[dict[str, Any]]) -> Step:
    try:
        flow: Flow[..., Any] = load_flow_from_entrypoint(wanted.entrypoint)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{FILE}: there is no flow {wanted.entrypoint} ({error})") from None
    schema = parameter_schema(flow)
    if unknown := wanted.parameters.keys() - schema.properties.keys():
        known = ", ".join(schema.properties)
        raise ConfigError(f"{FILE}: {wanted.entrypoint} takes no {', '.join(sorted(unknown))}; it takes {known}")
    options = (
        None
        if wanted.collision is None
        else ConcurrencyOptions.model_validate({"collision_strategy": wanted.collision})
    )
    fields: dict[str, Any] = {
        "entrypoint": wanted.entrypoint, "work_pool_name": wanted.pool, "parameters": wanted.parameters,
        "description": flow.description, "tags": ["regen", wanted.name], "pull_steps": pull,
        "parameter_openapi_schema": schema.model_dump_for_openapi(), "enforce_parameter_schema": True,
    }  # fmt: skip
    name, detail = f"{flow.name}/{wanted.name}", _times(wanted)
    found = _found(client, name)
    if found is not None and _is_same(found, wanted, fields):
        return Step("deployment", name, "unchanged", detail)
    client.create_deployment(
        client.create_flow_from_name(flow.name), wanted.name, concurrency_limit=wanted.limit, concurrency_options=options,
        schedules=[DeploymentScheduleCreate(schedule=schedule, active=wanted.active) for schedule in wanted.schedules],
        paused=False, **fields,
    )  # fmt: skip
    return Step("deployment", name, "made" if found is None else "changed", detail)


def _found(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _is_same(found: DeploymentResponse, wanted: Wanted, fields: dict[str, Any]) -> bool:
    """Whether the server holds the deployment as it is wanted, with these schedules and no others."""
    there = [(one.schedule, one.active) for one in found.schedules]
    limit, options = found.global_concurrency_limit, found.concurrency_options
    return (
        all(getattr(found, field) == value for field, value in fields.items())
        and there == [(schedule, wanted.active) for schedule in wanted.schedules]
        and (limit.limit if limit else None) == wanted.limit
        and (options.collision_strategy.value if options else None) == wanted.collision
        and not found.paused
    )


def _times(wanted: Wanted) -> str:
    if not wanted.schedules:
        return f"on {wanted.pool}"
    told = ", ".join(f"{one.cron} {one.timezone}" for one in wanted.schedules)
    return f"on {wanted.pool}, {told}" + ("" if wanted.active else " (paused)")
