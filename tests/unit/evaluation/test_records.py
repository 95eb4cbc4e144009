"""Closest records: known distances, agreement with brute force, copies, and what tells learning from memorising."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from regen.core.errors import EvaluationError
from regen.data.tables import Table, encode
from regen.evaluation import records
from regen.evaluation.records import closest_records, copies, measure_closeness, nearest

SEEDS = st.integers(0, 2**32 - 1)
ROWS = st.integers(1, 30)


def encoded(*frames: dict[str, list[object]]) -> list[Table]:
    return encode(
        [pd.DataFrame({k: pd.Series(v) for k, v in one.items()}) for one in frames],
        ["REAL", "FAKE", "CONTROL"][: len(frames)],
    )


def tables(n: int, m: int, seed: int) -> list[Table]:
    """Small whole numbers and categories, so that rows repeat, with gaps."""
    rng = np.random.default_rng(seed)
    frames = []
    for rows in (n, m):
        made = pd.DataFrame({"x": rng.integers(0, 3, rows) * 1.0, "y": rng.integers(0, 3, rows) * 1.0})
        made["a"] = pd.Series(rng.choice(["u", "v"], rows), dtype="str")
        frames.append(made.mask(rng.random(made.shape) < 0.2))
    return encode(frames, ["REAL", "FAKE"])


def test_a_distance_takes_known_values() -> None:
    real, fake = encoded({"x": [0.0, 2.0], "a": ["u", "v"]}, {"x": [0.0, 1.0, 2.0, np.nan], "a": ["u", "u", "u", "u"]})

    found = closest_records(fake, real)

    np.testing.assert_allclose(found, np.sqrt([0, 1 / 2, 1 / 2, (1 + 1) / 2]))


def test_a_constant_column_is_not_scaled() -> None:
    real, fake = encoded({"x": [3.0, 3.0]}, {"x": [5.0]})

    np.testing.assert_allclose(closest_records(fake, real), [2.0])


def test_two_missing_numbers_are_alike() -> None:
    real, fake = encoded({"x": [1.0, np.nan, 4.0]}, {"x": [np.nan]})

    assert closest_records(fake, real).tolist() == [0]
    assert copies(fake, real).tolist() == [True]


@given(ROWS, ROWS, SEEDS)
def test_a_copy_is_what_lies_at_distance_zero(n: int, m: int, seed: int) -> None:
    real, fake = tables(n, m, seed)

    np.testing.assert_array_equal(copies(fake, real), closest_records(fake, real) < 1e-12)


@given(ROWS, SEEDS)
def test_a_table_copies_itself(n: int, seed: int) -> None:
    real, same = tables(n, n, seed)[0], tables(n, n, seed)[0]

    assert copies(same, real).all()
    assert not closest_records(same, real).any()


@given(ROWS, ROWS, SEEDS)
def test_the_order_of_the_real_rows_does_not_matter(n: int, m: int, seed: int) -> None:
    real, fake = tables(n, m, seed)
    shuffled = real.take(np.random.default_rng(seed).permutation(n))

    np.testing.assert_allclose(closest_records(fake, shuffled), closest_records(fake, real), atol=1e-9)


@given(ROWS, ROWS, SEEDS)
def test_chunks_come_to_what_all_at_once_does(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, reference = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    codes, reference_codes = rng.integers(0, 2, (n, 2)), rng.integers(0, 2, (m, 2))
    squares = np.square(values[:, None] - reference).sum(-1) + (codes[:, None] != reference_codes).sum(-1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "HELD", 2 * m)
        found = nearest(values, reference, codes, reference_codes)

    np.testing.assert_allclose(found, np.sqrt(squares.min(axis=1)))


@given(ROWS, ROWS, SEEDS)
def test_closeness_is_the_area_under_the_roc_curve(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fake, control = rng.integers(0, 5, n + 1) * 1.0, rng.integers(0, 5, m + 1) * 1.0

    found = measure_closeness(fake, control, draws=3, seed=0)

    truth = np.repeat([1, 0], [n + 1, m + 1])
    assert found.point == pytest.approx(roc_auc_score(truth, -np.concatenate([fake, control])))


def test_copies_are_closer_than_any_control_and_fresh_rows_are_not() -> None:
    rng = np.random.default_rng(0)
    real, fresh, control = (pd.DataFrame(rng.normal(size=(300, 4)), columns=list("wxyz")) for _ in range(3))
    a, b, c = encode([real, fresh, control], ["REAL", "FAKE", "CONTROL"])
    away = closest_records(c, a)

    learnt = measure_closeness(closest_records(b, a), away, 100, 0).estimate(0.95)
    by_heart = measure_closeness(closest_records(a, a), away, 100, 0).estimate(0.95)

    assert learnt.low < 0.5 < learnt.high
    assert (by_heart.value, by_heart.low) == (1, 1)


def test_distances_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(EvaluationError, match="the closest records hold NaN or infinity; look at the rows"):
        measure_closeness(np.array([0.0, np.nan]), np.zeros(2), 2, 0)


@pytest.mark.parametrize("measure", [closest_records, copies])
def test_tables_of_other_columns_are_refused(measure) -> None:
    real, fake = tables(3, 3, 0)

    with pytest.raises(EvaluationError, match="encode both together"):
        measure(fake.without("x"), real)
