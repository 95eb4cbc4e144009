"""New images and rows are sorted: what is sound, what is a copy, what is bad and for which reasons."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.errors import DataError
from regen.data.columns import Column, TableSchema
from regen.data.incoming import row_digests, sort_images, sort_rows, typed
from regen.data.raw import RawImages
from regen.data.schemas import describe

SCHEMA = TableSchema(
    (
        Column("id", "integer"),
        Column("amount", "numeric", low=0, high=100),
        Column("kind", "categorical", nullable=True, categories=("a", "b")),
        Column("when", "datetime"),
        Column("known", "boolean"),
    ),
    key="id",
)
SOUND = {"id": 1, "amount": 5.0, "kind": "a", "when": "2026-01-01T10:00", "known": True}
NOTHING = np.zeros(0, np.uint64)


def images(*pixels, labels=None, names=("a", "b")):
    stacked = np.stack([np.full((2, 2, 1), value, np.uint8) for value in pixels])
    labels = np.zeros(len(pixels), np.int64) if labels is None else np.array(labels)
    return RawImages(stacked, labels, tuple(range(len(names))), (2, 2, 1), "here", names)


def rows(*changes):
    return pd.DataFrame([SOUND | {"id": i + 1} | change for i, change in enumerate(changes)])


def sort(frame, known=NOTHING, keys=frozenset(), schema=SCHEMA):
    return sort_rows(frame, schema, known, keys, "new.csv")


def test_sound_images_are_good():
    found = sort_images(images(1, 2, 3), ("a", "b"), set())

    assert found.good.tolist() == [0, 1, 2]
    assert (found.duplicates, found.bad) == (0, {})


def test_an_image_of_an_unknown_class_is_bad():
    found = sort_images(images(1, 2, labels=[0, 1], names=("a", "zebra")), ("a", "b"), set())

    assert found.good.tolist() == [0]
    assert found.bad == {1: "class: wanted a class of the project (a, b), got zebra"}


def test_a_blank_image_of_an_unknown_class_is_told_both_reasons():
    found = sort_images(images(0, names=("zebra",)), ("a", "b"), set())

    assert found.bad[0].startswith("class: wanted")
    assert "; maximum: wanted a pixel above 0" in found.bad[0]


def test_copies_of_known_images_and_of_one_another_are_counted_and_left_out():
    known = set(describe(images(1))["sha256"])

    found = sort_images(images(1, 2, 2, 3), ("a", "b"), known)

    assert found.good.tolist() == [1, 3]
    assert found.duplicates == 2


def test_sound_rows_are_good():
    found = sort(rows({}, {}))

    assert found.good.tolist() == [0, 1]
    assert (found.duplicates, found.bad) == (0, {})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"amount": "much"}, "amount: wanted a number, got much"),
        ({"amount": -1}, "amount: wanted at least 0, got -1"),
        ({"amount": 101}, "amount: wanted at most 100, got 101"),
        ({"amount": float("inf")}, "amount: wanted a number, got inf"),
        ({"amount": None}, "amount: wanted a value, got none"),
        ({"kind": "c"}, "kind: wanted one of a, b, got c"),
        ({"when": "noon"}, "when: wanted a date as ISO 8601 writes it, got noon"),
        ({"known": "maybe"}, "known: wanted true or false, got maybe"),
        ({"id": 1.5}, "id: wanted a whole number, got 1.5"),
    ],
)
def test_a_bad_row_is_told_what_was_wanted_and_what_was_met(change, reason):
    found = sort(rows(change | ({"id": 1.5} if "id" in change else {}), {"id": 9}))

    assert reason in found.bad[0]
    assert found.good.tolist() == [1]


def test_a_row_is_told_all_its_faults_at_once():
    found = sort(rows({"amount": "much", "kind": "c", "known": "maybe"}))

    assert found.bad[0].count("wanted") == 3


def test_a_column_that_may_be_empty_takes_empty_cells():
    assert sort(rows({"kind": None})).good.tolist() == [0]


def test_a_row_that_is_there_already_is_a_copy():
    known = row_digests(typed(rows({}), SCHEMA, "old.csv"))

    found = sort(rows({}, {}), known, {"1"})

    assert found.good.tolist() == [1]
    assert found.duplicates == 1


def test_another_row_with_a_known_key_is_bad():
    found = sort(rows({"amount": 6}), keys={"1"})

    assert found.bad == {0: "id: wanted a key that no other row has, got 1"}


def test_long_keys_that_differ_in_their_last_digit_are_two():
    found = sort(rows({"id": 2**60}, {"id": 2**60 + 1}))

    assert found.good.tolist() == [0, 1]


def test_of_two_different_new_rows_with_one_key_the_second_is_bad():
    found = sort(rows({"id": 7}, {"id": 7, "amount": 6}))

    assert found.good.tolist() == [0]
    assert "a key that no other row has" in found.bad[1]


def test_text_of_a_csv_file_and_values_of_a_parquet_file_are_the_same_row():
    frame = rows({}, {"kind": None})

    as_text = typed(frame.astype("object").where(frame.notna(), None).map(str, na_action="ignore"), SCHEMA, "new.csv")

    assert row_digests(as_text).tolist() == row_digests(typed(frame, SCHEMA, "new.parquet")).tolist()


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (rows({}).drop(columns="amount"), "new.csv lacks the columns amount; wanted those of the project's schema"),
        (rows({}).assign(more=1), "new.csv has the columns more beside them"),
    ],
)
def test_other_columns_are_refused_by_name(frame, words):
    with pytest.raises(DataError, match=words):
        sort(frame)


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from(["1", "-1", "x", None, "100"])), max_size=12))
def test_every_row_is_good_a_copy_or_bad(given_rows):
    schema = TableSchema((Column("a", "integer"), Column("b", "numeric", low=0)))
    frame = pd.DataFrame(given_rows, columns=["a", "b"], dtype="object")

    found = sort(frame, schema=schema)

    assert len(found.good) + found.duplicates + len(found.bad) == len(frame)
    assert not set(found.good.tolist()) & set(found.bad)
