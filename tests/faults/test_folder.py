"""A folder of images that is missing, empty or partly damaged: one line with the way out, or the run goes on."""

import numpy as np
import pytest
from PIL import Image

from regen.core import files
from tests.faults.conftest import assert_fails_in_one_line

PROJECT = """\
project: photos
data: {source: "folder:photos", resolution: 8, channels: 1, min_per_class: 20}
"""


@pytest.fixture
def photos(own_project):
    """A second project of two classes with 40 images each, three of them bad."""
    draw = np.random.default_rng(0)
    for name in ("bright", "dark"):
        folder = own_project.root / "photos" / name
        folder.mkdir(parents=True)
        for i in range(40):
            Image.fromarray(draw.integers(0, 256, (12, 9, 3), np.uint8)).save(folder / f"{i:02}.png")
    (own_project.root / "photos" / "dark" / "00.png").write_bytes(b"")
    (own_project.root / "photos" / "dark" / "01.png").write_bytes(b"no image")
    whole = (own_project.root / "photos" / "dark" / "02.png").read_bytes()
    (own_project.root / "photos" / "dark" / "02.png").write_bytes(whole[: len(whole) // 2])
    (own_project.root / "photos.yaml").write_text(PROJECT)
    return own_project


def test_bad_images_are_set_aside_and_told_of_and_the_rest_is_prepared(photos, here):
    pulled = here(photos, "data", "pull", "photos.yaml")
    prepared = here(photos, "stage", "prepare", "photos.yaml")

    assert pulled.returncode == 0, pulled.stderr
    assert "3 files were set aside; data/photos/quarantine.csv says why" in pulled.stderr
    assert "came from the source" in pulled.stdout
    assert (photos.root / "data" / "photos" / "quarantine.csv").read_text().count("\n") == 4
    assert prepared.returncode == 0, prepared.stderr
    told = files.read_json(photos.root / "outputs" / "photos" / "prepare" / "validation.json")
    assert told["per_class"] == {"0": 40, "1": 37}
    names = files.read_json(photos.root / "outputs" / "photos" / "prepare" / "dataset.json")["class_names"]
    assert names == {"0": "bright", "1": "dark"}


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda root: (root / "photos").rename(root / "elsewhere"), ("photos, which is no folder", "after 'folder:'")),
        (lambda root: [path.unlink() for path in (root / "photos").rglob("*.png")], ("holds no images", "put png, jpg")),
        (lambda root: [path.write_bytes(b"x") for path in (root / "photos").rglob("*.png")],
         ("none of the 80 images", "can be read", "put sound ones there")),
    ],
    ids=["no such folder", "empty", "all bad"],
)  # fmt: skip
def test_a_folder_that_gives_no_image_is_named_with_the_way_out(photos, here, harm, words):
    harm(photos.root)
    recorded = (photos.root / "data.dvc").read_bytes()

    for command in (("run", "photos.yaml"), ("data", "pull", "photos.yaml")):
        assert_fails_in_one_line(here(photos, *command), *words)
    assert not (photos.root / "data" / "photos").exists()
    assert (photos.root / "data.dvc").read_bytes() == recorded


def test_other_settings_than_the_data_was_made_with_are_named_with_the_way_out(photos, here):
    assert here(photos, "data", "pull", "photos.yaml").returncode == 0
    path = photos.root / "photos.yaml"
    path.write_text(path.read_text().replace("resolution: 8", "resolution: 4"))
    way_out = "data.resolution is 4, but data/photos was made with 8; remove data/photos and run 'regen data pull'"

    for command in (("run", "photos.yaml"), ("data", "pull", "photos.yaml"), ("stage", "prepare", "photos.yaml")):
        assert_fails_in_one_line(here(photos, *command), way_out)


def test_a_class_whose_images_are_nearly_all_bad_is_named_by_its_count(photos, here):
    for path in sorted((photos.root / "photos" / "dark").iterdir())[:30]:
        path.write_bytes(b"x")
    assert here(photos, "data", "pull", "photos.yaml").returncode == 0

    done = here(photos, "stage", "prepare", "photos.yaml")

    assert_fails_in_one_line(done, "at least 20 rows of each class", "10 of class 1")
