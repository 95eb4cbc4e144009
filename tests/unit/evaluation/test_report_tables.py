"""The report's tables: what stands in them, in words that follow from the figures."""

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.evaluation import report_tables
from regen.evaluation.gate import HIGHER_IS_BETTER
from tests.unit.evaluation.made_up import NOTHING, estimate, everything, measured, with_champions


@pytest.mark.parametrize(
    ("metric", "value", "wanted"),
    [
        ("frechet_distance", -4.0, "better"),
        ("frechet_distance", 4.0, "worse"),
        ("recall", 4.0, "better"),
        ("recall", -4.0, "worse"),
        ("recall", 0.05, "no clear difference"),
        ("recall", nan, "not enough samples"),
    ],
)
def test_a_difference_says_who_is_better_by_its_whole_interval(metric: str, value: float, wanted: str) -> None:
    assert report_tables.outcome(metric, estimate(value)) == wanted


@given(st.sampled_from(sorted(HIGHER_IS_BETTER)), st.floats(-5, 5), st.floats(0, 5))
def test_turned_about_a_difference_says_the_opposite(metric: str, value: float, width: float) -> None:
    forth = {"value": value, "low": value - width, "high": value + width}
    back = {"value": -value, "low": -value - width, "high": -value + width}
    opposite = {"better": "worse", "worse": "better"}

    said = report_tables.outcome(metric, forth)

    assert report_tables.outcome(metric, back) == opposite.get(said, said)


def test_a_row_says_the_figure_its_meaning_and_what_to_hold_it_against() -> None:
    rows = {row.label: row for row in report_tables.figure_rows("gan", measured())}

    assert rows["Fréchet distance"].candidate == "20.0 [19.9, 20.1]"
    assert rows["Fréchet distance"].better == "lower"
    assert (
        "Real training images reach 1.000 [0.900, 1.100], the untrained generator 2000.0"
        in rows["Fréchet distance"].meaning
    )
    assert rows["Fréchet distance"].outcome is None
    assert "Real training images reach 0.960" in rows["Recall of modes"].meaning
    assert "ROC-AUC" not in rows


def test_a_row_holds_the_champion_and_what_became_of_the_difference() -> None:
    rows = {row.label: row for row in report_tables.figure_rows("gan", with_champions())}

    assert (rows["Recall of modes"].champion, rows["Recall of modes"].outcome) == ("0.700 [0.600, 0.800]", "worse")
    assert rows["Coverage of real rows"].outcome == "no clear difference"
    assert rows["Class shift"].outcome is None


def test_a_second_judge_stands_below_the_figures_of_the_models_it_judged() -> None:
    of_gan, of_vae = (report_tables.figure_rows(kind, everything()) for kind in ("gan", "vae"))

    assert (of_gan[-1].label, of_gan[-1].candidate) == ("Second judge (never gated)", "44.0 [43.9, 44.1]")
    assert "Second judge (never gated)" not in [row.label for row in of_vae]


def test_the_summary_shows_few_figures_and_only_those_that_there_are() -> None:
    found = measured()
    del found["models"]["vae"]["estimates"]["anomaly_auc"]

    assert [row.label for row in report_tables.key_rows("vae", found)] == [
        "Average precision", "Reconstruction SSIM", "Fréchet distance",
    ]  # fmt: skip


def test_a_model_without_a_champion_stands_alone() -> None:
    assert "no champion" in report_tables.standing("gan", measured())


def test_a_champion_that_could_not_be_measured_is_named_with_the_reason() -> None:
    found = with_champions()
    found["models"]["gan"]["champion"] = {"version": 3, "error": "its file is damaged"}

    assert report_tables.standing("gan", found) == "Champion version 3 could not be measured: its file is damaged"


def test_where_nothing_differs_clearly_that_is_said() -> None:
    found = with_champions()
    found["models"]["gan"]["difference"] = {"recall": estimate(0.0), "coverage": estimate(0.05)}

    assert report_tables.standing("gan", found) == (
        "Beside champion version 3: no clear difference in any of 2 figures."
    )


def test_figures_that_differ_clearly_are_listed() -> None:
    found = with_champions()
    found["models"]["gan"]["difference"] |= {"class_shift": estimate(-1.0), "coverage": NOTHING}

    assert report_tables.standing("gan", found) == (
        "Beside champion version 3: better in Fréchet distance and Class shift; worse in Recall of modes."
    )


@pytest.mark.parametrize(
    ("seeds", "wanted"),
    [
        ({}, "needs 2 or more trainings"),
        ({"vae": {"trainings": 2, "frechet_sd": 1.0, "seeds": [0, 1]}}, "needs 2 or more trainings"),
        ({"gan": {"trainings": 3, "frechet_sd": 2.0, "seeds": [0, 1, 2]}}, "2.00 over 3 trainings"),
    ],
)
def test_stability_is_the_spread_over_trainings_or_says_what_is_needed(seeds: dict, wanted: str) -> None:
    assert report_tables.stability({"seeds": seeds}, "gan") == wanted


def test_figures_without_a_number_are_said_in_words() -> None:
    assert report_tables.say(NOTHING) == report_tables.plain(nan) == "not enough samples"


def test_what_the_rows_cannot_tell_says_why_and_what_the_threshold_does_is_told() -> None:
    rows = {row.label: row for row in report_tables.figure_rows("vae", everything())}

    assert rows["Recall at 0.1 % false alarms"].candidate.startswith("not enough samples: it needs at least 1000")
    assert rows["False alarms at the threshold"].candidate == "0.150 [0.050, 0.250]"
    assert rows["Recall at the threshold"].candidate == "0.800 [0.700, 0.900]"
