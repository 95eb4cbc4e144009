"""The history is a chain of hashes: an entry or a vote that was changed behind the store's back is found."""

import pytest
import sqlalchemy as sa

from regen.preferences import history, people, voting
from regen.preferences.tables import Choice, event
from tests.reviews import make_review


@pytest.fixture
def told(file_store, tmp_path):
    """A store with some history, and whom it is about."""
    review = make_review(file_store, tmp_path / "review", n_pairs=4)
    ada = review.person("ada")
    for n in range(2):
        shown = voting.next_pair(file_store, review.campaign, ada, lambda sample: True)
        voting.record(file_store, ada, shown.assignment, Choice.LEFT, f"key-{n}".ljust(16, "x"))
    people.revoke(file_store, "ada")
    return file_store


def tamper(store, statement: str) -> None:
    """Changes the file as somebody could who has it."""
    with store.write() as connection:
        for table in ("vote", "event"):
            for change in ("update", "delete"):
                connection.execute(sa.text(f"DROP TRIGGER IF EXISTS {table}_no_{change}"))
        connection.execute(sa.text(statement))


def test_what_happened_is_told_in_order(told):
    with told.read() as connection:
        kinds = connection.execute(sa.select(event.c.kind).order_by(event.c.id)).scalars().all()

    assert kinds == ["campaign opened", "annotator added", "vote", "vote", "annotator revoked"]


def test_an_untouched_history_is_whole(told):
    assert history.first_broken(told) is None


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE event SET actor = 'eve' WHERE id = 2", 2),
        ("UPDATE event SET payload = '{}' WHERE id = 1", 1),
        ("DELETE FROM event WHERE id = 2", 3),
        ("UPDATE vote SET choice = 'right' WHERE id = 2", 4),
        ("DELETE FROM vote WHERE id = 1", 3),
    ],
)
def test_a_change_is_found_where_it_was_made(told, statement, broken):
    tamper(told, statement)

    assert history.first_broken(told) == broken
