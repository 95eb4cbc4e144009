"""Anomaly detection on tables of ADBench (Han et al., NeurIPS 2022), semi-supervised: training sees normal rows alone.

Our table VAE in one configuration for all sets (the defaults) beside pyod's VAE, IForest, ECOD, KNN and DeepSVDD with theirs.
Of each set's distinct rows, at most 10,000 by a fixed draw (as ADBench does), half of the normal ones train, drawn by the
seed; the rest and all anomalies are the test rows. All methods get the same z-scores, KNN in a second row the places between
least and largest, in which ADBench scales. Prints each method's ROC-AUC and average precision a set, their means over sets,
the mean rank, the paired difference to KNN with a bootstrap over the sets and their seeds, and how long a fit takes beside
pyod's VAE.

    python benchmarks/tables_anomaly.py --data FOLDER --peers PYTHON --out FILE.jsonl [--seeds 0 1 2] [--quick] [--json]

FOLDER holds ADBench's NAME.npz with X and y. `benchmarks/peers.sh FOLDER` makes the environment whose python --peers takes;
this file runs in it, too, so Regen is imported only where our side needs it. What --out holds is not run again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

OURS, ALONE, BOUND, NEAR = "ours", "ours, VAE alone", "ours, −ELBO", "ours, neighbours alone"
KNN, KNN_PLACES, PYOD_VAE = "KNN", "KNN, min–max", "VAE"
RIVALS = (PYOD_VAE, "IForest", "ECOD", KNN, KNN_PLACES, "DeepSVDD")
SHORT = {
    OURS: "ours", ALONE: "vae_alone", BOUND: "elbo", NEAR: "neighbours", PYOD_VAE: "pyod_vae", "IForest": "iforest",
    "ECOD": "ecod", KNN: "knn", KNN_PLACES: "knn_minmax", "DeepSVDD": "deepsvdd",
}  # fmt: skip
LOOKED_AT = ("23_mammography", "26_optdigits", "2_annthyroid", "30_satellite", "43_WDBC", "6_cardio")
"""Sets that the configuration was chosen on, with seed 100; the others were not looked at before the first full run."""
MOST_ROWS = 10_000
HELD_OUT_SHARE = 0.15
"""Share of the training rows that calibrates our score; the peers train on all of them."""
TIMED = ("6_cardio", "2_annthyroid", "28_pendigits")
EPOCHS, WIDTHS, LATENTS = 30, (128, 64, 32), 2
"""pyod's VAE as it comes, and ours for the race."""
TARGETS = {"rank_auc": 1, "rank_ap": 1, "fit_vs_pyod_vae": 3}
Rows = dict[str, np.ndarray]
Figures = dict[str, dict[str, float]]
"""Method to its auc, ap and CPU seconds of the fit."""


def split(path: Path, seed: int, most: int) -> Rows:
    """Training rows, test rows and which of these are anomalies; z-scored by the training rows."""
    with np.load(path) as held:
        joined = np.unique(np.column_stack([held["X"].astype(np.float64), held["y"]]), axis=0)
    if len(joined) > most:
        joined = joined[np.sort(np.random.default_rng(0).permutation(len(joined))[:most])]
    x, y = joined[:, :-1], joined[:, -1] == 1
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~y))
    train, test = normal[: len(normal) // 2], np.concatenate([normal[len(normal) // 2 :], np.flatnonzero(y)])
    mean, scale = x[train].mean(axis=0), x[train].std(axis=0)
    z = (x - mean) / np.where(scale > 0, scale, 1.0)
    return {"train": z[train], "test": z[test], "is_anomaly": y[test]}


def judged(rows: Rows, scores: dict[str, np.ndarray], seconds: float) -> Figures:
    """Area and precision of scores."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    y = rows["is_anomaly"]
    return {
        name: {"auc": float(roc_auc_score(y, s)), "ap": float(average_precision_score(y, s)), "seconds": seconds}
        for name, s in scores.items()
    }


def ours(rows: Rows, seed: int) -> Figures:
    """Our figures on one split."""
    import torch

    from regen.core.sections.table_vae import TableVaeConfig
    from regen.models.cells import Cells
    from regen.models.table_vae import middle

    started = time.process_time()
    vae = trained(TableVaeConfig(), rows["train"], seed)
    seconds, test = time.process_time() - started, Cells.of_numbers(torch.from_numpy(rows["test"]))
    surprises = vae.surprise(vae.score_parts(test))
    inputs = [place for place, name in enumerate(vae.parts) if name.startswith(("distance", "isolation"))]
    scores = {
        OURS: vae.anomaly_score(test), ALONE: vae.vae_score(test), BOUND: vae.negative_elbo(test),
        NEAR: middle(surprises[inputs]),
    }  # fmt: skip
    return judged(rows, {name: s.numpy() for name, s in scores.items()}, seconds)


def trained(config: Any, train: np.ndarray, seed: int) -> Any:
    """Our VAE, calibrated on a share of the training rows that it did not see."""
    import torch

    from regen.models.cells import Cells, Layout
    from regen.training.runtime import Runtime, prepare_process
    from regen.training.table_vae import train_table_vae

    prepare_process(1)
    order = np.random.default_rng(seed).permutation(len(train))
    held = max(int(HELD_OUT_SHARE * len(train)), 2)
    rows, held_out = (Cells.of_numbers(torch.from_numpy(train[some])) for some in (order[held:], order[:held]))
    return train_table_vae(config, Layout(train.shape[1]), rows, held_out, seed, Runtime()).vae


def peers(rows: Rows, seed: int) -> Figures:
    """The peers' figures on one split."""
    import torch
    from pyod.models.deep_svdd import DeepSVDD  # type: ignore[import-not-found]
    from pyod.models.ecod import ECOD  # type: ignore[import-not-found]
    from pyod.models.iforest import IForest  # type: ignore[import-not-found]
    from pyod.models.knn import KNN as Neighbours  # type: ignore[import-not-found]  # noqa: N811
    from pyod.models.vae import VAE  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    low, width = rows["train"].min(axis=0), np.ptp(rows["train"], axis=0)
    places = {key: (rows[key] - low) / np.where(width > 0, width, 1.0) for key in ("train", "test")}
    features = rows["train"].shape[1]
    makers: dict[str, tuple[Callable[[], Any], Rows]] = {
        PYOD_VAE: (lambda: VAE(random_state=seed, verbose=0), rows),
        "IForest": (lambda: IForest(random_state=seed), rows),
        "ECOD": (ECOD, rows),
        KNN: (Neighbours, rows),
        KNN_PLACES: (Neighbours, places),
        "DeepSVDD": (lambda: DeepSVDD(features, random_state=seed, verbose=0), rows),
    }
    found: Figures = {}
    for name, (make, of) in makers.items():
        started = time.process_time()
        detector = make()
        detector.fit(of["train"])
        seconds = time.process_time() - started
        found |= judged(rows, {name: np.nan_to_num(detector.decision_function(of["test"]))}, seconds)
    return found


def ours_timed(rows: Rows, batch_size: int) -> Figures:
    """CPU seconds of our fit with pyod's net and epochs."""
    from regen.core.sections.table_vae import TableVaeConfig

    config = TableVaeConfig(widths=WIDTHS, latent_dim=LATENTS, rows=EPOCHS * len(rows["train"]), batch_size=batch_size)
    trained(config, rows["train"][:200], 0)  # what the first call sets up is no part of a fit
    started = time.process_time()
    trained(config, rows["train"], 0)
    return {"ours": {"seconds": time.process_time() - started}}


def peer_timed(rows: Rows) -> Figures:
    """CPU seconds of pyod's fit."""
    import torch
    from pyod.models.vae import VAE

    torch.set_num_threads(1)
    VAE(random_state=0, verbose=0, epoch_num=1).fit(rows["train"][:200])
    started = time.process_time()
    VAE(random_state=0, verbose=0).fit(rows["train"])
    return {PYOD_VAE: {"seconds": time.process_time() - started}}


def peer_ecod(rows: Rows) -> Figures:
    """Pyod's ECOD scores of the first training rows."""
    from pyod.models.ecod import ECOD

    scores = ECOD().fit(rows["train"]).decision_scores_[:200]
    return {"ECOD": {str(place): float(score) for place, score in enumerate(scores)}}


JOBS: dict[str, Callable[[Rows, int], Figures]] = {
    "ours": ours, "peers": peers, "ours timed": lambda rows, seed: ours_timed(rows, 128),
    "ours timed at 32": lambda rows, seed: ours_timed(rows, 32), "peer timed": lambda rows, seed: peer_timed(rows),
    "peer ecod": lambda rows, seed: peer_ecod(rows),
}  # fmt: skip


def run(job: str, rows: Rows, seed: int, python: str) -> Figures:
    """A job's figures, from a process of its own on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "rows.npz", train=rows["train"], test=rows["test"], is_anomaly=rows["is_anomaly"])
        done = subprocess.run(
            [python, __file__, "--job", job, folder, str(seed)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(f"error: {job} failed: {done.stderr.strip()[-800:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


class Ledger:
    """Figures of finished jobs, one a line; those of other settings are passed over."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, settings
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = [line for line in map(json.loads, lines) if line["settings"] == settings]
        self.done: dict[tuple[str, str, int], Figures] = {
            (line["job"], line["set"], line["seed"]): line["figures"] for line in found
        }

    def get(self, job: str, name: str, seed: int, work: Callable[[], Figures]) -> Figures:
        """The figures, measured now unless they are there."""
        key = (job, name, seed)
        if key not in self.done:
            started = time.perf_counter()
            self.done[key] = work()
            line = {"job": job, "set": name, "seed": seed, "settings": self.settings, "figures": self.done[key]}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            print(f"{name}, seed {seed}, {job}: {time.perf_counter() - started:.0f} s", flush=True)
        return self.done[key]


def ranks(table: dict[str, Figures], metric: str, method: str) -> dict[str, float]:
    """Mean over sets of the place of `method` and of each rival among them, 1 being first."""
    from scipy.stats import rankdata

    names = (method, *RIVALS)
    places = [rankdata([-row[name][metric] for name in names]) for row in table.values()]
    return dict(zip(names, np.mean(places, axis=0).tolist(), strict=True))


def paired(
    runs: dict[str, list[Figures]], metric: str, one: str, other: str, draws: int = 2000
) -> tuple[float, float, float]:
    """Mean difference over sets, with the 95 % interval of a bootstrap over sets and over the seeds within."""
    rng = np.random.default_rng(0)
    of = [np.array([run[one][metric] - run[other][metric] for run in seeds]) for seeds in runs.values()]
    drawn = [
        np.mean([rng.choice(of[place], len(of[place])).mean() for place in rng.integers(len(of), size=len(of))])
        for _ in range(draws)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(np.mean([one.mean() for one in of])), float(low), float(high)


def show(table: dict[str, Figures], title: str) -> dict[str, float]:
    """Prints AUC / AP of each set, their means and the mean ranks; gives back what stands in the last lines."""
    methods = (OURS, ALONE, BOUND, NEAR, *RIVALS)
    width = max(map(len, methods)) + 2
    print(f"\n{title}: ROC-AUC / average precision\n" + " " * 18 + "".join(name.rjust(width) for name in methods))
    for name, row in table.items():
        print(name.ljust(18) + "".join(f"{row[m]['auc']:.3f} / {row[m]['ap']:.3f}".rjust(width) for m in methods))
    means = {m: {k: float(np.mean([row[m][k] for row in table.values()])) for k in ("auc", "ap")} for m in methods}
    print("mean".ljust(18) + "".join(f"{means[m]['auc']:.3f} / {means[m]['ap']:.3f}".rjust(width) for m in methods))
    all_ranks = {k: ranks(table, k, OURS) for k in ("auc", "ap")}
    for own in (ALONE, BOUND, NEAR):
        for k in all_ranks:
            all_ranks[k][own] = ranks(table, k, own)[own]  # among the rivals, without our other rows
    line = (f"{all_ranks['auc'][m]:.2f} / {all_ranks['ap'][m]:.2f}".rjust(width) for m in methods)
    print("mean rank".ljust(18) + "".join(line))
    figures = {f"{SHORT[m]}_{k}": means[m][k] for m in methods for k in ("auc", "ap")}
    for k, of in all_ranks.items():
        figures[f"rank_{k}"] = 1 + sum(of[rival] <= of[OURS] for rival in RIVALS)
        figures[f"mean_rank_{k}"] = of[OURS]
    return figures


def averaged(seeds: list[Figures]) -> Figures:
    """Means over the seeds."""
    return {m: {k: float(np.mean([one[m][k] for one in seeds])) for k in ("auc", "ap")} for m in seeds[0]}


def race(ledger: Ledger, options: argparse.Namespace) -> dict[str, float]:
    """How many times faster our fit is, in CPU seconds on one thread; the median of the sets."""
    ratios: dict[str, list[float]] = {"ours timed": [], "ours timed at 32": []}
    for name in [name for name in TIMED if name in options.sets]:
        rows = split(options.data / f"{name}.npz", 0, options.most)
        theirs = ledger.get("peer timed", name, 0, lambda rows=rows: run("peer timed", rows, 0, options.peers))  # type: ignore[misc]
        for job, found in ratios.items():
            mine = ledger.get(job, name, 0, lambda job=job, rows=rows: run(job, rows, 0, sys.executable))  # type: ignore[misc]
            found.append(theirs[PYOD_VAE]["seconds"] / mine["ours"]["seconds"])
        took = f"pyod's VAE {theirs[PYOD_VAE]['seconds']:.1f} s, ours {ratios['ours timed'][-1]:.1f} times faster"
        same = f"{ratios['ours timed at 32'][-1]:.1f} at its batch of 32"
        print(f"{name}, {len(rows['train'])} rows, {EPOCHS} epochs: {took}, {same}")
    if not ratios["ours timed"]:
        return {}
    names = ("fit_vs_pyod_vae", "fit_vs_pyod_vae_batch_32")
    return {name: float(np.median(found)) for name, found in zip(names, ratios.values(), strict=True)}


def ecod_agreement(ledger: Ledger, options: argparse.Namespace) -> float:
    """Largest difference of our ECOD from pyod's on the same rows."""
    from regen.evaluation.ecod import ecod

    worst = 0.0
    for name in options.sets:
        rows = split(options.data / f"{name}.npz", 0, options.most)
        found = ledger.get("peer ecod", name, 0, lambda rows=rows: run("peer ecod", rows, 0, options.peers))["ECOD"]  # type: ignore[misc]
        scores = ecod(rows["train"], rows["train"][: len(found)])
        theirs = np.array([found[str(place)] for place in range(len(found))])
        if np.isfinite(theirs).all():  # pyod's are NaN where a column never changes
            worst = max(worst, float(np.abs(scores - theirs).max()))
        else:
            print(f"{name}: pyod's ECOD is not finite, since a column never changes")
    return worst


def main() -> None:
    """Runs the benchmark."""
    if sys.argv[1:2] == ["--job"]:
        warnings.simplefilter("ignore")
        with np.load(Path(sys.argv[3]) / "rows.npz") as held:
            print(json.dumps(JOBS[sys.argv[2]](dict(held), int(sys.argv[4]))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of ADBench's NAME.npz")
    parser.add_argument("--peers", required=True, help="python of the environment that benchmarks/peers.sh made")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one a finished job; goes on from there")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sets", nargs="+", help="names without .npz; all of the folder when absent")
    parser.add_argument("--quick", action="store_true", help="one seed, and at most 1,000 rows a set")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    options.most = 1000 if options.quick else MOST_ROWS
    options.seeds = options.seeds[:1] if options.quick else options.seeds
    options.sets = options.sets or sorted(path.stem for path in options.data.glob("*.npz"))
    if not options.sets:
        raise SystemExit(f"error: {options.data} holds no .npz; name the folder of ADBench's sets")

    from regen.core.sections.table_vae import TableVaeConfig

    config = TableVaeConfig().model_dump(mode="json")
    ledger = Ledger(options.out, {"most": options.most, "config": config})
    print(f"sets {', '.join(options.sets)}; seeds {options.seeds}; chosen on {', '.join(LOOKED_AT)} with seed 100")
    runs: dict[str, list[Figures]] = {name: [] for name in options.sets}
    for seed in options.seeds:
        for name in options.sets:
            rows = split(options.data / f"{name}.npz", seed, options.most)
            if seed == options.seeds[0]:
                print(
                    f"{name}: {len(rows['train'])} train, {len(rows['test'])} test, {int(rows['is_anomaly'].sum())} anomalies"
                )
            sides = (("ours", sys.executable), ("peers", options.peers))
            parts = [
                ledger.get(job, name, seed, lambda job=job, python=python: run(job, rows, seed, python))  # type: ignore[misc]  # noqa: B023
                for job, python in sides
            ]
            runs[name].append(parts[0] | parts[1])
    table = {name: averaged(seeds) for name, seeds in runs.items()}
    figures: dict[str, float] = show(table, "all sets")
    for title, wanted in (("sets chosen on", True), ("sets not looked at", False)):
        if some := {name: row for name, row in table.items() if (name in LOOKED_AT) == wanted}:
            shown = show(some, title)
            figures |= {} if wanted else {f"unseen_{k}": v for k, v in shown.items() if "rank" in k}
    for other in (KNN, KNN_PLACES):
        for metric in ("auc", "ap"):
            point, low, high = paired(runs, metric, OURS, other)
            print(f"ours − {other}, {metric}: {point:+.4f} [{low:+.4f}, {high:+.4f}]")
            figures |= {
                f"{metric}_over_{SHORT[other]}{end}": v for end, v in (("", point), ("_low", low), ("_high", high))
            }
    figures |= race(ledger, options)
    figures["ecod_largest_difference"] = ecod_agreement(ledger, options)
    print(f"our ECOD differs from pyod's by at most {figures['ecod_largest_difference']:.1e}")
    if options.json:
        print(json.dumps({"benchmark": "tables_anomaly", "figures": figures, "targets": TARGETS}))


if __name__ == "__main__":
    main()
