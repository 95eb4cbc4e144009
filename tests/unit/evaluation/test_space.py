"""Sets of features: the same however they came, and refused where they do not compare."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.errors import EvaluationError
from regen.evaluation.frechet import Gaussian, Thin, frechet_distance
from regen.evaluation.space import Conditions, FeatureSet, Judge

JUDGE = Judge("small@3", "a" * 64)
CUTS = st.lists(st.integers(0, 40), max_size=6).map(sorted)


def rows(n: int, seed: int, d: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def features(n: int, seed: int, d: int = 4, judge: Judge = JUDGE) -> FeatureSet:
    return FeatureSet(judge).update(rows(n, seed, d))


@given(st.integers(0, 1000), CUTS, CUTS)
def test_equal_rows_are_the_same_set_to_the_last_bit_however_they_were_split(
    seed: int, one: list[int], other: list[int]
) -> None:
    found = []
    for cuts in (one, other):
        whole = FeatureSet(JUDGE)
        for place, part in enumerate(np.split(rows(40, seed), cuts)):
            of_part = FeatureSet(JUDGE).update(part)
            whole = whole.merge(of_part) if place % 2 else whole.update(part)
        found.append(whole)

    assert found[0].digest == found[1].digest
    np.testing.assert_array_equal(found[0].moments.scatter, found[1].moments.scatter)
    np.testing.assert_array_equal(found[0].moments.mean, found[1].moments.mean)


def test_a_set_keeps_its_rows_when_the_batch_is_written_over() -> None:
    batch = rows(5, 0)
    found = FeatureSet(JUDGE).update(batch)

    batch[:] = 0

    np.testing.assert_array_equal(found.rows, rows(5, 0))
    assert found.rows.dtype == np.float32


def test_the_digest_tells_rows_types_and_shapes_apart() -> None:
    whole = np.arange(12.0).reshape(3, 4)

    others = [whole.astype(np.float32), whole.reshape(4, 3), whole + 1, whole[::-1]]

    assert len({FeatureSet(JUDGE).update(one).digest for one in [whole, *others]}) == 5


@pytest.mark.parametrize(("n", "d", "kind"), [(60, 4, Gaussian), (12, 20, Thin), (20, 20, Gaussian)])
def test_a_set_is_summarised_in_the_cheaper_way_and_measures_the_same(n: int, d: int, kind: type) -> None:
    real, fake = features(n, 0, d), features(n, 1, d)

    assert isinstance(real.summary, kind)
    wanted = frechet_distance(*(Gaussian.fit(side.rows.astype(np.float64)) for side in (real, fake)))
    assert frechet_distance(real.summary, fake.summary) == pytest.approx(wanted, rel=1e-6)


def test_figures_know_their_conditions() -> None:
    real, fake = features(60, 0), features(60, 1)

    assert fake.against(real) == Conditions(JUDGE, real.digest, 60)


def test_sets_of_two_sizes_are_refused() -> None:
    with pytest.raises(
        EvaluationError, match=r"as many fake rows as real ones, got 50 and 60; they shift .* cut the larger"
    ):
        features(50, 1).against(features(60, 0))


@pytest.mark.parametrize(
    "other", [Judge("small@4", "a" * 64), Judge("small@3", "b" * 64)], ids=["another version", "other weights"]
)
def test_features_of_two_extractors_are_refused_by_both_names(other: Judge) -> None:
    real, fake = features(60, 0), features(60, 1, judge=other)
    words = rf"features of small@3 \(a{{12}}\) and of {other.name} \({other.sha256[:12]}\) cannot be compared"

    for compare in (FeatureSet.merge, lambda a, b: b.against(a)):
        with pytest.raises(EvaluationError, match=words):
            compare(real, fake)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (np.full((2, 4), np.nan), "NaN or infinity; look at the images"),
        (np.ones((2, 3)), "the parts have 4 and 3 features; use one extractor for both"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(batch: np.ndarray, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        features(6, 0).update(batch)


def test_a_set_without_rows_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"no features of small@3 \(a{12}\) have come yet; add rows"):
        _ = FeatureSet(JUDGE).rows
