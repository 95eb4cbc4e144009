"""A small web server on loopback, which downloads are tested against, and a project whose data is pulled."""

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import versions


class Web:
    """What the server gives: each path's bytes, cut short to `most` of them if that is set; how often it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.most: int | None = None
        self.asked: list[str] = []
        self.address = ""


@pytest.fixture
def web() -> Iterator[Web]:
    given = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given.asked.append(self.path)
            page = given.pages.get(self.path.lstrip("/"))
            if page is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page[: given.most])

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    given.address = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield given
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def pulled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where data/ and DVC's cache of a pulled project are kept for the tests after the first."""
    return tmp_path_factory.mktemp("pulled")


@pytest.fixture
def pulled(project: Path, pulled_once: Path) -> Workspace:
    """A project whose data is here, recorded and in DVC's cache."""
    workspace = Workspace(project)
    kept = {"data": project / "data", "cache": project / ".dvc" / "cache"}
    if (pulled_once / "cache").is_dir():
        for name, place in kept.items():
            shutil.copytree(pulled_once / name, place)
        return workspace
    versions.pull(workspace, "digits", DataConfig())
    for name, place in kept.items():
        shutil.copytree(place, pulled_once / name)
    return workspace
