"""A PostgreSQL server of the tests' own: on a free loopback port, in a temporary folder, as a user that is not root."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

Databases = Callable[[], str]


def binaries() -> Path | None:
    """The folder with the server's programs; Debian keeps them off the path."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return folders[-1] if folders else None


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Makes an empty schema at each call and gives its address; the server ends with the tests."""
    psycopg = pytest.importorskip("psycopg", reason="PostgreSQL's driver psycopg is not installed")
    if (programs := binaries()) is None:
        pytest.skip("PostgreSQL's server is not installed")
    as_root = os.geteuid() == 0
    if as_root and (
        shutil.which("runuser") is None or subprocess.run(["id", "postgres"], capture_output=True).returncode
    ):
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres to run it as")
    user = ["runuser", "-u", "postgres", "--"] if as_root else []
    folder, port = Path(tempfile.mkdtemp(prefix="regen-postgres-")), free_port()
    if as_root:
        shutil.chown(folder, "postgres", "postgres")
    data, log = folder / "data", folder / "log"
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=60"

    def call(*command: str | Path) -> None:
        done = subprocess.run([*user, *command], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr + (log.read_text() if log.exists() else "")

    try:
        call(programs / "initdb", "-D", data, "-A", "trust", "-U", "regen", "--no-sync", "-E", "UTF8", "--locale=C")
        call(programs / "pg_ctl", "-D", data, "-l", log, "-w", "-t", "60", "-o", options, "start")

        address = f"postgresql://regen@127.0.0.1:{port}/postgres"

        def make() -> str:
            name = f"votes_{secrets.token_hex(4)}"
            with psycopg.connect(address, autocommit=True) as connection:
                connection.execute(f"CREATE SCHEMA {name}")
            return f"{address}?options=-csearch_path%3D{name}"

        yield make
    finally:
        subprocess.run(
            [*user, programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], cwd=folder, capture_output=True
        )
        shutil.rmtree(folder, ignore_errors=True)
