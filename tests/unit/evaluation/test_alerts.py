"""Detection under a time split: a day's alerts as they can be counted by hand, and intervals that know of days."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from regen.core.errors import EvaluationError
from regen.evaluation.alerts import by_week, daily_alerts, days_of, measure_alerts
from regen.evaluation.ranking import day_resamples


def made_up(seed: int, days: int = 12, a_day: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), a_day)
    is_anomaly = rng.random(len(day)) < 0.1
    return rng.normal(size=len(day)) + is_anomaly, is_anomaly, day


def test_the_alerts_of_two_days_are_counted_by_hand() -> None:
    scores = np.array([3.0, 2.0, 1.0, 9.0, 8.0])
    is_anomaly = np.array([True, False, True, False, False])

    found = daily_alerts(scores, is_anomaly, np.array([0, 0, 0, 1, 1]), k=2)

    assert found.precision.tolist() == [0.5, 0.0]
    assert found.possible.tolist() == [1.0, 0.0]


@given(st.integers(0, 500), st.integers(1, 60))
def test_no_ranking_beats_the_perfect_one(seed: int, k: int) -> None:
    scores, is_anomaly, days = made_up(seed)

    found, perfect = (daily_alerts(s, is_anomaly, days, k) for s in (scores, is_anomaly.astype(float)))

    assert (found.precision <= found.possible + 1e-12).all()
    np.testing.assert_allclose(perfect.precision, perfect.possible)


@given(st.integers(0, 500))
def test_the_figures_are_scikit_learns_whatever_the_order_of_rows(seed: int) -> None:
    scores, is_anomaly, days = made_up(seed)
    order = np.random.default_rng(seed).permutation(len(days))

    one = measure_alerts(scores, is_anomaly, days, 5, 50, 0).figures
    other = measure_alerts(scores[order], is_anomaly[order], days[order], 5, 50, 0).figures

    assert one["anomaly_auc"].point == pytest.approx(roc_auc_score(is_anomaly, scores))
    assert one["anomaly_ap"].point == pytest.approx(average_precision_score(is_anomaly, scores))
    for name, figure in one.items():
        np.testing.assert_allclose(figure.replicates, other[name].replicates)


def test_days_whose_anomalies_hang_together_have_wider_intervals_than_rows_that_do_not() -> None:
    rng = np.random.default_rng(0)
    days = np.repeat(np.arange(20), 50)
    is_anomaly = np.arange(1000) % 10 == 0
    shift = rng.normal(scale=2, size=20)[days]
    scores = rng.normal(size=1000) + is_anomaly * (1 + shift)

    by_day = measure_alerts(scores, is_anomaly, days, 5, 300, 0).figures["anomaly_auc"].estimate(0.95)
    by_row = measure_alerts(scores, is_anomaly, None, 5, 300, 0).figures["anomaly_auc"].estimate(0.95)

    assert by_day.high - by_day.low > 1.3 * (by_row.high - by_row.low)


def test_a_pair_of_equal_scores_differs_by_nothing() -> None:
    scores, is_anomaly, days = made_up(3)

    one, other = (measure_alerts(scores, is_anomaly, days, 5, 60, 7).figures for _ in range(2))

    for name in one:
        assert str(one[name].minus(other[name]).estimate(0.95)) == "0.000 [0.000, 0.000]"


def test_without_days_the_precision_of_a_day_is_not_measured() -> None:
    scores, is_anomaly, _ = made_up(0)

    found = measure_alerts(scores, is_anomaly, None, 5, 50, 0)

    assert "anomaly_precision_top_k" not in found.figures
    assert "no time column" in found.unmeasured["anomaly_precision_top_k"]


def test_a_resample_is_of_whole_days_and_never_without_an_anomaly() -> None:
    is_anomaly = np.zeros(60, bool)
    is_anomaly[:2] = True
    days = np.repeat(np.arange(6), 10)

    for ranking, taken in day_resamples(np.arange(60.0), is_anomaly, days, 200, 0):
        assert (taken.sum(axis=1) == 6).all()
        np.testing.assert_array_equal(ranking.anomalies.sum(axis=1), 2 * taken[:, 0])
        assert (taken[:, 0] > 0).all()


def test_scores_that_are_not_finite_are_refused() -> None:
    scores, is_anomaly, days = made_up(0)
    scores[3] = np.nan

    with pytest.raises(EvaluationError, match="NaN or infinity"):
        measure_alerts(scores, is_anomaly, days, 5, 50, 0)


def test_weeks_begin_on_the_first_rows_day() -> None:
    seconds = 86_400 * np.arange(14.0) + 43_200
    is_anomaly = np.arange(14) % 3 == 0

    found = by_week(np.arange(14.0), is_anomaly, seconds)

    assert [(one.week, one.rows) for one in found] == [(0, 7), (1, 7)]
    assert days_of(seconds).tolist() == list(range(14))
