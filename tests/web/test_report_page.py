"""The report in a real browser: readable in the light and in the dark, on a phone, by keyboard, and without a network."""

from pathlib import Path

import pytest

from regen.evaluation import report
from tests.unit.evaluation.made_up import CONFIG, everything, exhibits, measured, tables, with_champions_samples
from tests.web.conftest import OpenPage, Scheme

PHONE, A4 = 360, 720
"""Pixels that are there from side to side."""


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report with all that it may hold."""
    return write(tmp_path_factory.mktemp("full"), everything(), with_champions_samples())


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of first models, without champions."""
    return write(tmp_path_factory.mktemp("first"), measured(), exhibits())


def write(folder: Path, found: dict, shown: report.Exhibits) -> str:
    report.write(folder, CONFIG, found, shown, tables())
    return (folder / "report.html").as_uri()


@pytest.mark.parametrize("which", ["full", "first"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(which: str, scheme: Scheme, open_page: OpenPage, request: pytest.FixtureRequest) -> None:
    opened = open_page(request.getfixturevalue(which), scheme=scheme)
    opened.page.locator("summary").click()

    assert opened.barriers() == []


@pytest.mark.parametrize("which", ["full", "first"])
def test_on_a_phone_the_page_does_not_scroll_sideways(
    which: str, open_page: OpenPage, request: pytest.FixtureRequest
) -> None:
    opened = open_page(request.getfixturevalue(which), width=PHONE, height=740)

    assert opened.overflow() == 0
    assert opened.barriers() == []


def test_nothing_but_the_page_itself_is_asked_for_and_nothing_goes_wrong(full: str, open_page: OpenPage) -> None:
    opened = open_page(full)

    assert opened.asked == [full]
    assert opened.complaints == []


def test_the_policy_keeps_scripts_from_running(full: str, open_page: OpenPage) -> None:
    opened = open_page(full)

    opened.page.evaluate(
        "const script = document.createElement('script'); script.textContent = 'window.ran = true'; document.body.append(script)"
    )

    assert opened.page.evaluate("window.ran") is None
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)


def test_every_picture_is_decoded_and_drawn_without_smoothing(full: str, open_page: OpenPage) -> None:
    pictures = open_page(full).page.locator("img")

    found = pictures.evaluate_all(
        "all => all.map(one => [one.complete && one.naturalWidth > 0, getComputedStyle(one).imageRendering])"
    )
    assert found
    assert all(one == [True, "pixelated"] for one in found)


def test_the_keyboard_meets_the_skip_link_first_and_sees_where_it_is(full: str, open_page: OpenPage) -> None:
    page = open_page(full).page

    page.keyboard.press("Tab")

    focused = page.evaluate("(({textContent, offsetLeft}) => [textContent, offsetLeft >= 0])(document.activeElement)")
    assert focused == ["Skip to the summary", True]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.url.endswith("#summary")


def test_a_wide_table_scrolls_inside_itself_by_keyboard(full: str, open_page: OpenPage) -> None:
    page = open_page(full, width=PHONE, height=740).page
    region = page.get_by_role("region", name="Table of the figures of the GAN")

    region.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("element => element.scrollLeft > 0", arg=region.element_handle())

    assert region.evaluate("element => element.scrollWidth > element.clientWidth")


def test_charts_take_the_colours_of_the_scheme(full: str, open_page: OpenPage) -> None:
    def colour(scheme: Scheme) -> str:
        line = open_page(full, scheme=scheme).page.locator("svg[role=img] path.line.s0").first
        return str(line.evaluate("element => getComputedStyle(element).stroke"))

    assert colour("light") != colour("dark")


def test_on_paper_every_column_is_there_and_the_contents_are_not(full: str, open_page: OpenPage) -> None:
    opened = open_page(full, width=A4)
    page = opened.page

    page.emulate_media(media="print")

    assert opened.overflow() == 0
    assert not page.locator("nav").is_visible()
    assert page.locator(".scroll").first.evaluate("element => getComputedStyle(element).overflowX") == "visible"
