"""What every request of one application needs: the store, the settings, the templates, and who is asking."""

import hashlib
import secrets
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import Depends, Form, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from regen.core import files
from regen.core.errors import RegenError, StorageError
from regen.preferences import campaigns, people
from regen.preferences.campaigns import Sample
from regen.preferences.people import Session
from regen.preferences.refusals import TokenError
from regen.preferences.store import Store
from regen.preferences.tables import Kind
from regen.web.guard import Buckets
from regen.web.metrics import Metrics
from regen.web.settings import Settings

FOLDER = Path(__file__).parent
COOKIE = "regen_review"


class CrossSiteError(RegenError):
    """A form does not hold what the session's own page puts into it."""


class RateError(RegenError):
    """Somebody asks more often than people do."""


class PicturesError(StorageError):
    """The folder of the pictures is out of reach, so that nothing can be said of any of them."""


class Context:
    """One application's parts."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings, self.metrics = store, settings, Metrics()
        self.writes = Buckets(settings.votes_per_second, settings.burst)
        self._shown: set[str] = set()
        self._whole: dict[str, tuple[int, int]] = {}  # when a file that was found whole was written, and its size
        self.templates = Environment(
            loader=PackageLoader("regen.web"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip

    def page(self, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page of this name."""
        return HTMLResponse(self.templates.get_template(f"{name}.html.j2").render(**values), status)

    def picture(self, digest: str) -> bytes | None:
        """A picture's file, if the campaign shows it, it is there and still what its name says."""
        if digest not in self._shown:
            if not campaigns.is_shown(self.store, self.settings.campaign, digest):
                return None
            self._shown.add(digest)  # what a campaign shows is settled when it is opened
        try:
            content = self._path(digest).read_bytes()
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == digest else None

    def is_there(self, sample: Sample) -> bool:
        """Whether a sample can be shown: a picture's file is there and still what its name says.

        Raises:
            PicturesError: the whole folder of pictures is away, or cannot be read.
        """
        if sample.kind is Kind.ROW:
            return True
        folder, way = self.settings.images, f"bring them back, or regen votes close {self.settings.campaign}"
        try:
            if self._is_whole(sample.sha256):
                return True
            if any(path.suffix == ".png" for path in folder.iterdir()):
                return False
        except OSError as error:
            raise PicturesError(f"the pictures in {folder} cannot be read ({error.strerror}); {way}") from error
        raise PicturesError(f"there are no pictures in {folder}; {way}")

    def _is_whole(self, digest: str) -> bool:
        path = self._path(digest)
        try:
            found = path.stat()
            written = found.st_mtime_ns, found.st_size
            if self._whole.get(digest) == written:
                return True
            if files.sha256(path) != digest:
                return False
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return False
        self._whole[digest] = written
        return True

    def _path(self, digest: str) -> Path:
        return self.settings.images / f"{digest}.png"


def context_of(request: Request) -> Context:
    """The application's parts."""
    return cast(Context, request.app.state.context)


def session_or_none(request: Request) -> Session | None:
    """Who is logged in, if anybody."""
    secret = request.cookies.get(COOKIE)
    return people.session_of(context_of(request).store, secret) if secret else None


def session_of(request: Request) -> Session:
    """Who is logged in.

    Raises:
        TokenError: nobody is.
    """
    if (session := session_or_none(request)) is None:
        raise TokenError("Your session has ended, or your token was revoked. Log in again.")
    return session


def writer_of(request: Request, csrf: Annotated[str, Form(max_length=64)]) -> Session:
    """Who sent a form, when it is a form of their own page and they have not sent too many.

    Raises:
        TokenError: nobody is logged in.
        CrossSiteError: the form is not of their page.
        RateError: they sent too many.
    """
    session = session_of(request)
    if not secrets.compare_digest(csrf.encode(), session.csrf.encode()):
        raise CrossSiteError("This form is not of your session; load the page again.")
    if not context_of(request).writes.take(session.person.id):
        raise RateError("That was quicker than anybody can look. Wait a second, then go on.")
    return session


Parts = Annotated[Context, Depends(context_of)]
LoggedIn = Annotated[Session, Depends(session_of)]
Writer = Annotated[Session, Depends(writer_of)]
