"""Serves the review page until it is told to stop."""

import socket
from collections.abc import Callable
from contextlib import closing
from errno import EACCES, EADDRINUSE

import uvicorn

from regen.core.errors import RegenError
from regen.preferences.store import Store
from regen.web.app import create_app
from regen.web.settings import Settings, name_of

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
        RegenError: the port is taken, or the address is not this machine's.
    """
    with closing(listen(host, port)) as listener:
        serve_on(listener, store, settings, host, when_up)


def serve_on(
    listener: socket.socket, store: Store, settings: Settings, host: str, when_up: Callable[[str], None] | None = None
) -> None:
    """Serves a campaign's page on a socket that listens on `host` already."""
    if when_up is not None:
        when_up(f"http://{name_of(host)}:{listener.getsockname()[1]}/")
    config = uvicorn.Config(
        create_app(store, settings), log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port`; what connects waits until the page is served.

    Raises:
        RegenError: the port is taken, or the address is not this machine's.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, UnicodeError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else error
        is_port = isinstance(error, OSError) and error.errno in (EADDRINUSE, EACCES)
        way = "choose another by --port" if is_port else "name an address of this machine by --host"
        raise RegenError(f"{host} port {port} cannot be listened on ({reason}); {way}") from error
    return listener
