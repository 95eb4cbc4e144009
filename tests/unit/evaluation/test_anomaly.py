"""Anomaly detection: figures that agree with scikit-learn's, and three detectors that find what is strange."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from regen.core.errors import EvaluationError
from regen.evaluation.anomaly import BASELINES, measure_detection, measure_flagging, measure_recalls
from regen.evaluation.intervals import Estimate

IS_ANOMALY = np.array([True] * 20 + [False] * 60)


def drawn(seed: int, apart: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=80) + apart * IS_ANOMALY


def test_a_known_order_has_its_known_figures() -> None:
    scores, is_anomaly = np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, False])

    found = measure_detection(scores, is_anomaly, draws=5, seed=0)

    assert found["anomaly_auc"].point == pytest.approx(3 / 4)
    assert found["anomaly_ap"].point == pytest.approx((1 + 2 / 3) / 2)


@given(st.integers(0, 1000), st.floats(-2, 3))
def test_the_figures_are_scikit_learns(seed: int, apart: float) -> None:
    scores = drawn(seed, apart)

    found = measure_detection(scores, IS_ANOMALY, draws=1, seed=0)

    assert found["anomaly_auc"].point == pytest.approx(roc_auc_score(IS_ANOMALY, scores))
    assert found["anomaly_ap"].point == pytest.approx(average_precision_score(IS_ANOMALY, scores))


@given(st.integers(0, 1000))
def test_only_the_order_of_scores_counts(seed: int) -> None:
    scores = drawn(seed)

    one, other = (measure_detection(s, IS_ANOMALY, draws=2, seed=0) for s in (scores, np.exp(scores)))

    assert one["anomaly_auc"].point == other["anomaly_auc"].point
    np.testing.assert_allclose(one["anomaly_ap"].replicates, other["anomaly_ap"].replicates)


def test_scores_turned_round_turn_the_auc_round() -> None:
    one, other = (measure_detection(s, IS_ANOMALY, draws=1, seed=0) for s in (drawn(0), -drawn(0)))

    assert one["anomaly_auc"].point == pytest.approx(1 - other["anomaly_auc"].point)


def test_a_perfect_detector_has_1_and_an_interval_that_doubts_it() -> None:
    found = measure_detection(IS_ANOMALY.astype(float), IS_ANOMALY, draws=20, seed=0)

    for figure in found.values():
        estimate = figure.estimate(0.95)
        assert estimate.value == estimate.high == 1
        assert 0.9 < estimate.low < 1


def test_the_difference_of_a_detector_with_itself_is_exactly_zero() -> None:
    one, same = (measure_detection(drawn(0), IS_ANOMALY, draws=20, seed=0) for _ in range(2))

    for name, figure in one.items():
        assert figure.minus(same[name]).estimate(0.95) == Estimate(0, 0, 0)


def test_the_interval_of_the_auc_holds_it() -> None:
    found = measure_detection(drawn(0), IS_ANOMALY, draws=100, seed=0)["anomaly_auc"].estimate(0.95)

    assert 0.5 < found.low < found.value < found.high < 1


def test_the_intervals_of_few_anomalies_hold_the_truth_about_as_often_as_they_say() -> None:
    rng, is_anomaly, held = np.random.default_rng(0), np.arange(420) < 20, {"anomaly_auc": 0, "anomaly_ap": 0}
    many = np.arange(210_000) < 10_000
    known = measure_detection(rng.normal(size=210_000) + 2.2 * many, many, draws=1, seed=0)
    for seed in range(100):
        found = measure_detection(rng.normal(size=420) + 2.2 * is_anomaly, is_anomaly, draws=2, seed=seed)
        for name, figure in found.items():
            interval = figure.estimate(0.95)
            held[name] += interval.low <= known[name].point <= interval.high

    assert all(89 <= times <= 99 for times in held.values())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(value: float) -> None:
    scores = drawn(0)
    scores[3] = value

    with pytest.raises(EvaluationError, match="anomaly scores hold NaN or infinity; look at the VAE's training"):
        measure_detection(scores, IS_ANOMALY, draws=1, seed=0)


@pytest.mark.parametrize(("anomalies", "met"), [(0, "0 and 80"), (1, "1 and 79"), (79, "79 and 1"), (80, "80 and 0")])
def test_a_missing_class_is_refused_with_both_counts(anomalies: int, met: str) -> None:
    with pytest.raises(EvaluationError, match=rf"at least 2 anomalies and 2 normal rows .*got {met}; raise data\.test"):
        measure_detection(drawn(0), np.arange(80) < anomalies, draws=1, seed=0)


def test_recall_is_that_of_the_threshold_that_the_rate_allows() -> None:
    scores = np.concatenate([[99.5, 97.5, 50.5, 98.5], np.arange(100.0)])
    is_anomaly = np.arange(104) < 4

    found = measure_recalls(scores, is_anomaly, draws=20, seed=0)

    assert found.figures["anomaly_recall_fpr1"].point == 2 / 4  # one normal row, the 99, may lie above


def test_a_rate_too_low_for_the_normal_rows_is_no_number_and_says_why() -> None:
    found = measure_recalls(np.arange(420.0), np.arange(420) < 20, draws=5, seed=0)

    assert set(found.figures) == {"anomaly_recall_fpr1"}
    assert found.unmeasured == {
        "anomaly_recall_fpr01": "not enough samples: a false-positive rate of 0.1% needs at least 1000 normal test rows, "
        "got 400"
    }


@pytest.mark.parametrize(("normal", "measured"), [(99, 0), (100, 1), (999, 1), (1000, 2)])
def test_a_rate_is_measured_from_one_normal_row_on(normal: int, measured: int) -> None:
    found = measure_recalls(np.arange(normal + 5.0), np.arange(normal + 5) < 5, draws=2, seed=0)

    assert len(found.figures) == measured
    assert len(found.unmeasured) == 2 - measured


def test_the_interval_of_recall_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, held, is_anomaly = np.random.default_rng(0), 0, np.arange(440) < 40
    truth = norm.sf(norm.isf(0.01) - 2.5)
    for seed in range(100):
        scores = rng.normal(size=440) + 2.5 * is_anomaly
        found = measure_recalls(scores, is_anomaly, 100, seed).figures["anomaly_recall_fpr1"].estimate(0.95)
        held += found.low <= truth <= found.high

    assert held >= 89


def test_a_threshold_has_its_realised_rates() -> None:
    scores, is_anomaly = np.array([5.0, 3.0, 1.0, 4.0, 2.0, 1.0, 3.0]), np.arange(7) < 3

    found = measure_flagging(scores, is_anomaly, threshold=3.0, confidence=0.95)

    assert found.recall.value == pytest.approx(1 / 3)
    assert found.false_positive_rate.value == 1 / 4
    assert found.false_positive_rate.low < 1 / 4 < found.false_positive_rate.high


@pytest.mark.parametrize("threshold", [np.nan, np.inf])
def test_a_threshold_that_is_no_number_is_refused(threshold: float) -> None:
    with pytest.raises(
        EvaluationError, match=f"the threshold is {threshold}; calibrate it on finite validation scores"
    ):
        measure_flagging(drawn(0), IS_ANOMALY, threshold, 0.95)


@pytest.mark.parametrize("measure", [measure_recalls, measure_flagging])
def test_every_figure_needs_both_groups_and_finite_scores(measure) -> None:
    with pytest.raises(EvaluationError, match="got 0 and 80"):
        measure(drawn(0), np.zeros(80, bool), 1, 0.95)
    with pytest.raises(EvaluationError, match="anomaly scores hold NaN or infinity"):
        measure(np.where(IS_ANOMALY, np.nan, 0), IS_ANOMALY, 1, 0.95)


@pytest.mark.parametrize("fit", BASELINES.values(), ids=BASELINES)
def test_a_detector_scores_strange_rows_higher_and_the_same_each_time(fit) -> None:
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(2, 8))
    train, normal = rng.normal(size=(200, 2)) @ basis, rng.normal(size=(50, 2)) @ basis
    test = np.concatenate([normal, 4 * rng.normal(size=(50, 8))])

    scores = fit(train, test, 2**40)

    assert scores.shape == (100,)
    assert roc_auc_score([0] * 50 + [1] * 50, scores) > 0.9
    np.testing.assert_array_equal(fit(train, test, 2**40), scores)


def test_the_nearest_neighbours_score_is_their_mean_distance() -> None:
    train, test = np.arange(10.0)[:, None], np.array([[0.0], [20.0]])

    scores = BASELINES["kNN"](train, test, 0)

    np.testing.assert_allclose(scores, [(0 + 1 + 2 + 3 + 4) / 5, (11 + 12 + 13 + 14 + 15) / 5])


def test_fewer_training_rows_than_neighbours_are_enough() -> None:
    np.testing.assert_allclose(BASELINES["kNN"](np.array([[0.0], [2.0]]), np.array([[0.0]]), 0), [1.0])


def test_the_pca_score_is_the_squared_error_off_the_components() -> None:
    train = np.outer(np.arange(-5.0, 6.0), [1.0, 0.0])

    scores = BASELINES["PCA reconstruction"](train, np.array([[3.0, 0.0], [1.0, 2.0]]), 0)

    np.testing.assert_allclose(scores, [0, 4], atol=1e-12)
