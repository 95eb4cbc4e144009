"""Brings the store's tables to the newest form with Alembic's migrations, inside the caller's transaction."""

from pathlib import Path

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from regen.core.errors import ConfigError

FOLDER = Path(__file__).parent / "migrations"
LOCK = 7_306_358_291
"""The advisory lock under which PostgreSQL is migrated: one number, the same in every process."""


def upgrade(connection: sa.Connection) -> None:
    """Runs the migrations that are missing; whoever comes second finds none.

    Raises:
        ConfigError: the store was written by a newer Regen.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    scripts = ScriptDirectory(str(FOLDER))

    def steps(revision: str, context: MigrationContext) -> object:
        return scripts._upgrade_revs("head", revision)  # noqa: SLF001  # Alembic's own recipe for running without env.py

    context = MigrationContext.configure(connection, opts={"fn": steps})
    try:
        with Operations.context(context):
            context.run_migrations()
    except CommandError as error:
        raise ConfigError(f"the vote store was written by a newer Regen ({error}); install that one") from error
