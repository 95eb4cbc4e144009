"""The report of a table in a real browser: nobody is shut out, a phone shows all of it, and no network is needed."""

import pytest

from regen.evaluation import table_report
from tests.unit.evaluation.made_up_table import CONFIG, curves, exhibits, measured
from tests.web.conftest import OpenPage, Scheme

PHONE = 360
"""Pixels from side to side."""


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report with champions."""
    folder = tmp_path_factory.mktemp("table")
    table_report.write(folder, CONFIG, measured(champions=True), exhibits(), curves())
    return (folder / "report.html").as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, PHONE])
def test_nobody_is_shut_out_and_nothing_scrolls_sideways(
    report: str, open_page: OpenPage, width: int, scheme: Scheme
) -> None:
    opened = open_page(report, width=width, scheme=scheme)
    for summary in opened.page.locator("summary").all():
        summary.click()

    assert opened.barriers() == []
    assert opened.overflow() == 0


def test_nothing_but_the_page_itself_is_asked_for_and_nothing_goes_wrong(report: str, open_page: OpenPage) -> None:
    opened = open_page(report)

    assert opened.asked == [report]
    assert opened.complaints == []
