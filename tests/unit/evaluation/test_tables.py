"""Scores of tables: known values, agreement with SciPy and pandas, bounds, order, and columns that hold little."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from regen.core.errors import EvaluationError
from regen.data.tables import Table, encode
from regen.evaluation import tables as module
from regen.evaluation.tables import (
    column_errors,
    column_shapes,
    correlations,
    measure_shapes,
    measure_trends,
    pair_trends,
)

SEEDS = st.integers(0, 2**32 - 1)
ROWS = st.integers(1, 40)


def pair(real: dict[str, object], fake: dict[str, object]) -> list[Table]:
    frames = [pd.DataFrame({k: pd.Series(v) for k, v in columns.items()}) for columns in (real, fake)]
    return encode(frames, ["REAL", "FAKE"])


def frame(n: int, seed: int, gaps: float = 0.1) -> pd.DataFrame:
    """Two columns of numbers, one rounded so that values repeat, and two of categories, some of it missing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    made = pd.DataFrame(
        {
            "x": x,
            "y": (x + rng.normal(size=n)).round(),
            "a": pd.Series(rng.choice(["u", "v", "w"], n), dtype="str"),
            "b": pd.Series(np.where(x > 0, "high", "low"), dtype="str"),
        }
    )
    return made.mask(rng.random(made.shape) < gaps)


def tables(n: int, m: int, one: int, other: int, gaps: float = 0.1) -> list[Table]:
    return encode([frame(n, one, gaps), frame(m, other, gaps)], ["REAL", "FAKE"])


@pytest.mark.parametrize(
    ("real", "fake", "score"),
    [
        ([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0], 0.5),
        ([1.0, 2.0], [3.0, 4.0], 0.0),
        ([1.0, np.nan], [1.0, 1.0], 0.5),
        (["u", "u", "v", "w"], ["u", "v", "v", "v"], 0.5),
        (["u", None], ["u", "u"], 0.5),
        (["u"], ["v"], 0.0),
        ([None, None], [None], 1.0),
        ([2.0], [2.0, 2.0], 1.0),
    ],
    ids=["numbers", "apart", "a gap", "categories", "a missing one", "unseen", "all missing", "a constant"],
)
def test_a_shape_takes_known_values(real: list[object], fake: list[object], score: float) -> None:
    assert column_shapes(*pair({"a": real}, {"a": fake})) == {"a": pytest.approx(score)}


@given(ROWS, ROWS, SEEDS, SEEDS)
def test_a_shape_of_numbers_is_scipys(n: int, m: int, one: int, other: int) -> None:
    real, fake = tables(n, m, one, other, gaps=0)

    for name, score in list(column_shapes(real, fake).items())[:2]:
        assert score == pytest.approx(1 - ks_2samp(real.column(name), fake.column(name)).statistic)


@given(ROWS, ROWS, SEEDS, SEEDS)
def test_a_shape_of_categories_is_that_of_pandas_shares(n: int, m: int, one: int, other: int) -> None:
    frames = frame(n, one), frame(m, other)

    scores = column_shapes(*encode(frames, ["REAL", "FAKE"]))

    for name in ("a", "b"):
        shares = [each[name].fillna("missing").value_counts(normalize=True) for each in frames]
        assert scores[name] == pytest.approx(1 - shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)


@given(st.integers(2, 40), SEEDS)
def test_a_table_is_wholly_like_itself(n: int, seed: int) -> None:
    real, same = tables(n, n, seed, seed)

    assert set(column_shapes(real, same).values()) == {1.0}
    assert list(pair_trends(real, same).values()) == pytest.approx([1.0] * 6)
    assert set(column_errors(real, same).values()) == {0.0}


@given(ROWS, ROWS, SEEDS, SEEDS)
def test_scores_lie_between_nothing_and_one(n: int, m: int, one: int, other: int) -> None:
    real, fake = tables(n, m, one, other, gaps=0.3)

    assert all(0 <= score <= 1 for score in column_shapes(real, fake).values())
    assert all(0 <= score <= 1 for score in pair_trends(real, fake).values())


@given(ROWS, ROWS, SEEDS, SEEDS)
def test_the_order_of_rows_does_not_matter(n: int, m: int, one: int, other: int) -> None:
    real, fake = tables(n, m, one, other)
    shuffled = fake.take(np.random.default_rng(one).permutation(m))

    assert column_shapes(real, shuffled) == pytest.approx(column_shapes(real, fake))
    assert pair_trends(real, shuffled) == pytest.approx(pair_trends(real, fake), abs=1e-6)


@given(ROWS, ROWS, SEEDS, SEEDS)
def test_shapes_are_the_same_both_ways(n: int, m: int, one: int, other: int) -> None:
    real, fake = tables(n, m, one, other)

    assert column_shapes(real, fake) == pytest.approx(column_shapes(fake, real))


@given(st.integers(2, 40), SEEDS, st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
def test_correlations_are_those_of_pandas(n: int, seed: int, shift: float, scale: float) -> None:
    numbers = frame(n, seed)[["x", "y"]].assign(z=lambda rows: shift + scale * rows["x"].abs())

    expected = numbers.corr(min_periods=2).to_numpy()

    found = correlations(numbers.to_numpy())
    known = ~np.isnan(expected)
    np.testing.assert_allclose(found[known], expected[known], atol=1e-4)


def test_a_correlation_that_is_lost_costs_half_its_difference() -> None:
    real, fake = pair({"x": [0.0, 1, 2, 3], "y": [0.0, 1, 2, 3]}, {"x": [0.0, 1, 2, 3], "y": [3.0, 2, 1, 0]})

    assert pair_trends(real, fake) == {("x", "y"): pytest.approx(0.0)}
    assert pair_trends(real, real) == {("x", "y"): pytest.approx(1.0)}


def test_a_constant_correlates_with_nothing() -> None:
    real, fake = pair({"x": [0.0, 1, 2, 3], "y": [0.0, 1, 2, 3]}, {"x": [0.0, 1, 2, 3], "y": [0.1, 0.1, 0.1, 0.1]})

    assert pair_trends(real, fake) == {("x", "y"): pytest.approx(0.5)}


def test_two_columns_of_categories_are_compared_by_their_two_way_table() -> None:
    real, fake = pair(
        {"a": ["u", "u", "v", "v"], "b": ["s", "s", "t", "t"]}, {"a": ["u", "u", "v", "v"], "b": ["s", "t", "s", "t"]}
    )

    assert pair_trends(real, fake) == {("a", "b"): pytest.approx(0.5)}
    assert set(column_shapes(real, fake).values()) == {1.0}


def test_a_pair_of_a_number_and_a_category_is_compared_by_bins() -> None:
    x = np.arange(100.0)
    half = np.where(x < 50, "low", "high")
    real, fake = pair({"x": x, "a": half}, {"x": x, "a": half[::-1]})

    assert pair_trends(real, fake) == {("x", "a"): pytest.approx(0.0)}


def test_a_heavy_tail_does_not_hide_a_trend() -> None:
    x = np.append(np.arange(99.0), 1e9)
    half = np.where(x < 50, "low", "high")
    real, fake = pair({"x": x, "a": half}, {"x": x, "a": half[::-1]})

    assert pair_trends(real, fake)[("x", "a")] < 0.1


def test_many_categories_are_counted_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = tables(60, 50, 0, 1)
    expected = pair_trends(real, fake)

    monkeypatch.setattr(module, "DENSE", 1)

    assert pair_trends(real, fake) == pytest.approx(expected)


@pytest.mark.parametrize("measure", [measure_shapes, measure_trends])
def test_a_measured_score_is_the_mean_and_follows_the_seed(measure) -> None:
    real, fake = tables(80, 80, 0, 1)
    scores = column_shapes if measure is measure_shapes else pair_trends
    told = []

    one, same, other = (measure(real, fake, 10, seed, lambda: told.append(1)) for seed in (0, 0, 1))

    assert one.point == pytest.approx(np.mean(list(scores(real, fake).values())))
    np.testing.assert_array_equal(one.replicates, same.replicates)
    assert not np.array_equal(one.replicates, other.replicates)
    assert len(told) == 33


@pytest.mark.parametrize("measure", [measure_shapes, measure_trends])
def test_an_interval_holds_the_scores_of_other_samples_of_the_same_laws(measure) -> None:
    found = measure(*tables(300, 300, 0, 1), 60, 0).estimate(0.95)

    others = [measure(*tables(300, 300, seed, seed + 1), 1, 0).point for seed in range(2, 42, 2)]
    assert found.low <= found.value <= found.high <= 1
    assert sum(found.low <= other <= found.high for other in others) >= 15


@pytest.mark.parametrize("measure", [measure_shapes, measure_trends])
def test_an_interval_of_equal_tables_ends_at_one(measure) -> None:
    found = measure(*tables(100, 100, 0, 0), 60, 0).estimate(0.95)

    assert (found.value, found.high) == (pytest.approx(1), pytest.approx(1))
    assert found.low > 0.9


def test_an_error_of_numbers_is_in_standard_deviations_and_one_of_categories_a_rate() -> None:
    real, rebuilt = pair(
        {"x": [0.0, 2.0, np.nan, 2.0, 0.0], "a": ["u", "v", "u", None, "u"], "c": [5.0] * 5},
        {"x": [1.0, 2.0, 1.0, np.nan, 0.0], "a": ["u", "u", "u", None, None], "c": [5.0, 5.0, 5.0, 5.0, 6.0]},
    )

    assert column_errors(real, rebuilt) == pytest.approx({"x": (1 + 0 + 1 + 1 + 0) / 5, "c": 1 / 5, "a": 2 / 5})


def test_a_reconstruction_needs_every_row() -> None:
    with pytest.raises(
        EvaluationError, match="as many reconstructed rows as real ones, got 5 and 4; reconstruct every"
    ):
        column_errors(*tables(4, 5, 0, 1))


def test_tables_of_other_columns_are_refused() -> None:
    real, fake = tables(4, 4, 0, 1)

    with pytest.raises(
        EvaluationError, match=r"have the columns \['x', 'y', 'a', 'b'\] and \['y', 'a', 'b'\]; encode both"
    ):
        column_shapes(real, fake.without("x"))


def test_tables_without_rows_are_refused() -> None:
    real, fake = tables(4, 4, 0, 1)

    with pytest.raises(EvaluationError, match="need rows and columns, got 4 and 0 rows of 4 columns"):
        column_shapes(real, fake.take(np.zeros(0, np.int64)))


@pytest.mark.parametrize("score", [pair_trends, lambda a, b: measure_trends(a, b, 5, 0)])
def test_a_trend_needs_two_columns(score) -> None:
    with pytest.raises(EvaluationError, match="trends need at least 2 columns, got only a; add a column"):
        score(*pair({"a": ["u"]}, {"a": ["v"]}))
