"""The first form of the store, and the triggers that let votes and events only be added."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("vote", "event")


def upgrade() -> None:
    """Makes the tables, the indexes and the triggers."""
    _people()
    _pairs()
    _votes()
    for table in APPEND_ONLY:
        _refuse_changes(table)


def _people() -> None:
    op.create_table(
        "annotator",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger),
        sa.Column("revoked", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_annotator"),
        sa.UniqueConstraint("name", name="uq_annotator_name"),
        sa.UniqueConstraint("token_hash", name="uq_annotator_token_hash"),
    )
    op.create_table(
        "session",
        sa.Column("id_hash", sa.String(64), nullable=False),
        sa.Column("annotator", sa.Integer, nullable=False),
        sa.Column("csrf", sa.String(64), nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id_hash", name="pk_session"),
        sa.ForeignKeyConstraint(["annotator"], ["annotator.id"], name="fk_session_annotator"),
    )


def _pairs() -> None:
    op.create_table(
        "campaign",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("guidelines", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("closed", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_campaign"),
        sa.UniqueConstraint("name", name="uq_campaign_name"),
    )
    op.create_table(
        "sample",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("meta", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sample"),
        sa.UniqueConstraint("sha256", "model", "version", "seed", name="uq_sample_sha256_model_version_seed"),
    )
    op.create_index("ix_sample_sha256", "sample", ["sha256"])
    op.create_table(
        "task",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("campaign", sa.Integer, nullable=False),
        sa.Column("a", sa.Integer, nullable=False),
        sa.Column("b", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("strategy", sa.String(16), nullable=False),
        sa.Column("need", sa.Integer, nullable=False),
        sa.Column("taken", sa.Integer, nullable=False, server_default="0"),
        sa.Column("gold", sa.SmallInteger),
        sa.Column("split", sa.String(16), nullable=False),
        sa.Column("repeat_of", sa.Integer),
        sa.Column("withdrawn", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_task"),
        sa.UniqueConstraint("campaign", "position", name="uq_task_campaign_position"),
        sa.CheckConstraint("taken >= 0 AND taken <= need", name="taken"),
        sa.ForeignKeyConstraint(["campaign"], ["campaign.id"], name="fk_task_campaign"),
        sa.ForeignKeyConstraint(["a"], ["sample.id"], name="fk_task_a"),
        sa.ForeignKeyConstraint(["b"], ["sample.id"], name="fk_task_b"),
        sa.ForeignKeyConstraint(["repeat_of"], ["task.id"], name="fk_task_repeat_of"),
    )
    op.create_index("ix_task_a", "task", ["a"])
    op.create_index("ix_task_b", "task", ["b"])
    free = sa.text("taken < need")
    op.create_index("ix_task_free", "task", ["campaign", "position"], sqlite_where=free, postgresql_where=free)


def _votes() -> None:
    op.create_table(
        "assignment",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("task", sa.Integer, nullable=False),
        sa.Column("annotator", sa.Integer, nullable=False),
        sa.Column("flipped", sa.Boolean, nullable=False),
        sa.Column("shown", sa.BigInteger, nullable=False),
        sa.Column("lease", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_assignment"),
        sa.ForeignKeyConstraint(["task"], ["task.id"], name="fk_assignment_task"),
        sa.ForeignKeyConstraint(["annotator"], ["annotator.id"], name="fk_assignment_annotator"),
    )
    op.create_index("ix_assignment_task", "assignment", ["task"])
    held, still_open = sa.text("state IN ('open', 'voted')"), sa.text("state = 'open'")
    op.create_index(
        "ix_assignment_once", "assignment", ["task", "annotator"],
        unique=True, sqlite_where=held, postgresql_where=held,
    )  # fmt: skip
    op.create_index(
        "ix_assignment_lease", "assignment", ["lease"], sqlite_where=still_open, postgresql_where=still_open
    )
    op.create_index("ix_assignment_person", "assignment", ["annotator", "state"])
    op.create_table(
        "vote",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("assignment", sa.Integer, nullable=False),
        sa.Column("choice", sa.String(16), nullable=False),
        sa.Column("ms", sa.BigInteger, nullable=False),
        sa.Column("fast", sa.Boolean, nullable=False),
        sa.Column("client_key", sa.String(64), nullable=False),
        sa.Column("supersedes", sa.Integer),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_vote"),
        sa.UniqueConstraint("assignment", name="uq_vote_assignment"),
        sa.UniqueConstraint("client_key", name="uq_vote_client_key"),
        sa.UniqueConstraint("supersedes", name="uq_vote_supersedes"),
        sa.ForeignKeyConstraint(["assignment"], ["assignment.id"], name="fk_vote_assignment"),
        sa.ForeignKeyConstraint(["supersedes"], ["vote.id"], name="fk_vote_supersedes"),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("before", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
        sa.UniqueConstraint("before", name="uq_event_before"),
        sa.UniqueConstraint("hash", name="uq_event_hash"),
    )


def _refuse_changes(table: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
    )
