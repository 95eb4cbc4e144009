"""Servers of the tests' own, on loopback: one that speaks S3 (moto's), MLflow's and Prefect's on PostgreSQL."""

import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

import psutil
import pytest

from tests.postgres import free_port

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "regen", "AWS_SECRET_ACCESS_KEY": "regen-secret", "AWS_DEFAULT_REGION": "us-east-1",
}  # fmt: skip
START_SECONDS = 120


class Bucket:
    """A bucket on a server that can go away and come back with all it holds."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.port, self._make = free_port(), ThreadedMotoServer
        self.start()
        self.client().create_bucket(Bucket="regen")

    @property
    def address(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What points S3's clients to it."""
        return CREDENTIALS | {"MLFLOW_S3_ENDPOINT_URL": self.address, "AWS_ENDPOINT_URL": self.address}

    def start(self) -> None:
        """Lets it answer."""
        self._server = self._make(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        """Lets it refuse connections."""
        self._server.stop()

    def client(self):
        """boto3's."""
        import boto3

        keys = {"aws_access_key_id": "regen", "aws_secret_access_key": "regen-secret", "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.address, **keys)

    def names(self, prefix: str) -> list[str]:
        """The objects whose names begin so."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket="regen", Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    """A bucket named regen."""
    pytest.importorskip("moto", reason="moto, the S3 server of the tests, is not installed")
    made = Bucket()
    yield made
    made.stop()


def new_database(schema: str) -> str:
    """An empty database on the server of a schema that `databases` made."""
    import psycopg

    name = f"regen_{secrets.token_hex(4)}"
    with psycopg.connect(schema, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    scheme, place, *_ = urlsplit(schema)
    return urlunsplit((scheme, place, f"/{name}", "", ""))


@dataclass(frozen=True)
class Postmaster:
    """The PostgreSQL server behind a schema that `databases` made, to be frozen or restarted."""

    address: str

    def process(self) -> psutil.Process:
        """Its first process."""
        import psycopg

        with psycopg.connect(self.address) as connection:
            row = connection.execute("SELECT pg_backend_pid()").fetchone()
            assert row is not None
            parent = psutil.Process(row[0]).parent()
        assert parent is not None
        return parent

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Answers nobody within the block, and goes on after it."""
        first = self.process()
        family = [first, *first.children(recursive=True)]
        for process in family:
            process.suspend()
        yield
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Is shut down at once within the block, and started again after it."""
        import psycopg

        first = self.process()
        command, folder, user = first.cmdline(), first.cwd(), first.username()
        first.send_signal(signal.SIGQUIT)
        psutil.wait_procs([first], timeout=30)
        yield
        as_user = ["runuser", "-u", user, "--"] if user != psutil.Process().username() else []
        subprocess.Popen([*as_user, *command], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            with suppress(psycopg.OperationalError), psycopg.connect(self.address):
                return
            assert time.monotonic() < deadline, "PostgreSQL did not come back"
            time.sleep(0.2)


@contextmanager
def serving(
    command: Sequence[str], health: str, log: Path, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs a server of a Python module until the block ends, beginning when it answers."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=log.parent, stdout=said, stderr=said, start_new_session=True,
            env=dict(environment),
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(health):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.2)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as page:
            return page.status == 200
    except (URLError, OSError):
        return False


@contextmanager
def mlflow_server(database: str, bucket: Bucket, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """MLflow on a database, its artifacts in S3 and handed through by it; gives its address."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [
        "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", database.replace("postgresql://", "postgresql+psycopg://"),
        "--artifacts-destination", "s3://regen/mlflow",
    ]  # fmt: skip
    with serving(command, f"{address}/health", folder / "mlflow.log", {**environment, **bucket.environment}):
        yield address


@contextmanager
def prefect_server(folder: Path, environment: Mapping[str, str], port: int = 0) -> Iterator[str]:
    """Prefect's server; gives the address of its API."""
    port = port or free_port()
    address = f"http://127.0.0.1:{port}/api"
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with serving(command, f"{address}/health", folder / f"prefect-{port}.log", environment):
        yield address
