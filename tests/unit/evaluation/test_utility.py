"""Train on synthetic, test on real: what fits is worth as much as the real rows, noise is worth nothing."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from regen.core.errors import EvaluationError
from regen.data.tables import Table, encode
from regen.evaluation.utility import _one_against_rest, _strata, measure_utility


def frame(n: int, seed: int, label: str = "classes", *, noise: bool = False) -> pd.DataFrame:
    """Two columns and a label that follows from them, unless it is noise."""
    rng = np.random.default_rng(seed)
    x, a = rng.normal(size=n), rng.choice(["u", "v", None], n)
    target = x + (a == "u") + 0.1 * rng.normal(size=n)
    if noise:
        target = rng.permutation(target)
    labels = {
        "classes": pd.Series(np.select([target < 0, target < 1], ["low", "middle"], "high"), dtype="str"),
        "binary": (target > 0).astype(float),
        "numbers": target,
    }
    return pd.DataFrame({"x": x, "a": pd.Series(a, dtype="str"), "label": labels[label]})


def tables(label: str, *, noise: bool = False, n: int = 200) -> list[Table]:
    return encode([frame(n, 0, label, noise=noise), frame(n, 1, label), frame(n, 2, label)], ["FAKE", "REAL", "TEST"])


@pytest.mark.parametrize(
    ("label", "figures"), [("classes", {"f1", "auc"}), ("binary", {"f1", "auc"}), ("numbers", {"r2"})]
)
def test_rows_of_the_same_law_are_worth_as_much_as_real_ones(label: str, figures: set[str]) -> None:
    found = measure_utility(*tables(label), "label", 30, 0)

    assert set(found.fake) == set(found.real) == figures
    for name in figures:
        assert found.real[name].point > 0.75
        assert abs(found.real[name].point - found.fake[name].point) < 0.12


@pytest.mark.parametrize("label", ["classes", "numbers"])
def test_rows_whose_label_is_noise_are_worth_less(label: str) -> None:
    found = measure_utility(*tables(label, noise=True), "label", 30, 0)

    for name, by_fake in found.fake.items():
        assert found.real[name].minus(by_fake).estimate(0.95).low > 0.2


def test_equal_rows_give_equal_figures_for_one_seed() -> None:
    _, real, test = tables("classes")

    found, again = (measure_utility(real, real, test, "label", 5, 3) for _ in range(2))

    for name in found.fake:
        np.testing.assert_array_equal(found.fake[name].replicates, found.real[name].replicates)
        np.testing.assert_array_equal(found.fake[name].replicates, again.fake[name].replicates)


def test_a_label_that_never_varies_in_the_fake_rows_is_what_is_always_guessed() -> None:
    fake, real, test = tables("binary")
    fake.numbers[:, fake.names.index("label")] = 1

    found = measure_utility(fake, real, test, "label", 5, 0)

    truth = test.column("label")
    assert found.fake["auc"].point == 0.5
    assert found.fake["f1"].point == pytest.approx(
        f1_score(truth, np.ones_like(truth), average="macro", zero_division=0)
    )


def test_a_class_that_the_fake_rows_lack_counts_as_missed() -> None:
    fake, real, test = tables("classes")
    kept = np.flatnonzero(fake.column("label") != fake.column("label")[0])

    found = measure_utility(fake.take(kept), real, test, "label", 5, 0)

    assert found.fake["f1"].point < found.real["f1"].point - 0.2


def test_a_binary_area_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    truth, p = rng.integers(0, 2, 50), rng.random(50)

    found = _one_against_rest(truth, np.stack([1 - p, p], axis=1), np.array([0, 1]))

    assert found == pytest.approx(roc_auc_score(truth, p))


def test_an_area_over_several_classes_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    truth, p = rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), 60)

    assert _one_against_rest(truth, p, np.arange(3)) == pytest.approx(roc_auc_score(truth, p, multi_class="ovr"))


def test_an_area_of_one_class_is_no_number() -> None:
    assert np.isnan(_one_against_rest(np.zeros(3), np.ones((3, 1)), np.zeros(1)))


def test_a_class_of_a_single_row_is_resampled_with_the_largest() -> None:
    strata = _strata(np.array([0, 0, 0, 1, 1, 2]))

    assert [sorted(rows) for rows in strata] == [[3, 4], [0, 1, 2, 5]]


def test_rows_whose_label_is_missing_are_left_out() -> None:
    _, real, test = tables("numbers")
    gappy = test.take(np.arange(len(test)))
    gappy.numbers[:50, gappy.names.index("label")] = np.nan

    found = measure_utility(real, real, gappy, "label", 5, 0)

    assert (
        found.real["r2"].point
        == measure_utility(real, real, test.take(np.arange(50, 200)), "label", 5, 0).real["r2"].point
    )


@pytest.mark.parametrize("size", [254, 300])
def test_columns_of_many_categories_are_learnt_from_too(size: int) -> None:
    frames = []
    for seed in range(3):
        codes = np.concatenate([np.arange(size), np.random.default_rng(seed).integers(0, size, size)])
        frames.append(pd.DataFrame({"a": pd.Series([f"c{code}" for code in codes]), "label": (codes % 2) * 1.0}))

    assert set(measure_utility(*encode(frames, ["FAKE", "REAL", "TEST"]), "label", 3, 0).fake) == {"f1", "auc"}


@pytest.mark.parametrize(
    ("change", "label", "words"),
    [
        (lambda table: table, "price", "there is no column price; the label can be one of: x, label, a"),
        (lambda table: table.without("x").without("a"), "label", "label is the only column; a utility needs others"),
        (
            lambda table: table.take(np.zeros(9, np.int64)),
            "label",
            "has 1 values in 9 test rows; a utility needs at least 2",
        ),
    ],
)
def test_a_utility_that_cannot_be_measured_is_refused(change, label: str, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        measure_utility(*map(change, tables("numbers", n=20)), label, 5, 0)


def test_a_class_of_one_row_among_many_is_no_obstacle() -> None:
    fake, real, test = (frame(n, seed) for seed, n in enumerate((10_400, 300, 300)))
    fake.loc[0, "label"] = "rare"

    found = measure_utility(*encode([fake, real, test], ["FAKE", "REAL", "TEST"]), "label", 5, 0)

    assert found.fake["auc"].point > 0.9


def test_a_label_that_is_missing_names_the_table() -> None:
    fake, real, test = (frame(60, seed, "numbers") for seed in range(3))
    fake["label"] = np.nan

    with pytest.raises(EvaluationError, match="the label label is there in 0 of the fake rows"):
        measure_utility(*encode([fake, real, test], ["FAKE", "REAL", "TEST"]), "label", 5, 0)


def test_a_column_without_any_value_is_no_hindrance() -> None:
    rng = np.random.default_rng(0)
    numbers = np.column_stack([rng.normal(size=200), np.full(200, np.nan)])
    table = Table(("x", "empty"), numbers, ("label",), (numbers[:, :1] > 0).astype(np.int64), (2,))

    assert measure_utility(table, table, table, "label", 20, 0).fake["auc"].point > 0.9
