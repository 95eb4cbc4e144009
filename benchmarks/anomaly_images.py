"""Anomaly detection on Fashion-MNIST: each of ten classes in turn is the anomaly that training never sees.

Our VAE beside isolation forest, PCA reconstruction and kNN, all fitted on the same training rows, which hold the other nine
classes, and measured on the same test rows, which hold all ten. Prints ROC-AUC and average precision of each choice, their
means, and the rank of our mean among the methods' (1 is first). Every finished choice is a line of --out, and is not done
again; lines of another seed, budget or number of rows are passed over.

    python benchmarks/anomaly_images.py --out FILE.jsonl [--classes 0 1 … 9] [--rows N] [--images BUDGET] [--json]

The images come from Debian's package dataset-fashion-mnist, from --file FOLDER, or from a download.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from regen.core.config import Config, parse
from regen.core.seeds import derive
from regen.data import schemas, sources
from regen.data.raw import RawImages
from regen.data.splits import Dataset, unit_interval
from regen.evaluation.anomaly import BASELINES
from regen.models.networks import to_tensor
from regen.stages.train import rows_of
from regen.training.runtime import Runtime, Silent, open_fabric, prepare_process
from regen.training.vae import train_vae

OURS = "VAE"
SHORT = {
    "isolation forest": "forest",
    "PCA reconstruction": "pca",
    "kNN": "knn",
    "VAE, −ELBO alone": "elbo",
    OURS: "vae",
}
TARGETS = {"rank_auc": 1, "rank_ap": 1}
MEASURED = {"auc": roc_auc_score, "ap": average_precision_score}
Figures = dict[str, dict[str, float]]
"""Method to its auc and ap."""


def project(options: argparse.Namespace, anomaly_class: int) -> Config:
    """The project of one choice of class; what it does not name are the default settings."""
    data = {"source": "fashion-mnist", "max_rows": options.rows, "file": options.file, "anomaly_class": anomaly_class}
    return parse({
        "project": "fashion", "seed": options.seed, "data": data, "vae": {"images": options.images},
        "training": {
            "device": options.device, "threads": options.threads, "precision": "bf16" if options.bf16 else "auto",
        },
    })  # fmt: skip


def measure(config: Config, raw: RawImages) -> Figures:
    """AUC and AP of each method with `config`'s anomaly class."""
    table = schemas.validate(raw, config.data)
    dataset = Dataset.build(raw.images, raw.labels, table, config.data, config.seed)
    is_anomaly = dataset.is_anomaly[dataset.rows("test")]
    labels = sorted(set(dataset.labels.tolist()) - {config.data.anomaly_class})
    train, held_out = (rows_of(config, dataset, split, labels, normal_only=True) for split in ("train", "validation"))
    test = to_tensor(dataset.pixels("test"))
    runtime = Runtime.of(config.training, Silent(), None, open_fabric(config.training))
    vae = train_vae(config.vae, train, held_out, config.seed, runtime, tuple(map(str, labels))).vae
    scores = {OURS: vae.anomaly_score(test).numpy(), "VAE, −ELBO alone": vae.negative_elbo(test).numpy()}
    vectors = unit_interval(dataset.pixels("train", normal_only=True)), unit_interval(dataset.pixels("test"))
    scores |= {name: fit(*vectors, derive(config.seed, name)) for name, fit in BASELINES.items()}
    return {
        name: {metric: float(of(is_anomaly, values)) for metric, of in MEASURED.items()}
        for name, values in scores.items()
    }


def ranks(means: Figures) -> dict[str, int]:
    """Our place among the methods by each mean, 1 being first; our own −ELBO is no rival."""
    rivals = [name for name in means if name in BASELINES]
    return {
        f"rank_{metric}": 1 + sum(means[name][metric] >= means[OURS][metric] for name in rivals) for metric in MEASURED
    }


def show(rows: dict[int, Figures], means: Figures) -> None:
    """Prints the table."""
    methods = list(means)
    width = max(map(len, methods)) + 2
    print("ROC-AUC / average precision".ljust(30) + "".join(name.rjust(width) for name in methods))
    for title, row in [*((f"class {label}", row) for label, row in sorted(rows.items())), ("mean", means)]:
        print(title.ljust(30) + "".join(f"{row[m]['auc']:.3f} / {row[m]['ap']:.3f}".rjust(width) for m in methods))


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one a finished class; goes on from there")
    parser.add_argument("--classes", type=int, nargs="+", default=list(range(10)), help="classes to hold out")
    parser.add_argument("--rows", type=int, help="rows to take, spread evenly; all when absent")
    parser.add_argument("--images", type=int, default=640_000, help="budget of each VAE")
    parser.add_argument("--file", help="folder of the four files, instead of Debian's package or a download")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16, which pays on CPUs with AMX")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    settings = {"seed": options.seed, "rows": options.rows, "images": options.images, "bf16": options.bf16}
    lines = options.out.read_text(encoding="utf-8").splitlines() if options.out.exists() else []
    found = [line for line in map(json.loads, lines) if line["settings"] == settings]
    rows: dict[int, Figures] = {line["class"]: line["figures"] for line in found if line["class"] in options.classes}
    print(f"{settings}, torch {torch.__version__}, {len(rows)} of {len(options.classes)} classes done", flush=True)
    left = [label for label in options.classes if label not in rows]
    if left:
        prepare_process(options.threads)
        raw = sources.load(project(options, left[0]).data)
    for label in left:
        started = time.perf_counter()
        rows[label] = measure(project(options, label), raw)
        seconds = round(time.perf_counter() - started, 1)
        line = {"class": label, "settings": settings, "figures": rows[label], "seconds": seconds}
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        best = max(BASELINES, key=lambda name: rows[label][name]["auc"])
        print(
            f"class {label}: AUC {rows[label][OURS]['auc']:.3f}, {best} {rows[label][best]['auc']:.3f}, {seconds:.0f} s",
            flush=True,
        )
    means = {
        method: {metric: float(np.mean([row[method][metric] for row in rows.values()])) for metric in MEASURED}
        for method in next(iter(rows.values()))
    }
    show(rows, means)
    places = ranks(means)
    print(", ".join(f"{name} {place}" for name, place in places.items()) + f", over {len(rows)} classes")
    if options.json:
        figures = {f"{SHORT[name]}_{metric}": value for name, of in means.items() for metric, value in of.items()}
        print(json.dumps({"benchmark": "anomaly_images", "figures": figures | places, "targets": TARGETS}))


if __name__ == "__main__":
    main()
