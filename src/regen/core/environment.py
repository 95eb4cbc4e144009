"""The embedded default: what must stand in the environment before Prefect, MLflow or DVC is imported.

Only unset variables are filled, so whatever the user has set is left alone. No server, account or network is needed.
"""

import os
from importlib.util import find_spec
from pathlib import Path

from regen.core.errors import DeviceError, writes_to
from regen.core.workspace import Workspace


def embedded(workspace: Workspace) -> dict[str, str]:
    """The variables that a project on one machine needs, all state in .regen/ and mlruns/, all telemetry off."""
    return {
        "PREFECT_HOME": str(workspace.state / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_CLI_PROMPT": "false",
        # leases in memory die with the server, and the slots that they held are never free again
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_CONCURRENCY_MAXIMUM_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
        "DO_NOT_TRACK": "1",
        "MLFLOW_TRACKING_URI": store_uri(workspace.mlruns / "mlflow.db"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # with a server it would spoil what --json prints
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runners are for language models, and keep a core warm
        "DVC_NO_ANALYTICS": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        "AWS_RETRY_MODE": "standard",
        "AWS_MAX_ATTEMPTS": "8",  # some half a minute, so that an artifact store that restarts is waited for
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "GIT_PYTHON_REFRESH": "quiet",
    }


def store_uri(database: Path) -> str:
    """SQLAlchemy's address of a SQLite file.

    Example:
        >>> store_uri(Path("/a/mlruns/mlflow.db"))
        'sqlite:////a/mlruns/mlflow.db'
    """
    return f"sqlite:///{database}"


def with_driver(address: str) -> str:
    """A database's address as SQLAlchemy takes it here: PostgreSQL by psycopg 3 where psycopg2 is not installed.

    Example:
        >>> with_driver("http://mlflow:5000")
        'http://mlflow:5000'
    """
    if not address.startswith(("postgres://", "postgresql://")) or find_spec("psycopg2"):
        return address
    return f"postgresql+psycopg://{address.partition('://')[2]}"


def bootstrap(workspace: Workspace) -> None:
    """Fills what is unset in this process's environment, for itself and for every process it starts.

    Raises:
        StorageError: the folder for Prefect's state cannot be made.
    """
    for name, value in embedded(workspace).items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_TRACKING_URI"] = with_driver(os.environ["MLFLOW_TRACKING_URI"])
    home = Path(os.environ["PREFECT_HOME"])
    with writes_to(home):
        home.mkdir(parents=True, exist_ok=True)


def torchrun_rank() -> int | None:
    """This process's number among those that torchrun started for one training; None where it started none.

    Raises:
        DeviceError: what torchrun sets is no number.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    try:
        return int(os.environ["RANK"])
    except (KeyError, ValueError):
        raise DeviceError("torchrun has set no RANK; start the command by torchrun itself") from None
