"""What happened in the store, entry by entry, each holding the hash of the one before it: none can be changed unseen."""

import hashlib
import json
from typing import Any

import sqlalchemy as sa

from regen.preferences import tables
from regen.preferences.store import Store

GENESIS = "0" * 64
LOCK = 7_306_358_292
"""The advisory lock that makes PostgreSQL's writers append one after the other."""


def append(connection: sa.Connection, now: int, kind: str, actor: str, payload: dict[str, Any]) -> None:
    """Adds an entry; the last thing a transaction does, since others wait until it is committed."""
    event = tables.event
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    last = connection.execute(sa.select(event.c.hash).order_by(event.c.id.desc()).limit(1)).scalar()
    text, before = json.dumps(payload, sort_keys=True), last or GENESIS
    connection.execute(
        event.insert().values(
            created=now, kind=kind, actor=actor, payload=text, before=before,
            hash=_hash(before, now, kind, actor, text),
        )
    )  # fmt: skip


def first_broken(store: Store) -> int | None:
    """The first entry that does not follow from the one before it or tells of another vote; none where all is well."""
    event, vote = tables.event, tables.vote
    with store.read() as connection:
        entries = connection.execute(sa.select(event).order_by(event.c.id)).all()
        votes = {row.id: (row.assignment, row.choice) for row in connection.execute(sa.select(vote))}
    before = GENESIS
    for row in entries:  # read before the votes, so that a vote of this moment is not missed
        follows = row.before == before and row.hash == _hash(before, row.created, row.kind, row.actor, row.payload)
        if not follows or not _tells(row.kind, row.payload, votes):
            return int(row.id)
        before = row.hash
    return None


def _tells(kind: str, payload: str, votes: dict[int, tuple[int, str]]) -> bool:
    if kind != "vote":
        return True
    told = json.loads(payload)
    return votes.get(told["vote"]) == (told["assignment"], told["choice"])


def _hash(before: str, created: int, kind: str, actor: str, payload: str) -> str:
    return hashlib.sha256(json.dumps([before, created, kind, actor, payload]).encode()).hexdigest()
