"""Every figure of a feature space from one pass, and the refusal to compare what was measured under other conditions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.errors import DataError, EvaluationError
from regen.evaluation.diversity import Neighbourhoods
from regen.evaluation.frechet import (
    Gaussian,
    Thin,
    frechet_at_infinity,
    frechet_by_class,
    frechet_distance,
    summarise,
)
from regen.evaluation.kernel import kernel_distance
from regen.evaluation.space import (
    Conditions,
    FeatureSet,
    Judge,
    Reference,
    digest_of,
    measure_space,
    require_comparable,
)

JUDGE = Judge("small@3", "a" * 64)
CUTS = st.lists(st.integers(0, 40), max_size=6).map(sorted)


def rows(n: int, seed: int, d: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def features(n: int, seed: int, d: int = 4, judge: Judge = JUDGE) -> FeatureSet:
    return FeatureSet(judge).update(rows(n, seed, d), np.arange(n) % 3)


@given(st.integers(0, 1000), CUTS, CUTS)
def test_equal_rows_are_the_same_set_to_the_last_bit_however_they_were_split(
    seed: int, one: list[int], other: list[int]
) -> None:
    found = []
    for cuts in (one, other):
        parts = [FeatureSet(JUDGE)]
        for part, labels in zip(np.split(rows(40, seed), cuts), np.split(np.arange(40), cuts), strict=True):
            parts[-1] = parts[-1].update(part, labels)
            parts.append(FeatureSet(JUDGE))
        merged = parts[0]
        for part in parts[1:]:
            merged = merged.merge(part)
        found.append(merged)

    assert found[0].digest == found[1].digest
    np.testing.assert_array_equal(found[0].labels, np.arange(40))
    np.testing.assert_array_equal(found[0].moments.scatter, found[1].moments.scatter)
    np.testing.assert_array_equal(found[0].moments.mean, found[1].moments.mean)


def test_a_set_keeps_its_rows_when_the_batch_is_written_over() -> None:
    batch = rows(5, 0)
    found = FeatureSet(JUDGE).update(batch)

    batch[:] = 0

    np.testing.assert_array_equal(found.rows, rows(5, 0))
    assert found.rows.dtype == np.float32
    assert found.labels is None


def test_the_digest_tells_rows_types_and_shapes_apart() -> None:
    whole = np.arange(12.0)

    others = [whole.astype(np.float32), whole.reshape(3, 4), whole.reshape(4, 3), whole + 1, whole[::-1]]

    assert len({digest_of({"rows": one}) for one in [whole, *others]}) == 6
    assert digest_of({"rows": whole}) == digest_of({"rows": np.arange(24.0)[::2] / 2})


def test_one_pass_gives_every_figure() -> None:
    real, fake = features(60, 0), features(60, 1)

    found = measure_space(real, fake, k=3, seed=5)

    exact = [side.rows.astype(np.float64) for side in (real, fake)]
    near = Neighbourhoods.of(*exact, k=3)
    assert found.frechet == pytest.approx(frechet_distance(*map(summarise, exact)), rel=1e-9)
    assert found.frechet_at_infinity == frechet_at_infinity(real.rows, fake.rows, seed=5)
    assert found.kid == pytest.approx(kernel_distance(*exact))
    assert (found.precision, found.recall) == (near.precision, near.recall)
    assert (found.density, found.coverage) == (near.density, near.coverage)
    assert found.by_class == frechet_by_class(real.rows, real.labels, fake.rows, fake.labels)
    assert found.conditions == Conditions(JUDGE, real.digest, 60)
    assert str(found) == f"FD[small@3, n = 60] = {found.frechet:.4g}"


def test_few_rows_and_unknown_classes_leave_out_what_needs_them() -> None:
    sets = [FeatureSet(JUDGE).update(rows(12, seed, d=20)) for seed in (0, 1)]

    found = measure_space(*sets)

    assert found.frechet_at_infinity is None
    assert found.by_class is None
    assert found.frechet == pytest.approx(frechet_distance(*(Gaussian.fit(one.rows) for one in sets)), rel=1e-6)


def test_the_figures_of_a_set_against_itself_are_the_best_there_are() -> None:
    real = features(90, 0)

    found = measure_space(real, real)

    assert found.frechet == pytest.approx(0, abs=1e-9)
    assert found.precision == found.recall == found.coverage == 1
    assert found.by_class.distances == pytest.approx({0: 0, 1: 0, 2: 0}, abs=1e-9)


def test_sets_of_two_sizes_are_refused() -> None:
    with pytest.raises(
        EvaluationError, match=r"as many fake rows as real ones, got 50 and 60; they shift .* cut the larger"
    ):
        measure_space(features(60, 0), features(50, 1))


@pytest.mark.parametrize(
    "other", [Judge("small@4", "a" * 64), Judge("small@3", "b" * 64)], ids=["another version", "other weights"]
)
def test_features_of_two_extractors_are_refused_by_both_names(other: Judge) -> None:
    real, fake = features(60, 0), features(60, 1, judge=other)
    words = rf"features of small@3 \(a{{12}}\) and of {other.name} \({other.sha256[:12]}\) cannot be compared"

    for compare in (measure_space, FeatureSet.merge, lambda a, b: Reference.of(a).distance(b)):
        with pytest.raises(EvaluationError, match=words):
            compare(real, fake)


@pytest.mark.parametrize(
    ("batch", "labels", "words"),
    [
        (np.full((2, 4), np.nan), [0, 1], "NaN or infinity; look at the images"),
        (np.ones((2, 3)), [0, 1], "the parts have 4 and 3 features; use one extractor for both"),
        (np.ones((2, 4)), [0], "2 rows have 1 labels; give one label a row"),
        (np.ones((2, 4)), None, "some rows have labels and some have none; give labels to all of them or to none"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(batch: np.ndarray, labels: list[int] | None, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        features(6, 0).update(batch, None if labels is None else np.array(labels))


def test_a_set_without_rows_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"no features of small@3 \(a{12}\) have come yet; add rows"):
        measure_space(FeatureSet(JUDGE), FeatureSet(JUDGE))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"judge": Judge("other@1", "b" * 64)}, r"features of small@3 \(a{12}\) and of other@1 \(b{12}\) cannot be"),
        ({"n": 70}, "figures of 60 and of 70 rows cannot be compared, since they shift .* measure both on as many"),
        (
            {"reference": "e" * 64},
            "against the real rows d{12} and e{12} cannot be compared; measure both against the same",
        ),
    ],
)
def test_figures_of_other_conditions_are_not_compared(change: dict, words: str) -> None:
    one = Conditions(JUDGE, "d" * 64, 60)

    require_comparable(one, replace(one))
    with pytest.raises(EvaluationError, match=words):
        require_comparable(one, replace(one, **change))


@pytest.mark.parametrize(("n", "d", "kind"), [(60, 4, Gaussian), (12, 20, Thin), (20, 20, Gaussian)])
def test_a_reference_comes_back_from_its_file_and_measures_the_same(tmp_path: Path, n: int, d: int, kind: type) -> None:
    real, fake = features(n, 0, d), features(n, 1, d)
    made = Reference.of(real)
    made.save(tmp_path / "reference.npz")

    found = Reference.load(tmp_path / "reference.npz")

    assert type(found.summary) is kind
    assert (found.judge, found.digest, found.n) == (JUDGE, real.digest, n)
    np.testing.assert_array_equal(found.summary.factor, made.summary.factor)
    assert found.distance(fake) == made.distance(fake) == frechet_distance(real.summary, fake.summary)
    assert [path.name for path in tmp_path.iterdir()] == ["reference.npz"]


def test_a_reference_refuses_another_number_of_rows() -> None:
    with pytest.raises(EvaluationError, match="as many fake rows as real ones, got 50 and 60"):
        Reference.of(features(60, 0)).distance(features(50, 1))


def test_a_reference_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    Reference.of(features(60, 0)).save(path)
    with np.load(path) as opened:
        arrays = dict(opened)
    arrays["mean"][0] += 1
    np.savez(path, **arrays)

    with pytest.raises(DataError, match=r"reference.npz does not match its digest [0-9a-f]{12}; make it anew"):
        Reference.load(path)


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_reference_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "reference.npz"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match=r"the reference in .*reference.npz cannot be loaded \(.+\); make it anew"):
        Reference.load(path)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "reference.npz", mean=np.zeros(3))

    with pytest.raises(DataError, match=r"cannot be loaded \('seal.*\); make it anew"):
        Reference.load(tmp_path / "reference.npz")
