"""Splits: disjoint, whole, and the same for a row whatever the other rows are."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.config import keys
from regen.core.errors import DataError
from regen.core.sections.data import DataConfig
from regen.data import splits
from regen.data.schemas import describe
from regen.data.sources import RawImages
from regen.data.splits import SPLITS, Dataset, assign, uniform, unit_interval

SEEDS = st.integers(0, 2**31 - 1)
DIGESTS = st.lists(st.text("0123456789abcdef", min_size=1, max_size=8), max_size=30)
CONFIG = DataConfig(anomaly_class=2)


def drawn(n: int = 200, seed: int = 0) -> RawImages:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 2, 3, 1), dtype=np.uint8)
    return RawImages(images, rng.integers(0, 4, n), classes=(0, 1, 2, 3), shape=(2, 3, 1), origin="drawn")


def build(raw: RawImages, config: DataConfig = CONFIG, seed: int = 0) -> Dataset:
    return Dataset.build(raw.images, raw.labels, describe(raw), config, seed)


def flat(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


@given(SEEDS, st.integers(0, 5))
def test_splits_are_disjoint_and_cover_all_distinct_rows(seed: int, drawing: int) -> None:
    raw = drawn(seed=drawing)
    raw.images[150:] = raw.images[:50]
    built = build(raw, seed=seed)

    rows = np.concatenate([built.rows(split) for split in SPLITS])
    images = [flat(built.pixels(split)) for split in SPLITS]

    assert sorted(rows.tolist()) == list(range(150))
    assert set.union(*images) == flat(raw.images)
    assert sum(map(len, images)) == 150


@given(DIGESTS, SEEDS)
def test_equal_digests_share_a_split(digests: list[str], seed: int) -> None:
    splits = dict(zip(digests, assign(digests, CONFIG, seed), strict=True))

    assert assign(digests * 2, CONFIG, seed) == [splits[digest] for digest in digests * 2]
    assert set(splits.values()) <= set(SPLITS)


@given(DIGESTS, DIGESTS, SEEDS)
def test_a_row_keeps_its_split_when_others_come_or_go(digests: list[str], others: list[str], seed: int) -> None:
    alone = assign(digests, CONFIG, seed)
    together = assign([*others, *digests], CONFIG, seed)

    assert together[len(others) :] == alone


def test_an_image_keeps_its_split_when_others_come_or_go() -> None:
    more, fewer = drawn(400), drawn(400)
    fewer = RawImages(fewer.images[::2], fewer.labels[::2], fewer.classes, fewer.shape, fewer.origin)

    before, after = build(fewer), build(more)

    for split in SPLITS:
        assert flat(before.pixels(split)) <= flat(after.pixels(split))


@given(SEEDS, st.integers(0, 3))
def test_the_anomaly_class_is_never_among_the_normal_rows(seed: int, anomaly: int) -> None:
    built = build(drawn(), DataConfig(anomaly_class=anomaly), seed)

    for split in SPLITS:
        normal, every = built.rows(split, normal_only=True), built.rows(split)
        assert anomaly not in built.labels[normal]
        assert set(every) - set(normal) == set(every[built.labels[every] == anomaly])


@pytest.mark.parametrize("label", [0, -1])
def test_without_an_anomaly_class_every_row_is_normal(label: int) -> None:
    raw = drawn()
    raw.labels[:50] = label
    built = build(raw, DataConfig())

    assert not built.is_anomaly.any()
    for split in SPLITS:
        np.testing.assert_array_equal(built.rows(split, normal_only=True), built.rows(split))


def test_shares_are_met_on_many_rows() -> None:
    config = DataConfig(extractor_share=0.3, validation_share=0.05, test_share=0.15)

    splits = assign([f"{i:x}" for i in range(20_000)], config, seed=1)

    shares = [splits.count(name) / len(splits) for name in SPLITS]
    assert shares == pytest.approx([0.3, 0.05, 0.15, 0.5], abs=0.01)


def test_a_share_of_0_gets_no_row() -> None:
    config = DataConfig(extractor_share=0, validation_share=0.4, test_share=0.4)

    assert "extractor" not in assign([f"{i:x}" for i in range(5000)], config, seed=0)


def test_another_seed_gives_other_splits() -> None:
    digests = [f"{i:x}" for i in range(100)]

    assert assign(digests, CONFIG, seed=0) != assign(digests, CONFIG, seed=1)


@given(st.text(), SEEDS)
def test_a_digests_number_lies_between_0_and_1(digest: str, seed: int) -> None:
    assert 0 <= uniform(digest, seed) < 1


def test_the_shape_is_given_as_networks_want_it() -> None:
    assert build(drawn()).shape == (1, 2, 3)


@pytest.mark.parametrize("anomaly", [None, 2])
def test_what_is_loaded_is_what_was_saved(tmp_path: Path, anomaly: int | None) -> None:
    built = build(drawn(), DataConfig(anomaly_class=anomaly))
    built.save(tmp_path)

    loaded = Dataset.load(tmp_path)

    np.testing.assert_array_equal(loaded.images, built.images)
    np.testing.assert_array_equal(loaded.labels, built.labels)
    np.testing.assert_array_equal(loaded.split, built.split)
    assert loaded.labels.dtype == np.int64
    assert loaded.anomaly_class == anomaly
    for split in SPLITS:
        np.testing.assert_array_equal(loaded.rows(split, normal_only=True), built.rows(split, normal_only=True))


def test_an_anomaly_class_that_no_row_has_is_refused_with_the_classes_there_are() -> None:
    with pytest.raises(DataError, match=r"data\.anomaly_class is 9, but the classes are \[0, 1, 2, 3\]"):
        build(drawn(), DataConfig(anomaly_class=9))


def test_an_empty_split_is_refused_by_its_name() -> None:
    with pytest.raises(DataError, match=r"no rows fall to extractor; add rows or raise data\.extractor_share"):
        build(drawn(), DataConfig(extractor_share=0))


@pytest.mark.parametrize("empty", SPLITS)
def test_the_way_out_of_an_empty_split_is_a_key_there_is(empty: str) -> None:
    digests = [digest for digest in map(str, range(100)) if assign([digest], DataConfig(), seed=0) != [empty]]
    table = pd.DataFrame({"sha256": digests, "duplicate": False})
    images = np.ones((len(digests), 2, 2, 1), np.uint8)

    with pytest.raises(DataError, match=f"no rows fall to {empty}") as caught:
        Dataset.build(images, np.zeros(len(digests), np.int64), table, DataConfig(), seed=0)
    assert set(re.findall(r"data\.\w+", str(caught.value))) <= set(keys())


def test_vectors_lie_between_0_and_1() -> None:
    images = np.array([[[[0], [51]], [[255], [102]]]], np.uint8)

    np.testing.assert_allclose(unit_interval(images), [[0, 0.2, 1, 0.4]])


def test_loaded_images_are_mapped_to_memory_and_cannot_be_written(tmp_path: Path) -> None:
    build(drawn()).save(tmp_path)

    loaded = Dataset.load(tmp_path)

    assert isinstance(loaded.images, np.memmap)
    assert not isinstance(loaded.pixels("test"), np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        loaded.images[0] = 0


def test_a_set_that_is_built_into_a_file_is_the_one_built_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "CHUNK", 7)
    raw = drawn()
    raw.images[150:] = raw.images[:50]
    table = describe(raw)

    built = Dataset.build(raw.images, raw.labels, table, CONFIG, seed=0, into=tmp_path / "images.npy")
    before = (tmp_path / "images.npy").stat().st_ino
    built.save(tmp_path)

    np.testing.assert_array_equal(built.images, build(raw).images)
    assert (tmp_path / "images.npy").stat().st_ino == before
    np.testing.assert_array_equal(Dataset.load(tmp_path).images, build(raw).images)


def test_classes_keep_their_names(tmp_path: Path) -> None:
    raw = drawn()
    built = Dataset.build(raw.images, raw.labels, describe(raw), CONFIG, seed=0, names={0: "boot", 2: "bag"})
    built.save(tmp_path)

    loaded = Dataset.load(tmp_path)

    assert loaded.class_names == {0: "boot", 2: "bag"}
    assert [loaded.name(label) for label in range(3)] == ["boot", "1", "bag"]
