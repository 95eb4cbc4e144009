"""Precision, recall, density, coverage: known values, bounds, agreement with scikit-learn's neighbours, and a collapse seen."""

import contextlib
import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prdc import compute_prdc
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from regen.core.errors import EvaluationError
from regen.evaluation import diversity
from regen.evaluation.diversity import (
    MissingClass,
    Neighbourhoods,
    collapse_warnings,
    measure_diversity,
    missing_classes,
)
from regen.evaluation.intervals import Estimate

FIGURES = ("precision", "recall", "density", "coverage")
SEEDS = st.integers(0, 10_000)


def normal(n: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return shift + scale * np.random.default_rng(seed).normal(size=(n, 3))


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def by_scikit_learn(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """The four figures as their papers define them, from scikit-learn's neighbours and the whole matrix."""
    real_radii, fake_radii = (
        NearestNeighbors(n_neighbors=k + 1).fit(rows).kneighbors(rows)[0][:, k] for rows in (real, fake)
    )
    distances = np.linalg.norm(real[:, None] - fake, axis=2)
    return {
        "precision": (distances <= real_radii[:, None]).any(axis=0).mean(),
        "recall": (distances <= fake_radii).any(axis=1).mean(),
        "density": (distances <= real_radii[:, None]).sum() / (k * len(fake)),
        "coverage": (distances.min(axis=1) <= real_radii).mean(),
    }


@pytest.mark.parametrize(
    ("figure", "value"), [("precision", 2 / 3), ("recall", 3 / 4), ("density", 4 / 3), ("coverage", 3 / 4)]
)
def test_the_figures_take_known_values(figure: str, value: float) -> None:
    real, fake = column(0, 1, 2, 10), column(0.5, 1.5, 30)  # radii 1 1 1 8 and 1 1 28.5

    found = Neighbourhoods.of(real, fake, k=1)

    # 0.5 lies in two balls of real rows, 1.5 in two, and the outlier in none; the outlier's own ball reaches down to 10
    expected = {"precision": 2 / 3, "recall": 1.0, "density": 4 / 3, "coverage": 3 / 4}[figure]
    assert getattr(found, figure) == pytest.approx(expected)
    without_outlier = Neighbourhoods.of(real, fake[:2], k=1)
    assert without_outlier.recall == pytest.approx(3 / 4)
    assert value == pytest.approx(expected if figure != "recall" else without_outlier.recall)


@pytest.mark.parametrize("figure", FIGURES)
@given(seed=SEEDS, k=st.integers(1, 6), chunk=st.integers(1, 40), shift=st.floats(0, 3))
def test_the_figures_agree_with_scikit_learn(figure: str, seed: int, k: int, chunk: int, shift: float) -> None:
    real, fake = normal(31, seed), normal(23, seed + 1, shift)

    found = Neighbourhoods.of(real, fake, k, chunk)

    assert getattr(found, figure) == pytest.approx(by_scikit_learn(real, fake, k)[figure])


def by_whole_matrices(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[np.ndarray, ...]:
    """Hits a fake row, and whether each real row is recalled and covered, from every distance at once."""
    real_reach, fake_reach = (
        np.sort(cdist(rows, rows, "sqeuclidean"), axis=1)[:, k] for rows in (real.astype(float), fake.astype(float))
    )
    squares = cdist(real.astype(float), fake.astype(float), "sqeuclidean")
    near = squares <= real_reach[:, None]
    return near.sum(axis=0), (squares <= fake_reach).any(axis=1), near.any(axis=1)


@given(
    seed=SEEDS, k=st.integers(1, 4), chunk=st.integers(1, 9), values=st.integers(1, 4), far=st.sampled_from([0, 10**6])
)
def test_rows_on_a_grid_whose_distances_tie_are_judged_as_exact_distances_judge_them(
    seed: int, k: int, chunk: int, values: int, far: int
) -> None:
    rng = np.random.default_rng(seed)
    real, fake = (far + rng.integers(0, values, (n, 3)).astype(np.float32) for n in (30, 24))

    found = Neighbourhoods.of(real, fake, k, chunk)

    hits, recalled, covered = by_whole_matrices(real, fake, k)
    np.testing.assert_allclose(found.hits, hits / k)
    np.testing.assert_array_equal(found.recalled, recalled)
    np.testing.assert_array_equal(found.covered, covered)


@settings(max_examples=25)  # prdc starts eight threads a call
@given(seed=SEEDS, k=st.integers(1, 5), shift=st.floats(0, 2))
def test_the_figures_are_prdcs_where_no_row_lies_on_a_surface(seed: int, k: int, shift: float) -> None:
    real, fake = normal(40, seed), normal(30, seed + 1, shift)

    with contextlib.redirect_stdout(io.StringIO()):
        expected = compute_prdc(real, fake, k)

    found = Neighbourhoods.of(real, fake, k)
    assert {name: getattr(found, name) for name in FIGURES} == pytest.approx(expected)


def test_where_prdc_leaves_the_surface_out_a_set_does_not_cover_itself_as_it_does_here() -> None:
    line = column(0, 1, 3, 6)

    with contextlib.redirect_stdout(io.StringIO()):
        strict = compute_prdc(line, line + 1, 1)

    assert strict["coverage"] < Neighbourhoods.of(line, line + 1, 1).coverage == 1


def test_rows_far_from_zero_lose_no_neighbours() -> None:
    real, fake = normal(50, 0), normal(50, 1)
    near = Neighbourhoods.of(real, fake)

    far = Neighbourhoods.of(real + 2**20, fake + 2**20)

    np.testing.assert_array_equal(far.hits, near.hits)
    np.testing.assert_array_equal(far.recalled, near.recalled)


def test_memory_is_that_of_a_block_and_not_of_all_pairs() -> None:
    real, fake = normal(3000, 0), normal(3000, 1)
    tracemalloc.start()

    Neighbourhoods.of(real, fake, chunk=64)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * 2**20  # all pairs would take 72 MB


@pytest.mark.parametrize("figure", FIGURES)
@given(seed=SEEDS, scale=st.floats(0.1, 3))
def test_shares_lie_between_0_and_1_and_the_order_of_rows_does_not_matter(figure: str, seed: int, scale: float) -> None:
    real, fake, rng = normal(20, seed), normal(20, seed + 1, scale=scale), np.random.default_rng(seed)

    found, shuffled = (
        Neighbourhoods.of(real, fake, 3),
        Neighbourhoods.of(rng.permutation(real), rng.permutation(fake), 3),
    )

    assert 0 <= getattr(found, figure) <= (20 / 3 if figure == "density" else 1)
    assert getattr(found, figure) == pytest.approx(getattr(shuffled, figure))


@given(SEEDS)
def test_precision_is_recall_with_the_sets_exchanged(seed: int) -> None:
    one, other = normal(20, seed), normal(30, seed + 1, 0.5)

    assert Neighbourhoods.of(one, other).precision == Neighbourhoods.of(other, one).recall


@given(SEEDS, st.integers(1, 5))
def test_a_set_scores_1_against_itself_even_where_rows_repeat(seed: int, k: int) -> None:
    rows = normal(20, seed)
    repeated = np.concatenate([rows, rows, np.zeros((8, 3))])

    for found in (Neighbourhoods.of(rows, rows, k), Neighbourhoods.of(repeated, repeated, k)):
        assert found.precision == found.recall == found.coverage == 1
    assert Neighbourhoods.of(rows, rows, k).density == pytest.approx((k + 1) / k)


def test_equal_distributions_cover_what_theory_says() -> None:
    found = Neighbourhoods.of(normal(1500, 0), normal(1500, 1))

    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.015)
    assert found.density == pytest.approx(1, abs=0.05)


def test_a_collapse_keeps_precision_and_loses_recall_and_coverage() -> None:
    real = np.concatenate([normal(50, i, shift=20.0 * i) for i in range(10)])

    found = Neighbourhoods.of(real, normal(500, 99))

    assert found.precision > 0.85
    assert found.coverage <= 0.1
    assert found.recall <= 0.1


@pytest.mark.parametrize(
    ("real", "fake", "k", "words"),
    [
        (normal(5, 0), normal(9, 0), 5, "need at least 6 rows of each set, got 5 real and 9 fake ones; add test rows"),
        (normal(9, 0), normal(9, 0)[:, :2], 5, "have 3 and 2 features; use one extractor"),
        (normal(9, 0), np.full((9, 3), np.nan), 5, "NaN or infinity; look at the images"),
        (normal(9, 0), normal(9, 0), 0, "at least 1 neighbour, got 0; choose a larger k"),
    ],
)
def test_what_cannot_be_compared_is_refused(real: np.ndarray, fake: np.ndarray, k: int, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        Neighbourhoods.of(real, fake, k)


def test_several_sets_are_averaged_and_resampled_by_real_rows() -> None:
    real, fakes = normal(60, 0), [normal(60, 1), normal(60, 2, 1.0)]

    found = measure_diversity(real, fakes, draws=200, seed=0)

    each = [Neighbourhoods.of(real, fake) for fake in fakes]
    assert found.recall.point == pytest.approx(np.mean([one.recall for one in each]))
    assert found.coverage.point == pytest.approx(np.mean([one.coverage for one in each]))
    assert found.precision.point == pytest.approx(np.mean([one.precision for one in each]))
    assert found.density.point == pytest.approx(np.mean([one.density for one in each]))
    assert found.coverage.replicates.mean() == pytest.approx(found.coverage.point, abs=0.02)  # no bias from repeats
    interval = found.coverage.estimate(0.95)
    assert interval.low < found.coverage.point < interval.high


def test_the_interval_of_coverage_holds_what_other_rows_give() -> None:
    fake, held = normal(200, 0, 0.7), 0
    truth = np.mean([Neighbourhoods.of(normal(200, 1000 + i), fake).coverage for i in range(60)])

    for i in range(40):
        interval = measure_diversity(normal(200, i), [fake], draws=100, seed=i).coverage.estimate(0.95)
        held += interval.low <= truth <= interval.high

    assert held >= 28  # somewhat narrow, as `measure_diversity` says


def test_two_models_measured_with_one_seed_are_paired() -> None:
    real, fake = normal(50, 0), normal(50, 1)
    one, other = (measure_diversity(real, [fake], draws=50, seed=3) for _ in range(2))

    difference = one.coverage.minus(other.coverage).estimate(0.95)

    assert difference == Estimate(0, 0, 0)


def test_large_sets_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "LARGEST", 30)
    ordered = np.repeat(np.eye(3), 40, axis=0) + normal(120, 0, scale=1e-3)

    found = measure_diversity(ordered, [ordered + 1e-6], draws=50, seed=0)

    assert len(found.recall.replicates) == 50
    assert found.coverage.point == found.recall.point == 1


def test_classes_that_vanish_are_named_and_rare_ones_are_not() -> None:
    real = np.repeat(np.arange(4), [500, 400, 98, 2])
    fake = np.repeat(np.arange(4), [900, 39, 61, 0])

    assert missing_classes(real, fake, n_classes=4) == [MissingClass(1, 0.4, 0.039)]
    assert missing_classes(real, real, n_classes=4) == []


def exactly(value: float) -> Estimate:
    return Estimate(value, value, value)


def test_a_healthy_model_raises_no_warning() -> None:
    assert collapse_warnings(exactly(0.7), exactly(0.9), exactly(0.97), []) == []
    assert collapse_warnings(exactly(0.1), exactly(0.097), exactly(0.97), []) == []


@pytest.mark.parametrize(
    ("recall", "coverage", "words"),
    [
        (0.7, 0.09, ["samples cover 9.0% of the real rows, where other real rows cover 97.0%"]),
        (0.05, 0.9, ["recall is 0.050, under 0.1"]),
        (0.05, 0.01, ["samples cover 1.0%", "recall is 0.050"]),
        (float("nan"), float("nan"), ["samples cover nan%", "recall is nan"]),
    ],
)
def test_each_sign_of_collapse_is_a_sentence(recall: float, coverage: float, words: list[str]) -> None:
    found = collapse_warnings(exactly(recall), exactly(coverage), exactly(0.97), [])

    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


def test_a_missing_class_is_called_by_its_name() -> None:
    found = collapse_warnings(
        exactly(0.9), exactly(0.9), exactly(0.97), [MissingClass(1, 0.11, 0.0004)], name=["shirt", "shoe"].__getitem__
    )

    assert found == ["classes nearly missing from the samples: shoe (0.04%, 11.0% of the real rows)"]
