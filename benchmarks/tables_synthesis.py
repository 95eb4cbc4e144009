"""Our GAN of tables beside CTGAN, TVAE and SMOTE on one table of mixed types: likeness, worth, copies, time, memory.

The table is a seeded simulation (benchmarks/people.py): as many rows to learn from as a method then makes, and as many to
test on. Every method runs in a process of its own on as many threads. CTGAN and TVAE train as published (ctgan's defaults,
300 epochs) and are sampled along the way with the clock stopped; ours is trained anew for each budget, since its schedules
follow the budget; `adversarial` is ours without the last draw of the label from all other columns. SMOTE (imbalanced-learn's
for mixed types) makes as many new rows of each label as there are. The peers get numbers for dates, and the median with a
column of flags for what is missing, since they know neither.

    python benchmarks/tables_synthesis.py --peers PYTHON --out FOLDER [--seeds 0 1 2] [--clock cpu] [--threads 1]
        [--methods ours adversarial ctgan tvae smote] [--quick] [--json]

What FOLDER has already of the same rows, epochs, settings and threads is not run again. Shapes, trends and utility are of
regen.evaluation; utility is the macro-F1 of gradient-boosted trees on test rows. `closer` is how often a made row is nearer
to the rows learnt from than a test row is. `speedup_to_equal_shapes` is how much sooner ours reaches the best shapes that a
peer ever had, the lesser over the peers.
"""

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

METHODS = ("ours", "adversarial", "ctgan", "tvae", "smote")
OURS = METHODS[:2]
EPOCHS, QUICK_EPOCHS = 300, 3
ROWS, QUICK_ROWS = 10_000, 1_000
THREADS = 1
MARKS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 180, 240)
"""Epochs after which a peer is sampled, beside the last one."""
SHARES = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4)
"""Parts of our budget that are trained for, too."""
SHOWN = ("shapes", "trends", "f1", "auc", "distance", "closer", "copies", "seconds", "memory")
TARGETS = {"speedup_to_equal_shapes": 3.0}
MISSING = " is missing"


def spent() -> dict[str, float]:
    """Seconds so far, of the processor and of the clock."""
    return {"cpu": time.process_time(), "wall": time.perf_counter()}


class Lap:
    """Adds up the seconds between `go` and `stop`."""

    def __init__(self) -> None:
        self.total = {"cpu": 0.0, "wall": 0.0}
        self.go()

    def go(self) -> None:
        """Starts the clock."""
        self.start = spent()

    def stop(self) -> dict[str, float]:
        """Stops it, and gives back the seconds in all."""
        now = spent()
        self.total = {kind: self.total[kind] + now[kind] - self.start[kind] for kind in self.total}
        return self.total


def told(lap: dict[str, float], sample: Path) -> None:
    """Prints where a sample lies and what it took."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**lap, "sample": str(sample), "memory": memory}), flush=True)


def run_peer(job: dict[str, Any]) -> None:
    """CTGAN or TVAE, sampled at some epochs; runs in the peers' environment, without Regen."""
    import numpy as np
    import torch

    torch.set_num_threads(job["threads"])
    np.random.seed(job["seed"])  # noqa: NPY002  ctgan draws from the global generator
    torch.manual_seed(job["seed"])
    train = read(job["train"], job["discrete"])
    home = importlib.import_module(f"ctgan.synthesizers.{job['method']}")
    model, lap = getattr(home, job["method"].upper())(epochs=job["epochs"]), Lap()

    class Watched:
        """Stands for tqdm's range of epochs."""

        def __init__(self, epochs: range, **_: Any) -> None:
            self.epochs = epochs

        def __iter__(self) -> Iterator[int]:
            for epoch in self.epochs:
                yield epoch
                total = lap.stop()
                if epoch + 1 in MARKS or epoch + 1 == len(self.epochs):
                    states = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
                    sample = Path(job["out"]) / f"{epoch + 1}.csv"
                    model.sample(len(train)).to_csv(sample, index=False)
                    told(total, sample)
                    np.random.set_state(states[0])  # noqa: NPY002
                    torch.set_rng_state(states[1])
                    (model._generator if job["method"] == "ctgan" else model.decoder).train()  # noqa: SLF001
                lap.go()

        def set_description(self, *_: Any) -> None:
            """There is no bar."""

    home.tqdm = Watched  # type: ignore[attr-defined]
    model.fit(train, job["discrete"])


def run_smote(job: dict[str, Any]) -> None:
    """New rows between neighbours of one label; runs in the peers' environment, too."""
    smote = importlib.import_module("imblearn.over_sampling").SMOTENC
    train, lap = read(job["train"], job["discrete"]), Lap()
    label = train.pop(job["label"])
    categories = [name for name in train if name in job["discrete"]]
    twice = {value: 2 * int(n) for value, n in label.value_counts().items()}
    method = smote(categorical_features=categories, sampling_strategy=twice, random_state=job["seed"])
    made, labels = method.fit_resample(train, label)
    made[job["label"]] = labels
    total = lap.stop()
    sample = Path(job["out"]) / "smote.csv"
    made.iloc[len(train) :].to_csv(sample, index=False)
    told(total, sample)


def run_ours(job: dict[str, Any]) -> None:
    """Our GAN for one budget after another, the whole of it last."""
    import pandas as pd
    import torch

    from benchmarks.people import SCHEMA
    from regen.core.sections.table_gan import TableGanConfig
    from regen.training.runtime import Runtime, prepare_process
    from regen.training.table_gan import fit_table_gan

    prepare_process(job["threads"])
    train = pd.read_parquet(job["train"])
    settings = TableGanConfig(**job["settings"])
    label = SCHEMA.label if job["method"] == "ours" else None
    for share in (*SHARES, 1.0) if label else (1.0,):
        lap = Lap()
        budget = settings.model_copy(update={"rows": max(round(share * settings.rows), settings.batch_size)})
        done = fit_table_gan(budget, train, SCHEMA.columns, job["seed"], Runtime(), label)
        total = lap.stop()
        sample = Path(job["out"]) / f"{budget.rows}.parquet"
        done.generator.sample(len(train), torch.Generator().manual_seed(job["seed"])).to_parquet(sample)
        told(total, sample)


RUNS: dict[str, Callable[[dict[str, Any]], None]] = {
    "ours": run_ours, "adversarial": run_ours, "ctgan": run_peer, "tvae": run_peer, "smote": run_smote,
}  # fmt: skip


def for_peers(frame: Any) -> tuple[Any, list[str]]:
    """The rows as the peers take them, and which columns hold categories."""
    found = plain(frame)
    for name in [name for name in found if found[name].isna().any()]:
        found[name + MISSING] = found[name].isna().map(str)
        found[name] = found[name].fillna(found[name].median())
    return found, [name for name in found if found[name].dtype != "float64"]


def read(path: str, discrete: list[str]) -> Any:
    """The rows of a CSV file, as a peer takes or made them."""
    import pandas as pd

    return pd.read_csv(path, dtype=dict.fromkeys(discrete, "str"), keep_default_na=False)


def of_peers(frame: Any, train: Any) -> Any:
    """What a peer made, with empty cells where it flagged them, rounded to the steps of the real columns as ours is."""
    from regen.data.scales import step_of, to_step

    real = plain(train)
    for name in real.select_dtypes("float64"):
        step = step_of(real[name].dropna().to_numpy(), dates="datetime" in str(train[name].dtype), whole=False)
        frame[name] = to_step(frame[name].to_numpy(float), step)
    for flag in [name for name in frame if name.endswith(MISSING)]:
        frame[flag.removesuffix(MISSING)] = frame[flag.removesuffix(MISSING)].mask(frame[flag].astype(str) == "True")
    return frame[[name for name in frame if not name.endswith(MISSING)]]


def plain(frame: Any) -> Any:
    """Numbers as float64, dates as seconds since 1970, everything else as text."""
    import pandas as pd

    def of(column: Any) -> Any:
        if pd.api.types.is_datetime64_any_dtype(column):
            return (column - pd.Timestamp(0)).dt.total_seconds()
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            return column.astype("float64")
        return column.astype("object").map(str, na_action="ignore").astype("str")

    return pd.DataFrame({name: of(frame[name]) for name in frame})


def score(train: Any, made: Any, test: Any, label: str, *, whole: bool) -> dict[str, float]:
    """Every figure of what a method made; of a sample along the way the shapes alone."""
    import numpy as np

    from regen.data.tables import encode
    from regen.evaluation.records import closest_records, copies, measure_closeness
    from regen.evaluation.tables import column_shapes, pair_trends
    from regen.evaluation.utility import measure_utility

    real, fake, held = encode([plain(train), plain(made)[list(train.columns)], plain(test)], ["train", "made", "test"])
    found = {"shapes": float(np.mean([*column_shapes(real, fake).values()]))}
    if not whole:
        return found
    worth = measure_utility(fake, real, held, label, draws=1, seed=0)
    away, control = closest_records(fake, real), closest_records(held, real)
    return found | {
        "trends": float(np.mean([*pair_trends(real, fake).values()])),
        "f1": worth.fake["f1"].point, "auc": worth.fake["auc"].point,
        "real_f1": worth.real["f1"].point, "real_auc": worth.real["auc"].point,
        "distance": float(np.median(away) / np.median(control)),
        "closer": measure_closeness(away, control, 1, 0).point,
        "copies": float(copies(fake, real).sum()), "control_copies": float(copies(held, real).sum()),
    }  # fmt: skip


def measure(method: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Runs one method once, and scores what it made."""
    import pandas as pd

    from benchmarks.people import SCHEMA, people

    folder = options.out / f"{method}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    train, test = people(options.rows, 2 * seed), people(options.rows, 2 * seed + 1)
    rows, discrete = (train, []) if method in OURS else for_peers(train)
    given = folder / ("train.parquet" if method in OURS else "train.csv")
    rows.to_parquet(given) if method in OURS else rows.to_csv(given, index=False)
    job = {
        "method": method, "seed": seed, "train": str(given), "out": str(folder),
        "epochs": options.epochs, "threads": options.threads, "discrete": discrete, "label": SCHEMA.label,
        "settings": dict(options.settings),
    }  # fmt: skip
    threads = {f"{name}_NUM_THREADS": str(options.threads) for name in ("OMP", "MKL", "OPENBLAS")}
    done = subprocess.run(
        [sys.executable if method in OURS else options.peers, __file__, "--job", json.dumps(job)],
        capture_output=True, text=True, check=False, env={**os.environ, **threads},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"error: {method} failed: {done.stderr[-2000:]}")
    points = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for point in points:
        sample = point["sample"]
        made = pd.read_parquet(sample) if method in OURS else of_peers(read(sample, discrete), train)
        point |= score(train, made, test, str(SCHEMA.label), whole=point is points[-1])
    curve = [{kind: point[kind] for kind in ("cpu", "wall", "shapes")} for point in points]
    return {"job": key(method, seed, options), "method": method, "seed": seed, **points[-1], "curve": curve}


def key(method: str, seed: int, options: argparse.Namespace) -> str:
    """The name of a method's line in the ledger; settings other than the defaults are told in it."""
    own: dict[str, Any] = dict(options.settings) if method in OURS else {}
    if method in ("ctgan", "tvae") and options.epochs != EPOCHS:
        own["epochs"] = options.epochs
    shared = (("of", options.rows, ROWS), ("threads", options.threads, THREADS))
    own |= {name: value for name, value, default in shared if value != default}
    return " ".join([method, str(seed), *(f"{name}={value}" for name, value in sorted(own.items()))])


def speedup(ours: dict[str, Any], peer: dict[str, Any], clock: str) -> float:
    """How much sooner ours has the best shapes that a peer ever had; 0 where it never has."""
    best = max(peer["curve"], key=lambda point: point["shapes"])
    reached = [point[clock] for point in ours["curve"] if point["shapes"] >= best["shapes"]]
    return float(best[clock] / min(reached)) if reached else 0.0


def figures(lines: list[dict[str, Any]], clock: str) -> dict[str, float]:
    """The means over seeds, and the speedup over seeds of the peer that comes nearest."""
    found = {}
    for method in [method for method in METHODS if method != "adversarial"]:
        if mine := [line for line in lines if line["method"] == method]:
            found[f"utility_{method}"] = statistics.mean(line["f1"] for line in mine)
    known = {f"{line['method']} {line['seed']}": line for line in lines}
    seeds = {line["seed"] for line in lines}
    speedups = [
        [speedup(known[f"ours {seed}"], known[f"{peer} {seed}"], clock) for seed in seeds if f"{peer} {seed}" in known]
        for peer in ("ctgan", "tvae")
        if all(f"ours {seed}" in known for seed in seeds)
    ]
    if any(speedups):
        found["speedup_to_equal_shapes"] = min(statistics.median(some) for some in speedups if some)
    return found


def show(lines: list[dict[str, Any]], clock: str) -> None:
    """Prints each method's mean and range over its seeds."""
    print("method".ljust(12) + "".join(name.rjust(22) for name in SHOWN))
    for method in METHODS:
        mine = [{**line, "seconds": line[clock]} for line in lines if line["method"] == method]
        if not mine:
            continue
        cells = []
        for name in SHOWN:
            values = [line[name] for line in mine]
            digits = 0 if name in ("copies", "memory") else 1 if name == "seconds" else 3
            cells.append(f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})")
        print(method.ljust(12) + "".join(cell.rjust(22) for cell in cells))
    if lines:
        real = [statistics.mean(line[name] for line in lines) for name in ("real_f1", "real_auc", "control_copies")]
        print(f"trained on real rows: F1 {real[0]:.3f}, ROC-AUC {real[1]:.3f}; copies among test rows: {real[2]:.1f}")


def setting(text: str) -> tuple[str, float | str]:
    """A setting of our GAN, as NAME=VALUE."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        return name, value


def main() -> None:
    """Runs what is missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--peers", help="python of the environment that benchmarks/peers.sh made")
    parser.add_argument("--out", type=Path, default=Path("tables-synthesis"), help="folder of the ledger and samples")
    parser.add_argument("--methods", nargs="+", default=[*METHODS], choices=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=int, help=f"to learn from, to make and to test on; default {ROWS:,}")
    parser.add_argument("--epochs", type=int, help=f"of CTGAN and TVAE; default {EPOCHS}")
    parser.add_argument("--settings", nargs="+", type=setting, default=[], metavar="NAME=VALUE", help="of our GAN")
    parser.add_argument("--threads", type=int, default=THREADS, help="of each process")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu where others load the machine, too"
    )
    parser.add_argument("--quick", action="store_true", help="few rows, few epochs, one seed")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    if options.job:
        job = json.loads(options.job)
        RUNS[job["method"]](job)
        return
    if not options.peers and set(options.methods) - set(OURS):
        parser.error("--peers is needed; make the peers' environment with benchmarks/peers.sh FOLDER")
    if options.quick:
        options.seeds = options.seeds[:1]
        options.settings = [("rows", 20_000), ("width", 64), *options.settings]
    options.rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    options.epochs = options.epochs or (QUICK_EPOCHS if options.quick else EPOCHS)
    options.out.mkdir(parents=True, exist_ok=True)
    ledger = options.out / "ledger.jsonl"
    ledger.touch()
    for seed in options.seeds:
        for method in options.methods:
            done = {json.loads(line)["job"] for line in ledger.read_text().splitlines()}
            if key(method, seed, options) not in done:
                line = measure(method, seed, options)
                with ledger.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(
                    f"{line['job']}: shapes {line['shapes']:.3f}, F1 {line['f1']:.3f}, {line[options.clock]:.1f} s",
                    flush=True,
                )
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    asked = {key(method, seed, options) for method in METHODS for seed in options.seeds}
    lines = [line for line in lines if line["job"] in asked]
    show(lines, options.clock)
    found = figures(lines, options.clock)
    print("\n" + "\n".join(f"{name}: {value:.3f}" for name, value in found.items()))
    if options.json:
        print(json.dumps({"benchmark": "tables_synthesis", "figures": found, "targets": TARGETS}))


if __name__ == "__main__":
    main()
