"""The report: one page that needs nothing outside itself, whatever was measured."""

import re
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from regen.core.config import Config, Metric
from regen.data.splits import Dataset
from regen.evaluation import report
from regen.evaluation.measure import Measured
from regen.models.vae import Vae

CONFIG = Config(project="digits")


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def side(scale: float) -> dict[str, float]:
    return {
        "sharpness_ratio": 0.91 * scale, "diversity_ratio": 0.92 * scale, "path_unevenness": 1.5 * scale,
        "samples_per_second": 12345.0 * scale, "precision": 0.4 * scale, "density": 0.45 * scale,
    }  # fmt: skip


def measured() -> dict[str, Any]:
    """What evaluation.json holds of two candidates without champions."""
    gan = {
        "frechet_distance": estimate(20.0), "class_shift": estimate(0.25), "recall": estimate(0.7), "coverage": estimate(0.9),
    }  # fmt: skip
    vae = {metric: estimate(0.5 + i) for i, metric in enumerate(get_args(Metric))}
    entry = {"champion": None, "difference": None, "warnings": []}
    return {
        "models": {
            "vae": {"estimates": vae, "side": side(2.0), **entry},
            "gan": {"estimates": gan, "side": side(1.0), **entry},
        },
        "rows": {"train": 500, "validation": 100, "test": 321, "extractor": 200},
        "anomaly_class": 8,
        "extractor": {"name": "digits-extractor", "sha256": "0123456789abcdef" * 4, "features": 32, "accuracy": 0.973},
        "real_rows": {"recall": estimate(0.96), "coverage": estimate(0.97), "precision": 0.95, "density": 1.0},
        "frechet_floor": estimate(1.0),
        "frechet_untrained": estimate(2000.0),
        "frechet_vae_all_classes": estimate(33.0),
        "frechet_gan_minus_vae": estimate(-13.0),
        "baselines": {"kNN": {"anomaly_auc": estimate(0.9), "anomaly_ap": estimate(0.8)}},
        "parameters": {"gan": 12345, "vae": 67890},
        "seconds": {"gan": 98.7, "vae": 12.3},
    }


def with_champions() -> dict[str, Any]:
    found = measured()
    for model in found["models"].values():
        model["champion"] = {"version": 3, "estimates": deepcopy(model["estimates"])}
        model["difference"] = {"frechet_distance": estimate(-4.0)}
    return found


def pictures(**changes: Any) -> report.Pictures:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (64, 8, 8, 1), dtype=np.uint8)
    scores = {"normal": rng.normal(size=90), "class 8": 2 + rng.normal(size=10)}
    shown = {"real": images, "gan": images, "vae": images, "reconstructed": images[:32], "worst": images[:32]}
    return report.Pictures(**shown | {"scores": scores, "threshold": 1.5} | changes)


def tables() -> dict[str, pd.DataFrame]:
    points = pd.DataFrame(
        {"detector": ["VAE", "VAE", "kNN", "kNN"], "x": [0.0, 1.0, 0.0, 1.0], "y": [0.5, 1.0, 0.0, 1.0]}
    )
    images = pd.Series([100, 200, 300], name="images")
    return {
        "vae": pd.DataFrame({"images": images, "nll": -1.0, "kl": 2.0, "negative_elbo": 1.0}),
        "gan": pd.DataFrame(
            {"images": images, "discriminator_loss": 0.6, "generator_loss": 0.7, "gradient_penalty": 0.1}
        ),
        "roc": points.rename(columns={"x": "false_positive_rate", "y": "true_positive_rate"}),
        "precision_recall": points.rename(columns={"x": "recall", "y": "precision"}),
    }


class Page(HTMLParser):
    """What a page refers to, and what it says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.images_without_words = 0
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attributes)
        self.references += [
            value or ""
            for name, value in attributes
            if name.split(":")[-1] in ("src", "href", "srcset", "data", "action")
        ]
        self.images_without_words += tag == "img" and not named.get("alt")

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def write(out: Path, found: dict[str, Any], shown: report.Pictures | None = None, drop: tuple[str, ...] = ()) -> str:
    kept = {name: table for name, table in tables().items() if name not in drop}
    report.write(out, CONFIG, found, shown or pictures(), kept)
    return (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("found", [measured(), with_champions()], ids=["first", "with champions"])
def test_the_page_needs_nothing_outside_itself(tmp_path: Path, found: dict[str, Any]) -> None:
    text = write(tmp_path, found)
    page = Page(text)

    assert page.references
    assert all(reference.startswith(("data:image/png;base64,", "#")) for reference in page.references)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", text)
    assert not re.search(r"(src|href)\s*=\s*['\"]?\s*(https?:)?//", text)


def test_the_page_shows_every_figure_picture_and_curve(tmp_path: Path) -> None:
    page = Page(write(tmp_path, measured()))
    said = "".join(page.said)

    assert all(label in said for label in report.LABELS.values())
    assert "FD[digits-extractor@01234567, n=321]" in said
    assert "97.3 % of the test rows' classes" in said
    assert "Class 8 is the anomaly" in said
    assert "20.0 [19.9, 20.1]" in said
    assert "kNN" in said
    assert page.tags.count("img") == 5
    assert page.tags.count("svg") == 5
    assert page.images_without_words == 0


def test_the_page_shows_a_champion_beside_the_candidate(tmp_path: Path) -> None:
    said = "".join(Page(write(tmp_path, with_champions())).said)

    assert "champion, version 3" in said
    assert "-4.000 [-4.100, -3.900]" in said


def test_the_page_says_why_a_champion_could_not_be_measured_and_lets_no_markup_in(tmp_path: Path) -> None:
    found = with_champions()
    found["models"]["gan"]["champion"] = {"version": 3, "error": "cannot be loaded: <script>alert(1)</script>"}
    found["models"]["gan"]["difference"] = {}

    page = Page(write(tmp_path, found))

    assert "script" not in page.tags
    assert "cannot be loaded: <script>alert(1)</script>" in "".join(page.said)


def test_the_page_does_without_an_anomaly_class(tmp_path: Path) -> None:
    found = measured() | {"anomaly_class": None, "baselines": {}}
    for metric in ("anomaly_auc", "anomaly_ap"):
        del found["models"]["vae"]["estimates"][metric]

    page = Page(write(tmp_path, found, pictures(scores={"normal": np.arange(9.0)}), drop=("roc", "precision_recall")))

    assert "is the anomaly" not in "".join(page.said)
    assert "not measured" in "".join(page.said)
    assert page.tags.count("svg") == 2


def test_the_page_warns_of_a_collapse_above_the_figures(tmp_path: Path) -> None:
    found = measured()
    found["models"]["gan"]["warnings"] = ["class <7> is nearly missing"]

    said = "".join(Page(write(tmp_path, found)).said)

    assert "Warning: class <7> is nearly missing." in said
    assert said.count("Warning") == 1


def test_equal_figures_make_equal_pages(tmp_path: Path) -> None:
    assert write(tmp_path / "one", measured()) == write(tmp_path / "other", measured())


def test_samples_are_written_as_one_picture(tmp_path: Path) -> None:
    write(tmp_path, measured())

    with Image.open(tmp_path / "samples.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert len(colours) > 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "samples.png"]


def test_the_comparison_sets_the_gan_beside_the_vae() -> None:
    rows = {question: answers for question, *answers in report.comparison_table(measured())}

    assert rows["Sample quality: Fréchet distance"] == ["20.0 [19.9, 20.1]", "7.500 [7.400, 7.600]", "0"]
    assert rows["… the VAE also against all classes"] == ["20.0 [19.9, 20.1]", "33.0 [32.9, 33.1]", "0"]
    assert rows["… GAN minus VAE on all classes, paired"][0] == "-13.0 [-13.1, -12.9]"
    assert rows["Modes found: recall"][::2] == ["0.700 [0.600, 0.800]", "1; real rows 0.96"]
    assert rows["Real rows with a sample near: coverage"][::2] == ["0.900 [0.800, 1.000]", "1; real rows 0.97"]
    assert rows["Samples that could be real: precision"] == ["0.40", "0.80", "1"]
    assert rows["Sharpness against real images"] == ["0.91", "1.82", "1"]
    assert rows["Diversity against real images"] == ["0.92", "1.84", "1"]
    assert rows["Latent path: largest step over mean step"] == ["1.50", "3.00", "1"]
    assert rows["Reconstruction: PSNR, dB"] == ["no encoder", "3.500 [3.400, 3.600]", "higher"]
    assert rows["Anomaly detection: ROC-AUC"] == ["no score", "0.500 [0.400, 0.600]", "1"]
    assert rows["Parameters when used"] == ["12,345", "67,890", "fewer"]
    assert rows["Samples a second"] == ["12,345", "24,690", "more"]


def test_a_figure_that_was_not_measured_says_so() -> None:
    found = measured()
    del found["models"]["vae"]["estimates"]["anomaly_auc"]

    rows = {question: answers for question, *answers in report.comparison_table(found)}

    assert rows["Anomaly detection: ROC-AUC"][1] == "not measured"


def test_the_space_of_the_distances_is_named_with_what_to_hold_them_against() -> None:
    note = report.frechet_note(measured())

    assert note == (
        "Fréchet distances are FD[digits-extractor@01234567, n=321]: real training rows reach 1.0, "
        "the untrained generator 2,000"
    )


def test_every_metric_has_a_label() -> None:
    assert set(report.LABELS) == set(get_args(Metric))


def test_the_worst_reconstructions_are_picked_from_the_normal_rows() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    dataset = Dataset(images, np.arange(60) % 3, np.full(60, "test"), anomaly_class=2)
    samples = images[:5]
    errors = np.where(np.arange(60) % 3 == 2, 9.0, np.arange(60) / 60)
    found = {"vae": Measured({}, samples, scores=np.arange(60.0), errors=errors), "gan": Measured({}, samples)}

    shown = report.Pictures.of(dataset, Vae((1, 8, 8), "mlp", 1, 2), found)

    normal = np.flatnonzero(np.arange(60) % 3 != 2)
    np.testing.assert_array_equal(shown.worst[:16], images[normal[::-1][:16]])
    np.testing.assert_array_equal(shown.reconstructed[:16], images[normal[:16]])
    assert shown.worst.shape == shown.reconstructed.shape == (32, 8, 8, 1)
    assert {name: len(scores) for name, scores in shown.scores.items()} == {"normal": 40, "class 2": 20}
