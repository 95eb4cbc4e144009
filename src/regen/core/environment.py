"""The embedded default: what must stand in the environment before Prefect, MLflow or DVC is imported.

Only unset variables are filled, so whatever the user has set is left alone. No server, account or network is needed.
"""

import os
from pathlib import Path

from regen.core.errors import writes_to
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
        "DO_NOT_TRACK": "1",
        "MLFLOW_TRACKING_URI": store_uri(workspace.mlruns / "mlflow.db"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runners are for language models, and keep a core warm
        "DVC_NO_ANALYTICS": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
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


def bootstrap(workspace: Workspace) -> None:
    """Fills what is unset in this process's environment, for itself and for every process it starts.

    Raises:
        StorageError: the folder for Prefect's state cannot be made.
    """
    for name, value in embedded(workspace).items():
        os.environ.setdefault(name, value)
    home = Path(os.environ["PREFECT_HOME"])
    with writes_to(home):
        home.mkdir(parents=True, exist_ok=True)
