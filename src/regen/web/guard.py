"""What stands before every request: the host's name, the origin of what writes, its size, and headers that close the rest."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers would send the origin of a form as null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
TOO_LARGE = "The request is too large."
SAFE = ("GET", "HEAD", "OPTIONS")
MOST_BYTES = {"form": 16 * 1024, "api": 4 * 1024 * 1024}


@dataclass(frozen=True)
class Guard:
    """ASGI middleware around the whole application."""

    app: ASGIApp
    hosts: tuple[str, ...]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses what it should, and adds the headers to every answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        is_api = scope["path"].startswith("/api/")
        most = MOST_BYTES["api" if is_api else "form"]
        if refusal := _refusal(scope, Headers(scope=scope), self.hosts, most, is_api=is_api):
            await refusal(scope, receive, closing)
            return
        await self.app(scope, _counted(receive, most), closing)


def _refusal(
    scope: Scope, headers: Headers, hosts: tuple[str, ...], most: int, *, is_api: bool
) -> PlainTextResponse | None:
    host = headers.get("host", "")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if "*" not in hosts and name.lower() not in hosts:
        return PlainTextResponse("This page does not answer to that name; start it with --allow-host NAME.", 400)
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > most:
        return PlainTextResponse(TOO_LARGE, 413)
    if scope["method"] in SAFE or is_api:  # the API takes no cookie, only a token that a page elsewhere does not have
        return None
    origin = headers.get("origin")
    same = urlsplit(origin).netloc == host if origin is not None else headers.get("sec-fetch-site") == "same-origin"
    return None if same else PlainTextResponse("This request comes from another page.", 403)


def _counted(receive: Receive, most: int) -> Receive:
    read = 0

    async def counting() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most:
            raise HTTPException(413, TOO_LARGE)
        return message

    return counting


@dataclass
class Buckets:
    """A token bucket for each key: `burst` at once, `rate` a second after that."""

    rate: float
    burst: int
    clock: Callable[[], float] = time.monotonic
    _levels: dict[int, tuple[float, float]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def take(self, key: int) -> bool:
        """Takes one token; false when there is none.

        Example:
            >>> buckets = Buckets(rate=1, burst=2, clock=lambda: 0.0)
            >>> buckets.take(7), buckets.take(7), buckets.take(7), buckets.take(8)
            (True, True, False, True)
        """
        with self._lock:
            now = self.clock()
            level, before = self._levels.get(key, (float(self.burst), now))
            level = min(level + (now - before) * self.rate, self.burst)
            taken = level >= 1
            self._levels[key] = (level - taken, now)
            return taken
