"""Votes from a file into the store: every row is checked first, and either all are recorded or none."""

import json
import re
import secrets
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import sqlalchemy as sa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, model_validator
from pydantic import ValidationError as Invalid

from regen.core.errors import ConfigError, DataError, Failure, ValidationError
from regen.preferences import history, people
from regen.preferences.campaigns import MOST_NEED, Sample, record_sample
from regen.preferences.refusals import ConflictError
from regen.preferences.store import Store, insert
from regen.preferences.tables import Choice, Kind, Role, State, annotator, assignment, campaign, sample, task, vote
from regen.preferences.voting import KEY_PATTERN

SHOWN_FAILURES = 5
Name = Annotated[str, Field(pattern=people.NAME.pattern)]
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Whole = Annotated[int, Field(ge=0, lt=2**63)]
Version = Annotated[int, Field(ge=1, lt=2**31)]


def _object(text: str) -> str:
    """Refuses what is no JSON object, or holds NaN or an infinity, which JSON does not have."""
    try:
        found = json.loads(text)
        json.dumps(found, allow_nan=False)
        is_object = isinstance(found, dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise ValueError("a JSON object of the row's values")
    return text


Values = Annotated[str, AfterValidator(_object)]


class VoteRow(BaseModel):
    """One row of an export, checked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    campaign: Text
    task: Whole
    annotator: Name
    model_a: Text
    version_a: Version
    sample_a: Digest
    seed_a: Whole
    values_a: Values | None = None
    model_b: Text
    version_b: Version
    sample_b: Digest
    seed_b: Whole
    values_b: Values | None = None
    choice: Literal[-1, 0, 1]
    both_bad: bool
    skipped: bool
    ms: Whole
    fast: bool
    flipped: bool = False
    gold: bool
    gold_choice: Literal[-1, 0, 1] | None = None
    repeat: bool
    repeat_of: Whole | None = None
    strategy: Literal["disagreement", "random", "gold"]
    split: Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[a-z]+$")]
    position: Whole | None = None
    need: Annotated[int, Field(ge=1, le=MOST_NEED)] | None = None
    key: Annotated[str, Field(pattern=KEY_PATTERN)]
    created: datetime
    _place: str = PrivateAttr("a row")

    def model_post_init(self, context: Any) -> None:
        """Keeps where in its file the row stands."""
        if context:
            self._place = context["place"]

    @property
    def place(self) -> str:
        """Where in its file the row stands, as an editor counts: line 1 or row 1 is the first."""
        return self._place

    @model_validator(mode="after")
    def agrees_with_itself(self) -> "VoteRow":
        """Refuses a sample against itself, a preference that is also a tie, and answers or repeats known by halves."""
        # two seeds may draw the same picture: the digest alone does not tell
        if self.of_side("a") == self.of_side("b"):
            raise ValueError("a pair is two samples, not one against itself")
        if self.choice and (self.both_bad or self.skipped):
            raise ValueError("choice is 0 where both_bad or skipped is true")
        if self.both_bad and self.skipped:
            raise ValueError("a vote is both_bad or skipped, not both")
        if self.gold != (self.gold_choice is not None):
            raise ValueError("gold_choice is given where gold is true, and only there")
        if self.repeat != (self.repeat_of is not None):
            raise ValueError("repeat_of is given where repeat is true, and only there")
        return self

    @property
    def pressed(self) -> Choice:
        """What was pressed."""
        if self.both_bad or self.skipped:
            return Choice.BOTH_BAD if self.both_bad else Choice.SKIP
        side = -self.choice if self.flipped else self.choice
        return {-1: Choice.LEFT, 0: Choice.TIE, 1: Choice.RIGHT}[side]

    def of_side(self, side: Literal["a", "b"]) -> tuple[str, str, int, int]:
        """What one of the two samples is known by: its digest, model, version and seed."""
        digest, model, version, seed = (
            getattr(self, f"{name}_{side}") for name in ("sample", "model", "version", "seed")
        )
        return digest, model, version, seed

    def sample(self, side: Literal["a", "b"]) -> Sample:
        """One of the two samples."""
        values = self.values_a if side == "a" else self.values_b
        if values is None:
            return Sample(*self.of_side(side))
        return Sample(*self.of_side(side), Kind.ROW, json.loads(values))


def read(path: Path) -> list[VoteRow]:
    """The votes in a Parquet or JSON-lines file, every row checked.

    Raises:
        ConfigError: the file is neither.
        DataError: it cannot be read.
        ValidationError: rows are broken; the first ones are named, `failures` lists all.
    """
    try:
        if path.suffix == ".parquet":
            found = pd.read_parquet(path)
            rows: list[Any] = found.astype(object).where(found.notna(), None).to_dict("records")
            return check(rows)
        if path.suffix in (".jsonl", ".ndjson"):
            lines = {f"line {n}": line for n, line in enumerate(path.read_text().split("\n"), 1) if line.strip()}
        else:
            raise ConfigError(f"{path.name} is no .parquet or .jsonl file; 'regen votes export' writes both")
    except FileNotFoundError as error:
        raise DataError(f"{path} cannot be read: there is no such file; 'regen votes export' writes one") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from error
    return check([_parse(line) for line in lines.values()], list(lines))


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line


def check(rows: list[Any], places: Sequence[str] = ()) -> list[VoteRow]:
    """Each row as a vote.

    Args:
        places: what people call each row's place in its file; row 1 and so on if left out.

    Raises:
        ValidationError: rows are broken.
    """
    places = places or [f"row {number}" for number in range(1, len(rows) + 1)]
    good, failures = [], []
    for number, (row, place) in enumerate(zip(rows, places, strict=True)):
        try:
            good.append(VoteRow.model_validate(_whole(row), context={"place": place}))
        except Invalid as error:
            failures += [_failure(number, problem) for problem in error.errors()]
    failures = failures or _contradictions(good)
    if failures:
        shown = "; ".join(
            f"{places[one.row or 0]}: wanted {one.check}, got {one.value}" for one in failures[:SHOWN_FAILURES]
        )
        more = f" and {len(failures) - SHOWN_FAILURES} more" if len(failures) > SHOWN_FAILURES else ""
        raise ValidationError(
            f"nothing was imported: {shown}{more}; mend the file and import it again", tuple(failures)
        )
    return good


def _contradictions(rows: list[VoteRow]) -> list[Failure]:
    """Rows that other rows of the file contradict."""
    failures: list[Failure] = []
    seen: dict[Hashable, int] = {}
    pairs = {(row.campaign, row.task) for row in rows if not row.repeat}
    for number, row in enumerate(rows):
        of_its_own = {"key": row.key, "pair and annotator": (row.campaign, row.task, row.annotator)}
        for what, key in of_its_own.items():
            if (first := seen.setdefault((what, key), number)) != number:
                failures.append(Failure(number, f"a {what} of its own", f"that of {rows[first].place}"))
        if row.repeat and (row.campaign, row.repeat_of) not in pairs:
            failures.append(Failure(number, "repeat_of: a pair of this file", repr(row.repeat_of)))
    return failures


def _whole(row: Any) -> Any:
    """Numbers that a table with gaps made fractions of, whole again."""
    if not isinstance(row, dict):
        return row
    return {
        name: int(value) if isinstance(value, float | np.floating) and float(value).is_integer() else value
        for name, value in row.items()
    }


def _failure(number: int, problem: Any) -> Failure:
    column = ".".join(map(str, problem["loc"])) or "the row"
    wanted = re.sub(r"^(Value error|Input should be|Field)[, ]*", "", problem["msg"])
    met = "nothing" if problem["type"] == "missing" else repr(problem["input"])
    return Failure(number, f"{column}: {wanted}", met if len(met) < 80 else f"{met[:77]}…")


def record(store: Store, rows: list[VoteRow], by: str = "command") -> int:
    """Records votes with the campaigns, people and pairs they name; gives back how many are new.

    People and campaigns the store does not know are made: the people without a token, the campaigns closed.

    Raises:
        DataError: a vote contradicts one that is recorded; nothing is imported.
    """
    try:
        with store.write() as connection:
            writer = _Writer(connection, store.clock(), by)
            in_order = sorted(rows, key=lambda row: row.repeat)  # what is repeated comes first
            new = sum(writer.add(row) for row in in_order)
            history.append(connection, store.clock(), "votes imported", by, {"votes": new, "known": len(rows) - new})
    except ConflictError as error:
        raise DataError("nothing was imported: the votes contradict those recorded; export those first") from error
    return new


class _Writer:
    """Adds rows inside one transaction, and remembers what it has found or made."""

    def __init__(self, connection: sa.Connection, now: int, by: str) -> None:
        self.connection, self.now, self.by = connection, now, by
        self.campaigns: dict[str, int] = {}
        self.people: dict[str, int] = {}
        self.tasks: dict[tuple[str, int], int] = {}

    def add(self, row: VoteRow) -> bool:
        """Records a vote; says whether it is new."""
        if (known := self._recorded(row.key)) is not None:
            said = {
                "choice": str(row.pressed), "annotator": row.annotator, "campaign": row.campaign, "ms": row.ms,
                "flipped": row.flipped, "a": row.of_side("a"), "b": row.of_side("b"),
            }  # fmt: skip
            if differing := [what for what in said if said[what] != known[what]]:
                raise DataError(
                    f"nothing was imported: {row.place} has the key of a recorded vote and contradicts it: "
                    + "; ".join(f"{what} is {known[what]} there and {said[what]} here" for what in differing)
                )
            return False
        of, person = self._task(row), self._person(row.annotator)
        created = int(row.created.replace(tzinfo=row.created.tzinfo or UTC).timestamp() * 1000)
        self.connection.execute(
            task.update().where(task.c.id == of).values(
                taken=task.c.taken + 1,
                need=sa.case((task.c.need > task.c.taken, task.c.need), else_=task.c.taken + 1),
            )
        )  # fmt: skip
        given = insert(
            self.connection, assignment, task=of, annotator=person, flipped=row.flipped, shown=created - row.ms,
            lease=created, state=State.VOTED,
        )  # fmt: skip
        made = insert(
            self.connection, vote, assignment=given, choice=row.pressed, ms=row.ms, fast=row.fast, client_key=row.key,
            created=created,
        )  # fmt: skip
        told = {"vote": made, "assignment": given, "task": of, "choice": row.pressed}
        history.append(self.connection, self.now, "vote", row.annotator, told)
        return True

    def _recorded(self, key: str) -> dict[str, Any] | None:
        """What is recorded of the vote with this key."""
        a, b = sample.alias("a"), sample.alias("b")
        joined = vote.join(assignment).join(annotator).join(task).join(campaign)
        row = self.connection.execute(
            sa.select(
                vote.c.choice, annotator.c.name.label("annotator"), campaign.c.name.label("campaign"), vote.c.ms,
                assignment.c.flipped,
                *(of.c[name].label(f"{name}_{side}")
                  for side, of in (("a", a), ("b", b)) for name in ("sha256", "model", "version", "seed")),
            ).select_from(joined.join(a, task.c.a == a.c.id).join(b, task.c.b == b.c.id))
            .where(vote.c.client_key == key)
        ).first()  # fmt: skip
        if row is None:
            return None
        return {
            "choice": row.choice, "annotator": row.annotator, "campaign": row.campaign, "ms": row.ms,
            "flipped": row.flipped, "a": tuple(row[5:9]), "b": tuple(row[9:13]),
        }  # fmt: skip

    def _campaign(self, name: str, subject: str) -> int:
        if name not in self.campaigns:
            self.campaigns[name] = self._number(campaign, name) or insert(
                self.connection, campaign, name=name, subject=subject, guidelines="", created=self.now, closed=self.now
            )
        return self.campaigns[name]

    def _person(self, name: str) -> int:
        if name not in self.people:
            nobodys = people.digest(secrets.token_urlsafe(people.TOKEN_BYTES))
            self.people[name] = self._number(annotator, name) or insert(
                self.connection, annotator, name=name, token_hash=nobodys, role=Role.REVIEWER, created=self.now,
                revoked=self.now,
            )  # fmt: skip
        return self.people[name]

    def _number(self, table: sa.Table, name: str) -> int | None:
        return self.connection.execute(sa.select(table.c.id).where(table.c.name == name)).scalar()

    def _task(self, row: VoteRow) -> int:
        """The pair of this vote: the campaign's pair at this place of these samples, made where there is none."""
        key = row.campaign, row.task
        if key not in self.tasks:
            number = self._campaign(row.campaign, f"{row.model_a}/{row.version_a}")
            a, b = (record_sample(self.connection, row.sample(side)) for side in ("a", "b"))
            same = [
                task.c.campaign == number,
                task.c.a == a,
                task.c.b == b,
                task.c.repeat_of.is_not(None) == row.repeat,
            ]
            if row.position is not None:
                same.append(task.c.position == row.position)
            found = self.connection.execute(sa.select(task.c.id).where(*same)).scalar()
            self.tasks[key] = found or self._new_task(row, number, a, b)
        return self.tasks[key]

    def _new_task(self, row: VoteRow, number: int, a: int, b: int) -> int:
        last = sa.select(sa.func.coalesce(sa.func.max(task.c.position), -1)).where(task.c.campaign == number)
        return insert(
            self.connection, task, campaign=number, a=a, b=b, strategy=row.strategy, need=row.need or 1,
            position=self.connection.execute(last).scalar_one() + 1 if row.position is None else row.position,
            gold=row.gold_choice, split=row.split,
            repeat_of=None if row.repeat_of is None else self.tasks[row.campaign, row.repeat_of],
        )  # fmt: skip
