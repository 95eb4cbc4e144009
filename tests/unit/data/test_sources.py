"""Sources: the same bytes every time, and nothing damaged is read as if it were whole."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regen.core import files
from regen.core.config import load
from regen.core.errors import DataError, StaleDataError
from regen.core.sections.data import DataConfig
from regen.data import sources
from regen.data.archives import IDX_SETS
from regen.data.raw import spread
from regen.data.sources import FILES, RawImages


def small() -> RawImages:
    images = np.random.default_rng(0).integers(1, 256, (6, 3, 2, 1), dtype=np.uint8)
    return RawImages(images, np.array([0, 1, 0, 1, 0, 1]), classes=(0, 1), shape=(3, 2, 1), origin="drawn")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(sources.SOURCES, "digits", lambda config, place: small())
    sources.materialise(DataConfig(), tmp_path / "small")
    return tmp_path / "small"


def test_the_digits_are_materialised_to_the_same_bytes_twice(tmp_path: Path) -> None:
    sources.materialise(DataConfig(), tmp_path / "one")
    sources.materialise(DataConfig(), tmp_path / "other")

    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_the_digits_are_1797_images_that_use_the_whole_range() -> None:
    raw = sources.digits()

    assert raw.images.shape == (1797, *raw.shape)
    assert raw.images.dtype == np.uint8
    assert (raw.images.min(), raw.images.max()) == (0, 255)
    assert set(raw.labels.tolist()) == set(raw.classes)


def test_what_is_read_is_what_was_materialised(folder: Path) -> None:
    read, given_ = sources.read(folder), small()

    np.testing.assert_array_equal(read.images, given_.images)
    np.testing.assert_array_equal(read.labels, given_.labels)
    assert (read.classes, read.shape, read.origin) == (given_.classes, given_.shape, given_.origin)


def test_the_manifest_holds_count_shape_and_digests(folder: Path) -> None:
    manifest = files.read_json(folder / "manifest.json")

    assert (manifest["source"], manifest["count"], manifest["shape"]) == ("digits", 6, [3, 2, 1])
    assert manifest["sha256"] == {name: files.sha256(folder / name) for name in ("images.npy", "labels.npy")}


def test_a_source_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_json", fail)

    with pytest.raises(KeyboardInterrupt):
        sources.materialise(DataConfig(), tmp_path / "digits")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_its_name(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(DataError, match=rf"{name} is missing; run 'regen data pull' to have it back"):
        sources.read(folder)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images\.npy is missing; run 'regen data pull'"):
        sources.read(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["images.npy", "labels.npy"])
@pytest.mark.parametrize("left", [0, 3, 20, 100, -1])
def test_a_truncated_file_is_refused_by_its_name(folder: Path, name: str, left: int) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:left])

    with pytest.raises(DataError, match=rf"{name} is (corrupt|not the file).*; remove it, then run 'regen data pull'"):
        sources.read(folder)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy"])
@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content + b"more",
        lambda content: b"PK\x03\x04" + content[4:],
        lambda content: b"no array at all",
        lambda content: content.replace(b"(6,", b"(9999999999999,"),
    ],
    ids=["one bit", "appended", "a zip's first bytes", "text", "a shape beyond memory"],
)
def test_a_corrupt_file_is_refused_by_its_name(folder: Path, name: str, harm: Callable[[bytes], bytes]) -> None:
    (folder / name).write_bytes(harm((folder / name).read_bytes()))

    with pytest.raises(DataError, match=rf"{name} is (corrupt|not the file).*; remove it, then run 'regen data pull'"):
        sources.read(folder)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 160), st.binary(min_size=1, max_size=4))
def test_no_change_of_bytes_passes_unseen(folder: Path, at: int, changed: bytes) -> None:
    path = folder / "images.npy"
    sources.materialise(DataConfig(), folder)
    whole = path.read_bytes()
    harmed = whole[:at] + changed + whole[at + len(changed) :]
    path.write_bytes(harmed)

    if harmed != whole:
        with pytest.raises(DataError, match=r"images\.npy is (corrupt|not the file)"):
            sources.read(folder)


def test_another_whole_array_than_the_manifests_is_refused(folder: Path) -> None:
    np.save(folder / "labels.npy", np.array([1, 1, 1, 1, 1, 1]))

    with pytest.raises(DataError, match=r"labels\.npy is .* not the file its manifest describes"):
        sources.read(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"sha256": {}}', b'{"sha256": 3}', b"\xff\xfe", b"null"]
)
def test_a_corrupt_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)

    with pytest.raises(DataError, match=r"manifest\.json is corrupt; remove it, then run 'regen data pull'"):
        sources.read(folder)


def rewrite(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    manifest = files.read_json(folder / "manifest.json")
    manifest["sha256"] = {name: files.sha256(folder / name) for name in FILES[:2]}
    files.write_json(folder / "manifest.json", manifest)


@pytest.mark.parametrize(
    ("images", "labels"),
    [((6, 3, 2, 1), (5,)), ((6, 3, 2), (6,)), ((6, 3, 2, 1), (6, 1)), ((), ())],
)
def test_images_and_labels_that_do_not_fit_are_refused(folder: Path, images: tuple, labels: tuple) -> None:
    rewrite(folder, np.ones(images, np.uint8), np.ones(labels, np.int64))

    with pytest.raises(DataError, match="wanted images n×h×w×c and as many labels, got "):
        sources.read(folder)


def test_a_pickle_is_never_opened(folder: Path) -> None:
    rewrite(folder, np.array([{"a": 1}], dtype=object), np.ones(1, np.int64))

    with pytest.raises(DataError, match=r"images\.npy is no NumPy array"):
        sources.read(folder)


def test_at_most_max_rows_are_taken_spread_evenly() -> None:
    everything = sources.digits()

    raw = sources.load(DataConfig(max_rows=599))

    np.testing.assert_array_equal(raw.images, everything.images[::3])
    np.testing.assert_array_equal(raw.labels, everything.labels[::3])


def test_more_rows_than_there_are_means_all() -> None:
    assert len(sources.load(DataConfig(max_rows=5000)).images) == 1797


@given(st.integers(0, 300), st.integers(1, 300))
def test_rows_that_are_spread_are_distinct_in_order_and_equally_far_apart(n: int, most: int) -> None:
    rows = spread(n, most)

    assert len(rows) == min(n, most)
    assert set(rows.tolist()) <= set(range(n))
    assert np.ptp(np.diff(rows)) <= 1 if len(rows) > 1 else True


def test_images_are_mapped_to_memory_and_cannot_be_written(folder: Path) -> None:
    read = sources.read(folder)

    assert isinstance(read.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        read.images[0] = 0


def test_classes_without_names_are_called_by_their_numbers(folder: Path) -> None:
    assert small().class_names == ("0", "1")
    assert sources.read(folder).class_names == ("0", "1")
    assert "class_names" not in files.read_json(folder / "manifest.json")


def test_names_that_do_not_fit_the_classes_are_refused(folder: Path) -> None:
    manifest = files.read_json(folder / "manifest.json")
    files.write_json(folder / "manifest.json", manifest | {"class_names": ["one"]})

    with pytest.raises(DataError, match=r"manifest\.json is corrupt"):
        sources.read(folder)


@pytest.mark.parametrize(
    ("settings", "manifest", "match"),
    [
        ({}, {"source": "mnist"}, r"data\.source is digits, but data/x was made from mnist; remove data/x and run"),
        (
            {"source": "folder:a{b}"},
            {"source": "folder:{}"},
            r"data\.source is folder:a{b}, but data/x was made from folder:{}",
        ),
        ({"max_rows": 9}, {"source": "digits"}, r"data\.max_rows is 9, but data/x was made with all rows"),
        ({}, {"source": "digits", "max_rows": 9}, r"data\.max_rows is not set, but data/x was made with 9"),
        (
            {"source": "folder:a", "resolution": 64},
            {"source": "folder:a", "resolution": 32, "channels": 3},
            r"data\.resolution is 64, but data/x was made with 32",
        ),
        (
            {"source": "folder:a", "channels": 1},
            {"source": "folder:a", "resolution": 32, "channels": 3},
            r"data\.channels is 1, but data/x was made with 3",
        ),
    ],
    ids=["source", "braces", "max_rows", "no max_rows", "resolution", "channels"],
)
def test_data_that_was_made_otherwise_is_refused_with_the_way_out(
    tmp_path: Path, settings: dict, manifest: dict, match: str
) -> None:
    files.write_json(tmp_path / "data" / "x" / "manifest.json", manifest)

    with pytest.raises(StaleDataError, match=match):
        sources.require_fit(DataConfig(**settings), tmp_path / "data" / "x")


@pytest.mark.parametrize(
    "manifest", [{"source": "digits"}, {"source": "my own camera"}, {}, [], 3, {"source": "digits", "channels": None}]
)
def test_data_that_fits_or_is_the_users_own_is_let_be(tmp_path: Path, manifest: object) -> None:
    files.write_json(tmp_path / "data" / "x" / "manifest.json", manifest)

    sources.require_fit(DataConfig(resolution=64), tmp_path / "data" / "x")

    assert not sources.misfit(DataConfig(resolution=64), manifest, "data/x")


@pytest.mark.parametrize("manifest", [None, "{", "\xff"], ids=["missing", "cut", "no text"])
def test_a_manifest_that_cannot_be_read_is_left_to_the_reader(tmp_path: Path, manifest: str | None) -> None:
    folder = tmp_path / "data" / "x"
    folder.mkdir(parents=True)
    if manifest is not None:
        (folder / "manifest.json").write_text(manifest, encoding="latin-1")

    sources.require_fit(DataConfig(), folder)

    with pytest.raises(DataError):
        sources.read(folder)


def test_the_fashion_project_is_read_and_its_anomaly_is_a_class() -> None:
    config = load(Path(__file__).parents[3] / "configs" / "fashion_mnist.yaml")

    assert (config.project, config.data.source) == ("fashion_mnist", "fashion-mnist")
    assert IDX_SETS[config.data.source].class_names[config.data.anomaly_class] == "Bag"
