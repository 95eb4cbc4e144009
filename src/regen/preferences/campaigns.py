"""Campaigns: samples to show, the plan of pairs made of them, and how far a campaign has come."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from regen.core.errors import ConfigError
from regen.preferences import history
from regen.preferences.pairs import Pair
from regen.preferences.refusals import ClosedError, ConflictError, NotFoundError
from regen.preferences.store import Store, insert
from regen.preferences.tables import Kind, State, assignment, campaign, sample, task, vote

MOST_NEED = 100
"""Most votes that one pair may need."""


@dataclass(frozen=True)
class Sample:
    """What is shown: a picture, known by the digest of its file, or a table's row, by that of its values."""

    sha256: str
    model: str
    version: int
    seed: int
    """The latent's seed: with model and version it makes the sample again."""
    kind: Kind = Kind.IMAGE
    meta: dict[str, Any] = field(default_factory=dict)
    """A row's values by column, or a picture's width and height; spoilt when it was spoilt on purpose."""


@dataclass(frozen=True)
class Campaign:
    """Pairs that people judge by one set of guidelines."""

    id: int
    name: str
    subject: str
    guidelines: str
    created: int
    closed: int | None
    pairs: int
    """Pairs that can be judged."""
    wanted: int
    """Votes that they need together."""
    votes: int
    """Votes that stand."""

    @property
    def need(self) -> int:
        """How many people judge each pair."""
        return self.wanted // max(self.pairs, 1)


def create(
    store: Store, name: str, subject: str, guidelines: str, samples: Sequence[Sample], pairs: Sequence[Pair], need: int
) -> int:
    """Opens a campaign and gives back its number.

    Args:
        subject: what it is about, such as digits-gan/3; reviewers never see it.
        pairs: as `pairs.plan` made them of these samples.
        need: how many people judge each pair.

    Raises:
        ConfigError: `need` is not from 1 to 100, or there is no name.
        ConflictError: there is a campaign of that name.
    """
    if not 1 <= need <= MOST_NEED:
        raise ConfigError(f"a pair is judged by 1 to {MOST_NEED} people, not {need}")
    if not name.strip():
        raise ConfigError("a campaign needs a name")
    now = store.clock()
    with store.write() as connection:
        if connection.execute(sa.select(campaign.c.id).where(campaign.c.name == name)).first():
            raise ConflictError(f"there is a campaign {name} already; choose another name")
        number = insert(connection, campaign, name=name, subject=subject, guidelines=guidelines, created=now)
        ids = [record_sample(connection, one) for one in samples]
        add_pairs(connection, number, ids, pairs, need)
        history.append(connection, now, "campaign opened", "command", {"campaign": number, "pairs": len(pairs)})
    return number


def record_sample(connection: sa.Connection, wanted: Sample) -> int:
    """The row of a sample, made where there is none."""
    key = {"sha256": wanted.sha256, "model": wanted.model, "version": wanted.version, "seed": wanted.seed}
    found = connection.execute(
        sa.select(sample.c.id).where(*(sample.c[name] == of for name, of in key.items()))
    ).first()
    if found:
        return int(found.id)
    return insert(connection, sample, **key, kind=wanted.kind, meta=wanted.meta)


def add_pairs(
    connection: sa.Connection, number: int, ids: Sequence[int], pairs: Sequence[Pair], need: int
) -> list[int]:
    """Appends planned pairs to a campaign's; gives back the rows they got."""
    last = connection.execute(sa.select(sa.func.max(task.c.position)).where(task.c.campaign == number)).scalar()
    first = 0 if last is None else int(last) + 1
    made: list[int] = []
    for place, pair in enumerate(pairs):
        repeated = None if pair.repeat_of is None else made[pair.repeat_of]
        made.append(insert(
            connection, task, campaign=number, a=ids[pair.a], b=ids[pair.b], position=first + place,
            strategy=pair.strategy, need=need, gold=pair.gold, split=pair.split, repeat_of=repeated,
        ))  # fmt: skip
    return made


def extend(store: Store, number: int, digests: Sequence[tuple[str, str]], need: int, by: str) -> int:
    """Adds pairs of samples that the campaign shows already; gives back how many.

    Raises:
        NotFoundError: there is no such campaign, or it shows no such sample.
        ConflictError: a pair is one sample with itself, or of one that rewards learn from and one that is held out.
        ClosedError: it is closed.
    """
    if itself := [a for a, b in digests if a == b]:
        raise ConflictError(f"a pair wants two samples, got {itself[0]} twice; name another one beside it")
    with store.write() as connection:
        if _row(connection, number).closed is not None:
            raise ClosedError(f"campaign {number} is closed; open another")
        known = {row.sha256: row.id for row in connection.execute(_samples_of(number))}
        if missing := sorted({digest for pair in digests for digest in pair if digest not in known}):
            raise NotFoundError(f"campaign {number} shows no sample {missing[0]}; add pairs of samples it shows")
        query = sa.select(task.c.a, task.c.b, task.c.split).where(
            task.c.campaign == number, task.c.split.in_(["train", "validation"])
        )  # fmt: skip
        split_of = {one: row.split for row in connection.execute(query) for one in (row.a, row.b)}
        splits = [{split_of[known[one]] for one in pair if known[one] in split_of} for pair in digests]
        if apart := [pair for pair, of in zip(digests, splits, strict=True) if len(of) > 1]:
            raise ConflictError(f"{apart[0][0]} and {apart[0][1]} are of different splits; pair samples of one")
        numbers = list(known)
        pairs = [
            Pair(numbers.index(a), numbers.index(b), "random", next(iter(of), "train"))
            for (a, b), of in zip(digests, splits, strict=True)
        ]
        add_pairs(connection, number, list(known.values()), pairs, need)
        history.append(connection, store.clock(), "pairs added", by, {"campaign": number, "pairs": len(pairs)})
    return len(digests)


def close(store: Store, number: int, by: str = "command") -> None:
    """Ends a campaign; nobody can vote in it any more.

    Raises:
        NotFoundError: there is no such campaign.
    """
    now = store.clock()
    with store.write() as connection:
        if _row(connection, number).closed is None:
            connection.execute(campaign.update().where(campaign.c.id == number).values(closed=now))
            history.append(connection, now, "campaign closed", by, {"campaign": number})


def every(store: Store) -> list[Campaign]:
    """All campaigns, newest first."""
    with store.read() as connection:
        rows = connection.execute(sa.select(campaign).order_by(campaign.c.id.desc())).all()
        return [_counted(connection, row) for row in rows]


def get(store: Store, number: int) -> Campaign:
    """One campaign.

    Raises:
        NotFoundError: there is none of this number.
    """
    with store.read() as connection:
        return _counted(connection, _row(connection, number))


def choose(store: Store, number: int | None) -> Campaign:
    """The campaign of this number, or the newest where none is named.

    Raises:
        NotFoundError: there is none.
    """
    if number is not None:
        return get(store, number)
    if not (found := every(store)):
        raise NotFoundError("there is no campaign yet; 'regen review' opens one")
    return found[0]


def tasks(store: Store, number: int) -> list[dict[str, Any]]:
    """A campaign's pairs with how many of their places are taken.

    Raises:
        NotFoundError: there is no such campaign.
    """
    a, b = sample.alias(), sample.alias()
    columns = [task.c[name] for name in ("id", "position", "strategy", "need", "taken", "gold", "split", "withdrawn")]
    joined = task.join(a, task.c.a == a.c.id).join(b, task.c.b == b.c.id)
    query = sa.select(*columns, task.c.repeat_of, a.c.sha256.label("a"), b.c.sha256.label("b")).select_from(joined)
    with store.read() as connection:
        _row(connection, number)
        found = connection.execute(query.where(task.c.campaign == number).order_by(task.c.position))
        return [dict(row) for row in found.mappings()]


def is_shown(store: Store, number: int, digest: str) -> bool:
    """Whether a campaign shows a picture of this digest: the list of what may be asked for."""
    query = sa.select(sample.c.id).where(sample.c.sha256 == digest, sample.c.kind == Kind.IMAGE)
    among = sa.exists().where(task.c.campaign == number, sa.or_(task.c.a == sample.c.id, task.c.b == sample.c.id))
    with store.read() as connection:
        return connection.execute(query.where(among)).first() is not None


def _samples_of(number: int) -> "sa.Select[tuple[Any, ...]]":
    among = sa.exists().where(task.c.campaign == number, sa.or_(task.c.a == sample.c.id, task.c.b == sample.c.id))
    return sa.select(sample.c.id, sample.c.sha256).where(among)


def _row(connection: sa.Connection, number: int) -> "sa.Row[tuple[Any, ...]]":
    row = connection.execute(sa.select(campaign).where(campaign.c.id == number)).first()
    if row is None:
        newest = connection.execute(sa.select(sa.func.max(campaign.c.id))).scalar()
        raise NotFoundError(
            f"there is no campaign {number} nor any other yet; 'regen review' opens one"
            if newest is None
            else f"there is no campaign {number}; the newest is {newest}, and 'regen votes agreement' says more of it"
        )
    return row


def _counted(connection: sa.Connection, row: "sa.Row[tuple[Any, ...]]") -> Campaign:
    pairs, wanted = connection.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(task.c.need), 0))
        .where(task.c.campaign == row.id, task.c.withdrawn.is_(None))
    ).one()  # fmt: skip
    standing = sa.select(sa.func.count()).select_from(vote.join(assignment).join(task))
    votes = connection.execute(
        standing.where(task.c.campaign == row.id, assignment.c.state == State.VOTED)
    ).scalar_one()
    return Campaign(
        row.id, row.name, row.subject, row.guidelines, row.created, row.closed, int(pairs), int(wanted), int(votes)
    )
