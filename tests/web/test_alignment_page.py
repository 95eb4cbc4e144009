"""The page about a tuned model in a real browser: nobody is shut out, a phone is wide enough, nothing is asked of the web."""

from pathlib import Path

import numpy as np
import pytest

from regen.evaluation import alignment_report
from regen.evaluation.alignment_report import BeforeAfter
from tests.unit.evaluation.test_alignment_report import CONFIG, VERDICT, proof
from tests.web.conftest import OpenPage, Scheme

PHONE = 360


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page about a tuned GAN."""
    out: Path = tmp_path_factory.mktemp("aligned")
    rng = np.random.default_rng(0)
    before, after = (rng.integers(0, 255, (32, 8, 8, 1), dtype=np.uint8) for _ in range(2))
    alignment_report.write(out, CONFIG, proof(), VERDICT, BeforeAfter(before, after, [0.0] * 32, [1.0] * 32))
    return (out / "report.html").as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(page: str, scheme: Scheme, open_page: OpenPage) -> None:
    assert open_page(page, scheme=scheme).barriers() == []


def test_on_a_phone_the_page_does_not_scroll_sideways(page: str, open_page: OpenPage) -> None:
    assert open_page(page, width=PHONE).overflow() == 0


def test_nothing_but_the_page_itself_is_asked_for_and_nothing_goes_wrong(page: str, open_page: OpenPage) -> None:
    opened = open_page(page)

    assert opened.asked == [page]
    assert opened.complaints == []


def test_the_picture_of_before_and_after_is_decoded_and_has_words(page: str, open_page: OpenPage) -> None:
    opened = open_page(page).page

    assert opened.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert "above the tuned model" in str(opened.locator("#pictures ~ div img").first.get_attribute("alt"))
