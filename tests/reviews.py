"""Reviews made for tests: pictures on disk, a campaign that shows them, people, and a page that serves it."""

import hashlib
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from regen.evaluation.pictures import png
from regen.preferences import campaigns, pairs, people
from regen.preferences.campaigns import Sample
from regen.preferences.people import Person
from regen.preferences.store import Store
from regen.preferences.tables import Kind, Role
from tests.postgres import free_port

MODEL = "secret-gan"
"""The name that no page may show."""
CAMPAIGN = "campaign-under-test"
SEED = 4_071_229_551


@dataclass
class Clock:
    """A clock that a test moves."""

    now: int = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_ms(self, ms: int) -> None:
        self.now += ms


def pictures(folder: Path, n: int, side: int = 8, seed: int = 0) -> list[Sample]:
    """`n` grey pictures of noise and a stroke, in files named by their digests."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for i in range(n):
        pixels = rng.integers(0, 90, (side, side, 1), dtype=np.uint8)
        pixels[side // 8 : -side // 8, (i % (side - 2)) + 1] = 250
        content = png(pixels)
        digest = hashlib.sha256(content).hexdigest()
        (folder / f"{digest}.png").write_bytes(content)
        samples.append(Sample(digest, MODEL, 3, SEED + i, meta={"width": side, "height": side}))
    return samples


def rows(values: list[Mapping[str, Any]]) -> list[Sample]:
    """Rows of a table as samples."""
    return [
        Sample(hashlib.sha256(repr(row).encode()).hexdigest(), MODEL, 3, SEED + i, Kind.ROW, dict(row))
        for i, row in enumerate(values)
    ]


@dataclass(frozen=True)
class Review:
    """A store with one campaign."""

    store: Store
    folder: Path
    campaign: int
    tokens: dict[str, str] = field(default_factory=dict)

    def person(self, name: str, role: Role = Role.REVIEWER) -> Person:
        """Somebody of this name, made at the first call."""
        if name not in self.tokens:
            self.tokens[name] = people.add(self.store, name, role)
        return people.of_token(self.store, self.tokens[name])

    def token(self, name: str, role: Role = Role.REVIEWER) -> str:
        self.person(name, role)
        return self.tokens[name]


def make_review(
    store: Store, folder: Path, n_pairs: int = 20, need: int = 1, samples: list[Sample] | None = None,
    guidelines: str = "Prefer the cleaner stroke.\n\nTake your time.", n_gold: int = 2,
) -> Review:  # fmt: skip
    """Opens a campaign of `n_pairs` pairs in a store."""
    samples = samples if samples is not None else pictures(folder, max(n_pairs, 16) + n_gold)
    rng = np.random.default_rng(0)
    n = len(samples) - n_gold
    gold = [(i, n + i, -1) for i in range(n_gold)]
    plan = pairs.plan(["train"] * n, n_pairs, rng, gold=gold)
    number = campaigns.create(store, CAMPAIGN, f"{MODEL}/3", guidelines, samples, plan, need)
    return Review(store, folder, number)


def open_store(address: str, clock: Clock | None = None) -> Store:
    """A store whose sides are drawn by a seed."""
    return Store.open(address, *([clock] if clock else []), rng=random.Random(0))


SERVER = """\
import sys
from pathlib import Path
from regen.preferences.store import Store
from regen.web.server import serve
from regen.web.settings import Settings
address, campaign, folder, port, rate = sys.argv[1:]
settings = Settings(int(campaign), Path(folder), votes_per_second=float(rate), burst=max(20, int(float(rate))))
serve(Store.open(address), settings, port=int(port), when_up=lambda at: print(at, flush=True))
"""


@dataclass
class Page:
    """A page served by a process of its own, which can be killed and started again on the same port."""

    address: str
    campaign: int
    folder: Path
    rate: float = 5.0
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[str] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        arguments = [self.address, str(self.campaign), str(self.folder), str(self.port), str(self.rate)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, *arguments], env=dict(os.environ), stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith(self.url), "the page did not start"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/healthz", timeout=10).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the page does not answer")

    def kill(self) -> None:
        """Ends the process as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextmanager
def serving(page: Page) -> Iterator[Page]:
    """The page while the block runs."""
    page.start()
    try:
        yield page
    finally:
        page.stop()


def hidden(html: str, form: str = "/vote") -> dict[str, str]:
    """What a form's hidden fields hold."""
    found = re.search(rf'<form[^>]*action="{form}".*?</form>', html, flags=re.DOTALL)
    assert found, html
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', found[0]))
