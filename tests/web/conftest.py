"""A real browser for pages: headless Chromium, with an ear for what a page asks of the network and complains about."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
Scheme = Literal["light", "dark"]


@dataclass
class Opened:
    """A page in the browser, and what came of opening it."""

    page: "Page"
    asked: list[str] = field(default_factory=list)
    """Addresses that it asked for, but for those that hold their own content."""
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of its console, and exceptions of its scripts."""

    def overflow(self) -> int:
        """How many pixels the page is wider than the window; 0 if it does not scroll sideways."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def barriers(self) -> list[str]:
        """What axe holds to shut people out, seriously or critically, with where it stands."""
        from axe_playwright_python.sync_playwright import Axe

        return [
            f"{found['impact']}: {found['help']} ({', '.join(str(node['target']) for node in found['nodes'])})"
            for found in Axe().run(self.page).response["violations"]
            if found["impact"] in ("serious", "critical")
        ]


OpenPage = Callable[..., Opened]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """One browser a module: while Playwright runs, asyncio is not free for others in the same thread."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        pytest.skip(f"there is no {', '.join(CHROMIUM)} on the path; install chromium")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[OpenPage]:
    """Opens an address in a fresh context: no cookies, no cache, a window of the size and the colours asked for."""
    contexts = []

    def open_(address: str, *, width: int = 1280, height: int = 900, scheme: Scheme = "light") -> Opened:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on(
            "request", lambda asked: None if asked.url.startswith("data:") else opened.asked.append(asked.url)
        )
        opened.page.on(
            "console",
            lambda said: opened.complaints.append(said.text) if said.type in ("error", "warning") else None,
        )
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.goto(address, wait_until="load")
        return opened

    yield open_
    for context in contexts:
        context.close()
