"""The feature pass: images through our extractor into a set of features, images a second and peak memory.

Every repetition is a process of its own. It reads Fashion-MNIST as the pipeline does, then takes 8-bit images batch by batch
through the default extractor into `space.FeatureSet`, and ends with the digest, the moments and all that a Fréchet distance
needs of one side. The extractor is fresh, since what its weights are does not change what the pass costs.

    python benchmarks/features.py [--images 10000] [--threads 2] [--repeats 5] [--quick] [--json]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import torch

from regen.core.sections.data import DataConfig
from regen.core.sections.models import ExtractorConfig
from regen.data import sources
from regen.evaluation.measure import features_of
from regen.evaluation.space import FeatureSet, Judge
from regen.models.extractor import Extractor
from regen.training.runtime import prepare_process

BATCH = 1000
CLASSES = 10


def peak() -> float:
    """The largest memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure(images: int, threads: int) -> dict[str, float]:
    """One pass in this process."""
    prepare_process(threads)
    imported = peak()
    pixels = sources.load(DataConfig(source="fashion-mnist", max_rows=images)).images
    config, (height, width, channels) = ExtractorConfig(), pixels.shape[1:]
    torch.manual_seed(0)
    extractor = Extractor((channels, height, width), config.width, config.features, CLASSES).eval()
    features_of(extractor, pixels[:BATCH])  # starts the threads
    start = time.perf_counter()
    found = FeatureSet(Judge("fresh@0", "0" * 64))
    for first in range(0, len(pixels), BATCH):
        found = found.update(features_of(extractor, pixels[first : first + BATCH]))
    extracted = time.perf_counter()
    assert found.digest and found.summary.factor is not None
    return {
        "images_per_second": len(pixels) / (extracted - start),
        "summary_seconds": time.perf_counter() - extracted,
        "peak_mib": peak(),
        "above_import_mib": peak() - imported,
    }


def run(options: argparse.Namespace) -> dict[str, float]:
    """The same in a process of its own; ends this one with its message where it fails."""
    pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(options.threads))
    command = [sys.executable, __file__, "--here", "--images", str(options.images), "--threads", str(options.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **pools})
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="2,000 images, one repetition")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.images, options.threads)))
        return
    if options.quick:
        options.images, options.repeats = 2_000, 1
    runs = [run(options) for _ in range(options.repeats)]
    figures: dict[str, Any] = {key: round(statistics.median(one[key] for one in runs), 4) for key in runs[0]}
    speeds = sorted(one["images_per_second"] for one in runs)
    print(
        f"torch {torch.__version__}, {options.threads} threads, {options.images:,} images, medians of {options.repeats}"
    )
    print(f"images a second           {figures['images_per_second']:,.0f} ({speeds[0]:,.0f}–{speeds[-1]:,.0f})")
    print(f"digest, moments, factor   {figures['summary_seconds'] * 1000:,.1f} ms")
    print(
        f"peak memory               {figures['peak_mib']:,.0f} MiB ({figures['above_import_mib']:,.0f} above importing)"
    )
    if options.json:
        print(json.dumps({"benchmark": "features", "figures": figures, "targets": {}}))


if __name__ == "__main__":
    main()
