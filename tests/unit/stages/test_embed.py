"""Folders of images as features: any nesting, one size, bad files named or skipped, draws that follow the seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regen.core.errors import DataError, EvaluationError
from regen.models.extractors import Spec
from regen.stages.embed import Pictures, common_side, embed, open_extractor, pictures


class Means:
    """An extractor whose only feature is the mean pixel."""

    spec = Spec("means", "1", "", 1, 8, 3, "none")

    def features(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).mean(axis=1, keepdims=True)


def save(path: Path, value: int, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def silent(task: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images of the values 0 to 9, here and there."""
    for i in range(10):
        save(tmp_path / "images" / ("deep/er" if i % 2 else "") / f"{i}.png", i)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    return tmp_path / "images"


def test_images_are_found_at_every_depth(folder: Path) -> None:
    found = pictures("REAL", folder)

    assert len(found.files) == 10
    assert set(found.files) >= {"0.png", "deep/er/1.png"}
    assert sorted(embed(found, Means(), 8, silent, skip_bad=False).features.rows[:, 0]) == list(range(10))


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tiff"])
def test_every_format_is_read(tmp_path: Path, ending: str) -> None:
    save(tmp_path / f"one.{ending}", 100)

    found = embed(pictures("REAL", tmp_path), Means(), 8, silent, skip_bad=False)

    np.testing.assert_allclose(found.features.rows, 100, atol=2)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")

    with pytest.raises(DataError, match=r"REAL, .* holds no images \(1 files of other kinds\); wanted png, jpg"):
        pictures("REAL", tmp_path)


def test_a_draw_follows_the_seed_and_the_folders_name() -> None:
    files = tuple(map(str, range(50)))

    def draw(called: str, seed: int) -> tuple[str, ...]:
        return Pictures(called, Path(), files).drawn(10, seed).files

    assert draw("REAL", 0) == draw("REAL", 0)
    assert sorted(draw("REAL", 0)) == sorted(files)
    assert len({draw("REAL", 0), draw("REAL", 1), draw("FAKE", 0)}) == 3


def test_only_as_many_as_wanted_are_read(folder: Path) -> None:
    told = []

    found = embed(pictures("REAL", folder).drawn(4, 0), Means(), 8, lambda *given: told.append(given), skip_bad=False)

    assert found.features.rows.shape == (4, 1)
    assert told == [("images of REAL", 4, 4)]


def test_bad_images_are_named_all_at_once(folder: Path) -> None:
    for i in range(7):
        (folder / f"bad{i}.png").write_bytes(b"" if i else b"no image")

    with pytest.raises(
        DataError, match=r"7 of the images in REAL, .*bad0.png: no PNG.*; and 2 more\); mend or .*--skip-bad"
    ):
        embed(pictures("REAL", folder), Means(), 8, silent, skip_bad=False)


def test_skipped_images_are_told_of_and_others_stand_in_for_them(folder: Path) -> None:
    (folder / "00bad.png").write_bytes(b"no image")

    found = embed(replace(pictures("REAL", folder), n=4), Means(), 8, silent, skip_bad=True)

    assert found.features.rows.shape == (4, 1)
    assert [file for file, _ in found.skipped] == ["00bad.png"]


def test_a_folder_of_bad_images_alone_gives_no_features(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")

    found = embed(pictures("REAL", tmp_path), Means(), 8, silent, skip_bad=True)

    assert len(found.features) == 0


def test_the_common_side_is_the_shorter_one_of_all(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 0, (12, 30))
    save(tmp_path / "b.png", 0, (40, 12))
    (tmp_path / "c.png").write_bytes(b"no image")

    assert common_side([pictures("REAL", tmp_path)]) == 12


def test_images_of_several_sizes_need_a_resolution(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", 0, (12, 12))
    save(tmp_path / "b" / "2.png", 0, (32, 32))

    with pytest.raises(EvaluationError, match=r"are from 12 to 32 pixels across, .*; --resolution 12 cuts each"):
        common_side([pictures("REAL", tmp_path / "a"), pictures("FAKE", tmp_path / "b")])


def test_images_too_small_to_compare_are_refused(folder: Path) -> None:
    with pytest.raises(EvaluationError, match="images of 4 pixels hold too little to compare; wanted at least 8"):
        embed(pictures("REAL", folder), Means(), 4, silent, skip_bad=False)


def test_the_default_extractor_needs_no_file() -> None:
    assert open_extractor("random-conv-v1").spec.id == "random-conv-v1"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "vgg",
            "there is no extractor vgg; name random-conv-v1, inception:FILE for FID, or a project.s own, PROJECT-extractor",
        ),
        ("inception", "there is no extractor inception; name"),
        ("inception:nowhere.pth", "nowhere.pth is no file; name pt_inception-2015-12-05-6726825d.pth"),
    ],
)
def test_an_extractor_that_is_not_there_is_refused(name: str, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        open_extractor(name)
