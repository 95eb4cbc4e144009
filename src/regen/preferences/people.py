"""Who may vote: people known by tokens of 192 bits, which are stored as hashes only and can be revoked at any time."""

import hashlib
import re
import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from regen.core.errors import ConfigError
from regen.preferences import history
from regen.preferences.refusals import ConflictError, NotFoundError, TokenError
from regen.preferences.store import Store
from regen.preferences.tables import Role, annotator, session

TOKEN_BYTES = 24
DAY_MS = 86_400_000
SESSION_MS = DAY_MS // 2
"""A session ends after twelve hours."""
TOKEN_DAYS = 90
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


@dataclass(frozen=True)
class Person:
    """Somebody who may vote."""

    id: int
    name: str
    role: Role
    created: int
    expires: int | None
    revoked: int | None


@dataclass(frozen=True)
class Session:
    """Somebody who is logged in."""

    person: Person
    csrf: str
    """What a form must send back."""


def add(store: Store, name: str, role: Role = Role.REVIEWER, days: int | None = TOKEN_DAYS, by: str = "command") -> str:
    """Makes a person and gives back their token, which nobody can read again.

    Args:
        days: how long the token is good for; for ever if none.

    Raises:
        ConfigError: the name has other characters than letters, digits, dots, dashes and underscores, or over 64.
        ConflictError: there is somebody of that name.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"a name is up to 64 letters, digits, dots, dashes and underscores, not {name[:64]!r}")
    token, now = secrets.token_urlsafe(TOKEN_BYTES), store.clock()
    values = {"name": name, "token_hash": digest(token), "role": role, "created": now}
    with store.write() as connection:
        if connection.execute(sa.select(annotator.c.id).where(annotator.c.name == name)).first():
            raise ConflictError(f"there is an annotator {name} already; choose another name")
        connection.execute(annotator.insert().values(**values, expires=None if days is None else now + days * DAY_MS))
        history.append(connection, now, "annotator added", by, {"name": name, "role": role})
    return token


def revoke(store: Store, name: str, by: str = "command") -> None:
    """Ends a person's token and sessions at once; their votes stay.

    Raises:
        NotFoundError: there is nobody of that name.
    """
    now = store.clock()
    with store.write() as connection:
        found = connection.execute(sa.select(annotator).where(annotator.c.name == name)).first()
        if found is None:
            raise NotFoundError(f"there is no annotator {name}; 'regen votes annotators list' names them")
        if found.revoked is None:
            connection.execute(annotator.update().where(annotator.c.id == found.id).values(revoked=now))
            history.append(connection, now, "annotator revoked", by, {"name": name})


def everyone(store: Store) -> list[Person]:
    """All people, oldest first."""
    with store.read() as connection:
        return [_person(row) for row in connection.execute(sa.select(annotator).order_by(annotator.c.id))]


def of_token(store: Store, token: str) -> Person:
    """The person whose token it is.

    Raises:
        TokenError: it is unknown, expired or revoked; which of them is not said.
    """
    with store.read() as connection:
        row = connection.execute(sa.select(annotator).where(annotator.c.token_hash == digest(token))).first()
    if row is None or not _is_good(row, store.clock()):
        raise TokenError("this token is unknown, expired or revoked; ask for a new one")
    return _person(row)


def log_in(store: Store, token: str) -> str:
    """Opens a session and gives back its secret.

    Raises:
        TokenError: the token is unknown, expired or revoked.
    """
    person, secret, now = of_token(store, token), secrets.token_urlsafe(TOKEN_BYTES), store.clock()
    with store.write() as connection:
        connection.execute(session.delete().where(session.c.expires <= now))
        connection.execute(
            session.insert().values(
                id_hash=digest(secret), annotator=person.id, csrf=secrets.token_urlsafe(TOKEN_BYTES),
                expires=now + SESSION_MS,
            )
        )  # fmt: skip
    return secret


def session_of(store: Store, secret: str) -> Session | None:
    """The session of this secret, while it and the person's token are good."""
    joined = sa.select(annotator, session.c.csrf, session.c.expires.label("ends")).join(session)
    with store.read() as connection:
        row = connection.execute(joined.where(session.c.id_hash == digest(secret))).first()
    if row is None or row.ends <= store.clock() or not _is_good(row, store.clock()):
        return None
    return Session(_person(row), row.csrf)


def log_out(store: Store, secret: str) -> None:
    """Ends a session."""
    with store.write() as connection:
        connection.execute(session.delete().where(session.c.id_hash == digest(secret)))


def digest(secret: str) -> str:
    """What is stored of a secret; a plain hash, since 192 random bits cannot be guessed from it."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _is_good(row: sa.Row[tuple[object, ...]], now: int) -> bool:
    return row.revoked is None and (row.expires is None or row.expires > now)


def _person(row: sa.Row[tuple[object, ...]]) -> Person:
    return Person(row.id, row.name, Role(row.role), row.created, row.expires, row.revoked)
