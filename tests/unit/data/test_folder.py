"""Folders of images: every kind of file comes to the same pixels, and a bad one stops nothing and is named."""

import csv
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regen.core import files
from regen.core.errors import DataError
from regen.core.sections.data import DataConfig
from regen.data import folder, sources
from regen.data.folder import read_image
from regen.data.raw import Place, RawImages

RNG = np.random.default_rng(0)
RED = (200, 30, 60)
ENDS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tiff": "TIFF"}


def save(path: Path, pixels: np.ndarray | Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def drawn(size: int = 8) -> np.ndarray:
    return RNG.integers(0, 256, (size, size, 3), np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes with three sound images each."""
    for name in ("dogs", "cats"):
        for i in range(3):
            save(tmp_path / "photos" / name / f"{i}.png", drawn())
    return tmp_path / "photos"


def config(**settings: object) -> DataConfig:
    return DataConfig(**{"source": "folder:photos", "resolution": 8, **settings})


def load(root: Path, **settings: object) -> RawImages:
    return sources.load(config(**settings), Place(root.parent, say=lambda text: None))


def pixel(path: Path, channels: int = 3) -> list[int]:
    """The one colour of an image."""
    read = read_image(path, 4, channels)
    assert not isinstance(read, str), read
    assert (read.shape, read.dtype) == ((4, 4, channels), np.uint8)
    assert np.ptp(read.reshape(-1, channels).astype(int), axis=0).max() <= 3
    return read[1, 1].tolist()


def test_a_class_is_a_subfolder_and_they_are_numbered_by_name(photos: Path) -> None:
    raw = load(photos)

    assert raw.class_names == ("cats", "dogs")
    assert raw.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (raw.shape, raw.classes, raw.quarantined, raw.ignored) == ((8, 8, 3), (0, 1), (), 0)
    for row, name in ((0, "cats/0.png"), (5, "dogs/2.png")):
        np.testing.assert_array_equal(raw.images[row], np.asarray(Image.open(photos / name)))


def test_images_without_subfolders_are_one_class_of_the_folders_name(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "b.png", drawn())
    save(tmp_path / "photos" / "a.png", drawn())

    raw = load(tmp_path / "photos")

    assert (raw.class_names, raw.labels.tolist()) == (("photos",), [0, 0])


def test_images_further_below_belong_to_the_first_subfolders_class(photos: Path) -> None:
    save(photos / "cats" / "old" / "x.png", drawn())

    assert load(photos).labels.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_an_image_beside_the_classes_is_set_aside(photos: Path) -> None:
    save(photos / "preview.png", drawn())

    raw = load(photos)

    assert len(raw.images) == 6
    assert raw.quarantined == (("preview.png", "lies beside the folders of the classes, cats and others"),)


@pytest.mark.parametrize("path", ["absolute", "relative", "home"])
def test_the_path_is_absolute_relative_to_the_project_or_in_the_home_folder(
    photos: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("HOME", str(photos.parent))
    written = {"absolute": str(photos), "relative": "photos", "home": "~/photos"}[path]

    raw = load(photos if path == "relative" else Path("/elsewhere/x"), source=f"folder:{written}")

    assert len(raw.images) == 6


@pytest.mark.parametrize(("ending", "kind"), ENDS.items())
def test_every_kind_of_file_is_read(tmp_path: Path, ending: str, kind: str) -> None:
    path = save(tmp_path / f"x.{ending}", Image.new("RGB", (10, 6), RED), format=kind)

    assert pixel(path) == pytest.approx(RED, abs=4)


@pytest.mark.parametrize(
    ("image", "wanted", "grey"),
    [
        (Image.new("L", (6, 6), 77), [77] * 3, 77),
        (Image.new("1", (6, 6), 1), [255] * 3, 255),
        (Image.new("RGBA", (6, 6), (*RED, 0)), [255] * 3, 255),
        (Image.new("RGBA", (6, 6), (0, 0, 0, 128)), [127] * 3, 127),
        (Image.new("LA", (6, 6), (40, 255)), [40] * 3, 40),
        (Image.new("RGB", (6, 6), RED).quantize(4), list(RED), 84),
        (Image.fromarray(np.full((6, 6), 65535, np.uint16)), [255] * 3, 255),
        (Image.fromarray(np.full((6, 6), 25700, np.uint16)), [100] * 3, 100),
        (Image.fromarray(np.full((6, 6), 257, np.uint16)), [1] * 3, 1),
    ],
    ids=["grey", "black and white", "clear", "half clear", "grey with alpha", "palette", "white of 16 bits",
         "grey of 16 bits", "dark grey of 16 bits"],
)  # fmt: skip
def test_every_kind_of_pixel_comes_to_8_bits_over_white(
    tmp_path: Path, image: Image.Image, wanted: list[int], grey: int
) -> None:
    path = save(tmp_path / "x.png", image)

    assert pixel(path) == wanted
    assert pixel(path, channels=1) == [grey]


def test_a_palettes_transparent_colour_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (6, 6), 0)
    image.putpalette([10, 20, 30])

    assert pixel(save(tmp_path / "x.png", image, transparency=0)) == [255] * 3


def test_cmyk_is_read_as_the_colours_it_means(tmp_path: Path) -> None:
    for ending in ("jpg", "tiff"):
        path = save(tmp_path / f"x.{ending}", Image.new("CMYK", (6, 6), (0, 255, 255, 0)))

        assert pixel(path) == pytest.approx([255, 0, 0], abs=4)


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in (RED, (0, 0, 255))]
    for ending, options in {"png": {}, "tiff": {}, "webp": {"lossless": True}}.items():
        path = save(tmp_path / f"x.{ending}", frames[0], save_all=True, append_images=frames[1:], **options)

        assert pixel(path) == list(RED)


def test_the_cameras_orientation_is_applied(tmp_path: Path) -> None:
    pixels, exif = drawn(), Image.Exif()
    exif[0x0112] = 6  # rotated by a quarter
    path = save(tmp_path / "x.png", pixels, exif=exif)

    np.testing.assert_array_equal(read_image(path, 8, 3), np.rot90(pixels, -1))


def test_the_largest_square_in_the_middle_is_taken(tmp_path: Path) -> None:
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = RED

    assert pixel(save(tmp_path / "wide.png", pixels)) == list(RED)
    assert pixel(save(tmp_path / "tall.png", pixels.transpose(1, 0, 2).copy())) == list(RED)


def test_shrinking_averages_and_does_not_skip(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255

    read = read_image(save(tmp_path / "x.png", stripes), 8, 3)

    assert np.abs(np.asarray(read).astype(int) - 127).max() <= 6


def test_a_small_image_is_enlarged(tmp_path: Path) -> None:
    assert pixel(save(tmp_path / "x.png", np.full((1, 1, 3), 9, np.uint8))) == [9] * 3


def png(width: int, height: int) -> bytes:
    """A PNG that says it has this size, with hardly any pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", "no PNG, JPEG, WebP or TIFF image"),
    "text": (lambda content: b"hello", "no PNG, JPEG, WebP or TIFF image"),
    "cut short": (lambda content: content[: len(content) // 2], "truncated"),
    "its head alone": (lambda content: content[:20], "."),
    "damaged": (lambda content: content[:200] + bytes(300) + content[500:], "."),
    "no pixels": (lambda content: png(0, 5), "."),
    "a bomb": (lambda content: png(10_001, 10_000), "decompression bomb"),
    "a larger bomb": (lambda content: png(60_000, 60_000), "decompression bomb"),
    "a gif": (lambda content: b"GIF89a" + content[6:], "no PNG, JPEG, WebP or TIFF image"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_set_aside_with_its_reason_and_stops_nothing(photos: Path, tmp_path: Path, name: str) -> None:
    harm, reason = BAD[name]
    whole = save(tmp_path / "whole.png", drawn(64)).read_bytes()
    (photos / "cats" / "bad.png").write_bytes(harm(whole))

    raw = load(photos)

    assert raw.labels.tolist() == [0, 0, 0, 1, 1, 1]
    ((path, told),) = raw.quarantined
    assert path == "cats/bad.png"
    assert reason in told or reason == "."
    assert told
    assert str(tmp_path) not in told


def test_pixels_of_no_known_range_are_set_aside(tmp_path: Path) -> None:
    wide = save(tmp_path / "i.tiff", np.full((6, 6), 70_000, np.int32))
    real = save(tmp_path / "f.tiff", np.full((6, 6), 0.5, np.float32))

    assert read_image(wide, 4, 3) == "32-bit pixels have no known range; save it with 8 or 16 bits"
    assert read_image(real, 4, 3) == "floating-point pixels have no known range; save it with 8 or 16 bits"


def test_what_is_no_plain_file_is_set_aside_and_not_waited_for(photos: Path) -> None:
    os.mkfifo(photos / "cats" / "pipe.png")
    (photos / "dogs" / "gone.png").symlink_to("nowhere")

    raw = load(photos)

    assert raw.quarantined == (("cats/pipe.png", "no plain file"), ("dogs/gone.png", "No such file or directory"))


def test_links_that_lead_in_circles_are_walked_once(photos: Path) -> None:
    (photos / "cats" / "up").symlink_to(photos)
    (photos / "dogs" / "again").symlink_to(".")
    (photos / "dogs" / "self.png").symlink_to("self.png")

    raw = load(photos)

    assert len(raw.images) == 6
    assert [path for path, _ in raw.quarantined] == ["dogs/self.png"]


def test_hidden_files_are_passed_over_and_other_kinds_counted(photos: Path) -> None:
    save(photos / "cats" / ".hidden.png", drawn())
    save(photos / ".cache" / "x.png", drawn())
    (photos / "README.md").write_text("photos")
    (photos / "cats" / "labels.csv").write_text("a")

    raw = load(photos)

    assert (len(raw.images), raw.ignored, raw.quarantined) == (6, 2, ())


def test_at_most_max_rows_are_spread_over_the_classes(photos: Path) -> None:
    assert load(photos, max_rows=4).labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (lambda root: None, r"data\.source names .*photos, which is no folder; correct the path after 'folder:'"),
        (lambda root: root.write_text("x"), "which is no folder"),
        (lambda root: root.mkdir(), r"photos holds no images \(0 files of other kinds\); put png, jpg"),
        (lambda root: (root.mkdir(), (root / "x.txt").touch()), r"holds no images \(1 files of other kinds\)"),
        (lambda root: (root.mkdir(), (root / "x.png").touch()), r"none of the 1 images in .*photos can be read, x\.png: no"),
    ],
    ids=["no such folder", "a file", "empty", "no images", "all bad"],
)  # fmt: skip
def test_a_folder_without_a_sound_image_is_refused_in_one_line(tmp_path: Path, made: Callable, match: str) -> None:
    made(tmp_path / "photos")

    with pytest.raises(DataError, match=match) as caught:
        load(tmp_path / "photos")
    assert "\n" not in str(caught.value)


def materialise(photos: Path, target: Path, **settings: object) -> dict:
    sources.materialise(config(**settings), target, Place(photos.parent, say=lambda text: None))
    return files.read_json(target / "manifest.json")


def test_the_same_folder_gives_the_same_bytes_wherever_it_lies(photos: Path, tmp_path: Path) -> None:
    (photos / "cats" / "bad.png").write_bytes(b"")
    materialise(photos, tmp_path / "one")
    (tmp_path / "elsewhere").mkdir()
    photos.rename(tmp_path / "elsewhere" / "photos")
    materialise(tmp_path / "elsewhere" / "photos", tmp_path / "other")

    names = sorted(path.name for path in (tmp_path / "one").iterdir())

    assert names == ["images.npy", "labels.npy", "manifest.json", "quarantine.csv"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_the_manifest_says_what_made_it_and_counts_what_was_set_aside(photos: Path, tmp_path: Path) -> None:
    (photos / "cats" / "bad, indeed.png").write_bytes(b"x")
    (photos / "notes.txt").write_text("x")

    manifest = materialise(photos, tmp_path / "made", resolution=4, channels=1, max_rows=7)

    wanted = {"source": "folder:photos", "resolution": 4, "channels": 1, "max_rows": 7, "class_names": ["cats", "dogs"],
              "count": 6, "quarantined": 1, "ignored": 1, "shape": [4, 4, 1]}  # fmt: skip
    assert wanted.items() <= manifest.items()
    with (tmp_path / "made" / "quarantine.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "reason"],
            ["cats/bad, indeed.png", "no PNG, JPEG, WebP or TIFF image, or one that is damaged from its start"],
        ]
    assert sources.quarantined(tmp_path / "made") == 1


def test_what_is_read_back_is_what_the_folder_gave(photos: Path, tmp_path: Path) -> None:
    (photos / "cats" / "0 bad.png").write_bytes(b"x")
    materialise(photos, tmp_path / "made")

    read, given = sources.read(tmp_path / "made"), load(photos)

    np.testing.assert_array_equal(read.images, given.images)
    np.testing.assert_array_equal(read.labels, given.labels)
    assert read.class_names == ("cats", "dogs")


def test_long_reading_is_told_of(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "PLAIN_SECONDS", -1.0)
    monkeypatch.setattr(folder, "BATCH", 4)
    said: list[str] = []

    sources.load(config(), Place(photos.parent, say=said.append))

    assert said[1] == f"  data: 4 of 6 images of {photos} read"


def test_a_name_that_is_no_text_can_be_written(photos: Path, tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(photos) + b"/cats/\xff.png"))).write_bytes(b"x")

    assert materialise(photos, tmp_path / "made")["quarantined"] == 1
    assert r"\udcff.png" in (tmp_path / "made" / "quarantine.csv").read_text()
