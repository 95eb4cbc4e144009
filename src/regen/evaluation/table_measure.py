"""Measures a table's models on the test rows: every figure with its resamples, so that two models can be paired."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from regen.core.sections.evaluation import EvaluationConfig, Metric
from regen.core.seeds import derive
from regen.data.raw import spread
from regen.data.tables import Table
from regen.evaluation import anomaly
from regen.evaluation.alerts import Days, measure_alerts
from regen.evaluation.anomaly import Flagging
from regen.evaluation.intervals import Estimate, Replicated, mean_of
from regen.evaluation.ranking import IsAnomaly, Scores
from regen.evaluation.records import closest_records, copies, measure_closeness
from regen.evaluation.table_baselines import FIGHT, UNSUPERVISED, supervised, vectors
from regen.evaluation.tables import column_errors, measure_shapes, measure_trends, pair_trends
from regen.evaluation.told_apart import measure_told_apart
from regen.evaluation.utility import Utility, measure_utility

MOST_ROWS = 5_000
"""Rows of each table, spread evenly, that shapes and trends are resampled on, and that are told apart."""
MOST_RECORDS = 2_000
"""Rows whose closest training record is looked for, among all training rows."""
MOST_TEST_ROWS = 20_000
"""Test rows, spread evenly, that a utility is measured on; all of those with the rarer label are among them."""


@dataclass(frozen=True)
class TableMeasured:
    """A table model's figures, and what charts are drawn from."""

    figures: Mapping[Metric, Replicated]
    side: dict[str, float] = field(default_factory=dict)
    """Figures without resamples."""
    scores: Scores | None = None
    """Anomaly scores of the test rows."""
    errors: Mapping[str, float] = field(default_factory=dict)
    """Each column's error of reconstruction."""
    unmeasured: Mapping[Metric, str] = field(default_factory=dict)
    """Figures that these rows cannot tell, with the reason."""
    flagging: Flagging | None = None
    """What the calibrated threshold does on the test rows."""
    rows: pd.DataFrame | None = None
    """Synthetic rows."""

    def estimates(self, config: EvaluationConfig) -> dict[Metric, Estimate]:
        """Values and intervals."""
        return {name: figure.estimate(config.confidence) for name, figure in self.figures.items()}

    def difference(self, champion: "TableMeasured", config: EvaluationConfig) -> dict[Metric, Estimate]:
        """This model minus the champion, pair by pair, wherever both have the figure."""
        return {
            name: figure.minus(champion.figures[name]).estimate(config.confidence)
            for name, figure in self.figures.items()
            if name in champion.figures
        }


@dataclass(frozen=True)
class TestRows:
    """The test rows that detectors are measured on: those whose label is known."""

    __test__ = False  # its name is no test's

    is_anomaly: IsAnomaly
    days: Days | None = None
    """Each row's day; none where rows have no time."""
    known: Int64[np.ndarray, " n"] | None = None
    """Which of all test rows these are; all of them when absent."""

    def of(self, values: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " n"]:
        """These rows' scores, or whatever else there is, among those of all test rows."""
        return values if self.known is None else values[self.known]


def measure_detector(
    scores: Scores, threshold: float, test: TestRows, config: EvaluationConfig, seed: int
) -> TableMeasured:
    """Every figure of anomaly scores, and what their threshold does.

    Args:
        scores: of all test rows.

    Raises:
        EvaluationError: a score is not finite, or there are too few anomalies.
    """
    judged = test.of(scores)
    found = measure_alerts(
        judged, test.is_anomaly, test.days, config.alerts_a_day, config.bootstrap_draws, derive(seed, "detection")
    )
    flagging = anomaly.measure_flagging(judged, test.is_anomaly, threshold, config.confidence)
    return TableMeasured(found.figures, scores=scores, unmeasured=found.unmeasured, flagging=flagging)


def measure_reconstruction(real: Table, rebuilt: Table, config: EvaluationConfig, seed: int) -> TableMeasured:
    """The error of each column, and their mean with its resamples, on rows that are normal."""
    each = [
        *(_number_errors(a, b) for a, b in zip(real.numbers.T, rebuilt.numbers.T, strict=True)),
        *((a != b).astype(np.float64) for a, b in zip(real.codes.T, rebuilt.codes.T, strict=True)),
    ]
    by_row: Float64[np.ndarray, " n"] = np.mean(each, axis=0)
    figure = mean_of(by_row, config.bootstrap_draws, derive(seed, "reconstruction"))
    return TableMeasured({"column_error": figure}, errors=column_errors(real, rebuilt))


def _number_errors(real: Float64[np.ndarray, " n"], rebuilt: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """As `column_errors` has them, row by row."""
    present = real[~np.isnan(real)]
    deviation = float(present.std()) if len(present) and np.ptp(present) > 0 else 0.0
    apart = np.nan_to_num(np.abs(real - rebuilt))
    return np.where(np.isnan(real) != np.isnan(rebuilt), 1.0, apart / deviation if deviation else apart > 0)


def measure_baselines(
    train: Table, known: Float64[np.ndarray, " n"], test: Table, rows: TestRows, config: EvaluationConfig, seed: int
) -> dict[str, TableMeasured]:
    """The figures of the other detectors, all fitted on the same columns of the same training rows.

    Args:
        known: each training row's label as it is known when training begins; NaN where it is not.
        test: all test rows.
    """
    first, second = vectors([train, test])
    scores = {name: fit(first, second, derive(seed, name)) for name, fit in UNSUPERVISED.items()}
    if len(np.unique(known[~np.isnan(known)])) > 1:
        scores[FIGHT] = supervised(train, known, test, derive(seed, FIGHT))
    draws, drawn = config.bootstrap_draws, derive(seed, "detection")
    found = {}
    for name, given in scores.items():
        measured = measure_alerts(rows.of(given), rows.is_anomaly, rows.days, config.alerts_a_day, draws, drawn)
        found[name] = TableMeasured(measured.figures, scores=given, unmeasured=measured.unmeasured)
    return found


@dataclass(frozen=True)
class RealRows:
    """The real tables that synthetic rows are held against, all encoded by one codebook."""

    train: Table
    """What the model learnt from."""
    control: Table
    """Of the same time, but kept from the model."""
    test: Table
    """Later rows, which no model saw."""
    label: str | None = None
    """The column that a utility predicts."""


def measure_synthesis(fake: Table, real: RealRows, config: EvaluationConfig, seed: int) -> TableMeasured:
    """Shapes, trends, utility, how well rows are told apart, and privacy, of synthetic rows.

    Shapes, trends and telling apart are held against the control, so that a drift of the test rows does not count; a
    utility is measured on the test rows, so that it does.
    """
    draws = config.bootstrap_draws
    n = min(len(fake), len(real.control), MOST_ROWS)
    some, control = fake.take(spread(len(fake), n)), real.control.take(spread(len(real.control), n))
    figures: dict[Metric, Replicated] = {
        "column_shapes": measure_shapes(control, some, draws, derive(seed, "shapes")),
        "told_apart_auc": measure_told_apart(control, some, draws, derive(seed, "told apart")),
        "copies": mean_of(copies(fake, real.train).astype(np.float64), draws, derive(seed, "copies")),
    }
    if len(real.train.columns) > 1:
        figures["pair_trends"] = measure_trends(control, some, draws, derive(seed, "trends"))
    away, control_away = (
        closest_records(table.take(spread(len(table), MOST_RECORDS)), real.train) for table in (fake, real.control)
    )
    figures["closer_than_control"] = measure_closeness(away, control_away, draws, derive(seed, "closest"))
    side = {
        "closest_record": float(np.median(away)), "closest_record_of_control": float(np.median(control_away)),
        "copies_in_control": float(copies(real.control, real.train).mean()),
    }  # fmt: skip
    if real.label is not None:
        found = _utility(fake, real, real.label, config, seed)
        figures |= {"utility_auc": found.fake["auc"], "utility_f1": found.fake["f1"]}
        side |= {f"utility_{name}_of_real": figure.point for name, figure in found.real.items()}
    return TableMeasured(figures, side)


def _utility(fake: Table, real: RealRows, label: str, config: EvaluationConfig, seed: int) -> Utility:
    """Equal numbers of rows train both."""
    n, test = min(len(fake), len(real.train)), _thinned(real.test, label)
    train = real.train.take(spread(len(real.train), n))
    drawn = derive(seed, "utility")
    return measure_utility(fake.take(spread(len(fake), n)), train, test, label, config.bootstrap_draws, drawn)


def _thinned(table: Table, label: str) -> Table:
    """At most so many rows; of the label's rarer values all."""
    if len(table) <= MOST_TEST_ROWS:
        return table
    labels = table.column(label)
    known, counts = np.unique(labels, return_counts=True)
    often = np.flatnonzero(labels == known[counts.argmax()])
    rest = np.flatnonzero(labels != known[counts.argmax()])
    kept = often[spread(len(often), max(MOST_TEST_ROWS - len(rest), 1))]
    return table.take(np.sort(np.concatenate([kept, rest])))


def real_rows(real: RealRows, config: EvaluationConfig, seed: int) -> dict[Metric, Replicated]:
    """Training rows in the place of synthetic ones: what a perfect model would reach."""
    n = min(len(real.train), len(real.control), MOST_ROWS)
    some, control = real.train.take(spread(len(real.train), n)), real.control.take(spread(len(real.control), n))
    draws = config.bootstrap_draws
    found: dict[Metric, Replicated] = {
        "column_shapes": measure_shapes(control, some, draws, derive(seed, "shapes")),
        "told_apart_auc": measure_told_apart(control, some, draws, derive(seed, "told apart")),
    }
    if len(real.train.columns) > 1:
        found["pair_trends"] = measure_trends(control, some, draws, derive(seed, "trends"))
    return found


def pairs_of(fake: Table, real: RealRows) -> dict[tuple[str, str], float]:
    """How like each pair's trend is to the control's; empty of one column."""
    n = min(len(fake), len(real.control), MOST_ROWS)
    if len(fake.columns) < 2:
        return {}
    return pair_trends(real.control.take(spread(len(real.control), n)), fake.take(spread(len(fake), n)))
