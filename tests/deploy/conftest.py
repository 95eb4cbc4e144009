"""A `regen up` for each file of tests: one of them ends its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import sources, versions
from tests.conftest import REPOSITORY, TINY, make_project
from tests.deploy.servers import Servers, kill_all, serve

SHORT = (
    TINY.replace("12800", "1280").replace("images: 6400", "images: 640").replace("gate:\n", "gate:\n  mode: approval\n")
    + "schedule: {active: false}\n"
)
"""A project of some dozen steps, whose candidates wait for approval."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its data."""
    root = tmp_path_factory.mktemp("up") / "project"
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_project(root, monkeypatch)
        (root / "params.yaml").write_text(SHORT)
        shutil.copy(REPOSITORY / "prefect.yaml", root)
        sources.materialise(DataConfig(), Workspace(root).data("digits"))
        versions.add(Workspace(root))
    return root


@pytest.fixture(scope="module")
def servers(project: Path) -> Iterator[Servers]:
    """All that `regen up` starts."""
    running = serve(project)
    yield running
    kill_all(running)
