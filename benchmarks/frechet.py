"""The Fréchet distance from features to value, beside how four public packages compute it on the same features.

Every measurement is a process of its own with the same number of BLAS threads, ours and the peers' in turn. The peers' own
functions are called; what they import for images and networks only, torchvision above all, has an empty stand-in in its
place. The features are random, not negative and of a falling spectrum, as Inception's are. All values are compared with one
of 64 bits that squares nothing: the singular values of R₁R₂ᵀ, of two QR factors of the centred features.

    python benchmarks/frechet.py --peers PYTHON [--threads 2] [--repeats 3] [--clock wall] [--quick] [--json]

On a machine that others load too, one thread and `--clock cpu` tell the sides apart more surely than the time that passes.

`benchmarks/peers.sh FOLDER` makes the environment whose python --peers takes. This file runs in it, too, so Regen is
imported only where our side needs it.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch

SIZES = {"10k_64": (10_000, 64), "10k_2048": (10_000, 2048), "1k_2048": (1_000, 2048)}
QUICK = {"10k_64": (1_000, 64), "10k_2048": (1_500, 256), "1k_2048": (128, 256)}
TARGETS = {
    "speedup_10k_2048": 1.5,
    "speedup_10k_2048_cached": 2.0,
    "speedup_1k_2048": 20.0,
    "max_relative_error": 1e-6,
}
"""At least these speeds against the fastest peer, and at most this error."""
MOST_LAPS = 5
OURS = ("ours", "ours, reference cached")
PEERS = ("pytorch-fid", "clean-fid", "torch-fidelity", "torchmetrics")
TORCHVISION = (
    "requests", "torchvision", "torchvision.datasets", "torchvision.models", "torchvision.models.utils",
    "torchvision.transforms", "torchvision.transforms.functional",
)  # fmt: skip
INCEPTION = tuple(
    f"torch_fidelity{part}"
    for part in ("", ".feature_extractor_inceptionv3", ".helpers", ".interpolate_compat_tensorflow")
)
"""What torchmetrics takes from torch-fidelity, which imports torchvision in turn."""

Value = Callable[[np.ndarray], float]


def make_features(n: int, d: int, seed: int) -> np.ndarray:
    """Features of one side; the seed decides whose, the size decides the space."""
    mixing = np.random.default_rng(d).normal(size=(d, d)) / np.sqrt(d) * np.exp(-3 * np.arange(d) / d)
    rng = np.random.default_rng(seed)
    found: np.ndarray = np.maximum((1 + 0.1 * seed) * rng.normal(size=(n, d)) @ mixing + 0.1 + 0.05 * seed, 0)
    return found


def exact(real: np.ndarray, fake: np.ndarray) -> float:
    """The distance without any product that squares the features."""
    sides = [(rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1) for rows in (real, fake)]
    real_small, fake_small = (
        np.asarray(np.linalg.qr(side, mode="r")) if len(side) > side.shape[1] else side for side in sides
    )
    cross = np.linalg.svd(real_small @ fake_small.T, compute_uv=False).sum()
    apart = np.square(real.mean(axis=0) - fake.mean(axis=0)).sum()
    return float(apart + sum(np.square(side).sum() for side in sides) - 2 * cross)


def ours(real: np.ndarray) -> Value:
    """Both sides from their features."""
    from regen.evaluation.frechet import frechet_distance, summarise

    return lambda fake: frechet_distance(summarise(real), summarise(fake))


def ours_cached(real: np.ndarray) -> Value:
    """The reference's mean, covariance and factor are there already, as `Gaussian.factor` keeps it once it was asked for."""
    from regen.evaluation.frechet import frechet_distance, summarise

    reference = summarise(real)
    assert reference.factor is not None
    return lambda fake: frechet_distance(reference, summarise(fake))


def without_networks(name: str, stood_in: tuple[str, ...]) -> Any:
    """A peer's module with empty stand-ins for what it imports for the sake of images and of networks."""
    sys.modules.update({missing: MagicMock() for missing in stood_in})
    return importlib.import_module(name)


def pytorch_fid(real: np.ndarray) -> Value:
    """Its statistics and its distance, by scipy's sqrtm."""
    distance = without_networks("pytorch_fid.fid_score", TORCHVISION).calculate_frechet_distance
    return lambda fake: distance(
        real.mean(axis=0), np.cov(real, rowvar=False), fake.mean(axis=0), np.cov(fake, rowvar=False)
    )


def clean_fid(real: np.ndarray) -> Value:
    """Its distance of features, by scipy's sqrtm."""
    distance = without_networks("cleanfid.fid", TORCHVISION).fid_from_feats
    return lambda fake: float(distance(real, fake))


def torch_fidelity(real: np.ndarray) -> Value:
    """Its statistics and its distance, by numpy's eigvals."""
    module = without_networks("torch_fidelity.metric_fid", TORCHVISION)

    def distance(fake: np.ndarray) -> float:
        sides = [module.fid_features_to_statistics(torch.from_numpy(rows)) for rows in (real, fake)]
        return float(module.fid_statistics_to_metric(*sides, False)["frechet_inception_distance"])

    return distance


def torchmetrics(real: np.ndarray) -> Value:
    """Its metric's sums, in 64 bits as it keeps them, and its distance, by torch's eigvals."""
    compute = vars(without_networks("torchmetrics.image.fid", INCEPTION))["_compute_fid"]

    def moments(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        features, n = torch.from_numpy(rows), len(rows)
        total, products = features.sum(dim=0), features.t().mm(features)
        mean = (total / n).unsqueeze(0)
        return mean.squeeze(0), (products - n * mean.t().mm(mean)) / (n - 1)

    return lambda fake: float(compute(*moments(real), *moments(fake)))


METHODS = dict(
    zip((*OURS, *PEERS), (ours, ours_cached, pytorch_fid, clean_fid, torch_fidelity, torchmetrics), strict=True)
)


def measure(method: str, folder: Path, threads: int, clock: str) -> dict[str, float]:
    """Seconds and value of a method on the features in a folder, in this process; the median of what laps a second holds."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    torch.set_num_threads(threads)
    small = make_features(300, 32, 0)
    METHODS[method](small)(small + 0.1)  # starts the threads
    real, fake = (np.load(folder / f"{side}.npy") for side in ("real", "fake"))
    value_of, seconds, value = METHODS[method](real), list[float](), 0.0
    while sum(seconds) < 1 and len(seconds) < MOST_LAPS:
        start = now()
        value = value_of(fake)
        seconds.append(now() - start)
    return {"seconds": statistics.median(seconds), "value": value}


def run(method: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """The same in a process of its own; ends this one with its message where it fails."""
    threads = str(options.threads)
    pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    python = options.peers if method in PEERS else sys.executable
    job = json.dumps({"method": method, "folder": str(folder), "threads": options.threads, "clock": options.clock})
    done = subprocess.run(
        [python, __file__, "--job", job], capture_output=True, text=True, check=False, env={**os.environ, **pools}
    )
    if done.returncode:
        raise SystemExit(f"error: {method}: {done.stderr.strip()}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(name: str, size: tuple[int, int], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Every method's seconds and error at one size, in turn; prints a line each."""
    n, d = size
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        sides = [make_features(n, d, seed) for seed in (0, 1)]
        for side, rows in zip(("real", "fake"), sides, strict=True):
            np.save(folder / f"{side}.npy", rows)
        truth = exact(*sides)
        del sides
        runs: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
        for _ in range(options.repeats):
            for method in METHODS:
                runs[method].append(run(method, folder, options))
    found = {}
    for method, several in runs.items():
        seconds = sorted(one["seconds"] for one in several)
        error = max(abs(one["value"] / truth - 1) for one in several)
        found[method] = {"seconds": statistics.median(seconds), "range": [seconds[0], seconds[-1]], "error": error}
        spread = f"{seconds[0]:.3f}–{seconds[-1]:.3f}"
        print(
            f"{name.ljust(12)}{method.ljust(26)}{found[method]['seconds']:10.3f}{spread:>18}{error:14.1e}", flush=True
        )
    return found


def figures_of(found: dict[str, dict[str, dict[str, Any]]]) -> dict[str, float]:
    """Speed against the fastest peer at each size, and our largest error."""
    figures = {}
    for name, methods in found.items():
        fastest = min(methods[peer]["seconds"] for peer in PEERS)
        for method, suffix in zip(OURS, ("", "_cached"), strict=True):
            figures[f"speedup_{name}{suffix}"] = round(fastest / methods[method]["seconds"], 2)
    figures["max_relative_error"] = max(methods[method]["error"] for methods in found.values() for method in OURS)
    return figures


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="python of the environment that benchmarks/peers.sh made")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--repeats", type=int, default=3, help="of each method and size")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="seconds that pass, or of the processor"
    )
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES), metavar="SIZE")
    parser.add_argument("--quick", action="store_true", help="smaller sizes under the same names, one repetition")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        job = json.loads(options.job)
        print(json.dumps(measure(**{**job, "folder": Path(job["folder"])})))
        return
    if not options.peers:
        parser.error("--peers is needed; make the peers' environment with benchmarks/peers.sh FOLDER")
    if options.quick:
        options.repeats = 1
    sizes = QUICK if options.quick else SIZES
    how = f"{options.threads} threads, {options.clock} clock, medians of {options.repeats}"
    print(f"torch {torch.__version__}, numpy {np.__version__}, {how}")
    print("size".ljust(12) + "method".ljust(26) + f"{'seconds':>10}{'range':>18}{'error':>14}")
    found = {name: compare(name, sizes[name], options) for name in options.only}
    figures = figures_of(found)
    for name, target in TARGETS.items():
        if name in figures:
            met = figures[name] <= target if name == "max_relative_error" else figures[name] >= target
            print(f"{name.ljust(38)}{figures[name]:10.3g}   target {target:g}: {'met' if met else 'missed'}")
    if options.json:
        print(json.dumps({"benchmark": "frechet", "figures": figures, "targets": TARGETS}))


if __name__ == "__main__":
    main()
