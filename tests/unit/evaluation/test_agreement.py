"""Whether a metric prefers what people prefer: hand-computed values, whoever was called a, and every bad file refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from regen.core.errors import DataError
from regen.evaluation.agreement import kendall, measure_agreement, read_votes

FIGURES = {
    ("gan", 1): {"frechet_distance": 30.0, "recall": 0.5},
    ("gan", 2): {"frechet_distance": 20.0, "recall": 0.7},
    ("gan", 3): {"frechet_distance": 10.0, "recall": 0.1},
}


def votes(*rows, annotators=None):
    """Votes between versions of one model, as (a, b, choice)."""
    table = pd.DataFrame(rows, columns=["version_a", "version_b", "choice"]).assign(model_a="gan", model_b="gan")
    return table if annotators is None else table.assign(annotator=annotators)


def agreements(table, figures=FIGURES):
    """Each metric's agreement by its name."""
    return {one.metric: one for one in measure_agreement(table, figures, 100, 0.95, 0)}


def test_three_of_four_votes_for_the_better_one_agree_by_a_half():
    table = votes((1, 3, 1), (1, 3, 1), (1, 3, 1), (1, 3, -1))

    found = agreements(table)["frechet_distance"]

    assert found.correlation == pytest.approx(0.5)
    assert (found.pairs, found.votes) == (1, 4)
    assert found.low <= 0.5 <= found.high


def test_a_metric_that_always_prefers_what_people_prefer_agrees_wholly():
    found = agreements(votes((1, 2, 1), (2, 3, 1), (1, 3, 1), (3, 1, -1)))

    assert found["frechet_distance"].correlation > 0.8
    assert found["recall"].correlation < found["frechet_distance"].correlation
    assert next(iter(found)) == "frechet_distance"


def test_lower_is_better_is_turned_about():
    liked = agreements(votes((1, 3, 1), (1, 3, 1)))

    assert liked["frechet_distance"].correlation == 1, "3 has the lower distance"
    assert liked["recall"].correlation == -1, "3 has the lower recall"


def test_it_does_not_matter_which_version_was_called_a():
    table = votes((1, 3, 1), (1, 2, 0), (2, 3, -1), (1, 3, 1))
    turned = table.assign(version_a=table["version_b"], version_b=table["version_a"], choice=-table["choice"])

    assert agreements(table) == agreements(turned)


def test_only_ties_say_nothing():
    assert agreements(votes((1, 3, 0), (1, 2, 0)))["frechet_distance"].correlation == 0


def test_a_metric_that_a_version_lacks_leaves_its_votes_out():
    table = votes((1, 2, 1), (1, 3, 1), (1, 3, 1))

    found = agreements(table, FIGURES | {("gan", 2): {"frechet_distance": 1.0}})

    assert (found["frechet_distance"].votes, found["recall"].votes) == (3, 2)
    assert set(found) == {"frechet_distance", "recall"}


def test_votes_on_unknown_versions_are_no_evidence():
    assert agreements(votes((7, 8, 1), (7, 8, 1))) == {}


def test_annotators_are_resampled_together_since_ones_votes_resemble_each_other():
    rows = [(1, 3, 1)] * 20 + [(1, 3, -1)] * 10

    alone = agreements(votes(*rows))["frechet_distance"]
    grouped = agreements(votes(*rows, annotators=["ada"] * 20 + ["bob"] * 10))["frechet_distance"]

    assert alone.correlation == grouped.correlation
    assert (grouped.low, grouped.high) == (-1, 1)
    assert grouped.high - grouped.low > alone.high - alone.low


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-1, 1)), min_size=2, max_size=30))
def test_the_correlation_is_scipys_of_both_directions_and_lies_between_its_bounds(pairs):
    gains, choices = np.array(pairs, dtype=float).T
    ours = kendall(gains, choices.astype(np.int64))

    assert -1 <= ours <= 1
    if gains.any() and choices.any():
        theirs = kendalltau(np.r_[gains, -gains], np.r_[choices, -choices]).statistic
        assert ours == pytest.approx(theirs, abs=1e-9)
    assert kendall(-gains, choices.astype(np.int64)) == pytest.approx(-ours, abs=1e-9)


def test_votes_of_several_files_are_read_together(tmp_path):
    for name, row in (("one", (1, 2, 1)), ("two", (1, 3, 0))):
        votes(row).to_parquet(tmp_path / f"{name}.parquet")

    found = read_votes(sorted(tmp_path.glob("*.parquet")))

    assert found["choice"].tolist() == [1, 0]


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "bad.parquet").write_text("version_a,version_b")

    with pytest.raises(DataError, match=r"bad\.parquet cannot be read .*export them again"):
        read_votes([tmp_path / "bad.parquet"])


def test_votes_without_a_column_are_refused_and_the_columns_named(tmp_path):
    votes((1, 2, 1)).drop(columns="model_b").to_parquet(tmp_path / "few.parquet")

    with pytest.raises(DataError, match="lack model_b; wanted are model_a, version_a"):
        read_votes([tmp_path / "few.parquet"])


def test_a_choice_that_is_none_is_refused(tmp_path):
    votes((1, 2, 1), (1, 2, 2)).to_parquet(tmp_path / "odd.parquet")

    with pytest.raises(DataError, match=r"hold the choices \[2\]; wanted are −1"):
        read_votes([tmp_path / "odd.parquet"])
