"""ECOD: tails of empirical distributions."""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ecdf, skew
from sklearn.metrics import roc_auc_score

from regen.evaluation.ecod import ecod, tail_nats


def rows(n: int = 60, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.exponential(size=n), -rng.exponential(size=n), rng.integers(0, 4, n).astype(float)], axis=1)


def test_the_outermost_of_four_skewed_rows_is_one_in_four() -> None:
    train = np.array([[0.0], [1.0], [2.0], [9.0]])

    assert ecod(train, np.array([[9.0], [1.0]])).tolist() == pytest.approx([log(4), log(2)])


def test_a_value_beyond_all_rows_is_as_rare_as_one_in_a_row_more() -> None:
    assert tail_nats(np.arange(4.0)[:, None], np.array([[-5.0]])).tolist() == [[pytest.approx(log(5))]]


@given(st.integers(0, 1000))
def test_on_its_own_rows_it_is_the_published_formula(seed: int) -> None:
    train = rows(40, seed)
    expected = np.zeros(40)
    for column in train.T:
        left = -np.log(ecdf(column).cdf.evaluate(column))
        right = -np.log(ecdf(-column).cdf.evaluate(-column))
        towards = {-1: left, 0: left + right, 1: right}[int(np.sign(skew(column)))]
        expected += np.maximum(np.maximum(left, right), towards)

    np.testing.assert_allclose(ecod(train, train), expected)


@given(st.integers(0, 1000), st.permutations(range(20)))
def test_a_rows_score_depends_on_no_other_row(seed: int, order: list[int]) -> None:
    train, test = rows(50, seed), 2 * rows(20, seed + 1)
    scores = ecod(train, test)

    np.testing.assert_allclose(ecod(train, test[order]), scores[order])
    np.testing.assert_allclose(ecod(train, test[3:4]), scores[3:4])


def test_rows_far_out_are_found() -> None:
    scores = ecod(rows(500), np.concatenate([rows(100, 1), 3 + 3 * rows(20, 2)]))

    assert roc_auc_score([0] * 100 + [1] * 20, scores) > 0.8


def test_a_column_that_never_changes_is_finite() -> None:
    scores = ecod(np.ones((10, 2)), np.array([[1.0, 1.0], [2.0, 1.0]]))

    assert np.isfinite(scores).all()
    assert scores[1] > scores[0]
