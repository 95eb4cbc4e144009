"""What the tests of voting share: people who judge what they are shown."""

import sqlalchemy as sa

from regen.preferences import voting
from regen.preferences.tables import Choice


def there(sample) -> bool:
    return True


def key(n: object) -> str:
    return f"key-{n}".ljust(20, "x")


def judge(store, review, person, choice=Choice.LEFT, n=None):
    """Judges what this person is shown; gives back the vote's number."""
    shown = voting.next_pair(store, review.campaign, person, there)
    assert shown is not None
    return voting.record(
        store, person, shown.assignment, choice, key(n if n is not None else f"{person.id}-{shown.assignment}")
    )


def count(store, table, *conditions) -> int:
    with store.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one()
