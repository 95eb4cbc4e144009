"""A reference says what figures were measured against, is kept whole, and refuses comparisons that mean nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.errors import DataError, EvaluationError
from regen.evaluation.frechet import Gaussian
from regen.evaluation.reference import Reference, digest, require_comparable


@pytest.fixture
def reference() -> Reference:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 4, 4, 1), dtype=np.uint8)
    return Reference.of("digits-extractor", 3, "ab" * 32, pixels, rng.standard_normal((20, 3)))


def test_a_reference_is_read_as_it_was_written(reference, tmp_path):
    reference.save(tmp_path)

    found = Reference.load(tmp_path)

    assert found.name == reference.name
    np.testing.assert_array_equal(found.statistics.mean, reference.statistics.mean)
    np.testing.assert_array_equal(found.statistics.covariance, reference.statistics.covariance)


def test_its_statistics_are_those_of_the_features(reference):
    features = np.random.default_rng(1).standard_normal((20, 3))

    found = Reference.of("e", 1, "ab", np.zeros((20, 1, 1, 1), np.uint8), features).statistics

    np.testing.assert_allclose(found.mean, features.mean(axis=0))
    np.testing.assert_allclose(found.covariance, np.cov(features, rowvar=False))
    assert isinstance(found, Gaussian)


def test_the_digest_of_rows_knows_their_pixels_their_order_and_their_shape():
    rows = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)

    assert digest(rows) == digest(rows.copy())
    assert len({digest(rows), digest(rows[::-1]), digest(rows.reshape(2, 2, 8, 1)), digest(rows + 1)}) == 4


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_damaged_reference_is_refused_with_the_way_out(reference, tmp_path, damage):
    reference.save(tmp_path)
    if damage == "missing":
        (tmp_path / "reference.npz").unlink()
    elif damage == "cut":
        (tmp_path / "reference.npz").write_bytes((tmp_path / "reference.npz").read_bytes()[:100])
    else:
        (tmp_path / "reference.json").write_text("{}")

    with pytest.raises(DataError, match=r"cannot be read .*run 'regen stage evaluate'"):
        Reference.load(tmp_path)


def comparable(one: dict, other: dict) -> bool:
    try:
        require_comparable(one, other)
    except EvaluationError:
        return False
    return True


@given(st.sets(st.sampled_from(["sha256", "n", "rows", "extractor", "version"])))
def test_figures_compare_where_weights_number_and_rows_are_the_same_and_only_there(changed):
    one = {"extractor": "e", "version": 1, "sha256": "ab" * 32, "n": 20, "rows": "cd" * 32}
    other = one | {key: 9 if key in ("n", "version") else "ef" * 32 for key in changed}

    assert comparable(one, other) == comparable(other, one) == (changed <= {"extractor", "version"})


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("sha256", "cd" * 32, r"two extractors, digits-extractor 3 \(abababab\) and digits-extractor 3 \(cdcdcdcd\)"),
        ("n", 10, "measured on 20 and 10 rows, and a distance falls with their number"),
        ("rows", "ef" * 32, "measured against other rows"),
    ],
)
def test_figures_against_another_reference_are_refused_with_the_reason(reference, key, value, reason):
    with pytest.raises(EvaluationError, match=f"{reason}.*measure both again on the same rows"):
        require_comparable(reference.name, reference.name | {key: value})


def test_the_version_number_alone_keeps_nothing_apart(reference):
    assert comparable(reference.name, reference.name | {"version": 9})
    assert not comparable(reference.name, reference.name | {"version": 9, "n": 9})
