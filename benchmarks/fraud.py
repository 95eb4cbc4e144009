"""Card fraud on simulated payments, with labels that come late and a world that changes: how well frauds are found.

All detectors see the same columns and are measured on the same later payments. Each is fitted on the day it is said to be,
with the labels known on that day. From the day of the drift on, amounts are larger, thefts more frequent, and more is paid
online; the champion is fitted before it, the candidate after. Prints average precision as a whole and week by week.

    python benchmarks/fraud.py [--quick] [--json] [--seed 0]
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from regen.core.config import load
from regen.core.sections.table_vae import TableVaeConfig
from regen.core.sections.tables import SimulatorConfig, TablesConfig
from regen.core.seeds import derive
from regen.data import transactions, windows
from regen.data.codebook import Codebook
from regen.data.columns import TableSchema
from regen.evaluation.table_baselines import FIGHT, UNSUPERVISED, supervised, vectors
from regen.models.cells import Cells, Layout
from regen.training.runtime import Runtime, prepare_process
from regen.training.table_vae import train_table_vae

DAYS, DRIFT_DAY, CHAMPION_DAY, CANDIDATE_DAY, CALIBRATED_DAYS = 182, 105, 98, 147, 14
TARGETS = {"ratio_to_forest": 1.5}
OURS, OURS_UNLABELLED, FOREST = "VAE with known frauds", "VAE without labels", "isolation forest"
STALE = "the champion, fitted before the drift"


@dataclass(frozen=True)
class Payments:
    """Payments with their features."""

    frame: pd.DataFrame
    day: np.ndarray  # (n,)
    is_fraud: np.ndarray  # (n,) bool
    schema: TableSchema

    @classmethod
    def simulate(cls, config: SimulatorConfig, rules: TablesConfig) -> "Payments":
        """The payments of this world."""
        rows = pl.concat(list(transactions.simulate(config))).drop(transactions.SCENARIO)
        extended = windows.extended(transactions.SCHEMA, rules)
        full = rows.hstack(windows.features(rows, transactions.SCHEMA, rules))
        seconds = rows["time"].dt.epoch("s").to_numpy()
        day = (seconds - int(transactions.START.timestamp())) // transactions.SECONDS
        frame = full.select(column.name for column in extended.modelled).to_pandas()
        return cls(frame, day, rows["fraud"].to_numpy() == 1, extended)

    def known_on(self, day: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows to fit on and those to calibrate on, all of whose labels are known when `day` begins."""
        known = day - int(self.schema.label_delay_days)
        begin = known - CALIBRATED_DAYS
        return np.flatnonzero(self.day < begin), np.flatnonzero((self.day >= begin) & (self.day < known))


def fit_vae(payments: Payments, day: int, config: TableVaeConfig, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Scores of rows by a VAE that was fitted on a day."""
    fit, held = payments.known_on(day)
    book = Codebook.of([payments.frame.iloc[fit]], payments.schema.modelled)
    table = book.table(payments.frame.iloc[fit])
    cells, held_out = Cells.of(table), Cells.of(book.table(payments.frame.iloc[held]))
    fraud, held_fraud = payments.is_fraud[fit], payments.is_fraud[held]
    vae = train_table_vae(
        config, Layout.of(table), cells.take(torch.from_numpy(np.flatnonzero(~fraud))),
        held_out.take(torch.from_numpy(np.flatnonzero(~held_fraud))), seed, Runtime(),
        cells.take(torch.from_numpy(np.flatnonzero(fraud))),
    ).vae  # fmt: skip
    return lambda rows: vae.anomaly_score(Cells.of(book.table(payments.frame.iloc[rows]))).numpy()


def baselines(payments: Payments, day: int, test: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Scores of the test rows by the other detectors, fitted on the same day."""
    fit, held = payments.known_on(day)
    fit = np.concatenate([fit, held])  # they need no calibration
    frames = [payments.frame.iloc[rows] for rows in (fit, test)]
    book = Codebook.of(frames, payments.schema.modelled)
    train, asked = (book.table(frame) for frame in frames)
    first, second = vectors([train, asked])
    found = {name: detect(first, second, derive(seed, name)) for name, detect in UNSUPERVISED.items()}
    known = payments.is_fraud[fit].astype(np.float64)
    return found | {FIGHT: supervised(train, known, asked, derive(seed, FIGHT))}


def figures(scores: np.ndarray, is_fraud: np.ndarray) -> tuple[float, float]:
    """Average precision and ROC-AUC."""
    return float(average_precision_score(is_fraud, scores)), float(roc_auc_score(is_fraud, scores))


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two fifths of the people and of the training")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--seed", type=int, default=0, help="of the world and of every training")
    options = parser.parse_args()
    prepare_process(1)
    project = load(Path(__file__).parents[1] / "configs" / "transactions.yaml")
    scale = 2.5 if options.quick else 1
    world = SimulatorConfig(
        customers=round(1000 / scale), terminals=round(2000 / scale), days=DAYS, seed=options.seed, drift_day=DRIFT_DAY,
        drift_amount_factor=1.8, drift_fraud_factor=2.0, drift_online_share=0.6,
    )  # fmt: skip
    recipe = project.tables.vae.model_copy(update={"rows": round(project.tables.vae.rows / scale)})
    started = time.perf_counter()
    payments = Payments.simulate(world, project.tables)
    print(
        f"seed {options.seed}, {len(payments.day):,} payments in {DAYS} days, {payments.is_fraud.mean():.2%} frauds, labels "
        f"known after {payments.schema.label_delay_days:g} days, drift on day {DRIFT_DAY}, torch {torch.__version__}"
    )
    test = np.flatnonzero(payments.day >= CANDIDATE_DAY)
    later = np.flatnonzero(payments.day >= CHAMPION_DAY)
    is_fraud = payments.is_fraud[test]
    champion = fit_vae(payments, CHAMPION_DAY, recipe, options.seed)(later)
    scores = {
        OURS: fit_vae(payments, CANDIDATE_DAY, recipe, options.seed)(test),
        OURS_UNLABELLED: fit_vae(
            payments, CANDIDATE_DAY, recipe.model_copy(update={"supervised_weight": 0.0}), options.seed
        )(test),
        **baselines(payments, CANDIDATE_DAY, test, options.seed),
    }
    print(f"\nPayments from day {CANDIDATE_DAY} on, {is_fraud.mean():.2%} frauds; every detector fitted on that day")
    print(f"{'':40}{'AP':>8}{'ROC-AUC':>10}")
    reached = {name: figures(found, is_fraud) for name, found in scores.items()}
    reached[STALE] = figures(champion[payments.day[later] >= CANDIDATE_DAY], is_fraud)
    for name, (precision, auc) in reached.items():
        print(f"{name:40}{precision:>8.3f}{auc:>10.3f}")
    forest_early = baselines(payments, CHAMPION_DAY, later, options.seed)[FOREST]
    print(f"\nAverage precision week by week: the champion of day {CHAMPION_DAY}, the candidate of day {CANDIDATE_DAY}")
    print(f"{'days':>12}{'frauds':>8}{'champion':>10}{'candidate':>11}{'forest of day ' + str(CHAMPION_DAY):>20}")
    weeks = []
    for begin in range(CHAMPION_DAY, DAYS, 7):
        mine = (payments.day[later] >= begin) & (payments.day[later] < begin + 7)
        inside = (payments.day[test] >= begin) & (payments.day[test] < begin + 7)
        frauds = payments.is_fraud[later][mine]
        week = {
            "begin": begin, "frauds": int(frauds.sum()), "champion": figures(champion[mine], frauds)[0],
            "candidate": figures(scores[OURS][inside], is_fraud[inside])[0] if inside.any() else None,
            "forest": figures(forest_early[mine], frauds)[0],
        }  # fmt: skip
        weeks.append(week)
        candidate = "–" if week["candidate"] is None else f"{week['candidate']:.3f}"
        days = f"{begin}–{begin + 6}"
        print(f"{days:>12}{week['frauds']:>8}{week['champion']:>10.3f}{candidate:>11}{week['forest']:>20.3f}")
    ours, forest = reached[OURS][0], reached[FOREST][0]
    stale = reached[STALE][0]
    print(
        f"\n{ours / forest:.2f} times the isolation forest's average precision; {time.perf_counter() - started:.0f} s"
    )
    if options.json:
        print(json.dumps({
            "ratio_to_forest": ours / forest, "ratio_unlabelled_to_forest": reached[OURS_UNLABELLED][0] / forest,
            "ap_ours": ours, "ap_forest": forest, "ap_supervised": reached[FIGHT][0],
            "ap_unlabelled": reached[OURS_UNLABELLED][0],
            "ap_before_retraining": stale, "recovered": ours - stale, "weeks": weeks, "targets": TARGETS, "seed": options.seed,
        }))  # fmt: skip


if __name__ == "__main__":
    main()
