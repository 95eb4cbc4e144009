"""Serves the review page until it is told to stop."""

import socket
from collections.abc import Callable
from contextlib import closing

import uvicorn

from regen.core.errors import RegenError
from regen.preferences.store import Store
from regen.web.app import create_app
from regen.web.settings import Settings

HOST = "127.0.0.1"
PORT = 8321


def serve(
    store: Store, settings: Settings, host: str = HOST, port: int = PORT, when_up: Callable[[str], None] | None = None
) -> None:
    """Serves a campaign's page on `host` and `port` until Ctrl-C or SIGTERM.

    Args:
        port: 0 takes a free one.
        when_up: is told the page's address as soon as it takes connections.

    Raises:
        RegenError: the port is taken.
    """
    with closing(_listen(host, port)) as listener:
        name = f"[{host}]" if ":" in host else host
        if when_up is not None:
            when_up(f"http://{name}:{listener.getsockname()[1]}/")
        config = uvicorn.Config(
            create_app(store, settings), log_level="warning", access_log=False, server_header=False,
            timeout_graceful_shutdown=5,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise RegenError(
            f"{host} port {port} cannot be listened on ({error.strerror}); choose another by --port"
        ) from error
    return listener
