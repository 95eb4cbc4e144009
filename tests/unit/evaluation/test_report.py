"""The report: one page that needs nothing outside itself, whatever was measured."""

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

from regen.core.sections.evaluation import Metric
from regen.evaluation import gate, report
from regen.evaluation.exhibits import Exhibits
from regen.evaluation.glossary import GLOSSARY
from tests.unit.evaluation.made_up import (
    CONFIG,
    NOTHING,
    everything,
    exhibits,
    measured,
    tables,
    with_champions,
    with_champions_samples,
)

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Page(HTMLParser):
    """What a page refers to, what it says, and how it is built."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.references: list[str] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))
        self.references += [
            value or ""
            for name, value in attributes
            if name.split(":")[-1] in ("src", "href", "srcset", "data", "action")
        ]

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.said))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.attributes if name == tag]


def write(out: Path, found: dict[str, Any], shown: Exhibits | None = None, drop: tuple[str, ...] = ()) -> str:
    kept = {name: table for name, table in tables().items() if name not in drop}
    report.write(out, CONFIG, found, shown or exhibits(), kept)
    return (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "found", [measured(), with_champions(), everything()], ids=["first", "champions", "everything"]
)
def test_the_page_needs_nothing_outside_itself(tmp_path: Path, found: dict[str, Any]) -> None:
    text = write(tmp_path, found, with_champions_samples() if found["models"]["gan"]["champion"] else None)
    page = Page(text)

    assert page.references
    assert all(reference.startswith(("data:image/png;base64,", "#")) for reference in page.references)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", text)
    assert not re.search(r"(src|href)\s*=\s*['\"]?\s*(https?:)?//", text)
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in page.all("meta")
    assert not [name for _, attributes in page.attributes for name in attributes if name.startswith("on")]


def test_every_link_leads_to_a_place_on_the_page(tmp_path: Path) -> None:
    page = Page(write(tmp_path, everything(), with_champions_samples()))
    places = [attributes["id"] for _, attributes in page.attributes if "id" in attributes]

    assert len(set(places)) == len(places)
    assert {reference[1:] for reference in page.references if reference.startswith("#")} == set(places)


def test_headings_come_in_order_pictures_have_words_and_tables_have_captions_and_scopes(tmp_path: Path) -> None:
    page = Page(write(tmp_path, everything(), with_champions_samples()))
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h\d", tag)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(len(attributes["alt"] or "") > 20 for attributes in page.all("img"))
    assert page.tags.count("caption") == page.tags.count("table") > 3
    assert all(attributes.get("scope") for attributes in page.all("th"))
    assert all((one.get("role") == "img" and one["aria-label"]) or one.get("aria-hidden") for one in page.all("svg"))


def test_the_page_shows_every_figure_picture_and_curve(tmp_path: Path) -> None:
    page = Page(write(tmp_path, measured()))

    assert all(report.LABELS[metric] in page.text for metric in get_args(Metric))
    assert all(GLOSSARY[metric].meaning in page.text for metric in get_args(Metric))
    assert "FD[digits-extractor@01234567, n=321]" in page.text
    assert "97.3 % of the test images’ classes" in page.text
    assert "Class eights plays the anomaly" in page.text
    assert "20.0 [19.9, 20.1]" in page.text
    assert "kNN" in page.text
    assert "Real training images reach 0.960 [0.860, 1.060]" in page.text
    assert page.tags.count("img") == 3 + 2 + 3 + 2 + 2
    assert len([one for one in page.all("svg") if one.get("role") == "img"]) == 6


def test_the_page_names_what_its_figures_were_made_from(tmp_path: Path) -> None:
    text = Page(write(tmp_path, measured())).text

    assert all(word in text for word in ("d41d8cd9", "fedcba98", "c0ffee00", "0123456789abcdef" * 4))
    assert "500 train, 100 validation, 321 test, 200 extractor" in text


def test_the_page_does_without_what_it_need_not_be_given(tmp_path: Path) -> None:
    found = measured()
    for name in ("per_class", "provenance", "anomaly_name"):
        del found[name]

    text = Page(write(tmp_path, found)).text

    assert "Class by class" not in text
    assert "Git commit" not in text
    assert "People’s choices" not in text
    assert "Second judge" not in text


def test_the_page_shows_each_class_and_says_where_samples_are_too_few(tmp_path: Path) -> None:
    text = Page(write(tmp_path, measured())).text

    assert "Class by class" in text
    assert "2.000 [1.900, 2.100]11.0 [10.9, 11.1]not enough samples0.300 [0.200, 0.400]" in text
    assert "eights the anomaly" in text


def test_the_page_shows_a_champion_beside_the_candidate(tmp_path: Path) -> None:
    page = Page(write(tmp_path, with_champions(), with_champions_samples()))

    assert "Champion, version 3" in page.text
    assert "−4.000 [−4.100, −3.900]" in page.text
    assert (
        "Beside champion version 3: better in Fréchet distance; worse in Recall of modes; no clear difference"
        in page.text
    )
    assert page.tags.count("img") == 12 + 4


def test_the_page_says_why_a_champion_could_not_be_measured_and_lets_no_markup_in(tmp_path: Path) -> None:
    found = with_champions()
    found["models"]["gan"]["champion"] = {"version": 3, "error": "cannot be loaded: <script>alert(1)</script>"}
    found["models"]["gan"]["difference"] = {}

    page = Page(write(tmp_path, found))

    assert "script" not in page.tags
    assert "could not be measured: cannot be loaded: <script>alert(1)</script>" in page.text


def test_a_name_lets_no_markup_into_a_chart_or_a_table(tmp_path: Path) -> None:
    found = measured()
    found["per_class"][0]["name"] = found["anomaly_name"] = "<script>alert(1)</script>"
    scores = {"<script>normal</script>": exhibits().scores["normal"], "anomaly": exhibits().scores["anomaly"]}

    page = Page(write(tmp_path, found, exhibits(scores=scores)))

    assert "script" not in page.tags


def test_the_page_does_without_an_anomaly_class(tmp_path: Path) -> None:
    found = measured() | {"anomaly_class": None, "anomaly_name": None, "baselines": {}}
    for metric in ("anomaly_auc", "anomaly_ap"):
        del found["models"]["vae"]["estimates"][metric]
    normal = {"normal": exhibits().scores["normal"]}

    page = Page(write(tmp_path, found, exhibits(scores=normal), drop=("roc", "precision_recall")))

    assert "plays the anomaly" not in page.text
    assert "not measured" in page.text
    assert "detection" not in [attributes.get("id") for attributes in page.all("h2")]
    assert len([one for one in page.all("svg") if one.get("role") == "img"]) == 3


def test_the_page_warns_of_a_collapse_beside_the_key_figures(tmp_path: Path) -> None:
    found = measured()
    found["models"]["gan"]["warnings"] = ["class <7> is nearly missing"]

    text = Page(write(tmp_path, found)).text

    assert "Warning: class <7> is nearly missing." in text
    assert text.count("Warning") == 1
    assert text.index("Warning") < text.index("All figures", text.index("Fréchet distance"))


def test_the_page_shows_new_figures_a_second_judge_and_preferences_when_they_are_there(tmp_path: Path) -> None:
    text = Page(write(tmp_path, everything())).text

    assert "Kernel distance (KID)" in text
    assert "Recall at 1 % false alarms" in text
    assert "Memorisation" in text
    assert "not enough samples" in text
    assert "digits-second@89abcdef" in text
    assert "44.0 [43.9, 44.1]" in text
    assert "0.620 [0.410, 0.780]1,240" in text
    assert "a judge of its own−0.100" in text
    assert "2.00 over 3 trainings" in text


def test_equal_figures_make_equal_pages(tmp_path: Path) -> None:
    assert write(tmp_path / "one", everything()) == write(tmp_path / "other", everything())


def test_the_page_stays_small(tmp_path: Path) -> None:
    assert len(write(tmp_path, everything(), with_champions_samples())) < 2_000_000


def test_samples_are_written_as_one_picture(tmp_path: Path) -> None:
    write(tmp_path, measured())

    with Image.open(tmp_path / "samples.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert len(colours) > 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "samples.png"]


def test_the_comparison_sets_the_gan_beside_the_vae() -> None:
    rows = {question: answers for question, *answers in report.comparison_table(measured())}

    assert rows["Sample quality: Fréchet distance"] == ["20.0 [19.9, 20.1]", "33.0 [32.9, 33.1]", "0; real rows 1.0"]
    assert rows["… Fréchet distance, GAN minus VAE, paired"][:2] == ["-13.0 [-13.1, -12.9]", "the GAN is ahead"]
    assert rows["… recall, GAN minus VAE, paired"][1] == "no clear difference"
    assert rows["Balance of classes: class shift"] == [
        "0.250 [0.150, 0.350]",
        "0.200 [0.100, 0.300]",
        "0; real rows 0.10",
    ]
    assert rows["Modes found: recall"][::2] == ["0.700 [0.600, 0.800]", "1; real rows 0.96"]
    assert rows["Real rows with a sample near: coverage"][::2] == ["0.900 [0.800, 1.000]", "1; real rows 0.97"]
    assert rows["Samples that could be real: precision"][::2] == ["0.400 [0.300, 0.500]", "1; real rows 0.95"]
    assert rows["… another estimate without bias: FD∞"] == ["14.0", "28.0", "0"]
    assert rows["Sharpness against real images"] == ["0.91", "1.82", "1"]
    assert rows["Diversity against real images"] == ["0.92", "1.84", "1"]
    assert rows["Latent path: largest step over mean step"] == ["1.50", "3.00", "1"]
    assert rows["Stability over seeds: sd of the Fréchet distance"] == ["needs 2 or more trainings"] * 2 + ["0"]
    assert rows["Reconstruction: PSNR, dB"] == ["no encoder", "3.500 [3.400, 3.600]", "higher"]
    assert rows["Anomaly detection: ROC-AUC"] == ["no score", "0.500 [0.400, 0.600]", "1"]
    assert rows["Parameters when used"] == ["12,345", "67,890", "fewer"]
    assert rows["Samples a second"] == ["12,345", "24,690", "more"]


def test_the_comparison_takes_figures_with_intervals_where_they_are_there() -> None:
    rows = {question: answers for question, *answers in report.comparison_table(everything())}

    assert rows["Preferred by people: win rate"][0] == "0.400 [0.300, 0.500]"
    assert rows["… by the second judge (never gated; the VAE's beside normal rows alone)"] == [
        "44.0 [43.9, 44.1]",
        "not measured",
        "0",
    ]
    assert rows["Stability over seeds: sd of the Fréchet distance"][0] == "2.00 over 3 trainings"
    assert rows["Nearer to training rows than to others, share above ½"][0] == "not enough samples"


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


def test_the_space_of_the_distances_is_named_where_samples_are_too_few() -> None:
    note = report.frechet_note(measured() | {"frechet_floor": NOTHING})

    assert note.endswith("n=321]: not enough samples to say what real training rows and the untrained generator reach")


def test_every_metric_has_a_label_a_meaning_and_the_direction_that_the_gate_takes() -> None:
    assert set(get_args(Metric)) <= set(report.LABELS) == set(GLOSSARY)
    assert len(set(report.LABELS.values())) == len(report.LABELS)
    assert all(entry.meaning.endswith(".") for entry in GLOSSARY.values())
    assert {name: GLOSSARY[name].higher_is_better for name in gate.HIGHER_IS_BETTER} == gate.HIGHER_IS_BETTER


@pytest.mark.parametrize(
    ("text", "shown"),
    [("-4.0 [-4.1, -3.9]", "−4.0 [−4.1, −3.9]"), ("digits-2", "digits-2"), ("a - 1", "a - 1"), ("-x", "-x")],
)
def test_a_minus_stands_before_negative_numbers_alone(text: str, shown: str) -> None:
    assert report.typographic_minus(text) == shown
