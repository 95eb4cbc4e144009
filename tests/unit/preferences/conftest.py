"""Stores in SQLite and in PostgreSQL: what holds of one holds of the other."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regen.preferences.store import Store
from tests.postgres import databases  # noqa: F401  # a fixture
from tests.reviews import Clock, Review, make_review, open_store

MakeReview = Callable[..., Review]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'votes.db'}"
    made: str = request.getfixturevalue("databases")()
    return made


@pytest.fixture
def store(address: str, clock: Clock) -> Iterator[Store]:
    opened = open_store(address, clock)
    yield opened
    opened.close()


@pytest.fixture
def file_store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """A store in SQLite alone, for what does not touch the database's ways."""
    opened = open_store(f"sqlite:///{tmp_path / 'file.db'}", clock)
    yield opened
    opened.close()


@pytest.fixture
def new_review(store: Store, tmp_path: Path) -> MakeReview:
    """Opens a campaign in the store."""

    def call(**options: object) -> Review:
        return make_review(store, tmp_path / "review", **options)

    return call
