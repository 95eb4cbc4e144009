"""The files in deploy/ fit together: what they name is there, their variables are those that something reads, their commands parse."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from flows.cli import cli
from tests.conftest import REPOSITORY
from tests.test_docs import commands

DEPLOY = REPOSITORY / "deploy"
OF_OTHERS = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",  # boto3's
    "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD",  # the images'
    "MLFLOW_BACKEND_STORE_URI", "DO_NOT_TRACK",  # an option of mlflow server, and a common wish
}  # fmt: skip
SERVERS = {"prefect": {"server", "worker"}, "mlflow": {"server"}}
"""Commands of others that our images run."""


def objects() -> list[dict[str, Any]]:
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [one for path in files if path.name != "kustomization.yaml" for one in yaml.safe_load_all(path.read_text())]


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for one in objects():
        if template := one.get("spec", {}).get("template"):
            yield one["metadata"]["name"], template["spec"]


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in objects() if one["kind"] == kind}


def variables() -> set[str]:
    """Every environment variable that a file sets."""
    found = {name for service in compose()["services"].values() for name in service.get("environment") or {}}
    found |= set(named("ConfigMap")["regen"]["data"]) | set(named("Secret")["regen"]["stringData"])
    return found | {entry["name"] for _, pod in pods() for c in pod["containers"] for entry in c.get("env", [])}


def ours() -> set[str]:
    text = "".join(path.read_text() for path in (REPOSITORY / "src").rglob("*.py"))
    return set(re.findall(r'"(REGEN_[A-Z]+)"', text))


def test_every_variable_is_one_that_something_reads():
    import mlflow.environment_variables as of_mlflow
    from prefect.settings import Settings
    from prefect.settings.legacy import _get_settings_fields

    known = OF_OTHERS | ours() | set(_get_settings_fields(Settings))
    known |= {name for name in vars(of_mlflow) if name.startswith("MLFLOW_")}

    assert variables() <= known


def test_a_worker_is_pointed_at_everything_that_is_shared():
    shared = {"PREFECT_API_URL", "MLFLOW_TRACKING_URI", "REGEN_STORE", "REGEN_VOTES", "AWS_ACCESS_KEY_ID"}
    settings = set(named("ConfigMap")["regen"]["data"])

    assert shared <= set(compose()["services"]["worker-cpu"]["environment"])
    for name, pod in pods():
        if name.startswith("worker"):
            assert shared <= settings | {entry["name"] for entry in pod["containers"][0]["env"]}


def test_what_a_pod_refers_to_is_there():
    secret, claims = set(named("Secret")["regen"]["stringData"]), set(named("PersistentVolumeClaim"))
    for name, pod in pods():
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        assert {volume["persistentVolumeClaim"]["claimName"] for volume in pod.get("volumes", [])} <= claims, name
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes, name
            keys = [entry["valueFrom"]["secretKeyRef"] for entry in container.get("env", []) if "valueFrom" in entry]
            assert {key["key"] for key in keys} <= secret, name
            assert all(source["configMapRef"]["name"] in named("ConfigMap") for source in container.get("envFrom", []))


def test_selectors_and_ports_match_the_pods():
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in objects()
        if one["kind"] == "Deployment"
    }
    for name, deployment in named("Deployment").items():
        assert deployment["spec"]["selector"]["matchLabels"] == labels[name]
    for name, service in named("Service").items():
        assert service["spec"]["selector"] == labels[name]
        ports = {port["name"] for port in dict(pods())[name]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_no_pod_gets_variables_from_the_names_of_services():
    assert all(pod["enableServiceLinks"] is False for _, pod in pods())


def test_the_kustomization_names_every_file_and_every_image():
    found = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())

    assert set(found["resources"]) == {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")} - {
        "kustomization.yaml"
    }
    assert {image["name"] for image in found["images"]} == {c["image"] for _, pod in pods() for c in pod["containers"]}


def test_what_a_service_of_compose_refers_to_is_there():
    found = compose()
    for name, service in found["services"].items():
        assert set(service.get("depends_on", [])) <= set(found["services"]), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in found["volumes"] or (DEPLOY / source).is_file(), name
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_every_variable_that_compose_asks_for_is_in_the_example():
    asked = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))

    assert asked == set(re.findall(r"^(?:# )?([A-Z_]+)=", (DEPLOY / "example.env").read_text(), flags=re.MULTILINE))


def lines() -> list[list[str]]:
    """Every command that a container runs."""
    found = [service["command"] for name, service in compose()["services"].items() if "build" in service]
    return found + [container["command"] for _, pod in pods() for container in pod["containers"]]


@pytest.mark.parametrize("words", lines(), ids=" ".join)
def test_every_command_is_one_that_there_is(words):
    program, *rest = words
    if program == "python":
        assert (REPOSITORY / rest[0]).is_file()
    elif program == "regen":
        known = dict(commands(cli))
        known[tuple(rest[:1])].make_context("regen", rest[1:])
    else:
        assert rest[0] in SERVERS[program]


def test_the_image_installs_what_is_pinned():
    text = (DEPLOY / "Dockerfile").read_text()

    assert re.findall(r"torch==([\d.]+)", text) == re.findall(
        r'"torch==([\d.]+)"', (REPOSITORY / "pyproject.toml").read_text()
    )
    assert "--no-deps -r requirements.txt" in text


def test_nothing_that_git_ignores_gets_into_an_image():
    ignored = {".gitignore": "", ".dvc/.gitignore": ".dvc/"}
    wanted = {
        folder + line.strip("/").removesuffix("/*")
        for file, folder in ignored.items()
        for line in (REPOSITORY / file).read_text().splitlines()
        if not line.startswith(("#", "!"))
    }

    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()

    assert wanted <= {line.removeprefix("**/").removesuffix("/*") for line in lines}
    assert "!mlruns/.gitkeep" in lines  # without a tracked file the image's commit would be told as dirty


def test_the_file_of_passwords_is_ignored_by_git():
    assert ".env" in (REPOSITORY / ".gitignore").read_text().splitlines()
