"""The embedded default: it fills what is unset, and leaves alone what the user has set."""

from pathlib import Path

import pytest

from regen.core import environment
from regen.core.errors import StorageError
from regen.core.workspace import Workspace


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    present: dict[str, str] = {"PATH": "/bin"}
    monkeypatch.setattr(environment.os, "environ", present)
    return present


def test_what_is_unset_is_filled(tmp_path: Path, variables: dict[str, str]) -> None:
    environment.bootstrap(Workspace(tmp_path))

    assert variables.items() >= {"PATH": "/bin", **environment.embedded(Workspace(tmp_path))}.items()


def test_what_the_user_has_set_is_left_alone(tmp_path: Path, variables: dict[str, str]) -> None:
    own = {"MLFLOW_TRACKING_URI": "http://mlflow:5000", "PREFECT_HOME": str(tmp_path / "home"), "DO_NOT_TRACK": ""}
    variables |= own

    environment.bootstrap(Workspace(tmp_path))

    assert variables.items() >= own.items()


def test_a_second_bootstrap_changes_nothing(tmp_path: Path, variables: dict[str, str]) -> None:
    environment.bootstrap(Workspace(tmp_path / "one"))
    first = dict(variables)

    environment.bootstrap(Workspace(tmp_path / "other"))

    assert variables == first


def test_all_state_lies_in_the_project(tmp_path: Path) -> None:
    found = environment.embedded(Workspace(tmp_path))

    assert found["PREFECT_HOME"].startswith(str(tmp_path))
    assert found["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/mlruns/mlflow.db"


def test_a_home_that_cannot_be_made_is_a_storage_error(tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "file").touch()
    variables["PREFECT_HOME"] = str(tmp_path / "file" / "below")

    with pytest.raises(StorageError, match="cannot write"):
        environment.bootstrap(Workspace(tmp_path))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_postgresql_is_reached_by_the_driver_that_is_installed(
    tmp_path: Path, variables: dict[str, str], scheme: str
) -> None:
    variables["MLFLOW_TRACKING_URI"] = f"{scheme}://ada:secret@db:5432/mlflow"

    environment.bootstrap(Workspace(tmp_path))

    assert variables["MLFLOW_TRACKING_URI"] == "postgresql+psycopg://ada:secret@db:5432/mlflow"


@pytest.mark.parametrize("address", ["postgresql+psycopg2://db/mlflow", "http://mlflow:5000", "sqlite:///a.db"])
def test_other_addresses_stay_as_they_are(address: str) -> None:
    assert environment.with_driver(address) == address
