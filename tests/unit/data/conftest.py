"""A small web server on loopback, which downloads are tested against."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


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
