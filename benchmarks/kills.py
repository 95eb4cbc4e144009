"""kill −9 of the training process, of a Prefect worker and of the Prefect server, at random moments of a whole flow.

A tiny project has a champion; then a candidate of another seed is trained, judged and perhaps promoted while something is
killed, three times in one project, and the flow is run again until it completes. What counts is that this last run
succeeds, that every network has the bytes of the one that nothing happened to, that each model has one version more, and
that aliases and the history of promotions are those of the undisturbed project.

    python benchmarks/kills.py [--kills 30] [--only VICTIM …] [--seed 0] [--folder FOLDER] [--quick] [--json]

Moments are drawn from the seed, uniformly over the first half of the time that an undisturbed run takes, or over a quarter
of it from when a training begins; later stages are met too, since a rerun goes on where the killed one was. A worker is
killed alone, its flow living on, or with all that it started, in turn.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import psutil

from regen.core.config import load
from regen.core.environment import embedded
from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace, digests
from regen.data import sources, versions

REPOSITORY = Path(__file__).parents[1]
PROJECT = """\
project: digits
seed: 0
data: {source: digits, anomaly_class: 8}
training: {device: cpu, threads: 1, log_every_images: 3200, checkpoint_every_images: 3200}
extractor: {images: 12800, width: 8, features: 16}
vae: {network: mlp, width: 4, latent_dim: 8, images: 38400, score_draws: 2}
gan: {network: mlp, width: 4, latent_dim: 16, images: 19200}
evaluation: {bootstrap_draws: 50, sample_sets: 1}
gate:
  vae: {primary: anomaly_auc, floors: {anomaly_auc: 0.6}}
  gan: {primary: frechet_distance, floors: {frechet_distance: 100000}}
"""
CANDIDATE = ("--set", "seed=1")
KILLS_A_PROJECT = 3
TRAINER = "regen.stages.worker"
START_SECONDS, RUN_SECONDS = 120.0, 400.0
STATE = """\
import json
from regen.core.environment import bootstrap
from regen.core.workspace import Workspace
from regen.registry import promotion, tracking, versions
workspace = Workspace.find()
bootstrap(workspace)
tracking.open_store(workspace)
found = versions.all_versions()
models = sorted({version.model for version in found})
print(json.dumps({
    "versions": {model: [v.number for v in found if v.model == model] for model in models},
    "aliases": {f"{v.model}@{alias}": v.number for v in found for alias in v.aliases},
    "history": [[e.action, e.model, e.version, e.before] for m in models for e in promotion.history(workspace, m)],
}))
"""
DEPLOY = """\
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from flows.retrain import retrain
import os
with get_client(sync_client=True) as client:
    client.create_work_pool(WorkPoolCreate(name="cpu", type="process"))
    flow = client.create_flow(retrain)
    made = client._client.post("/deployments/", json={
        "name": "kills", "flow_id": str(flow), "work_pool_name": "cpu", "entrypoint": "flows.retrain.retrain",
        "enforce_parameter_schema": False,
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": os.getcwd()}}],
    })
    made.raise_for_status()
    print(made.json()["id"])
"""


@dataclass(frozen=True)
class Project:
    """A project in a folder of its own."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """The embedded default, whatever this process's points to."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        path = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])
        return kept | embedded(Workspace(self.root)) | {"PYTHONPATH": path, "PREFECT_WORKER_QUERY_SECONDS": "1"}

    def python(self, *arguments: str, **environment: str) -> str:
        """Runs Python in the project to its end, which must be a good one."""
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.root, env=self.environment | environment, capture_output=True,
            text=True, timeout=RUN_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments[:4])} ended with code {done.returncode}:\n{done.stderr[-3000:]}")
        return done.stdout

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
        """Starts Python in the project, in a process group of its own, its words in a log."""
        with (self.root / f"{arguments[1].replace('.', '-')}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments], cwd=self.root, env=self.environment | environment, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip

    def outcome(self) -> dict[str, Any]:
        """What a flow leaves: the digests of all networks, and what the registry says."""
        found: dict[str, Any] = json.loads(self.python("-c", STATE))
        trained = sorted((self.root / ".regen" / "store").glob("train_*/*"))
        return found | {f"{one.parent.name}/{one.name}": digests(one / "out") for one in trained if one.is_dir()}


def new_project(root: Path, text: str = PROJECT) -> Project:
    """A project with recorded data, nothing else done."""
    (root / ".dvc").mkdir(parents=True)
    (root / "params.yaml").write_text(text)
    for name in ("data.dvc", "dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(REPOSITORY / name, root / name)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    sources.materialise(DataConfig(), Workspace(root).data("digits"))
    versions.add(Workspace(root))
    return Project(root)


def copy(project: Project, root: Path) -> Project:
    """The same in another folder."""
    from regen.registry import relocation

    shutil.copytree(project.root, root, symlinks=True)
    if moved := relocation.moved_paths(Workspace(root)):
        relocation.relocate(Workspace(root), moved)
    return Project(root)


def family(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """All that a process has started, and that has started."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill(processes: list[psutil.Process]) -> None:
    """Sends each SIGKILL."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def trainers(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that train."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if TRAINER in process.cmdline():
                found.append(process)
    return found


def kill_training(project: Project, rng: random.Random, seconds: float) -> int:
    """Kills a process that trains, then another, until three are dead or the run is through."""
    killed = 0
    while killed < KILLS_A_PROJECT:
        running = project.start("-m", "flows.cli", "run", *CANDIDATE)
        while running.poll() is None and killed < KILLS_A_PROJECT:
            if not trainers(family(running)):
                time.sleep(0.05)
                continue
            time.sleep(rng.uniform(0, seconds / 4))
            if living := trainers(family(running)):
                kill([rng.choice(living)])
                killed += 1
        if running.wait(RUN_SECONDS) == 0:
            break
    project.python("-m", "flows.cli", "run", *CANDIDATE)
    return killed


def kill_server(project: Project, rng: random.Random, seconds: float) -> int:
    """Kills Prefect's server in the middle of a run, three times; each run ends as it may."""
    killed = 0
    for _ in range(KILLS_A_PROJECT):
        with serving(project) as (server, address):
            running = project.start(
                "-m", "flows.cli", "run", *CANDIDATE, PREFECT_API_URL=address, PREFECT_CLIENT_MAX_RETRIES="2"
            )  # a server that is gone for good is otherwise asked again for minutes
            with suppress(subprocess.TimeoutExpired):
                running.wait(rng.uniform(0, seconds / 2))
            killed += running.poll() is None
            kill([psutil.Process(server.pid), *family(server)])
            if running.wait(RUN_SECONDS) == 0:
                break
    project.python("-m", "flows.cli", "run", *CANDIDATE)
    return killed


def kill_worker(project: Project, rng: random.Random, seconds: float) -> int:
    """Kills a worker in the middle of a flow, three times, then starts another worker and another run."""
    killed, orphans = 0, list[psutil.Process]()
    config = load(project.root / "params.yaml", {"seed": "1"}).model_dump(mode="json")
    with serving(project) as (_, address):
        deployment = project.python("-c", DEPLOY, PREFECT_API_URL=address).split()[-1]

        def submit() -> str:
            made = ask(f"{address}/deployments/{deployment}/create_flow_run", {"parameters": {"config": config}})
            return str(made["id"])

        def state(run: str) -> str:
            return str(ask(f"{address}/flow_runs/{run}")["state_type"])

        for turn in range(KILLS_A_PROJECT):
            worker = project.start(*WORKER, PREFECT_API_URL=address)
            run = submit()
            wait_until(lambda run=run: state(run) not in ("SCHEDULED", "PENDING"), "no worker took the run")  # type: ignore[misc]
            end = time.monotonic() + rng.uniform(0, seconds / 2)
            while time.monotonic() < end and state(run) == "RUNNING":
                time.sleep(0.2)
            started = family(worker)
            killed += state(run) == "RUNNING"
            kill([psutil.Process(worker.pid), *(started if turn % 2 else [])])
            worker.wait()
            orphans += started
        worker = project.start(*WORKER, PREFECT_API_URL=address)
        try:
            run = submit()
            wait_until(lambda: state(run) not in ("SCHEDULED", "PENDING", "RUNNING"), "the rerun did not end")
            if state(run) != "COMPLETED":
                raise SystemExit(f"the rerun ended as {state(run)}: see {project.root}")
            psutil.wait_procs(orphans, timeout=RUN_SECONDS)
        finally:
            kill([*family(worker), psutil.Process(worker.pid), *orphans])
            worker.wait()
    return killed


WORKER = ("-m", "prefect", "worker", "start", "--pool", "cpu", "--type", "process")
VICTIMS: dict[str, Callable[[Project, random.Random, float], int]] = {
    "training": kill_training, "worker": kill_worker, "server": kill_server,
}  # fmt: skip


@contextmanager
def serving(project: Project) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Prefect's server, and its API's address, until the block ends."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = project.start("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    address = f"http://127.0.0.1:{port}/api"
    try:
        wait_until(lambda: answers(f"{address}/health"), "Prefect's server did not start", START_SECONDS)
        yield server, address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def ask(url: str, body: Mapping[str, Any] | None = None) -> Any:
    """What Prefect's API answers."""
    data = None if body is None else json.dumps(body).encode()
    asked = Request(url, data, {"Content-Type": "application/json"})  # noqa: S310  # loopback
    for left in range(10, -1, -1):
        try:
            with urlopen(asked, timeout=60) as page:  # noqa: S310  # loopback
                return json.loads(page.read())
        except HTTPError as error:
            if error.code != 503 or not left:
                raise
            time.sleep(1)  # its database is busy
    raise AssertionError("unreachable")


def answers(url: str) -> bool:
    """Whether a page answers."""
    try:
        with urlopen(url, timeout=2) as page:  # noqa: S310  # loopback
            return bool(page.status == 200)
    except (URLError, OSError):
        return False


def wait_until(holds: Callable[[], bool], otherwise: str, seconds: float = RUN_SECONDS) -> None:
    """Looks again and again."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(otherwise)
        time.sleep(0.2)


@dataclass(frozen=True)
class Undisturbed:
    """A project before a candidate is trained, and what it comes to when nothing is killed."""

    template: Project
    outcome: dict[str, Any]
    seconds: float

    @classmethod
    def make(cls, folder: Path) -> "Undisturbed":
        """Trains champions, then runs it once."""
        template = new_project(folder / "template")
        template.python("-m", "flows.cli", "run")
        project = copy(template, folder / "undisturbed")
        start = time.perf_counter()
        project.python("-m", "flows.cli", "run", *CANDIDATE)
        seconds = time.perf_counter() - start
        return cls(template, project.outcome(), seconds)


def trial(undisturbed: Undisturbed, victim: str, folder: Path, rng: random.Random) -> tuple[int, list[str]]:
    """Kills three times in a fresh copy: how many came in time, and what differs from the undisturbed project."""
    project = copy(undisturbed.template, folder)
    killed = VICTIMS[victim](project, rng, undisturbed.seconds)
    found = project.outcome()
    wanted = undisturbed.outcome
    return killed, sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="of each victim")
    parser.add_argument("--only", nargs="+", choices=list(VICTIMS), default=list(VICTIMS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the projects here")
    parser.add_argument("--quick", action="store_true", help="three kills of each")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    wanted = KILLS_A_PROJECT if options.quick else options.kills
    figures: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        undisturbed = Undisturbed.make(folder)
        print(f"seed {options.seed}; an undisturbed run takes {undisturbed.seconds:.1f} s", flush=True)
        for victim in options.only:
            rng, killed, failed, number = random.Random(f"{options.seed} {victim}"), 0, 0, 0  # noqa: S311  # moments
            pace = undisturbed
            while killed < wanted:
                home = folder / f"{victim}-{number}"
                times, differing = trial(pace, victim, home, rng)
                if not times:  # each moment came too late: the machine has become quicker
                    pace = replace(pace, seconds=pace.seconds / 2)
                killed, failed, number = killed + times, failed + bool(differing), number + 1
                print(f"{victim:9} {killed:3} kills  {', '.join(differing) or 'as undisturbed'}", flush=True)
                if not differing:
                    shutil.rmtree(home)
            figures |= {f"{victim}_kills": killed, f"{victim}_projects_differing": failed}
    if options.json:
        targets = {name: 0 for name in figures if name.endswith("differing")}
        print(json.dumps({"benchmark": "kills", "figures": figures, "targets": targets}))
    if any(value for name, value in figures.items() if name.endswith("differing")):
        sys.exit(1)


if __name__ == "__main__":
    main()
