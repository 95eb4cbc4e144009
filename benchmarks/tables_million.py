"""One million card payments from a CSV file to a prepared dataset: seconds a step, clock and processor, and peak memory.

The payments are simulated and written as CSV, untimed but for the simulator's own rate. Then, in a process of its own: the
source is read and written as data/PROJECT/rows.parquet (ingest); every row is brought to its type, checked by pandera and
digested (validate); the windows of each customer and terminal are computed (featurise); the splits are written (split).
Beside it, each in a process of its own, polars and Arrow read the CSV and the Parquet file and count, sum and bound the
amounts of each customer, as the choice of polars was made.

    python benchmarks/tables_million.py [--rows 1000000] [--threads 2] [--repeats 3] [--quick] [--json]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS, MIB, SIMULATED = 60.0, 2048.0, 100_000.0
"""The targets: seconds of ingest, validate and featurise; peak memory; rows a second that the simulator gives."""
DAYS, A_DAY = 183, 1.9


def peak() -> float:
    """The largest memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def timed(found: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    """What `work` returns; the seconds it took, by the clock and of the processor, are kept in `found`."""
    start, spent = time.perf_counter(), time.process_time()
    result = work()
    found[name], found[f"{name}_cpu"] = time.perf_counter() - start, time.process_time() - spent
    return result


def settings(rows: int) -> dict[str, Any]:
    """The project file of so many rows."""
    people = int(rows / DAYS / A_DAY * 1.2) + 1
    simulator = {"customers": people, "terminals": 2 * people, "days": DAYS}
    return {
        "project": "million",
        "data": {"source": "transactions", "simulator": simulator},
        "tables": {"amount": "amount"},
    }


def simulate(folder: Path, rows: int) -> dict[str, float]:
    """Writes payments.csv; the simulator's rate is measured without the writing."""
    from regen.core.config import parse
    from regen.data import transactions

    left, spent = rows, 0.0
    chunks = transactions.simulate(parse(settings(rows)).data.simulator)
    with (folder / "payments.csv").open("wb") as file:
        while left > 0:
            start = time.perf_counter()
            chunk = next(chunks).drop(transactions.SCENARIO)
            spent += time.perf_counter() - start
            chunk.head(left).write_csv(file, include_header=left == rows)
            left -= len(chunk.head(left))
    return {"simulated_rows_per_second": rows / spent}


def pipeline(folder: Path, rows: int) -> dict[str, float]:
    """The payments of payments.csv, ingested and prepared."""
    import numpy as np
    import polars as pl

    from regen.core.config import parse
    from regen.data import sources, table_prepare, windows
    from regen.data.transactions import SCHEMA

    raw = settings(rows)
    config = parse(raw | {"data": {"source": f"table:{folder / 'payments.csv'}"}})
    found: dict[str, float] = {"imported_mib": peak()}
    data, work, out = folder / "data", folder / "work", folder / "out"
    work.mkdir(exist_ok=True)
    out.mkdir(exist_ok=True)
    timed(found, "ingest", lambda: sources.materialise(config.data, data))
    ingested = data / "rows.parquet"
    sound = timed(found, "validate", lambda: table_prepare.validate(ingested, SCHEMA, config, work, out, "its schema"))
    assert (sound.report.rows, sound.report.bad_rows) == (rows, 0), sound.report
    path, kept = sound.path, pl.Series(~sound.dropped)

    def featurise() -> pl.DataFrame:
        past = pl.read_parquet(path, columns=windows.needed(SCHEMA, config.tables)).filter(kept)
        return windows.features(past, SCHEMA, config.tables)

    features = timed(found, "featurise", featurise)
    assert features.width == len(windows.columns(SCHEMA, config.tables)) and not np.isnan(features["hour"].mean())
    for kind in ("", "_cpu"):
        found[f"total{kind}"] = sum(found[f"{step}{kind}"] for step in ("ingest", "validate", "featurise"))
    del features, sound
    timed(found, "prepare_whole", lambda: table_prepare.prepare(ingested, SCHEMA, config, work, out, "its schema"))
    return found | {"peak_mib": peak()}


def with_polars(folder: Path) -> dict[str, float]:
    """Reading and aggregating by polars."""
    import polars as pl

    found: dict[str, float] = {"imported_mib": peak()}
    value = pl.col("amount")
    aggregates = [pl.len(), value.mean().alias("mean"), value.min().alias("low"), value.max().alias("high")]
    csv = pl.scan_csv(folder / "payments.csv", try_parse_dates=True)
    timed(found, "csv_aggregate", lambda: csv.group_by("customer").agg(aggregates).collect(engine="streaming"))
    found["csv_aggregate_mib"] = peak()
    timed(found, "csv_read", csv.collect)
    parquet = folder / "data" / "rows.parquet"
    rows = timed(found, "parquet_read", lambda: pl.read_parquet(parquet))
    timed(found, "aggregate", lambda: rows.group_by("customer").agg(aggregates))
    return found | {"peak_mib": peak()}


def with_arrow(folder: Path) -> dict[str, float]:
    """The same by Arrow."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.dataset
    import pyarrow.parquet

    found: dict[str, float] = {"imported_mib": peak()}
    aggregates = [([], "count_all"), ("amount", "mean"), ("amount", "min"), ("amount", "max")]
    scanned = pyarrow.dataset.dataset(folder / "payments.csv", format="csv")

    def streaming() -> Any:
        table = pa.TableGroupBy(scanned.scanner(columns=["customer", "amount"]).to_table(), ["customer"])
        return table.aggregate(aggregates)

    timed(found, "csv_aggregate", streaming)
    found["csv_aggregate_mib"] = peak()
    timed(found, "csv_read", lambda: pyarrow.csv.read_csv(folder / "payments.csv"))
    rows = timed(found, "parquet_read", lambda: pyarrow.parquet.read_table(folder / "data" / "rows.parquet"))
    timed(found, "aggregate", lambda: rows.group_by(["customer"]).aggregate(aggregates))
    return found | {"peak_mib": peak()}


PARTS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "simulate": simulate,
    "pipeline": pipeline,
    "polars": lambda folder, rows: with_polars(folder),
    "arrow": lambda folder, rows: with_arrow(folder),
}


def run(part: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """One part in a process of its own; ends this one with its message where it fails."""
    pools = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    command = [sys.executable, __file__, "--here", part, "--folder", str(folder), "--rows", str(options.rows)]
    environment = {**os.environ, **dict.fromkeys(pools, str(options.threads))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def medians(each: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(one[name] for one in each) for name in each[0]}


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="200,000 rows, one repetition")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--here", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(PARTS[options.here](options.folder, options.rows)))
        return
    if options.quick:
        options.rows, options.repeats = 200_000, 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found = {name: medians([run(name, folder, options) for _ in range(options.repeats)]) for name in PARTS}
    whole = found["pipeline"]
    print(f"{options.rows:,} rows, {options.threads} threads, seed 0, medians of {options.repeats} processes each\n")
    print(f"simulate                {found['simulate']['simulated_rows_per_second']:12,.0f} rows/s")
    for step in ("ingest", "validate", "featurise", "total"):
        print(f"{step:<23} {whole[step]:12.2f} s {whole[f'{step}_cpu']:12.2f} s of the processor")
    print(
        f"prepare, splits written {whole['prepare_whole']:12.2f} s {whole['prepare_whole_cpu']:12.2f} s of the processor"
    )
    print(f"peak memory             {whole['peak_mib']:12.0f} MiB ({whole['imported_mib']:.0f} after the imports)\n")
    print(f"{'':23} {'polars':>12} {'Arrow':>12}")
    for step in ("csv_read", "parquet_read", "aggregate", "csv_aggregate"):
        print(f"{step.replace('_', ' '):<23} {found['polars'][step]:10.3f} s {found['arrow'][step]:10.3f} s")
    for step, name in (("csv_aggregate_mib", "csv aggregate, peak"), ("peak_mib", "peak")):
        print(f"{name:<23} {found['polars'][step]:8.0f} MiB {found['arrow'][step]:8.0f} MiB")
    if options.json:
        figures = {
            "seconds": whole["total"], "cpu_seconds": whole["total_cpu"], "peak_mib": whole["peak_mib"], **found["simulate"],
            **{f"{step}_seconds": whole[step] for step in ("ingest", "validate", "featurise", "prepare_whole")},
            **{f"polars_{step}": value for step, value in found["polars"].items()},
            **{f"arrow_{step}": value for step, value in found["arrow"].items()},
        }  # fmt: skip
        targets = {"seconds": SECONDS, "peak_mib": MIB, "simulated_rows_per_second": SIMULATED}
        print(json.dumps({"benchmark": "tables_million", "figures": figures, "targets": targets}))


if __name__ == "__main__":
    main()
