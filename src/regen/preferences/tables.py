"""The store's tables: campaigns, samples, pairs to judge, people, and what they voted. Times are milliseconds since 1970, UTC.

`vote` and `event` are only ever added to: triggers of the database refuse the rest.
"""

from enum import StrEnum

import sqlalchemy as sa


class Choice(StrEnum):
    """What was pressed."""

    LEFT = "left"
    RIGHT = "right"
    TIE = "tie"
    BOTH_BAD = "both_bad"
    SKIP = "skip"


class State(StrEnum):
    """Where a pair that was given to somebody stands; the first two hold one of the pair's places."""

    OPEN = "open"
    VOTED = "voted"
    UNDONE = "undone"
    RETURNED = "returned"
    EXPIRED = "expired"


class Role(StrEnum):
    """What a token opens: the page, or the page and the API."""

    REVIEWER = "reviewer"
    ADMIN = "admin"


class Kind(StrEnum):
    """How a sample is shown: as a picture, or as a table's row."""

    IMAGE = "image"
    ROW = "row"


METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s",
    }
)  # fmt: skip


def _refers(
    table: str, name: str, *, nullable: bool = False, index: bool | None = None, unique: bool | None = None
) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer, sa.ForeignKey(f"{table}.id"), nullable=nullable, index=index, unique=unique)


campaign = sa.Table(
    "campaign", METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("guidelines", sa.Text, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("closed", sa.BigInteger),
)  # fmt: skip
"""`subject` says which model it is about, `closed` when it ended."""

sample = sa.Table(
    "sample", METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("meta", sa.JSON, nullable=False),
    sa.UniqueConstraint("sha256", "model", "version", "seed"),
)  # fmt: skip
"""`seed` is the latent's: model, version and seed make the sample again. `meta` holds a row's values, or a picture's size."""

task = sa.Table(
    "task", METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    _refers("campaign", "campaign"),
    _refers("sample", "a", index=True),
    _refers("sample", "b", index=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("strategy", sa.String(16), nullable=False),
    sa.Column("need", sa.Integer, nullable=False),
    sa.Column("taken", sa.Integer, nullable=False, server_default="0"),
    sa.Column("gold", sa.SmallInteger),
    sa.Column("split", sa.String(16), nullable=False),
    _refers("task", "repeat_of", nullable=True),
    sa.Column("withdrawn", sa.Text),
    sa.UniqueConstraint("campaign", "position"),
    sa.CheckConstraint("taken >= 0 AND taken <= need", name="taken"),
)  # fmt: skip
"""A pair to judge `need` times; `taken` places are held by open or voted assignments, which the check keeps at `need`."""
sa.Index(
    "ix_task_free", task.c.campaign, task.c.position,
    sqlite_where=task.c.taken < task.c.need, postgresql_where=task.c.taken < task.c.need,
)  # fmt: skip

annotator = sa.Table(
    "annotator", METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.BigInteger),
    sa.Column("revoked", sa.BigInteger),
)  # fmt: skip

session = sa.Table(
    "session", METADATA,
    sa.Column("id_hash", sa.String(64), primary_key=True),
    _refers("annotator", "annotator"),
    sa.Column("csrf", sa.String(64), nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False),
)  # fmt: skip

assignment = sa.Table(
    "assignment", METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    _refers("task", "task", index=True),
    _refers("annotator", "annotator"),
    sa.Column("flipped", sa.Boolean, nullable=False),
    sa.Column("shown", sa.BigInteger, nullable=False),
    sa.Column("lease", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
)  # fmt: skip
"""A pair given to somebody until `lease`; flipped, `b` stands left."""
_HELD, _OPEN = assignment.c.state.in_(["open", "voted"]), assignment.c.state == "open"
sa.Index(
    "ix_assignment_once", assignment.c.task, assignment.c.annotator, unique=True,
    sqlite_where=_HELD, postgresql_where=_HELD,
)  # fmt: skip
sa.Index("ix_assignment_lease", assignment.c.lease, sqlite_where=_OPEN, postgresql_where=_OPEN)
sa.Index("ix_assignment_person", assignment.c.annotator, assignment.c.state)

vote = sa.Table(
    "vote", METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    _refers("assignment", "assignment", unique=True),
    sa.Column("choice", sa.String(16), nullable=False),
    sa.Column("ms", sa.BigInteger, nullable=False),
    sa.Column("fast", sa.Boolean, nullable=False),
    sa.Column("client_key", sa.String(64), nullable=False, unique=True),
    _refers("vote", "supersedes", nullable=True, unique=True),
    sa.Column("created", sa.BigInteger, nullable=False),
)  # fmt: skip
"""A vote stands while its assignment's state is voted; one that was undone stays, and its successor names it."""

event = sa.Table(
    "event", METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("before", sa.String(64), nullable=False, unique=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
)  # fmt: skip
"""What happened, each entry with the hash of the one before it."""
