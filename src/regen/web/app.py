"""Puts the application together: pages for people, an API for programs, and how each failure is told to either."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from regen import __version__
from regen.core.errors import RegenError, StorageError
from regen.preferences.refusals import ConflictError, LeaseError, NotFoundError, TokenError
from regen.preferences.store import Store
from regen.web import api, pages
from regen.web.context import FOLDER, Context, CrossSiteError, PicturesError, RateError
from regen.web.guard import Guard
from regen.web.metrics import Measuring
from regen.web.settings import Settings

log = logging.getLogger(__name__)
STATUS: dict[type[RegenError], int] = {
    TokenError: 401, CrossSiteError: 403, NotFoundError: 404, ConflictError: 409, LeaseError: 410, RateError: 429,
    StorageError: 503,
}  # fmt: skip
"""The answer to each refusal; any other error of ours is a request that cannot be met, 400."""


def create_app(store: Store, settings: Settings) -> FastAPI:
    """The review page of one campaign."""
    app = FastAPI(
        title="Regen review", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json"
    )
    context = Context(store, settings)
    app.state.context = context
    app.include_router(pages.router)
    app.include_router(api.router)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"))
    app.add_middleware(Guard, hosts=tuple(host.lower() for host in settings.hosts))
    app.add_middleware(Measuring, metrics=context.metrics)
    app.add_exception_handler(RegenError, _refused)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.add_exception_handler(HTTPException, _http)
    return app


def status_of(error: RegenError) -> int:
    """The HTTP status that tells of an error."""
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 400)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RegenError)
    status = status_of(error)
    message = str(error)
    if status == 503:  # reviewers are told without addresses and paths
        log.error("%s", error)
        away = isinstance(error, PicturesError)
        what = "folder of pictures is not there" if away else "store of votes does not answer"
        message = f"The {what}; try again in a moment."
    headers = {429: {"Retry-After": "1"}, 503: {"Retry-After": "5"}}.get(status)
    return _answer(request, status, message, headers)


def _misunderstood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()[:5])
    return _answer(request, 422, f"The request cannot be understood: {problems}")


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: "There is no such page.", 405: "This address does not take that."}.get(
        error.status_code, str(error.detail)
    )
    return _answer(request, error.status_code, message, dict(error.headers or {}))


def _answer(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    if request.url.path.startswith("/api/"):
        if status == 401:
            headers = {**(headers or {}), "WWW-Authenticate": "Bearer"}
        return JSONResponse({"detail": message}, status, headers)
    response = pages.told(request, status, message)
    response.headers.update(headers or {})
    return response
