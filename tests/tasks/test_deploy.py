"""prefect.yaml names flows that are there and says what the project file's defaults say; a project gets its own."""

from pathlib import Path

import pytest
import yaml

from regen.core.config import Config, parse
from regen.core.errors import ConfigError, RegenError
from regen.core.sections.deployment import ScheduleConfig
from regen.core.workspace import Workspace
from tests.conftest import REPOSITORY

ENTRIES = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]


def entry(name):
    """An entry of prefect.yaml by its flow's name."""
    from flows.deploy import read

    wanted, _ = read(REPOSITORY / "prefect.yaml")
    return next(one for one in wanted if one.entrypoint.endswith(f".{name}"))


def test_every_flow_has_its_deployment():
    assert [one["entrypoint"].rpartition(".")[2] for one in ENTRIES] == [
        "retrain", "train", "promote", "decide", "monitor", "ingest", "score", "review", "align",
    ]  # fmt: skip


@pytest.mark.parametrize("name", [one["entrypoint"] for one in ENTRIES])
def test_every_entrypoint_is_a_flow_that_takes_what_it_is_given(name):
    from prefect import Flow
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    flow = load_flow_from_entrypoint(name)

    assert isinstance(flow, Flow)
    assert flow.name == name.rpartition(".")[2]
    given = next(one for one in ENTRIES if one["entrypoint"] == name).get("parameters", {})
    assert given.keys() <= parameter_schema(flow).properties.keys()


def test_the_file_and_the_defaults_of_a_project_agree():
    from flows.deploy import for_project, read

    wanted, _ = read(REPOSITORY / "prefect.yaml")

    assert [for_project(one, Config(project="digits"), "params.yaml") for one in wanted] == wanted


def test_plain_prefect_reads_the_file_too():
    from prefect.cli.deploy._models import PrefectYamlModel

    found = PrefectYamlModel.model_validate(yaml.safe_load((REPOSITORY / "prefect.yaml").read_text()))

    assert [one.entrypoint for one in found.deployments] == [one["entrypoint"] for one in ENTRIES]


def test_retraining_has_its_time_and_runs_once_at_a_time():
    retrain = entry("retrain")

    assert [(one.cron, one.timezone) for one in retrain.schedules] == [("0 3 * * *", "UTC")]
    assert (retrain.limit, retrain.collision) == (1, "CANCEL_NEW")


def test_a_project_gets_its_name_its_file_its_times_and_its_pool():
    from flows.deploy import for_project

    config = parse({
        "project": "parts", "training": {"pool": "a100", "device": "cuda"},
        "schedule": {"cron": "15 4 * * 1", "timezone": "Europe/Vienna", "active": False, "monitor_cron": None},
    })  # fmt: skip

    retrain, train, monitor, promote = (
        for_project(entry(name), config, "configs/parts.yaml") for name in ("retrain", "train", "monitor", "promote")
    )

    assert (retrain.name, retrain.parameters, retrain.pool) == ("parts", {"config": "configs/parts.yaml"}, "cpu")
    assert [(one.cron, one.timezone) for one in retrain.schedules] == [("15 4 * * 1", "Europe/Vienna")]
    assert retrain.active is False
    assert (train.pool, promote.pool) == ("a100", "cpu")
    assert monitor.schedules == ()


@pytest.mark.parametrize("cron", ["61 3 * * *", "0 25 * * *", "a b c d e", "0 3 * * 9"])
def test_a_cron_expression_that_is_none_is_refused_before_any_server_is_asked(cron, project, monkeypatch):
    from flows.deploy import deploy

    monkeypatch.setattr("flows.deploy.require_server", lambda workspace: pytest.fail("a server was asked"))
    config = parse({"project": "digits", "schedule": {"cron": cron}})

    with pytest.raises(ConfigError, match=rf"schedule\.cron is '{cron}' in UTC, wanted a cron".replace("*", r"\*")):
        deploy(Workspace(project), config, Path("params.yaml"))


def test_what_is_no_cron_expression_or_time_zone_is_refused_as_the_file_is_read():
    with pytest.raises(ConfigError, match=r"schedule\.cron: wanted five fields: minute, hour, .*got '@daily'"):
        parse({"project": "digits", "schedule": {"cron": "@daily"}})
    with pytest.raises(ConfigError, match=r"schedule\.timezone: wanted a time zone's IANA name.*got 'Vienna'"):
        parse({"project": "digits", "schedule": {"timezone": "Vienna"}})


def test_daylight_saving_is_followed():
    from prefect.server.schemas.schedules import CronSchedule

    from flows.deploy import schedules_of

    (retrain,) = schedules_of(ScheduleConfig(timezone="Europe/Vienna"))["flows.retrain.retrain"]

    assert CronSchedule(**retrain.model_dump()).timezone == "Europe/Vienna"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "there is no .*prefect.yaml; copy the one that Regen comes with"),
        ("deployments: 3", "is no file of deployments: TypeError"),
        ("deployments: [{name: a}]", "is no file of deployments: KeyError 'entrypoint'"),
        ("[", "is no file of deployments: ParserError"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, why):
    from flows.deploy import read

    if text is not None:
        (tmp_path / "prefect.yaml").write_text(text)

    with pytest.raises(ConfigError, match=why):
        read(tmp_path / "prefect.yaml")


def test_without_a_server_the_way_out_is_said(tmp_path, monkeypatch):
    from flows.deploy import require_server

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(RegenError, match="no Prefect server runs here; start one by 'regen up'"):
        require_server(Workspace(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(RegenError, match=r"the Prefect server http://127\.0\.0\.1:1/api does not answer"):
        require_server(Workspace(tmp_path))


@pytest.mark.parametrize("name", [one["entrypoint"] for one in ENTRIES])
def test_every_parameter_is_described_in_the_form(name):
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(load_flow_from_entrypoint(name)).model_dump_for_openapi()

    assert [key for key, value in schema["properties"].items() if not value.get("description")] == []


def test_the_form_of_retraining_describes_every_key_of_the_project_file():
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(load_flow_from_entrypoint("flows.retrain.retrain")).model_dump_for_openapi()
    sections = schema["definitions"]

    assert schema["properties"]["config"]["anyOf"] == [{"type": "string"}, {"$ref": "#/definitions/Config"}]
    bare = [
        f"{section}.{key}"
        for section, model in sections.items()
        for key, value in model["properties"].items()
        if not value.get("description") and not {"$ref", "allOf"} & value.keys()
    ]
    assert bare == []
    assert sections["ScheduleConfig"]["properties"]["cron"]["description"].startswith("When retraining starts")


def test_drift_starts_the_retraining_of_its_own_project():
    from uuid import uuid4

    from flows import automations

    retrain = uuid4()

    found = automations.on_drift("digits", retrain).model_dump(mode="json")

    assert found["trigger"]["expect"] == ["data.drift.detected"]
    assert found["trigger"]["match"] == {"prefect.resource.id": "regen.project.digits"}
    assert found["trigger"]["within"] == automations.DRIFT_PAUSE.total_seconds()
    assert [(action["type"], action["deployment_id"]) for action in found["actions"]] == [
        ("run-deployment", str(retrain))
    ]


def test_a_pool_needs_a_device_by_its_name():
    with pytest.raises(
        ConfigError, match="pool needs device to be the one that its workers have, such as cuda, not auto"
    ):
        parse({"project": "digits", "training": {"pool": "gpu"}})
