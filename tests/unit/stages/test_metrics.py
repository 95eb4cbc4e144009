"""Scores of two sets: which figures there are, what goes with what, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from regen.core.errors import DataError, EvaluationError
from regen.models.extractors import Spec
from regen.stages import metrics
from regen.stages.metrics import Options, Scores, score

IMAGE_FIGURES = {"frechet_distance", "frechet_at_infinity", "kid", "precision", "recall", "density", "coverage"}


class Pixels:
    """An extractor whose features are pixels; a 2,048-dimensional one repeats them."""

    def __init__(self, name: str = "pixels", dim: int = 4) -> None:
        self.spec = Spec(name, "1", "", dim, 8, 3, "none")

    def features(self, images: np.ndarray) -> np.ndarray:
        some = images.reshape(len(images), -1)[:, ::53][:, :4] / 255
        return np.resize(some.T, (self.spec.dim, len(some))).T.astype(np.float64)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few resamples, and an extractor that costs nothing."""
    monkeypatch.setattr(metrics, "DRAWS", 10)
    monkeypatch.setattr(metrics, "open_extractor", lambda name: Pixels(name))


def folder(root: Path, n: int, seed: int, brightest: int = 256) -> Path:
    rng = np.random.default_rng(seed)
    root.mkdir()
    for i in range(n):
        Image.fromarray(rng.integers(0, brightest, (8, 8, 3), np.uint8)).save(root / f"{i:03}.png")
    return root


def frame(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    job = pd.Series(rng.choice(["u", "v", None], n), dtype="str")
    return pd.DataFrame({"x": x, "job": job, "paid": (x + rng.normal(size=n) > 0).astype(int)})


def table(path: Path, n: int, seed: int) -> Path:
    frame(n, seed).to_csv(path, index=False)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return folder(tmp_path / "real", 60, 0), folder(tmp_path / "fake", 60, 1)


@pytest.fixture
def csvs(tmp_path: Path) -> tuple[Path, Path]:
    return table(tmp_path / "real.csv", 120, 0), table(tmp_path / "fake.csv", 120, 1)


def scored(paths: tuple[Path, Path], **options: object) -> Scores:
    return score(*paths, Options(**options), lambda task, done, total: None)


def test_images_get_a_distance_and_neighbourhoods(folders: tuple[Path, Path]) -> None:
    found = scored(folders)

    assert (found.kind, found.n, set(found.figures)) == ("images", 60, IMAGE_FIGURES)
    assert found.figures["frechet_distance"].label == f"FD[{found.extractor['space']}, n=60]"
    assert found.extractor["compared_at"] == 8
    for name in IMAGE_FIGURES - {"frechet_at_infinity"}:
        one = found.figures[name].estimate
        assert one.low <= one.value <= one.high


def test_a_set_against_itself_is_perfect(folders: tuple[Path, Path], csvs: tuple[Path, Path]) -> None:
    images, rows = scored((folders[0], folders[0])), scored((csvs[0], csvs[0]))

    assert images.figures["frechet_distance"].uncorrected == pytest.approx(0, abs=1e-9)
    assert [images.figures[name].estimate.value for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert rows.figures["column_shapes"].estimate.value == pytest.approx(1)
    assert rows.figures["pair_trends"].estimate.value == pytest.approx(1)
    assert rows.figures["copies"].estimate.value == 1


def test_darker_images_are_farther_away(folders: tuple[Path, Path], tmp_path: Path) -> None:
    dark = folder(tmp_path / "dark", 60, 1, brightest=64)

    one, other = scored(folders), scored((folders[0], dark))

    assert other.figures["frechet_distance"].estimate.low > one.figures["frechet_distance"].estimate.high


@pytest.mark.parametrize(("name", "label"), [("inception-2015-12-05", "FID["), ("inception-v3", "FD[")])
def test_a_distance_is_a_fid_only_in_the_original_space(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, name: str, label: str
) -> None:
    monkeypatch.setattr(metrics, "open_extractor", lambda _: Pixels(name, dim=200))

    figure = scored(folders).figures["frechet_distance"]

    assert figure.label.startswith(label)
    assert np.isnan(figure.estimate.low)
    assert figure.uncorrected is None


def test_equal_numbers_are_drawn_with_the_seed(folders: tuple[Path, Path]) -> None:
    one, same, other = (scored(folders, n=50, seed=seed) for seed in (0, 0, 1))

    assert one == same
    assert one.n == 50
    assert one.figures["frechet_distance"].estimate != other.figures["frechet_distance"].estimate


def test_images_kept_back_tell_learning_by_heart(folders: tuple[Path, Path], tmp_path: Path) -> None:
    control = folder(tmp_path / "control", 50, 2)

    learnt, by_heart = (scored((folders[0], fake), control=control) for fake in (folders[1], folders[0]))

    assert learnt.figures["nearer_than_control"].estimate.high < 0.8
    assert by_heart.figures["nearer_than_control"].estimate.low > 0.7


def test_bad_images_end_it_or_are_skipped(folders: tuple[Path, Path]) -> None:
    (folders[1] / "000.png").write_bytes(b"no image")

    with pytest.raises(DataError, match=r"1 of the images in FAKE, .*000.png.*--skip-bad"):
        scored(folders)
    with pytest.raises(EvaluationError, match="there are 60 in REAL, 59 in FAKE; --n 59 takes"):
        scored(folders, skip_bad=True)
    found = scored(folders, skip_bad=True, n=55)
    assert found.n == 55
    assert [file for file, _ in found.skipped["FAKE"]] == ["000.png"]


def test_tables_get_likeness_privacy_and_with_a_label_utility(csvs: tuple[Path, Path], tmp_path: Path) -> None:
    plain, full = (
        scored(csvs, **more) for more in ({}, {"label": "paid", "control": table(tmp_path / "control.csv", 150, 2)})
    )

    assert list(plain.figures) == ["column_shapes", "pair_trends", "closest_record", "copies"]
    assert set(plain.columns) == {"x", "job", "paid"}
    assert len(plain.pairs) == 3
    assert list(full.figures) == [
        "column_shapes", "column_shapes_of_control", "pair_trends", "pair_trends_of_control",
        "closest_record", "closest_record_of_control", "copies", "copies_in_control", "closer_than_control",
        "utility_f1", "utility_f1_of_real", "utility_f1_lost", "utility_auc", "utility_auc_of_real", "utility_auc_lost",
    ]  # fmt: skip


def test_a_label_without_a_control_is_tested_on_real_rows_kept_back(csvs: tuple[Path, Path]) -> None:
    found = scored(csvs, label="x")

    assert {"utility_r2", "utility_r2_of_real", "utility_r2_lost"} <= set(found.figures)


def test_a_table_of_one_column_has_no_pairs(tmp_path: Path) -> None:
    paths = tmp_path / "a.csv", tmp_path / "b.csv"
    for seed, path in enumerate(paths):
        frame(60, seed)[["x"]].to_csv(path, index=False)

    found = scored(paths)

    assert "pair_trends" not in found.figures
    assert found.pairs == {}


@pytest.mark.parametrize("kind", ["images", "tables"])
def test_what_is_found_is_json(kind: str, folders: tuple[Path, Path], csvs: tuple[Path, Path]) -> None:
    found = scored(folders if kind == "images" else csvs)
    blank = replace(found.figures[next(iter(found.figures))], estimate=metrics._bare(1.0))

    told = json.loads(json.dumps(replace(found, figures={**found.figures, "blank": blank}).to_json(), allow_nan=False))

    assert (told["kind"], told["n"], told["seed"]) == (kind, found.n, 0)
    assert told["figures"]["blank"]["low"] is None
    assert set(told) - {"kind", "n", "seed", "figures"} == (
        {"extractor", "skipped"} if kind == "images" else {"columns", "pairs"}
    )


@pytest.mark.parametrize(
    ("real", "fake", "options", "words"),
    [
        (
            "real",
            "real.csv",
            {},
            "REAL is a folder of images, FAKE is a table; name folders of images only, or tables only",
        ),
        ("real", "fake", {"control": "real.csv"}, "CONTROL is a table; name folders"),
        ("real", "fake", {"label": "x"}, "--label does not go with a folder of images; leave it out"),
        ("real.csv", "fake.csv", {"extractor": "a"}, "--extractor does not go with a table"),
        ("real.csv", "fake.csv", {"resolution": 8}, "--resolution does not go with a table"),
        ("real.csv", "fake.csv", {"skip_bad": True}, "--skip-bad does not go with a table"),
        ("real.csv", "fake.csv", {"label": "wage"}, "there is no column wage; --label can be one of: x, paid, job"),
        (
            "nowhere",
            "fake",
            {},
            "REAL, .*nowhere, does not exist; name a folder of images, or a file that ends in .csv",
        ),
        ("real/000.png", "fake", {}, "REAL, .*000.png, is neither a folder nor a table"),
        ("real", "fake", {"n": 61}, "--n 61 lies outside of 50 to 60, since there are 60 in REAL, 60 in FAKE"),
        ("real", "fake", {"n": 10}, "--n 10 lies outside of 50 to 60"),
        ("real", "few", {}, "at least 50 images of each, got 60 in REAL, 20 in FAKE; add images"),
        ("real", "many", {}, "there are 60 in REAL, 70 in FAKE; --n 60 takes as many of each, drawn with the seed"),
        ("real.csv", "few.csv", {}, "at least 50 rows of each, got 120 in REAL, 20 in FAKE; add rows"),
        ("real.csv", "many.csv", {}, "there are 120 in REAL, 130 in FAKE; --n 120 takes"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_way_out(
    folders: tuple[Path, Path], csvs: tuple[Path, Path], tmp_path: Path, real: str, fake: str, options: dict, words: str
) -> None:
    if fake in ("few", "many"):
        folder(tmp_path / fake, 20 if fake == "few" else 70, 3)
    if fake in ("few.csv", "many.csv"):
        table(tmp_path / fake, 20 if fake == "few.csv" else 130, 3)
    if "control" in options:
        options = {"control": tmp_path / options["control"]}

    with pytest.raises(EvaluationError, match=words):
        scored((tmp_path / real, tmp_path / fake), **options)
