"""Schemas: each failing row is named with its check, all of them at once."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from regen.core.errors import Failure, ValidationError
from regen.core.sections.data import DataConfig
from regen.data import schemas
from regen.data.schemas import describe, validate
from regen.data.sources import RawImages
from regen.data.splits import Dataset

CONFIG = DataConfig(min_per_class=5, max_duplicate_share=0.05)


def sound(n: int = 100) -> RawImages:
    images = np.random.default_rng(0).integers(1, 256, (n, 4, 3, 1), dtype=np.uint8)
    return RawImages(images, np.arange(n) % 2, classes=(0, 1), shape=(4, 3, 1), origin="drawn")


def failures(raw: RawImages, config: DataConfig = CONFIG) -> tuple[Failure, ...]:
    with pytest.raises(ValidationError) as caught:
        validate(raw, config)
    return caught.value.failures


def with_pixels(images: np.ndarray) -> RawImages:
    return replace(sound(), images=images)


def test_sound_rows_pass() -> None:
    table = validate(sound(), CONFIG)

    assert len(table) == 100
    assert not table["duplicate"].any()
    assert table["label"].tolist() == sound().labels.tolist()


def test_the_table_tells_of_each_image() -> None:
    raw = sound(3)
    raw.images[2] = raw.images[0]

    table = describe(raw)

    assert table["duplicate"].tolist() == [False, False, True]
    assert table["sha256"].nunique() == 2
    assert table["minimum"].tolist() == raw.images.reshape(3, -1).min(axis=1).tolist()
    assert table["maximum"].tolist() == raw.images.reshape(3, -1).max(axis=1).tolist()
    assert table["shape"].tolist() == ["4x3x1"] * 3


def test_an_unknown_label_is_named_with_its_row() -> None:
    raw = sound()
    raw.labels[7] = 5

    assert failures(raw) == (Failure(7, "a label in [0, 1]", "5"),)


def test_a_blank_image_is_named_with_its_row() -> None:
    raw = sound()
    raw.images[11] = 0

    assert failures(raw) == (Failure(11, "a pixel above 0 (an image that is not blank)", "0.0"),)


def test_another_dtype_is_named_on_each_row() -> None:
    found = failures(with_pixels(sound().images.astype(np.int16)))

    assert found == tuple(Failure(row, "dtype uint8", "int16") for row in range(100))


@pytest.mark.parametrize(
    ("value", "check", "met"),
    [
        (-3, "pixels of at least 0", "-3.0"),
        (300, "pixels of at most 255", "300.0"),
        (np.inf, "finite pixels", "False"),
        (np.nan, "finite pixels", "False"),
    ],
)
def test_a_pixel_out_of_range_is_named_with_its_row(value: float, check: str, met: str) -> None:
    images = sound().images.astype(np.float32)
    images[4, 1, 2, 0] = value

    assert Failure(4, check, met) in failures(with_pixels(images))


def test_another_shape_is_named_with_what_was_wanted_and_met() -> None:
    found = failures(replace(sound(), shape=(3, 4, 1)))

    assert found == tuple(Failure(row, "shape 3x4x1", "4x3x1") for row in range(100))


def test_too_few_rows_of_a_class_are_named_with_its_count() -> None:
    raw = sound()
    raw.labels[:] = 0
    raw.labels[:4] = 1

    assert failures(raw) == (Failure(None, "at least 5 rows of each class", "4 of class 1, 96 of class 0"),)


def test_a_class_without_a_row_is_missed() -> None:
    raw = replace(sound(), classes=(0, 1, 2))

    assert failures(raw) == (
        Failure(None, "at least 5 rows of each class", "0 of class 2, 50 of class 0, 50 of class 1"),
    )


def test_duplicates_over_the_share_are_named_by_their_copies() -> None:
    raw = sound()
    raw.images[20:26] = raw.images[10]

    found = failures(raw)

    assert [failure.row for failure in found] == [20, 21, 22, 23, 24, 25]
    assert {failure.check for failure in found} == {"no copy of an earlier row (duplicates are over 5% of the rows)"}


def test_duplicates_within_the_share_pass_and_are_dropped_when_the_set_is_built() -> None:
    raw = sound()
    raw.images[20:25] = raw.images[10]

    table = validate(raw, CONFIG)
    built = Dataset.build(raw.images, raw.labels, table, CONFIG, seed=0)

    assert table["duplicate"].sum() == 5
    assert len(built.images) == 95
    assert len(np.unique(built.images.reshape(95, -1), axis=0)) == 95
    np.testing.assert_array_equal(built.labels, np.delete(raw.labels, range(20, 25)))


def test_a_share_of_0_lets_no_duplicate_pass() -> None:
    raw = sound()
    raw.images[1] = raw.images[0]

    assert [failure.row for failure in failures(raw, DataConfig(min_per_class=5, max_duplicate_share=0))] == [1]


def test_several_faults_are_named_at_once() -> None:
    raw = sound()
    raw.labels[3] = 9
    raw.images[5] = 0
    raw.images[40:50] = raw.images[39]

    found = failures(raw)

    assert Failure(3, "a label in [0, 1]", "9") in found
    assert Failure(5, "a pixel above 0 (an image that is not blank)", "0.0") in found
    assert sum("no copy of an earlier row" in failure.check for failure in found) == 10
    assert len(found) == 12


def test_the_message_shows_five_failures_and_counts_the_rest() -> None:
    raw = sound()
    raw.labels[10:17] = 5

    with pytest.raises(
        ValidationError, match=r"^7 checks failed: row 10: .*; row 14: [^;]*; and 2 more; mend or remove"
    ):
        validate(raw, CONFIG)


def test_labels_that_are_no_integers_are_named_by_their_dtype() -> None:
    raw = replace(sound(), labels=sound().labels.astype(np.float64))

    assert [(failure.row, failure.value) for failure in failures(raw)] == [(None, "float64")]


def test_no_rows_are_refused() -> None:
    raw = replace(sound(), images=np.zeros((0, 4, 3, 1), np.uint8), labels=np.zeros(0, np.int64))

    with pytest.raises(ValidationError, match="the data has no rows; add some"):
        validate(raw, CONFIG)


def test_images_without_pixels_are_refused() -> None:
    raw = replace(sound(), images=np.zeros((100, 0, 3, 1), np.uint8))

    assert Failure(0, "shape 4x3x1", "0x3x1") in failures(raw)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_table_is_the_same_however_many_images_are_looked_at_together(
    monkeypatch: pytest.MonkeyPatch, dtype: type
) -> None:
    raw = sound()
    raw.images[70] = raw.images[3]
    raw = replace(raw, images=raw.images.astype(dtype))
    whole = describe(raw)

    monkeypatch.setattr(schemas, "CHUNK", 7)

    pd.testing.assert_frame_equal(describe(raw), whole)
