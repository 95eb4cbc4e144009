"""Runs in MLflow's tracking store: one a training, found again by its key, so that a rerun goes on in the same run."""

import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from jaxtyping import UInt8

from regen.core import files
from regen.core.environment import store_uri
from regen.core.errors import RegistryError, StorageError
from regen.core.workspace import Workspace

KEY = "regen.key"
PROCESS = "regen.process"
"""The tag that says which process a run belongs to."""
SYSTEM_METRICS_SECONDS = 5.0
SPEED = "train/images_per_second"
POINTS_A_REQUEST = 1000
"""MLflow takes no more."""
ARTIFACTS = "REGEN_ARTIFACTS"
"""The variable that names where new experiments keep their artifacts, such as s3://BUCKET/PATH; a server has its own."""
SOON = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}
"""How long a server is waited for when a store is opened: one that does not answer then is told of within seconds."""
PATIENTLY = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
"""And later: some minute, so that a server or a database that restarts is sat out."""
OUT_OF_REACH = (
    "Max retries", "Connection refused", "could not connect", "connection failed", "Could not connect",
    "Connection was closed", "server closed the connection", "the database system is",
)  # fmt: skip
"""What stores say that do not answer."""
FAILING = tuple(f"{code} Server Error" for code in (500, 502, 503)) + tuple(
    f"too many {code}" for code in (500, 502, 503)
)
"""What a server says whose own database or artifact store is away."""


def _refusals() -> tuple[type[Exception], ...]:
    """What MLflow, its database and its artifact store raise; S3's errors only where S3 is in use."""
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    refusals: list[type[Exception]] = [
        MlflowException, RequestException, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, ConnectionError,
    ]  # fmt: skip
    for module, names in (
        ("botocore.exceptions", ("BotoCoreError", "ClientError")),
        ("boto3.exceptions", ("Boto3Error",)),
    ):
        if module in sys.modules:
            refusals += [getattr(sys.modules[module], name) for name in names]
    return tuple(refusals)


@contextmanager
def speaking_plainly(doing: str) -> Iterator[None]:
    """Turns what MLflow and its store raise into one line about what was being done.

    Raises:
        RegistryError: the store refuses or is out of reach.
        StorageError: its database or its disk cannot be written.
    """
    try:
        yield
    except _refusals() as error:
        uri, reason = named(os.environ.get("MLFLOW_TRACKING_URI", "")), " ".join(str(error).split())
        if any(
            word in reason
            for word in ("disk is full", "disk I/O error", "readonly database", "unable to open database")
        ):
            database = Path(uri.removeprefix("sqlite:///"))
            full = any(word in reason for word in ("is full", "I/O error")) or (
                database.parent.is_dir() and shutil.disk_usage(database.parent).free < 2**20
            )
            why = "the disk is full; free some space" if full else "is its disk read-only?"
            raise StorageError(f"cannot write the tracking store {uri}: {why} ({doing})") from error
        if type(error).__module__.startswith(("botocore", "boto3")):
            raise RegistryError(
                f"the artifact store does not answer or refuses ({doing}): {reason[:200]}; see to it that it runs, then run "
                "the command again"
            ) from error
        if any(word in reason for word in FAILING):
            raise RegistryError(
                f"the tracking server {uri} fails ({doing}): its database or its artifact store may be away; see to it that "
                "they run, then run the command again"
            ) from error
        if any(word in reason for word in OUT_OF_REACH):
            raise RegistryError(
                f"the tracking server {uri} does not answer ({doing}); start it, or unset MLFLOW_TRACKING_URI to use mlruns/"
            ) from error
        raise RegistryError(f"MLflow refused ({doing}): {reason[:300]}") from error


def named(uri: str) -> str:
    """A store's address without its password.

    Example:
        >>> named("postgresql://ada:secret@db/mlflow")
        'postgresql://ada@db/mlflow'
    """
    scheme, mark, rest = uri.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}{mark}{user.partition(':')[0]}{at}{host}"


def is_embedded(workspace: Workspace) -> bool:
    """Whether runs and models are kept in the project's own mlruns/."""
    import mlflow

    return bool(mlflow.get_tracking_uri() == store_uri(workspace.mlruns / "mlflow.db"))


def open_store(workspace: Workspace) -> None:
    """Makes the tracking store ready, once; a database is created and migrated by one process at a time.

    Raises:
        RegistryError: the store refuses or is out of reach.
    """
    warnings.filterwarnings("ignore", module=r"mlflow\.")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    import mlflow

    for name in ("mlflow.store.db.utils", "mlflow.system_metrics", "mlflow.tracking", "mlflow.utils"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with workspace.lock("mlflow"), speaking_plainly("opening the store"), _answering_soon():
        if not is_embedded(workspace):
            mlflow.MlflowClient().search_experiments(max_results=1)
            return
        with _made_whole(workspace.mlruns / "mlflow.db") as path:
            with sqlite3.connect(path, timeout=60) as database:
                database.execute("PRAGMA journal_mode=WAL")
            mlflow.MlflowClient().search_experiments(max_results=1)


@contextmanager
def _made_whole(database: Path) -> Iterator[Path]:
    """Within the block a new database is made; one that was left half made, by a full disk or a kill, is begun anew."""
    database.parent.mkdir(parents=True, exist_ok=True)
    making = database.with_suffix(".making")
    if making.exists():
        for part in database.parent.glob(f"{database.name}*"):
            part.unlink()
    if not database.exists():
        making.touch()
    yield database
    making.unlink(missing_ok=True)


@contextmanager
def _answering_soon() -> Iterator[None]:
    """Waits for a server as `SOON` says within the block and as `PATIENTLY` after it, unless the user has set how long."""
    unset = [name for name in SOON if name not in os.environ]
    os.environ.update({name: SOON[name] for name in unset})
    chosen: dict[str, str] = {}
    try:
        yield
        chosen = PATIENTLY
    finally:
        for name in unset:
            os.environ.pop(name)
        os.environ.update({name: value for name, value in chosen.items() if name in unset})


def artifact_location(workspace: Workspace, experiment: str) -> str | None:
    """Where a new experiment keeps its artifacts; None where the tracking server decides."""
    import mlflow

    if mlflow.get_tracking_uri().startswith(("http://", "https://")):
        return None
    if root := os.environ.get(ARTIFACTS):
        return f"{root.rstrip('/')}/{experiment}"
    return (workspace.mlruns / "artifacts" / experiment).as_uri()


def experiment_id(workspace: Workspace, name: str) -> str:
    """The experiment's id; it is made where there is none."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    with speaking_plainly(f"opening the experiment {name}"):
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        try:
            kind = {"mlflow.experimentKind": "custom_model_development"}  # the UI opens on runs, not on traces
            location = artifact_location(workspace, name)
            return str(client.create_experiment(name, artifact_location=location, tags=kind))
        except MlflowException:  # another process was quicker
            if found := client.get_experiment_by_name(name):
                return str(found.experiment_id)
            raise


def this_process() -> str:
    """Host, number and start of this process, which together no other has."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.0f}"


def git_commit(root: Path) -> str:
    """The commit that is checked out, with -dirty when tracked files differ from it; unknown outside a repository."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + ("-dirty" if status.stdout.strip() else "")


def _origin() -> dict[str, str]:
    return {"mlflow.source.name": "regen", PROCESS: this_process()}


@dataclass(frozen=True)
class Run:
    """One MLflow run."""

    id: str

    @classmethod
    def of_key(cls, workspace: Workspace, experiment: str, name: str, key: str, tags: Mapping[str, str]) -> "Run":
        """The run with this key, newly made where there is none."""
        import mlflow

        owner = experiment_id(workspace, experiment)
        client = mlflow.MlflowClient()
        with speaking_plainly(f"opening the run {name}"):
            found = client.search_runs([owner], f"tags.`{KEY}` = '{key}'", max_results=1)
            if found:
                return cls(found[0].info.run_id)
            made = client.create_run(owner, run_name=name, tags={KEY: key, **_origin(), **tags})
            return cls(made.info.run_id)

    @classmethod
    def new(cls, workspace: Workspace, experiment: str, name: str, tags: Mapping[str, str]) -> "Run":
        """A run of its own, whatever others there are."""
        import mlflow

        owner = experiment_id(workspace, experiment)
        with speaking_plainly(f"opening the run {name}"):
            made = mlflow.MlflowClient().create_run(owner, run_name=name, tags={**_origin(), **tags})
        return cls(made.info.run_id)

    @classmethod
    def find(cls, run_id: str) -> "Run | None":
        """The run with this id; None where there is none."""
        import mlflow
        from mlflow.exceptions import MlflowException

        with speaking_plainly(f"looking for the run {run_id}"):
            try:
                return cls(mlflow.MlflowClient().get_run(run_id).info.run_id)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise

    def close(self, status: str = "FINISHED") -> None:
        """Marks the run as finished, or as FAILED or KILLED."""
        import mlflow

        with speaking_plainly("closing the run"):
            mlflow.MlflowClient().set_terminated(self.id, status=status)

    def model_uris(self) -> list[str]:
        """The addresses of the models that were logged in the run."""
        import mlflow

        with speaking_plainly(f"reading the run {self.id}"):
            outputs = mlflow.MlflowClient().get_run(self.id).outputs
        return [f"models:/{model.model_id}" for model in (outputs.model_outputs if outputs else [])]

    def log_params(self, params: Mapping[str, object]) -> None:
        """Records parameters; those that are recorded already stay as they are."""
        import mlflow
        from mlflow.entities import Param

        client = mlflow.MlflowClient()
        with speaking_plainly("recording parameters"):
            known = client.get_run(self.id).data.params
            new = [Param(key, str(value)) for key, value in params.items() if key not in known]
            client.log_batch(self.id, params=new)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Records figures."""
        now = int(time.time() * 1000)
        self.log_points([(key, float(value), step, now) for key, value in metrics.items()])

    def log_points(self, points: Sequence[tuple[str, float, int, int]]) -> None:
        """Records figures, each a key, a value, a step and a time in milliseconds, as few requests as may be."""
        import mlflow
        from mlflow.entities import Metric

        with speaking_plainly("recording metrics"):
            for start in range(0, len(points), POINTS_A_REQUEST):
                batch = [Metric(*point[:2], point[3], point[2]) for point in points[start : start + POINTS_A_REQUEST]]
                mlflow.MlflowClient().log_batch(self.id, metrics=batch)

    def log_picture(self, path: str, pixels: UInt8[np.ndarray, "h w c"]) -> None:
        """Records a picture under an artifact path that ends in .png."""
        import mlflow
        from PIL import Image

        squeezed = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
        with speaking_plainly("recording a picture"):
            mlflow.MlflowClient().log_image(self.id, Image.fromarray(squeezed), path)

    def log_files(self, paths: Mapping[Path, str]) -> None:
        """Records files, each in an artifact folder."""
        import mlflow

        with speaking_plainly("recording files"):
            for path, folder in paths.items():
                mlflow.MlflowClient().log_artifact(self.id, str(path), folder)

    def read_json(self, path: str) -> Any:
        """What a JSON file among the run's artifacts holds; None where there is no such file."""
        import mlflow

        client, folder = mlflow.MlflowClient(), path.rpartition("/")[0]
        with speaking_plainly(f"reading {path} of the run {self.id}"), TemporaryDirectory() as temporary:
            if path not in [entry.path for entry in client.list_artifacts(self.id, folder)]:
                return None
            return files.read_json(Path(client.download_artifacts(self.id, path, temporary)))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags."""
        import mlflow

        with speaking_plainly("recording tags"):
            for key, value in tags.items():
                mlflow.MlflowClient().set_tag(self.id, key, value)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Marks the run as running, measures the machine meanwhile, and closes it as finished, failed or killed."""
        import mlflow
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        client = mlflow.MlflowClient()
        with speaking_plainly("opening the run"):
            client.set_tag(self.id, PROCESS, this_process())
            client.update_run(self.id, status="RUNNING")
        monitor = SystemMetricsMonitor(self.id, sampling_interval=SYSTEM_METRICS_SECONDS, resume_logging=True)
        monitor.start()
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            monitor.finish()
            with speaking_plainly("closing the run"):
                client.set_terminated(self.id, status=status)

    def training_seconds(self) -> float:
        """How long training took, interruptions left out: from the speed at each log point."""
        import mlflow

        with speaking_plainly("reading the run's speed"):
            points = mlflow.MlflowClient().get_metric_history(self.id, SPEED)
        speeds = {point.step: point.value for point in points}
        steps = sorted(speeds)
        return float(sum((step - before) / speeds[step] for before, step in zip([0, *steps], steps, strict=False)))

    def data(self) -> Any:
        """MLflow's record: params, metrics, tags."""
        import mlflow

        with speaking_plainly("reading the run"):
            return mlflow.MlflowClient().get_run(self.id).data
