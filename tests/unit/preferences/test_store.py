"""The store opens, migrates itself once, keeps what it acknowledged, and lets votes and events only be added."""

import multiprocessing
import time
from contextlib import closing

import psutil
import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from regen.core.errors import ConfigError, StorageError
from regen.preferences import history, people, voting
from regen.preferences import store as store_module
from regen.preferences.refusals import ConflictError
from regen.preferences.store import Store
from regen.preferences.tables import METADATA, Choice
from tests.reviews import open_store


def test_the_migrations_make_the_tables_as_the_code_knows_them(store):
    with store.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_opening_a_store_again_changes_nothing(store, address):
    people.add(store, "ada")

    again = open_store(address)

    assert [person.name for person in people.everyone(again)] == ["ada"]
    again.close()


def connections(address: str) -> int:
    """How many connections there are to a store, as the system or the server counts them."""
    if address.startswith("sqlite"):
        return sum(file.path.endswith("votes.db") for file in psutil.Process().open_files())
    with psycopg.connect(address, autocommit=True) as asking:
        mine = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        return int(asking.execute(mine).fetchone()[0])


def settled(address: str, wanted: int) -> bool:
    """Whether there are so many connections, once a server has noticed those that ended."""
    deadline = time.monotonic() + 5
    while (met := connections(address)) != wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    return met == wanted


def test_a_block_gives_its_connections_back_however_it_ends(address):
    before = connections(address)

    for _ in range(3):
        with open_store(address) as store:
            people.everyone(store)
            assert connections(address) == before + 1
    with pytest.raises(ConflictError, match="there is an annotator ada"), open_store(address) as store:
        [people.add(store, "ada") for _ in range(2)]

    assert settled(address, before)


def test_a_store_that_cannot_be_opened_leaves_no_connection(address):
    with open_store(address) as store, store.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    before = connections(address)

    with pytest.raises(ConfigError, match="written by a newer Regen"):
        open_store(address)

    assert settled(address, before)


def open_and_add(address: str, name: str, barrier) -> None:
    barrier.wait()
    store = Store.open(address)
    people.add(store, name)
    store.close()


def test_processes_that_open_a_fresh_store_at_once_all_succeed(address):
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    processes = [spawn.Process(target=open_and_add, args=(address, f"p{i}", barrier)) for i in range(2)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0]
    store = open_store(address)
    assert {person.name for person in people.everyone(store)} == {"p0", "p1"}
    store.close()


def test_a_connection_that_the_server_has_dropped_is_replaced_when_it_was_idle(databases, monkeypatch):
    monkeypatch.setattr(store_module, "IDLE_SECONDS", 0.0)
    address = databases()
    with closing(open_store(address)) as idle, closing(open_store(address)) as other:
        with idle.read() as connection:
            mine = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with other.write() as connection:
            assert connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": mine}).scalar_one()

        with idle.read() as connection:
            assert connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one() != mine


def test_sqlite_writes_ahead_and_syncs_fully(file_store):
    with file_store.read() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    assert found == ["wal", 2, 1]


@pytest.mark.parametrize(
    "change",
    ["UPDATE vote SET choice = 'tie'", "DELETE FROM vote", "UPDATE event SET actor = 'eve'", "DELETE FROM event"],
)
def test_votes_and_events_can_only_be_added(store, new_review, change):
    review = new_review()
    ada = review.person("ada")
    shown = voting.next_pair(store, review.campaign, ada, lambda sample: True)
    voting.record(store, ada, shown.assignment, Choice.LEFT, "k" * 16)

    with pytest.raises((ConflictError, StorageError), match="append-only"), store.write() as connection:
        connection.execute(sa.text(change))

    assert history.first_broken(store) is None


def test_a_block_that_fails_leaves_nothing(store):
    def fail() -> None:
        with store.write() as connection:
            history.append(connection, 0, "noise", "ada", {})
            raise KeyError("key")

    with pytest.raises(KeyError, match="key"):
        fail()

    with store.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM event")).scalar() == 0


def test_a_store_of_a_newer_regen_is_refused(store, address):
    with store.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(ConfigError, match="written by a newer Regen"):
        open_store(address)


@pytest.mark.parametrize("wrong", ["votes.db", "mysql://localhost/votes", "sqlite://", "", "nonsense://x/y"])
def test_an_address_that_is_none_is_refused(wrong):
    with pytest.raises(ConfigError, match="the vote store"):
        Store.open(wrong)


def test_a_server_that_does_not_answer_is_named_without_its_password():
    with pytest.raises(StorageError, match="refuses") as caught:
        Store.open("postgresql://ada:hunter2@127.0.0.1:1/votes")

    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "votes.db").write_text("not a database, but long enough to be taken for one" * 40)

    with pytest.raises(StorageError, match="not a database"):
        Store.open(f"sqlite:///{tmp_path / 'votes.db'}")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="a file stands where a folder should be"):
        Store.open(f"sqlite:///{tmp_path / 'file' / 'votes.db'}")
