"""A review page without a server: requests go straight to the application."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from regen.preferences.store import Store
from regen.preferences.tables import Role
from regen.web.app import create_app
from regen.web.settings import Settings
from tests.reviews import Clock, Review, hidden, make_review, open_store

ORIGIN = "http://127.0.0.1:8321"
DIGEST = re.compile(r"/img/([0-9a-f]{64})")
"""Where a page names a picture."""


class Browser(TestClient):
    """A browser that keeps cookies, says where its forms come from, and follows no redirect by itself."""

    def __init__(self, app: object) -> None:
        super().__init__(app, base_url=ORIGIN, follow_redirects=False, headers={"Origin": ORIGIN})

    def log_in(self, token: str) -> "Browser":
        assert self.post("/login", data={"token": token}).status_code == 303
        return self

    def vote(self, choice: str = "left", **changed: str) -> httpx.Response:
        """Sends the vote form of the pair that is shown."""
        return self.post("/vote", data={**hidden(self.get("/").text), "choice": choice, **changed})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'votes.db'}", clock)
    yield opened
    opened.close()


@pytest.fixture
def review(store: Store, tmp_path: Path) -> Review:
    return make_review(store, tmp_path / "review", n_pairs=8)


@pytest.fixture
def new_browser(review: Review) -> Callable[..., Browser]:
    """A browser at the page, logged in when a name is given."""
    settings = Settings(review.campaign, review.folder, votes_per_second=1000, burst=1000)

    def call(name: str = "", **changed: object) -> Browser:
        browser = Browser(create_app(review.store, replace(settings, **changed)))
        return browser.log_in(review.token(name)) if name else browser

    return call


@pytest.fixture
def ada(new_browser: Callable[..., Browser]) -> Browser:
    """A reviewer who is logged in."""
    return new_browser("ada")


@pytest.fixture
def admin(new_browser: Callable[..., Browser], review: Review) -> Browser:
    """A program with an administrator's token."""
    browser = new_browser()
    browser.headers["Authorization"] = f"Bearer {review.token('ops', Role.ADMIN)}"
    return browser
