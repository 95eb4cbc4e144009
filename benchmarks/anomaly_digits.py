"""Anomaly detection on handwritten digits: each class in turn is the anomaly that training never sees.

The VAE with the default project's settings beside isolation forest, PCA reconstruction and kNN, all fitted on the same
rows and measured on the same test rows. Prints ROC-AUC and average precision, and each method's mean over the classes.

    python benchmarks/anomaly_digits.py [--quick] [--json] [--jobs 2]
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from regen.core.config import Config, load
from regen.core.seeds import derive
from regen.data import schemas, sources
from regen.data.splits import Dataset, unit_interval
from regen.evaluation.anomaly import BASELINES
from regen.models.networks import to_tensor
from regen.stages.train import rows_of
from regen.training.runtime import Runtime, prepare_process
from regen.training.vae import train_vae

QUICK_IMAGES = 32_000
TARGETS = {"vae_auc": 0.95, "knn_auc_margin": 0.01}


def measure(config: Config) -> dict[str, tuple[float, float]]:
    """AUC and AP of each method with `config`'s anomaly class."""
    prepare_process(1)
    raw = sources.load(config.data)
    table = schemas.validate(raw, config.data)
    dataset = Dataset.build(raw.images, raw.labels, table, config.data, config.seed)
    is_anomaly = dataset.is_anomaly[dataset.rows("test")]
    labels = sorted(set(dataset.labels.tolist()) - {config.data.anomaly_class})
    train, held_out = (rows_of(config, dataset, split, labels, normal_only=True) for split in ("train", "validation"))
    test = to_tensor(dataset.pixels("test"))
    vae = train_vae(config.vae, train, held_out, config.seed, Runtime(), tuple(map(str, labels))).vae
    elbo_only = vae.negative_elbo(test)
    scores = {"VAE": vae.anomaly_score(test).numpy(), "VAE, −ELBO alone": elbo_only.numpy()}
    vectors = unit_interval(dataset.pixels("train", normal_only=True)), unit_interval(dataset.pixels("test"))
    scores |= {name: fit(*vectors, derive(config.seed, name)) for name, fit in BASELINES.items()}
    return {
        name: (float(roc_auc_score(is_anomaly, found)), float(average_precision_score(is_anomaly, found)))
        for name, found in scores.items()
    }


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"train each VAE on {QUICK_IMAGES:,} images only")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    options = parser.parse_args()
    base = load(Path(__file__).parents[1] / "params.yaml", {"vae.images": str(QUICK_IMAGES)} if options.quick else {})
    configs = [base.model_copy(update={"data": base.data.model_copy(update={"anomaly_class": c})}) for c in range(10)]
    print(f"seed {base.seed}, {base.vae.images:,} images a VAE, torch {torch.__version__}", flush=True)
    started = time.perf_counter()
    with ProcessPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(measure, configs))
    methods = list(rows[0])
    width = max(map(len, methods)) + 2
    print("ROC-AUC / average precision".ljust(30) + "".join(m.rjust(width) for m in methods))
    for label, row in enumerate(rows):
        print(f"class {label}".ljust(30) + "".join(f"{row[m][0]:.3f} / {row[m][1]:.3f}".rjust(width) for m in methods))
    means = {m: tuple(np.mean([row[m] for row in rows], axis=0)) for m in methods}
    print("mean".ljust(30) + "".join(f"{means[m][0]:.3f} / {means[m][1]:.3f}".rjust(width) for m in methods))
    print(f"{time.perf_counter() - started:.0f} s with {options.jobs} jobs")
    if options.json:
        names = {
            "VAE": "vae",
            "VAE, −ELBO alone": "elbo",
            "isolation forest": "forest",
            "PCA reconstruction": "pca",
            "kNN": "knn",
        }
        figures = {f"{names[m]}_{kind}": float(means[m][i]) for m in methods for i, kind in enumerate(("auc", "ap"))}
        print(json.dumps({"benchmark": "anomaly_digits", "figures": figures, "targets": TARGETS}))


if __name__ == "__main__":
    main()
