"""The pages: log in, read the guidelines, judge pairs, look at what you did. Plain forms; scripts only add keys."""

import secrets
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from regen.preferences import campaigns, people, voting
from regen.preferences.campaigns import Sample
from regen.preferences.people import Session
from regen.preferences.refusals import NotFoundError, TokenError, VoteError
from regen.preferences.tables import Choice, Kind
from regen.preferences.voting import KEY_PATTERN
from regen.web.context import COOKIE, LoggedIn, Parts, Writer, context_of, session_or_none

router = APIRouter()
Number = Annotated[int, Form(ge=1, lt=2**31)]
SMALL = 128
"""Pictures up to this side, in pixels, are enlarged without smoothing."""


@router.get("/", response_class=HTMLResponse)
def review(request: Request, parts: Parts) -> Response:
    """The pair to judge now, or the way to it."""
    if (session := session_or_none(request)) is None:
        return parts.page("login", message="")
    number, store = parts.settings.campaign, parts.store
    shown = voting.next_pair(store, number, session.person, parts.is_there, parts.settings.lease_ms)
    state = voting.progress(store, number, session.person)
    if shown is None:
        return _summary(parts, session, nothing_left=True)
    return parts.page(
        "pair", session=session, progress=state, assignment=shown.assignment, key=secrets.token_urlsafe(24),
        sides=[_side("left", shown.left, shown.right), _side("right", shown.right, shown.left)],
    )  # fmt: skip


def _side(name: str, sample: Sample, other: Sample) -> dict[str, Any]:
    """What the page needs of a sample; nothing of the model behind it."""
    side: dict[str, Any] = {"name": name, "value": name, "key": {"left": "1", "right": "2"}[name]}
    if sample.kind is Kind.ROW:
        columns = dict.fromkeys(chain(sample.meta, other.meta))
        rows = [
            (column, sample.meta.get(column), sample.meta.get(column) != other.meta.get(column)) for column in columns
        ]
        return side | {"rows": rows}
    width, height = int(sample.meta.get("width", 0)), int(sample.meta.get("height", 0))
    return side | {"digest": sample.sha256, "width": width, "height": height, "small": max(width, height) <= SMALL}


@router.get("/guidelines", response_class=HTMLResponse)
def guidelines(session: LoggedIn, parts: Parts) -> Response:
    """What to look for."""
    text = campaigns.get(parts.store, parts.settings.campaign).guidelines
    paragraphs = [block.strip() for block in text.split("\n\n") if block.strip()]
    return parts.page("guidelines", session=session, paragraphs=paragraphs)


@router.get("/summary", response_class=HTMLResponse)
def summary(session: LoggedIn, parts: Parts) -> Response:
    """What this person has done."""
    return _summary(parts, session)


def _summary(parts: Parts, session: Session, *, nothing_left: bool = False) -> Response:
    number = parts.settings.campaign
    state = voting.progress(parts.store, number, session.person)
    mine = voting.summary(parts.store, number, session.person)
    return parts.page("summary", session=session, progress=state, summary=mine, nothing_left=nothing_left)


@router.post("/login", status_code=303)
def log_in(request: Request, parts: Parts, token: Annotated[str, Form(max_length=200)]) -> Response:
    """Opens a session for whoever has a good token."""
    try:
        secret = people.log_in(parts.store, token.strip())
    except TokenError as error:
        return parts.page("login", 401, message=_sentence(error))
    answer = RedirectResponse("/guidelines", 303)
    answer.set_cookie(
        COOKIE, secret, max_age=people.SESSION_MS // 1000, path="/", httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer


@router.post("/logout", status_code=303)
def log_out(request: Request, session: Writer, parts: Parts) -> Response:
    """Ends the session."""
    people.log_out(parts.store, request.cookies[COOKIE])
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


@router.post("/vote", status_code=303)
def vote(
    session: Writer, parts: Parts, assignment: Number, choice: Annotated[Choice, Form()],
    key: Annotated[str, Form(pattern=KEY_PATTERN)],
) -> Response:  # fmt: skip
    """Records a vote; the answer is sent when it is on disk."""
    try:
        voting.record(parts.store, session.person, assignment, choice, key)
    except VoteError as error:
        parts.metrics.votes.labels(type(error).__name__.removesuffix("Error").lower()).inc()
        raise
    parts.metrics.votes.labels("recorded").inc()
    return RedirectResponse("/", 303)


@router.post("/undo", status_code=303)
def undo(session: Writer, parts: Parts, vote: Number) -> Response:
    """Takes back the last vote."""
    voting.undo(parts.store, session.person, vote, parts.settings.lease_ms)
    return RedirectResponse("/", 303)


@router.get("/img/{digest}", responses={200: {"content": {"image/png": {}}}}, response_class=Response)
def picture(session: LoggedIn, parts: Parts, digest: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]) -> Response:
    """A picture of this campaign, by the digest of its file."""
    if (content := parts.picture(digest)) is None:
        raise NotFoundError("There is no such picture.")
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=86400, immutable"})


@router.get("/healthz")
def health(parts: Parts) -> JSONResponse:
    """Whether the page and its store work."""
    campaigns.get(parts.store, parts.settings.campaign)
    return JSONResponse({"status": "ok"})


@router.get("/metrics", response_class=Response)
def metrics(parts: Parts) -> Response:
    """Figures for Prometheus."""
    return Response(parts.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


def told(request: Request, status: int, message: str) -> Response:
    """The page that tells of a refusal, and the way on."""
    if status == 401:
        return context_of(request).page("login", status, message=_sentence(message))
    return context_of(request).page("refused", status, message=_sentence(message))


def _sentence(message: object) -> str:
    text = str(message).strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
