"""Exports hold every vote that stands in four forms; what a reward learns from is nobody's alone."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regen.core.errors import DataError
from regen.preferences import export, voting
from regen.preferences.tables import Choice
from tests.reviews import MODEL, SEED, make_review, rows

PRESSED = (Choice.LEFT, Choice.RIGHT, Choice.TIE, Choice.BOTH_BAD, Choice.SKIP, Choice.LEFT, Choice.RIGHT, Choice.TIE)


def judge(review, person, choices, clock):
    shown = []
    for choice in choices:
        shown.append(voting.next_pair(review.store, review.campaign, person, lambda sample: True))
        clock.pass_ms(1000)
        voting.record(
            review.store, person, shown[-1].assignment, choice, f"{person.id}-{shown[-1].assignment}".ljust(20, "x")
        )
    return shown


@pytest.fixture
def review(file_store, tmp_path):
    return make_review(file_store, tmp_path / "review", n_pairs=20)


@pytest.fixture
def shown(review, clock):
    return judge(review, review.person("ada"), PRESSED, clock)


@pytest.fixture
def votes(review, shown):
    return export.votes(review.store, review.campaign)


def test_a_choice_is_told_by_sample_whatever_side_it_stood_on(votes, shown):
    for row, pair, pressed in zip(votes.itertuples(), shown, PRESSED, strict=True):
        a_stood_left = row.sample_a == pair.left.sha256
        assert a_stood_left != row.flipped
        preferred = {"left": pair.left.sha256, "right": pair.right.sha256}.get(pressed)
        assert {-1: row.sample_a, 1: row.sample_b}.get(row.choice) == preferred
        assert row.both_bad == (pressed == "both_bad")
        assert row.skipped == (pressed == "skip")


def test_a_row_names_what_makes_its_samples_again(votes):
    assert set(votes.model_a) == set(votes.model_b) == {MODEL}
    assert set(votes.version_a) == {3}
    assert votes.seed_a.between(SEED, SEED + 100).all()
    assert (votes.seed_a != votes.seed_b).all()


def test_times_are_in_utc(votes, clock):
    assert str(votes.created.dt.tz) == "UTC"
    assert votes.created.max() == pd.Timestamp(clock.now, unit="ms", tz="UTC")
    assert set(votes.ms) == {1000}


def test_known_pairs_tell_their_answer(votes):
    known = votes[votes.gold]

    assert (known.strategy == "gold").all()
    assert known.gold_choice.isin([-1, 1]).all()
    assert votes[~votes.gold].gold_choice.isna().all()


def test_parquet_gives_back_the_same_table(votes):
    again = pd.read_parquet(io.BytesIO(export.write(votes, "parquet")))

    assert list(again.columns) == list(export.DTYPES)
    pd.testing.assert_frame_equal(again.astype(export.DTYPES), votes)


def test_an_export_without_votes_has_the_columns(review):
    found = export.votes(review.store, review.campaign)

    again = pd.read_parquet(io.BytesIO(export.write(found, "parquet")))
    assert (len(again), list(again.columns)) == (0, list(export.DTYPES))
    assert all(export.write(found, form) in (b"", b"[]") for form in ("jsonl", "trl", "labelstudio"))


def test_json_lines_hold_the_same_values(votes):
    lines = [json.loads(line) for line in export.write(votes, "jsonl").splitlines()]

    assert [line["choice"] for line in lines] == votes.choice.tolist()
    assert all(line["created"].endswith("+00:00") for line in lines)
    assert lines[0]["repeat_of"] is None


def test_trl_gets_what_was_preferred_and_what_was_not(votes, shown):
    lines = [json.loads(line) for line in export.write(votes, "trl").splitlines()]

    decided = [
        (pair, pressed) for pair, pressed, gold in zip(shown, PRESSED, votes.gold, strict=True)
        if pressed in ("left", "right") and not gold
    ]  # fmt: skip
    assert len(lines) == len(decided)
    for line, (pair, pressed) in zip(lines, decided, strict=True):
        chosen, rejected = (pair.left, pair.right) if pressed == "left" else (pair.right, pair.left)
        assert (line["chosen"], line["rejected"]) == (f"{chosen.sha256}.png", f"{rejected.sha256}.png")


def test_label_studio_gets_a_task_a_pair_with_its_annotations(votes):
    tasks = json.loads(export.write(votes, "labelstudio"))

    results = [task["annotations"][0]["result"][0] for task in tasks]
    assert [task["id"] for task in tasks] == votes.task.tolist()
    for result, row in zip(results, votes.itertuples(), strict=True):
        if row.choice:
            assert result["type"] == "pairwise"
            assert result["value"] == {"selected": "left" if row.choice < 0 else "right"}
        else:
            word = "both bad" if row.both_bad else "skip" if row.skipped else "tie"
            assert result["value"] == {"choices": [word]}


def test_rows_of_a_table_travel_with_their_values(file_store, tmp_path, clock):
    samples = rows([{"age": i, "job": "smith"} for i in range(16)])
    review = make_review(file_store, tmp_path, n_pairs=4, samples=samples, n_gold=0)
    judge(review, review.person("ada"), [Choice.LEFT], clock)

    found = export.votes(file_store)

    assert json.loads(found.values_a[0])["job"] == "smith"
    assert json.loads(export.write(found, "trl"))["chosen"]["job"] == "smith"


def usable(counts):
    names = [name for name, count in enumerate(counts) for _ in range(count)]
    flags = dict.fromkeys(("skipped", "gold", "repeat", "fast"), False)
    return pd.DataFrame({"annotator": [f"p{name}" for name in names], "task": range(len(names))}).assign(**flags)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=4, max_size=8))
def test_nobody_has_over_three_tenths_of_what_is_learnt_from_and_no_more_is_dropped_than_must_be(counts):
    kept = export.for_training(usable(counts)).annotator.value_counts()

    most = int(kept.max())
    assert most <= 0.3 * kept.sum()
    if most < max(counts):
        assert most + 1 > 0.3 * np.minimum(counts, most + 1).sum()
    assert all(kept[f"p{i}"] == min(count, most) for i, count in enumerate(counts))


@pytest.mark.parametrize("counts", [[5], [5, 1], [50, 3, 1]])
def test_among_so_few_that_none_could_keep_to_the_share_nobody_loses_votes(counts):
    assert len(export.for_training(usable(counts))) == sum(counts)


@pytest.mark.parametrize("flag", ["skipped", "gold", "repeat", "fast"])
def test_what_teaches_nothing_is_left_out(flag):
    table = usable([3])
    table.loc[1, flag] = True

    assert export.for_training(table).task.tolist() == [0, 2]


def test_the_same_votes_are_kept_each_time():
    table = usable([50, 5, 5, 5])

    assert export.for_training(table).equals(export.for_training(table))


def test_nothing_to_learn_from_is_told():
    with pytest.raises(DataError, match="no vote of 3 can be learnt from"):
        export.for_training(usable([3]).assign(gold=True))
