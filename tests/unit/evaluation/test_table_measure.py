"""A table's models measured: what is like the real rows scores so, what is learnt by heart or made of noise does not."""

import numpy as np
import pandas as pd
import pytest

from regen.core.errors import EvaluationError
from regen.core.sections.evaluation import EvaluationConfig
from regen.data.tables import Table, encode
from regen.evaluation.table_baselines import FIGHT, supervised, vectors
from regen.evaluation.table_measure import (
    RealRows,
    TestRows,
    measure_baselines,
    measure_detector,
    measure_reconstruction,
    measure_synthesis,
    pairs_of,
    real_rows,
)
from regen.evaluation.told_apart import measure_told_apart

RULES = EvaluationConfig(bootstrap_draws=50, alerts_a_day=5)


def frame(n: int, seed: int, *, noise: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, a = rng.normal(size=n), rng.choice(["u", "v"], n)
    y = x + (a == "u") + 0.3 * rng.normal(size=n)
    flag = y > 1.2
    if noise:
        y, flag = rng.permutation(y), rng.permutation(flag)
    return pd.DataFrame({"x": x, "y": y, "a": pd.Series(a, dtype="str"), "flag": flag.astype(float)})


def real() -> tuple[RealRows, dict[str, Table]]:
    frames = {"train": frame(400, 0), "control": frame(200, 1), "test": frame(300, 2), "like": frame(300, 3),
              "noise": frame(300, 4, noise=True)}  # fmt: skip
    tables = dict(zip(frames, encode(list(frames.values()), list(frames)), strict=True))
    return RealRows(tables["train"], tables["control"], tables["test"], "flag"), tables


def test_rows_of_the_same_law_are_as_good_as_real_ones_and_noise_is_not() -> None:
    rows, tables = real()

    like, noise = (measure_synthesis(tables[name], rows, RULES, 0).figures for name in ("like", "noise"))
    best = real_rows(rows, RULES, 0)

    assert like["column_shapes"].point > 0.9
    assert like["pair_trends"].point > noise["pair_trends"].point
    assert like["utility_auc"].point > 0.85 > noise["utility_auc"].point
    assert noise["told_apart_auc"].point > 0.8 > 0.65 > best["told_apart_auc"].point
    assert abs(like["closer_than_control"].point - 0.5) < 0.1


def test_copies_of_training_rows_are_told() -> None:
    rows, tables = real()

    found = measure_synthesis(tables["train"], rows, RULES, 0)

    assert found.figures["copies"].point == 1
    assert found.figures["closer_than_control"].point > 0.99
    assert found.side["closest_record"] == 0 < found.side["closest_record_of_control"]
    assert found.side["copies_in_control"] == 0


def test_a_pair_of_equal_candidates_differs_by_nothing() -> None:
    rows, tables = real()

    one, other = (measure_synthesis(tables["like"], rows, RULES, 0) for _ in range(2))

    assert {str(e) for e in one.difference(other, RULES).values()} == {"0.000 [0.000, 0.000]"}


def test_every_pair_has_a_trend() -> None:
    rows, tables = real()

    assert len(pairs_of(tables["like"], rows)) == 6


def test_a_detector_has_figures_and_its_threshold_too() -> None:
    rng = np.random.default_rng(0)
    test = TestRows(np.arange(200) % 10 == 0, np.repeat(np.arange(10), 20))
    scores = rng.normal(size=200) + 3 * test.is_anomaly

    found = measure_detector(scores, 1.5, test, RULES, 0)

    assert {"anomaly_auc", "anomaly_ap", "anomaly_precision_top_k"} <= set(found.figures)
    assert found.flagging is not None
    assert found.flagging.recall.value > 0.8


def test_a_perfect_reconstruction_has_no_error_and_a_wrong_category_counts_once() -> None:
    table = real()[1]["test"]
    wrong = Table(table.names, table.numbers, table.category_names, 1 - table.codes, table.sizes)

    assert measure_reconstruction(table, table, RULES, 0).figures["column_error"].point == 0
    off = measure_reconstruction(table, wrong, RULES, 0)
    assert off.errors == {"x": 0, "y": 0, "flag": 0, "a": 1}
    assert off.figures["column_error"].point == pytest.approx(1 / 4)


def test_every_baseline_finds_what_lies_far_out_and_the_supervised_one_what_it_was_shown() -> None:
    rng = np.random.default_rng(0)
    is_anomaly = np.arange(400) % 20 == 0
    values = pd.DataFrame(
        {"x": rng.normal(size=400) + 6 * is_anomaly, "a": pd.Series(rng.choice(["u", "v"], 400), dtype="str")}
    )
    train, test = encode([values, values.assign(x=values["x"] + 0.01)], ["train", "test"])
    known = np.where(np.arange(400) < 300, is_anomaly, np.nan)

    found = measure_baselines(train, known, test, TestRows(is_anomaly, np.arange(400) // 40), RULES, 0)

    assert set(found) == {"isolation forest", "ECOD", "kNN", FIGHT}
    assert all(one.figures["anomaly_auc"].point > 0.9 for one in found.values())


def test_rows_whose_label_is_not_known_have_no_part_in_detection() -> None:
    rng = np.random.default_rng(0)
    is_anomaly, days = np.arange(300) % 10 == 0, np.repeat(np.arange(10), 30)
    known = np.flatnonzero(np.arange(300) % 3 > 0)
    scores = rng.normal(size=300) + 3 * is_anomaly
    some = TestRows(is_anomaly[known], days[known], known)
    alone = TestRows(is_anomaly[known], days[known])

    found, wanted = measure_detector(scores, 1.5, some, RULES, 0), measure_detector(scores[known], 1.5, alone, RULES, 0)

    assert str(found.estimates(RULES)) == str(wanted.estimates(RULES))
    assert found.flagging == wanted.flagging
    assert found.scores is not None
    assert len(found.scores) == 300


def test_every_baseline_leaves_out_the_same_rows() -> None:
    rng = np.random.default_rng(0)
    is_anomaly, known = np.arange(400) % 20 == 0, np.flatnonzero(np.arange(400) % 7 > 0)
    values = pd.DataFrame({"x": rng.normal(size=400) + 6 * is_anomaly})
    train, test = encode([values, values.assign(x=values["x"].where(np.arange(400) % 7 > 0, 50.0))], ["train", "test"])

    found = measure_baselines(
        train, is_anomaly.astype(float), test, TestRows(is_anomaly[known], known // 40, known), RULES, 0
    )

    assert all(one.figures["anomaly_auc"].point > 0.9 for one in found.values())
    assert all(one.figures["anomaly_precision_top_k"].point > 0 for one in found.values())
    assert all(len(one.scores) == 400 for one in found.values() if one.scores is not None)


def test_missing_numbers_stand_at_the_median_and_are_told() -> None:
    train = Table(("x",), np.array([[0.0], [2.0], [np.nan]]), (), np.zeros((3, 0), np.int64), ())

    (found,) = vectors([train])

    assert found[:, 1].tolist() == [0, 0, 1]
    assert found[2, 0] == pytest.approx(0)


def test_a_supervised_reference_needs_both_labels() -> None:
    train = real()[1]["train"]

    with pytest.raises(EvaluationError, match="400 training rows 1 have a known label"):
        supervised(train, np.where(np.arange(400) == 0, 0.0, np.nan), train, 0)


def test_equal_rows_are_not_told_apart_and_shifted_ones_are() -> None:
    tables = real()[1]
    shifted = Table(*(getattr(tables["like"], name) for name in ("names",)), tables["like"].numbers + 5,
                    tables["like"].category_names, tables["like"].codes, tables["like"].sizes)  # fmt: skip

    assert measure_told_apart(tables["test"], tables["like"], 20, 0).point < 0.65
    assert measure_told_apart(tables["test"], shifted, 20, 0).point > 0.99
