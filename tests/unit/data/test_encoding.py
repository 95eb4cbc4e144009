"""The encoding of mixed types: there and back again nothing is lost, and what a network makes up stays within what was seen."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from regen.core.errors import DataError
from regen.data.columns import Column, TableSchema
from regen.data.encoding import Encoded, TableEncoder

METHODS = ("quantile", "modes")
COLUMNS = (
    Column("amount", "numeric"), Column("count", "integer"), Column("kind", "categorical"), Column("flag", "boolean"),
    Column("when", "datetime"), Column("rate", "numeric", nullable=True),
)  # fmt: skip
NUMBERS = st.floats(-1e9, 1e9, allow_nan=False, allow_subnormal=False)
SPREADS = st.sampled_from([None, 0])


def mixed(n: int = 500, seed: int = 0) -> pd.DataFrame:
    """Rows of every kind of column, some values missing."""
    rng = np.random.default_rng(seed)
    rate = rng.normal(size=n).round(2)
    return pd.DataFrame(
        {
            "amount": rng.lognormal(0, 2, n), "count": rng.integers(0, 30, n),
            "kind": rng.choice(["x", "y", "z", None], n), "flag": rng.random(n) < 0.3,
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**7, n), unit="s"),
            "rate": np.where(rng.random(n) < 0.4, np.nan, rate), "beside": np.arange(n),
        }
    )  # fmt: skip


@cache
def fitted(method: str) -> TableEncoder:
    return TableEncoder.fit(mixed(), COLUMNS, method)


def there_and_back(frame: pd.DataFrame, *columns: Column, method: str = "quantile", seed: int | None = None):
    encoder = TableEncoder.fit(frame, columns, method)
    return encoder.inverse(encoder.transform(frame, None if seed is None else np.random.default_rng(seed)))


def one(values: object, dtype: object = None) -> pd.DataFrame:
    return pd.DataFrame({"a": pd.Series(values, dtype=dtype)})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [None, 0])
def test_rows_of_mixed_types_come_back_in_their_types(method: str, seed: int | None) -> None:
    frame = mixed()

    back = there_and_back(frame, *COLUMNS, method=method, seed=seed)

    expected = frame.drop(columns="beside")
    assert list(back.dtypes) == list(expected.dtypes)
    exact = ["count", "kind", "flag", "when", "rate"]
    pd.testing.assert_frame_equal(back[exact], expected[exact])
    assert np.allclose(back["amount"], expected["amount"], rtol=0, atol=1e-4 * expected["amount"].std())


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(values=st.lists(NUMBERS, min_size=1, max_size=60), seed=SPREADS)
def test_numbers_come_back_within_a_millionth_of_their_range(
    method: str, values: list[float], seed: int | None
) -> None:
    back = there_and_back(one(values), Column("a", "numeric"), method=method, seed=seed)["a"]

    assert np.allclose(back, values, rtol=0, atol=1e-5 * max(np.ptp(values), 1e-3))
    assert back.between(min(values), max(values)).all()


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(values=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=60), seed=SPREADS)
def test_whole_numbers_come_back_exactly(method: str, values: list[int], seed: int | None) -> None:
    back = there_and_back(one(values), Column("a", "integer"), method=method, seed=seed)["a"]

    assert back.dtype == np.int64
    assert back.tolist() == values


@given(values=st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=40))
def test_categories_come_back_exactly_and_missing_ones_stay_missing(values: list[str | None]) -> None:
    back = there_and_back(one(values, object), Column("a", "categorical"))["a"]

    assert [None if pd.isna(value) else value for value in back] == values


@settings(max_examples=25)
@given(values=st.lists(st.one_of(st.none(), NUMBERS), min_size=1, max_size=40), method=st.sampled_from(METHODS))
def test_missing_numbers_stay_missing_and_no_others_become_so(values: list[float | None], method: str) -> None:
    frame = one(values, "float64")

    back = there_and_back(frame, Column("a", "numeric"), method=method)

    assert back["a"].isna().tolist() == frame["a"].isna().tolist()


@given(
    seconds=st.lists(st.one_of(st.none(), st.integers(-(10**9), 4 * 10**9)), min_size=1, max_size=40),
    step=st.sampled_from([1, 60, 3600, 86400]),
    dtype=st.sampled_from(["datetime64[s]", "datetime64[us]", "datetime64[ns]", "datetime64[us, UTC]"]),
)
def test_dates_come_back_exactly(seconds: list[int | None], step: int, dtype: str) -> None:
    whole = pd.Series([None if one is None else one // step * step for one in seconds], dtype="Int64")
    dates = pd.to_datetime(whole, unit="s", utc=True)
    frame = one(dates.astype(dtype) if "UTC" in dtype else dates.dt.tz_localize(None).astype(dtype))

    back = there_and_back(frame, Column("a", "datetime"), seed=0)

    pd.testing.assert_frame_equal(back, frame)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(
    numbers=st.lists(st.floats(-50, 50, width=32), min_size=12, max_size=12),
    codes=st.lists(st.integers(0, 10**6), min_size=12, max_size=12),
)
def test_whatever_a_network_makes_is_a_row_like_those_seen(method: str, numbers: list[float], codes: list[int]) -> None:
    frame, encoder = mixed(), fitted(method)
    sizes = list(encoder.code_sizes.values())
    made = Encoded(
        np.array(numbers, np.float32).reshape(-1, 4), np.array(codes)[:3, None].repeat(len(sizes), axis=1) % sizes
    )

    rows = encoder.inverse(made)

    assert list(rows.dtypes) == list(frame[list(encoder.names)].dtypes)
    for name in ("amount", "count", "when"):
        assert rows[name].between(frame[name].min(), frame[name].max()).all()
    assert set(rows["kind"].dropna()) <= {"x", "y", "z"}
    assert (rows["rate"].dropna().round(2) == rows["rate"].dropna()).all()


def test_numbers_of_any_shape_become_normal() -> None:
    rng = np.random.default_rng(0)
    shapes = {
        "skewed": rng.lognormal(0, 3, 5000), "two_peaks": np.r_[rng.normal(-9, 1, 2500), rng.normal(9, 1, 2500)],
        "mostly_zero": np.where(rng.random(5000) < 0.9, 0.0, rng.lognormal(0, 2, 5000)),
        "few": rng.integers(0, 4, 5000).astype(float),
    }  # fmt: skip
    frame = pd.DataFrame(shapes)
    encoder = TableEncoder.fit(frame, [Column(name, "numeric") for name in frame])

    encoded = encoder.transform(frame, rng)

    assert all(stats.kstest(column, "norm").statistic < 0.02 for column in encoded.numbers.T)


def test_rows_of_one_value_share_the_middle_of_their_part_unless_they_are_spread() -> None:
    frame = one([0.0] * 80 + [1.0] * 20)
    encoder = TableEncoder.fit(frame, [Column("a", "numeric")])

    middle, spread = encoder.transform(frame), encoder.transform(frame, np.random.default_rng(0))

    assert len(np.unique(middle.numbers)) == 2
    assert len(np.unique(spread.numbers)) == 100
    assert spread.numbers[:80].max() < spread.numbers[80:].min()


def test_a_number_beyond_the_range_goes_on_in_a_straight_line() -> None:
    train = one(np.repeat(np.arange(10.0), 2))
    deviation = train["a"].std(ddof=0)
    encoder = TableEncoder.fit(train, [Column("a", "numeric")])

    above = encoder.transform(one([9 + deviation, 9 + 3 * deviation])).numbers[:, 0]
    below = encoder.transform(one([-deviation, -6 * deviation])).numbers[:, 0]

    assert above[1] - above[0] == pytest.approx(2, abs=1e-5)
    assert below[1] - below[0] == pytest.approx(-5, abs=1e-5)


def test_what_single_rows_hold_is_not_kept() -> None:
    rng = np.random.default_rng(0)
    frame = one(rng.normal(size=400))
    encoder = TableEncoder.fit(frame, [Column("a", "numeric")])

    made = encoder.inverse(Encoded(rng.normal(size=(1000, 1)).astype(np.float32), np.zeros((1000, 0), np.int64)))

    assert len(encoder.columns[0].scale.knots) < 50
    assert made["a"].isin(frame["a"]).mean() < 0.01


def test_the_modes_of_a_mixture_are_found() -> None:
    rng = np.random.default_rng(0)
    frame = one(np.r_[rng.normal(-100, 1, 500), rng.normal(100, 5, 500)])
    encoder = TableEncoder.fit(frame, [Column("a", "numeric")], "modes")

    encoded = encoder.transform(frame)

    assert not set(encoded.codes[:500, 0]) & set(encoded.codes[500:, 0])
    assert np.abs(encoded.numbers).max() < 1.5
    assert encoder.code_sizes == {"a mode": len(encoder.columns[0].scale.means)}


def test_the_seed_decides_the_modes() -> None:
    assert TableEncoder.fit(mixed(), COLUMNS, "modes", 0) == fitted("modes")


def test_columns_of_no_part_are_left_out() -> None:
    schema = TableSchema((*COLUMNS, Column("beside", "integer")), key="beside", label="flag", time="when")

    encoder = TableEncoder.fit(mixed(), schema.modelled)

    assert encoder.names == ("amount", "count", "kind", "rate")
    assert encoder.code_sizes == {"kind": 4, "rate is missing": 2}
    assert [encoder.transform(mixed()).numbers.shape, encoder.transform(mixed()).codes.shape] == [(500, 3), (500, 2)]


def test_a_few_rows_of_the_encoded_are_taken_by_number() -> None:
    encoded = TableEncoder.fit(mixed(), COLUMNS).transform(mixed())

    some = encoded.take(np.array([3, 1]))

    assert len(some) == 2
    assert np.array_equal(some.numbers, encoded.numbers[[3, 1]])
    assert np.array_equal(some.codes, encoded.codes[[3, 1]])


def test_the_schemas_categories_have_codes_though_no_row_has_them() -> None:
    column = Column("a", "categorical", categories=("low", "high"))

    encoder = TableEncoder.fit(one(["high", "odd"]), [column])

    assert encoder.transform(one(["low", "high", "odd"])).codes[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "dtype", "kind"),
    [
        ([True, False, None], object, "boolean"), ([True, None], "boolean", "boolean"), ([1, 0, 1], "int64", "boolean"),
        ([True, False], "bool", "boolean"), ([3, 5, 3], "int64", "categorical"), (["b", "a"], "category", "categorical"),
        ([1.5, None], "float64", "categorical"), (["b", None], "str", "categorical"), ([2, None], "Int64", "integer"),
        ([2.0, np.nan], "float64", "integer"), ([7, 200], "uint8", "integer"), ([0.25, 2.5], "float32", "numeric"),
        ([None, None], "float64", "numeric"), ([None, None], object, "categorical"), ([86400.0, 172800.0], "float64", "datetime"),
        ([5, 5], "int64", "integer"),
    ],
)  # fmt: skip
def test_each_type_of_a_frame_comes_back(values: list, dtype: object, kind: str) -> None:
    frame = one(values, dtype)

    pd.testing.assert_frame_equal(there_and_back(frame, Column("a", kind)), frame, check_categorical=False)


def test_dates_that_were_text_come_back_as_dates() -> None:
    back = there_and_back(one(["2024-05-01", "2024-05-03"]), Column("a", "datetime"))

    assert back["a"].tolist() == [pd.Timestamp("2024-05-01"), pd.Timestamp("2024-05-03")]


def test_numbers_missing_from_a_type_that_cannot_say_so_make_it_nullable() -> None:
    encoder = TableEncoder.fit(one([1, 2]), [Column("a", "integer", nullable=True)])

    made = encoder.inverse(Encoded(np.zeros((2, 1), np.float32), np.array([[0], [1]])))

    assert made["a"].dtype == "Int64"
    assert made["a"].isna().tolist() == [False, True]


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_encoder_is_loaded_equal(tmp_path: Path, method: str) -> None:
    encoder = fitted(method)

    encoder.save(tmp_path / "encoding.json")

    assert TableEncoder.load(tmp_path / "encoding.json") == encoder
    assert json.loads((tmp_path / "encoding.json").read_text())[2]["categories"] == ["x", "y", "z"]


@pytest.mark.parametrize("text", [None, "", "{", "[3]", '[{"name": "a"}]', '[{"scale": {"method": "other"}}]'])
def test_a_missing_or_damaged_file_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "encoding.json").write_text(text)

    with pytest.raises(DataError, match=r"the encoding .*encoding\.json cannot be loaded \(.*\); remove it"):
        TableEncoder.load(tmp_path / "encoding.json")


def test_no_rows_or_no_columns_are_refused() -> None:
    with pytest.raises(DataError, match="learnt from rows and columns, got 0 and 6; add rows"):
        TableEncoder.fit(mixed().iloc[:0], COLUMNS)
    with pytest.raises(DataError, match="got 500 and 0"):
        TableEncoder.fit(mixed(), [])


def test_a_column_that_is_not_there_is_named() -> None:
    encoder = TableEncoder.fit(mixed(), COLUMNS)

    with pytest.raises(DataError, match="the rows lack the columns kind, rate; they have amount, count"):
        encoder.transform(mixed().drop(columns=["kind", "rate"]))
    with pytest.raises(DataError, match="the rows lack the columns other"):
        TableEncoder.fit(mixed(), [Column("other", "numeric")])


def test_an_unknown_category_is_refused() -> None:
    encoder = TableEncoder.fit(one(["x", "y"]), [Column("a", "categorical")])

    with pytest.raises(
        DataError, match="the column a holds 'w', which it did not when it was fitted; wanted one of x, y"
    ):
        encoder.transform(one(["x", "w"]))


@pytest.mark.parametrize(("values", "kind"), [([1.0, 2.0], "numeric"), (["x", "y"], "categorical")])
def test_a_missing_value_where_none_was_is_refused(values: list, kind: str) -> None:
    encoder = TableEncoder.fit(one(values), [Column("a", kind)])

    with pytest.raises(DataError, match="the column a lacks 1 of 2 values, and none was missing when it was fitted"):
        encoder.transform(one([values[0], None]))


def test_text_where_numbers_should_be_is_refused() -> None:
    with pytest.raises(DataError, match=r"the column a is numeric by its schema, but .*; mend the rows or the schema"):
        TableEncoder.fit(one(["1.5", "much"]), [Column("a", "numeric")])


def test_infinity_is_refused() -> None:
    with pytest.raises(DataError, match="the column a holds infinity; write a number"):
        TableEncoder.fit(one([1.0, np.inf]), [Column("a", "numeric")])
