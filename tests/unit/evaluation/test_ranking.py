"""Rankings: every figure of every resample is scikit-learn's, and standard errors are what repetition shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from regen.core.errors import EvaluationError
from regen.evaluation import ranking
from regen.evaluation.ranking import Ranking, auc_error, average_precision_error, resamples

TIED = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])
"""So few values that most scores are tied."""


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores, some of them tied or all of them one, of at least two rows a group in any order."""
    n = draw(st.integers(4, 60))
    scores = draw(st.lists(draw(st.sampled_from([TIED, st.floats(-1e6, 1e6), st.just(1.0)])), min_size=n, max_size=n))
    anomalies = draw(st.integers(2, n - 2))
    order = draw(st.permutations(range(n)))
    return np.array(scores), np.array(order) < anomalies


@given(scored())
def test_the_figures_are_scikit_learns_ties_and_all(given: tuple[np.ndarray, np.ndarray]) -> None:
    scores, is_anomaly = given

    one = Ranking.of(scores, is_anomaly)

    assert one.auc() == pytest.approx(roc_auc_score(is_anomaly, scores))
    assert one.average_precision() == pytest.approx(average_precision_score(is_anomaly, scores))


@given(scored(), st.floats(0, 0.99))
def test_recall_is_the_highest_point_of_the_curve_within_the_rate(
    given: tuple[np.ndarray, np.ndarray], rate: float
) -> None:
    scores, is_anomaly = given
    false_positive_rate, recall, _ = roc_curve(is_anomaly, scores, drop_intermediate=False)

    found = Ranking.of(scores, is_anomaly).recall_at(rate)

    assert found == pytest.approx(recall[false_positive_rate <= rate + 1e-9].max())


@given(scored(), st.integers(0, 1000))
def test_a_count_stands_for_as_many_copies_of_a_row(given: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    scores, is_anomaly = given
    counts = np.random.default_rng(seed).integers(0, 4, (3, len(scores)))
    counts[:, is_anomaly] += 1
    counts[:, ~is_anomaly] += 1

    found = Ranking.of(scores, is_anomaly, counts)

    for one, auc, precision in zip(counts, found.auc(), found.average_precision(), strict=True):
        rows = np.repeat(np.arange(len(scores)), one)
        assert auc == pytest.approx(roc_auc_score(is_anomaly[rows], scores[rows]))
        assert precision == pytest.approx(average_precision_score(is_anomaly[rows], scores[rows]))


@given(scored(), st.integers(1, 30), st.integers(0, 1000))
def test_each_resample_has_as_many_rows_of_each_group(
    given: tuple[np.ndarray, np.ndarray], draws: int, seed: int
) -> None:
    scores, is_anomaly = given

    found = list(resamples(scores, is_anomaly, draws, seed))

    assert sum(len(block.anomalies) for block in found) == draws
    for block in found:
        assert set(block.anomalies.sum(axis=1)) == {is_anomaly.sum()}
        assert set(block.normal.sum(axis=1)) == {(~is_anomaly).sum()}


def test_resamples_do_not_depend_on_how_many_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, is_anomaly = np.arange(20.0), np.arange(20) % 3 == 0

    whole = [block.auc() for block in resamples(scores, is_anomaly, 10, seed=0)]
    monkeypatch.setattr(ranking, "HELD", 60)
    parts = [block.auc() for block in resamples(scores, is_anomaly, 10, seed=0)]

    assert (len(whole), len(parts)) == (1, 4)
    np.testing.assert_array_equal(np.concatenate(whole), np.concatenate(parts))


def test_constant_scores_tell_nothing() -> None:
    one = Ranking.of(np.ones(10), np.arange(10) < 4)

    assert one.auc() == 0.5
    assert one.average_precision() == 0.4
    assert one.recall_at(0.5) == 0


@pytest.mark.parametrize(("error", "figure"), [(auc_error, "auc"), (average_precision_error, "average_precision")])
def test_a_standard_error_is_about_what_repetition_shows(error, figure: str) -> None:
    rng, is_anomaly = np.random.default_rng(0), np.arange(460) < 60
    repeated = [rng.normal(size=460) + 1.2 * is_anomaly for _ in range(300)]

    shown = np.std([getattr(Ranking.of(scores, is_anomaly), figure)()[0] for scores in repeated])

    assert np.mean([error(scores, is_anomaly) for scores in repeated[:50]]) == pytest.approx(shown, rel=0.15)


def test_the_error_of_the_average_precision_is_the_jackknifes() -> None:
    rng, is_anomaly = np.random.default_rng(0), np.arange(600) < 120
    scores = np.round(rng.normal(size=600) + 1.5 * is_anomaly, 1)
    without = [np.delete(np.arange(600), row) for row in range(600)]

    values = np.array([average_precision_score(is_anomaly[rows], scores[rows]) for rows in without])
    jackknife = np.sqrt(sum((group.sum() - 1) * values[group].var() for group in (is_anomaly, ~is_anomaly)))

    assert average_precision_error(scores, is_anomaly) == pytest.approx(jackknife, rel=0.05)


@given(scored())
def test_turning_the_scores_round_keeps_the_error_of_the_auc_between_the_same_bounds(
    given: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, is_anomaly = given

    assert 0 < auc_error(scores, is_anomaly) < 0.5 * np.sqrt(len(scores))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(EvaluationError, match="anomaly scores hold NaN or infinity; look at the VAE's training"):
        Ranking.of(np.array([1.0, value, 2.0, 3.0]), np.array([True, True, False, False]))


@pytest.mark.parametrize(("anomalies", "met"), [(0, "0 and 8"), (1, "1 and 7"), (7, "7 and 1"), (8, "8 and 0")])
def test_a_missing_group_is_refused_with_both_counts(anomalies: int, met: str) -> None:
    with pytest.raises(EvaluationError, match=rf"at least 2 anomalies and 2 normal rows .*got {met}; raise data\.test"):
        Ranking.of(np.arange(8.0), np.arange(8) < anomalies)
