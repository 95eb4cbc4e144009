"""Prefect, imported with a home of its own."""

from collections.abc import Iterator

import pytest

from regen.core.config import Config, parse


@pytest.fixture(scope="session", autouse=True)
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        monkeypatch.setenv("DO_NOT_TRACK", "1")
        import prefect  # noqa: F401  # it reads its settings once

        yield


@pytest.fixture
def config() -> Config:
    return parse({"project": "digits"})
