"""Giving out pairs and taking votes: each pair is judged by as many people as it needs, each vote is recorded once.

A person holds one pair at a time, on a lease. When it has run out, the pair goes to whoever asks next, and its late vote
is refused only once somebody else has the place. A vote carries a key of its own, so that one sent twice is one vote.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import sqlalchemy as sa

from regen.preferences import history
from regen.preferences.campaigns import Sample
from regen.preferences.people import Person
from regen.preferences.refusals import ClosedError, ConflictError, LeaseError, NotFoundError
from regen.preferences.store import Store, insert
from regen.preferences.tables import Choice, Kind, State, annotator, assignment, campaign, sample, task, vote

LEASE_MS = 15 * 60_000
FAST_MS = 300
"""A vote under this time is flagged: nobody looks at two samples so quickly."""
KEY_PATTERN = r"^[A-Za-z0-9_-]{16,64}$"
"""What a vote's key looks like."""
GONE = "a sample's file is gone or damaged"


@dataclass(frozen=True)
class Shown:
    """A pair as one person sees it."""

    assignment: int
    left: Sample
    right: Sample


@dataclass(frozen=True)
class Progress:
    """How far somebody, and the campaign, have come."""

    mine: int
    """Votes of this person that stand."""
    taken: int
    wanted: int
    closed: bool
    last_vote: int | None
    """The vote that can be undone."""


@dataclass(frozen=True)
class Summary:
    """What somebody did."""

    choices: dict[str, int]
    median_seconds: float


def next_pair(
    store: Store, number: int, person: Person, is_there: Callable[[Sample], bool], lease_ms: int = LEASE_MS
) -> Shown | None:
    """The pair that this person shall judge now; none when none is left for them.

    Args:
        is_there: whether a sample can be shown; a pair whose sample is gone is withdrawn.
    """
    with store.read() as connection:
        held = _held(connection, number, person)
        if held is not None and held.lease > store.clock():
            samples = _samples(connection, held.task)
            if all(map(is_there, samples)):
                return _shown(held.id, samples, flipped=held.flipped)
    now, gone = store.clock(), list[int]()
    with store.write() as connection:
        _take_turn(connection, person)
        if connection.execute(sa.select(campaign.c.closed).where(campaign.c.id == number)).scalar() is not None:
            return None
        held = _held(connection, number, person)
        if held is not None:
            samples = _samples(connection, held.task)
            if not all(map(is_there, samples)):
                _release(connection, held, State.RETURNED)
                gone.append(held.task)
            elif _change_open(connection, held.id, lease=now + lease_ms, shown=now):
                return _shown(held.id, samples, flipped=held.flipped)
        _collect_expired(connection, number, now)
        shown = None
        while shown is None and (found := _free_task(connection, number, person, gone)) is not None:
            samples = _samples(connection, found.id)
            if all(map(is_there, samples)):
                flipped = _flipped(store, connection, found, person)
                made = _give(connection, found.id, person, flipped=flipped, now=now, lease=now + lease_ms)
                shown = _shown(made, samples, flipped=flipped)
            else:
                gone.append(found.id)
        _withdraw(connection, gone, now)
    return shown


def _give(connection: sa.Connection, of_task: int, person: Person, *, flipped: bool, now: int, lease: int) -> int:
    connection.execute(task.update().where(task.c.id == of_task).values(taken=task.c.taken + 1))
    return insert(
        connection, assignment, task=of_task, annotator=person.id, flipped=flipped, shown=now, lease=lease,
        state=State.OPEN,
    )  # fmt: skip


def record(store: Store, person: Person, number: int, choice: Choice, client_key: str) -> int:
    """Records a vote on an assignment and gives back its number; the same vote with the same key is the same one.

    Raises:
        NotFoundError: there is no such assignment of this person's.
        ConflictError: the key or the assignment has been used for another vote.
        ClosedError: the campaign is closed.
        LeaseError: the lease ran out, and the pair's place was given away.
    """
    with store.write() as connection:
        _take_turn(connection, person)
        return _record(store, connection, person, number, choice, client_key)


def _record(
    store: Store, connection: sa.Connection, person: Person, number: int, choice: Choice, client_key: str
) -> int:
    given = _assignment(connection, number)
    if given is None or given.annotator != person.id:
        raise NotFoundError("there is no such pair of yours")
    earlier = connection.execute(sa.select(vote).where(vote.c.client_key == client_key)).first()
    if earlier is not None:
        if (earlier.assignment, earlier.choice) == (number, choice):
            return int(earlier.id)
        raise ConflictError("this vote was sent before with another choice; the first one counts")
    if given.closed is not None:
        raise ClosedError("the review is closed; this vote was not recorded")
    if given.state in (State.EXPIRED, State.RETURNED):
        raise LeaseError("this pair was given to somebody else, since it had waited too long; go on with the next one")
    if given.state != State.OPEN:
        raise ConflictError("you have judged this pair already, perhaps in another window; the first vote counts")
    now = store.clock()
    ms = max(now - given.shown, 0)
    recorded = insert(
        connection, vote, assignment=number, choice=choice, ms=ms, fast=ms < FAST_MS, client_key=client_key,
        supersedes=_undone(person, given.task), created=now,
    )  # fmt: skip
    _change_open(connection, number, state=State.VOTED)
    told = {"vote": recorded, "assignment": number, "task": given.task, "choice": choice}
    history.append(connection, now, "vote", person.name, told)
    return recorded


def undo(store: Store, person: Person, number: int, lease_ms: int = LEASE_MS) -> None:
    """Takes back this person's last vote and gives them its pair again; a vote that was taken back already stays so.

    Raises:
        NotFoundError: there is no such vote of this person's.
        ConflictError: it is not their last one.
        ClosedError: the campaign is closed.
    """
    with store.write() as connection:
        _take_turn(connection, person)
        of = connection.execute(
            sa.select(assignment, task.c.campaign, campaign.c.closed)
            .select_from(vote.join(assignment).join(task).join(campaign))
            .where(vote.c.id == number, assignment.c.annotator == person.id)
        ).first()
        if of is None:
            raise NotFoundError("there is no such vote of yours")
        if of.closed is not None:
            raise ClosedError("the review is closed; nothing can be taken back any more")
        if of.state == State.UNDONE:
            return
        if _last_vote(connection, of.campaign, person) != number:
            raise ConflictError("only the last vote can be taken back; load the page again")
        if (held := _held(connection, of.campaign, person)) is not None:
            _release(connection, held, State.RETURNED)
        now = store.clock()
        connection.execute(assignment.update().where(assignment.c.id == of.id).values(state=State.UNDONE))
        insert(
            connection, assignment, task=of.task, annotator=person.id, flipped=of.flipped, shown=now,
            lease=now + lease_ms, state=State.OPEN,
        )  # fmt: skip
        history.append(connection, now, "vote undone", person.name, {"vote": number})


def progress(store: Store, number: int, person: Person) -> Progress:
    """How far this person and the campaign have come."""
    places = (
        sa.select(sa.func.sum(task.c.taken).label("taken"), sa.func.sum(task.c.need).label("wanted"))
        .where(task.c.campaign == number, task.c.withdrawn.is_(None))
        .subquery()
    )
    mine = (
        sa.select(sa.func.count().label("votes"), sa.func.max(vote.c.id).label("last"))
        .select_from(vote.join(assignment).join(task))
        .where(task.c.campaign == number, assignment.c.annotator == person.id, assignment.c.state == State.VOTED)
        .subquery()
    )
    closed = sa.select(campaign.c.closed).where(campaign.c.id == number).scalar_subquery()
    with store.read() as connection:
        query = sa.select(places, mine, closed.label("closed")).select_from(places.join(mine, sa.true()))
        row = connection.execute(query).one()
    return Progress(row.votes, int(row.taken or 0), int(row.wanted or 0), row.closed is not None, row.last)


def summary(store: Store, number: int, person: Person) -> Summary:
    """What this person voted, and how long a vote took them."""
    query = sa.select(vote.c.choice, vote.c.ms).select_from(vote.join(assignment).join(task))
    with store.read() as connection:
        rows = connection.execute(
            query.where(
                task.c.campaign == number, assignment.c.annotator == person.id, assignment.c.state == State.VOTED
            )
        ).all()
    choices = {choice: sum(row.choice == choice for row in rows) for choice in Choice}
    return Summary({str(choice): n for choice, n in choices.items()}, median([row.ms for row in rows] or [0]) / 1000)


def _take_turn(connection: sa.Connection, person: Person) -> None:
    """Makes one person's requests wait for each other, so that two windows show the same pair."""
    connection.execute(sa.select(annotator.c.id).where(annotator.c.id == person.id).with_for_update())


def _held(connection: sa.Connection, number: int, person: Person) -> Any:
    """The pair that this person is judging, unless the campaign is closed."""
    query = sa.select(assignment).select_from(assignment.join(task).join(campaign)).where(
        assignment.c.annotator == person.id, assignment.c.state == State.OPEN, task.c.campaign == number,
        campaign.c.closed.is_(None),
    )  # fmt: skip
    return connection.execute(query).first()


def _assignment(connection: sa.Connection, number: int) -> Any:
    joined = assignment.join(task).join(campaign)
    query = sa.select(assignment, campaign.c.closed).select_from(joined).where(assignment.c.id == number)
    return connection.execute(query.with_for_update(of=assignment)).first()


def _free_task(connection: sa.Connection, number: int, person: Person, without: Sequence[int]) -> Any:
    """The first pair with a free place that this person has not judged; a repeat is for those who judged the first one."""
    mine = sa.select(assignment.c.id).where(
        assignment.c.annotator == person.id, assignment.c.state.in_([State.OPEN, State.VOTED])
    )
    query = sa.select(task).where(
        task.c.campaign == number, task.c.taken < task.c.need, task.c.withdrawn.is_(None), task.c.id.not_in(without),
        ~mine.where(assignment.c.task == task.c.id).exists(),
        sa.or_(
            task.c.repeat_of.is_(None),
            mine.where(assignment.c.task == task.c.repeat_of, assignment.c.state == State.VOTED).exists(),
        ),
    ).order_by(task.c.position).limit(1)  # fmt: skip
    found = connection.execute(query.with_for_update(of=task, skip_locked=True)).first()
    # what others hold locked may have a free place still: wait for it rather than say that none is left
    return found or connection.execute(query.with_for_update(of=task)).first()


def _collect_expired(connection: sa.Connection, number: int, now: int) -> None:
    """Frees the places of leases that have run out, in the order of the pairs, so that no two collectors block each other."""
    query = sa.select(assignment).select_from(assignment.join(task)).where(
        assignment.c.state == State.OPEN, assignment.c.lease <= now, task.c.campaign == number
    ).order_by(assignment.c.task)  # fmt: skip
    for row in connection.execute(query.with_for_update(of=assignment, skip_locked=True)).all():
        _release(connection, row, State.EXPIRED)


def _release(connection: sa.Connection, held: Any, state: State) -> None:
    if _change_open(connection, held.id, state=state):
        connection.execute(task.update().where(task.c.id == held.task).values(taken=task.c.taken - 1))


def _change_open(connection: sa.Connection, number: int, **values: Any) -> bool:
    """Changes an assignment unless somebody else has meanwhile ended it; says whether it did."""
    still = assignment.update().where(assignment.c.id == number, assignment.c.state == State.OPEN)
    return connection.execute(still.values(**values)).rowcount == 1


def _withdraw(connection: sa.Connection, gone: Sequence[int], now: int) -> None:
    for number in gone:
        connection.execute(task.update().where(task.c.id == number).values(withdrawn=GONE))
        history.append(connection, now, "pair withdrawn", "page", {"task": number, "reason": GONE})


def _flipped(store: Store, connection: sa.Connection, found: Any, person: Person) -> bool:
    """Whether `b` stands left: drawn, and for a repeat the other way round than the first time."""
    if found.repeat_of is not None:
        first = sa.select(assignment.c.flipped).where(
            assignment.c.task == found.repeat_of, assignment.c.annotator == person.id,
            assignment.c.state == State.VOTED,
        )  # fmt: skip
        return not connection.execute(first).scalar_one()
    return store.rng.random() < 0.5


def _undone(person: Person, of_task: int) -> "sa.ScalarSelect[int]":
    """The vote on this pair that this person took back last."""
    return sa.select(sa.func.max(vote.c.id)).select_from(vote.join(assignment)).where(
        assignment.c.task == of_task, assignment.c.annotator == person.id, assignment.c.state == State.UNDONE
    ).scalar_subquery()  # fmt: skip


def _last_vote(connection: sa.Connection, number: int, person: Person) -> int | None:
    query = sa.select(sa.func.max(vote.c.id)).select_from(vote.join(assignment).join(task)).where(
        task.c.campaign == number, assignment.c.annotator == person.id, assignment.c.state == State.VOTED
    )  # fmt: skip
    return connection.execute(query).scalar()


def _samples(connection: sa.Connection, of_task: int) -> tuple[Sample, Sample]:
    query = sa.select(sample, task.c.a).where(task.c.id == of_task, sample.c.id.in_([task.c.a, task.c.b]))
    rows = {row.id == row.a: row for row in connection.execute(query)}
    a, b = (
        Sample(row.sha256, row.model, row.version, row.seed, Kind(row.kind), dict(row.meta))
        for row in (rows[True], rows[False])
    )
    return a, b


def _shown(number: int, samples: tuple[Sample, Sample], *, flipped: bool) -> Shown:
    a, b = samples
    return Shown(number, b, a) if flipped else Shown(number, a, b)
