"""What the flow costs beside its work: `regen run` with trainings of one step, and the same stages called as functions.

Every repetition is a fresh project and a process of its own, ours and the functions' in turn, so that start-up, imports,
MLflow's fresh database and the packaging of models count on both sides. What is left is Prefect: its ephemeral server, its
client, a process for each training. Measured with Prefect's home fresh, as after a clone, and with one that has been used.
Then the run is repeated, which does nothing and says so.

    python benchmarks/overhead.py [--repeats 3] [--quick] [--json]
"""

import argparse
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.kills import Project, new_project

PROJECT = """\
project: digits
data: {source: digits, anomaly_class: 8}
training: {device: cpu, threads: 1}
extractor: {images: 6400, width: 8, features: 16}
vae: {network: mlp, width: 4, latent_dim: 8, images: 64, score_draws: 2}
gan: {network: mlp, width: 4, latent_dim: 16, images: 32}
evaluation: {bootstrap_draws: 50, sample_sets: 1}
"""
"""One step of the VAE and of the GAN; the extractor trains until it passes its self-tests, and no longer."""
FUNCTIONS = """\
from regen.core.config import load
from regen.core.environment import bootstrap
from regen.core.workspace import Workspace
from regen.stages.base import Context
from regen.stages.catalogue import STAGES
workspace = Workspace.find()
bootstrap(workspace)
context = Context(workspace, load(workspace.root / "params.yaml"))
for stage in STAGES.values():
    stage(context)
"""
FLOW = ("-m", "flows.cli", "run")
TARGETS = {"flow_overhead_s": 15.0, "first_flow_overhead_s": 15.0, "noop_s": 15.0}


def timed(root: Path, *arguments: str) -> tuple[float, float]:
    """Wall and CPU seconds of Python in the project; ends this process with its message where it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    Project(root).python(*arguments)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def repetition(template: Path, folder: Path) -> dict[str, float]:
    """Each way once, in projects of their own."""
    homes = {way: folder / way for way in ("functions", "first_flow", "flow")}
    for home in homes.values():
        shutil.copytree(template, home, symlinks=True)
    found: dict[str, tuple[float, float]] = {"functions": timed(homes["functions"], "-c", FUNCTIONS)}
    found["first_flow"] = timed(homes["first_flow"], *FLOW)
    shutil.copytree(homes["first_flow"] / ".regen" / "prefect", homes["flow"] / ".regen" / "prefect")
    found["flow"] = timed(homes["flow"], *FLOW)
    found["noop"] = timed(homes["flow"], *FLOW)
    return {
        f"{way}{unit}": value for way, pair in found.items() for unit, value in zip(("_s", "_cpu_s"), pair, strict=True)
    }


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one repetition")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as temporary:
        new_project(Path(temporary) / "template", PROJECT)
        for number in range(1 if options.quick else options.repeats):
            runs.append(repetition(Path(temporary) / "template", Path(temporary) / str(number)))
            print(", ".join(f"{name} {value:.1f}" for name, value in runs[-1].items()), flush=True)
    figures = {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}
    for way in ("flow", "first_flow"):
        differences = [run[f"{way}_s"] - run["functions_s"] for run in runs]
        figures[f"{way}_overhead_s"] = round(statistics.median(differences), 2)
    for name, target in TARGETS.items():
        print(f"{name:22} {figures[name]:6.1f} s   target: under {target:g} s")
    if options.json:
        print(json.dumps({"benchmark": "overhead", "figures": figures, "targets": TARGETS}))


if __name__ == "__main__":
    main()
