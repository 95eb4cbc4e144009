"""The vote store: a SQLite file by default, PostgreSQL by its address; its tables brought up to date when it is opened.

Whatever is acknowledged has been committed, and a commit is on disk: SQLite runs in WAL mode with synchronous=FULL, and
writers begin with BEGIN IMMEDIATE, so that none finds the database locked half-way.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from regen.core.errors import ConfigError, StorageError, writes_to
from regen.preferences import migrate
from regen.preferences.refusals import ConflictError

Clock = Callable[[], int]
WAIT_MS = 30_000
"""How long a writer waits for the one before it."""
CONNECTIONS = 40
"""As many as the web framework has threads."""
IDLE_SECONDS = 10.0
"""A PostgreSQL connection that was last used longer ago is tried before it is used: the server may have been restarted."""


def utc_ms() -> int:
    """Now, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Store:
    """An open vote store; a block `with Store.open(address) as store:` gives its connections back when it ends."""

    engine: sa.Engine
    clock: Clock = utc_ms
    rng: random.Random = field(default_factory=random.SystemRandom)
    """Draws which of a pair stands left."""
    _turn: threading.Lock = field(default_factory=threading.Lock)
    """SQLite's writers of this process queue here: its own waiting is neither fair nor quick."""

    @classmethod
    def open(cls, address: str, clock: Clock = utc_ms, rng: random.Random | None = None) -> "Store":
        """Opens the store at `address` and brings its tables up to date, one process at a time.

        Args:
            address: sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE.

        Raises:
            ConfigError: the address is none, its driver is not installed, or the store is newer than this Regen.
            StorageError: the database is out of reach or refuses.
        """
        store = cls(_engine(address), clock, rng or random.SystemRandom())
        file = store.engine.url.database if store.is_sqlite else None
        try:
            with FileLock(f"{file}.lock") if file else nullcontext(), store.write() as connection:
                migrate.upgrade(connection)
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that writes; committed, and on disk, when the block ends without an error."""
        writer = self.engine.execution_options(writes=True)
        with self._turn if self.is_sqlite else nullcontext(), speaking_plainly(self), writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection that only reads; on PostgreSQL each statement by itself, which spares two round trips."""
        reader = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        with speaking_plainly(self), reader.connect() as connection:
            yield connection

    def close(self) -> None:
        """Gives the connections back."""
        self.engine.dispose()


def insert(connection: sa.Connection, table: sa.Table, **values: Any) -> int:
    """Adds a row and gives back its number."""
    key = connection.execute(table.insert().values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _engine(address: str) -> sa.Engine:
    address = address.replace("postgres://", "postgresql://", 1)
    address = address.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        url = sa.make_url(address)
        if url.get_backend_name() not in ("sqlite", "postgresql") or not url.database:
            raise ConfigError(
                f"the vote store is sqlite:///PATH or postgresql://USER@HOST/DATABASE, not {url.render_as_string()}"
            )
        if url.get_backend_name() == "postgresql":
            engine = sa.create_engine(url, pool_size=CONNECTIONS)
            sa.event.listen(engine, "checkin", _note_use)
            sa.event.listen(engine, "checkout", _try_where_idle)
            return engine
        folder = Path(url.database).parent
        with writes_to(folder):
            folder.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(url, pool_size=CONNECTIONS)
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError("the vote store's address is none; write sqlite:///PATH or postgresql://…") from error
    except ModuleNotFoundError as error:
        raise ConfigError("PostgreSQL needs its driver: pip install 'psycopg[binary]'") from error
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _note_use(connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _try_where_idle(connection: Any, record: Any, proxy: Any) -> None:
    """SQLAlchemy's own test would ask before every use, a fifth of all that a page under load waits for."""
    if time.monotonic() - record.info.get("used", time.monotonic()) > IDLE_SECONDS:
        try:
            connection.execute("SELECT 1")
            connection.rollback()
        except connection.Error as error:  # the pool takes a new one
            raise sa.exc.DisconnectionError("the connection was lost while idle") from error


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # the driver would begin transactions of its own
    for pragma in (f"busy_timeout={WAIT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def speaking_plainly(store: Store) -> Iterator[None]:
    """Turns what a database raises into one line.

    Raises:
        ConflictError: a statement violates what the tables promise, such as that a vote's key is used once.
        StorageError: the database is out of reach, full, locked or damaged.
    """
    try:
        yield
    except sa.exc.IntegrityError as error:
        reason = " ".join(str(error.orig).split())[:200]
        raise ConflictError(f"this contradicts what is recorded ({reason}); load it anew, then try again") from error
    except (DBAPIError, sa.exc.TimeoutError) as error:
        reason = " ".join(str(getattr(error, "orig", error)).split())[:200]
        raise StorageError(
            f"the vote store {store.engine.url.render_as_string()} refuses ({reason}); is it running, and its disk not full?"
        ) from error
