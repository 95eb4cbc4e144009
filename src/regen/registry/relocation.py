"""Mends MLflow's absolute paths after the project's folder was moved or copied."""

import sqlite3

from regen.core.workspace import Workspace
from regen.registry.tracking import speaking_plainly

COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
"""Where MLflow keeps absolute paths of artifacts."""
MARK = "/mlruns/artifacts"


def moved_paths(workspace: Workspace) -> str | None:
    """The address of an artifacts' folder on a disk that the database speaks of, if it is not this project's.

    Raises:
        RegistryError: the database cannot be read.
    """
    database = workspace.mlruns / "mlflow.db"
    if not database.is_file():
        return None
    here = (workspace.mlruns / "artifacts").as_uri()
    with speaking_plainly("looking for paths that have moved"), sqlite3.connect(database, timeout=60) as connection:
        rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
    for (location,) in rows:
        if location and location.startswith("file:") and MARK in location and not location.startswith(here):
            return str(location[: location.index(MARK) + len(MARK)])
    return None


def relocate(workspace: Workspace, moved: str) -> None:
    """Rewrites every path under `moved` to lie under this project's mlruns/artifacts, all or none."""
    here = (workspace.mlruns / "artifacts").as_uri()
    with workspace.lock("mlflow"), sqlite3.connect(workspace.mlruns / "mlflow.db", timeout=60) as connection:
        for table, column in COLUMNS:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608  # our own names
                (here, len(moved) + 1, len(moved), moved),
            )
