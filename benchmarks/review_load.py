"""The review page under load: many people in session at once, each thinking a second between votes.

Serves a campaign in a process of its own and lets every person log in, look at pairs with their pictures, and vote, over
HTTP, until the time is up. Prints the times that votes, pages and pictures took to answer; a vote is answered when it is on
disk. Every acknowledged vote is counted in the store at the end.

    python benchmarks/review_load.py [--quick] [--json] [--people 50] [--minutes 5] [--thought 1.0] [--store URL]
"""

import argparse
import http.client
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from regen.preferences import campaigns, history, pairs, people
from regen.preferences.store import Store
from regen.stages.drawing import write_picture

SAMPLES, NEED = 1000, 5
QUICK_MINUTES = 0.5
TARGETS = {"vote_p99_ms": 250.0, "failed": 0, "lost": 0}
SERVER = """\
import sys
from pathlib import Path
from regen.preferences.store import Store
from regen.web.server import serve
from regen.web.settings import Settings
address, campaign, folder, port = sys.argv[1:]
with Store.open(address) as store:
    serve(store, Settings(int(campaign), Path(folder)), port=int(port))
"""
HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')
PICTURE = re.compile(r'src="(/img/[0-9a-f]{64})"')


@dataclass
class Times:
    """Milliseconds of each kind of request, and what went wrong."""

    vote: list[float] = field(default_factory=list)
    page: list[float] = field(default_factory=list)
    picture: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Somebody(threading.Thread):
    """A person with a browser: one connection, pictures kept once they were seen."""

    def __init__(self, port: int, token: str, seed: int, thought: float, until: float, times: Times) -> None:
        super().__init__(daemon=True)
        self.port, self.token, self.thought, self.until, self.times = port, token, thought, until, times
        self.rng, self.cookie, self.seen = random.Random(seed), "", set[str]()  # noqa: S311  # choices, no secrets
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def run(self) -> None:
        """Logs in, then votes until the time is up."""
        try:
            time.sleep(self.rng.uniform(0, self.thought))
            _, answer = self.ask("POST", "/login", {"token": self.token})
            self.cookie = answer.headers["Set-Cookie"].split(";")[0]
            while time.monotonic() < self.until:
                self.judge()
        except Exception as error:
            self.times.failed.append(repr(error))
        finally:
            self.connection.close()

    def judge(self) -> None:
        """Looks at a pair, thinks, votes."""
        started = time.perf_counter()
        page, _ = self.ask("GET", "/")
        self.times.page.append(_ms_since(started))
        for path in PICTURE.findall(page):
            if path not in self.seen:
                started = time.perf_counter()
                self.ask("GET", path)
                self.times.picture.append(_ms_since(started))
                self.seen.add(path)
        form = dict(HIDDEN.findall(page[page.index('action="/vote"') :].split("</form>")[0]))
        time.sleep(self.thought * self.rng.uniform(0.8, 1.2))
        started = time.perf_counter()
        self.ask("POST", "/vote", {**form, "choice": self.rng.choice(["left", "right", "tie"])})
        self.times.vote.append(_ms_since(started))

    def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[str, http.client.HTTPResponse]:
        """Sends a request; anything but success ends this person's session."""
        headers = {"Cookie": self.cookie, "Origin": f"http://127.0.0.1:{self.port}"}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, None if form is None else urllib.parse.urlencode(form), headers)
        answer = self.connection.getresponse()
        body = answer.read().decode("latin-1")
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status}")
        return body, answer


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def prepare(store: Store, folder: Path, n_people: int, seconds: float) -> tuple[int, list[str]]:
    """A campaign with more pairs than can be judged in the time, and everybody's token."""
    rng = np.random.default_rng(0)
    samples = [
        write_picture(folder, rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), "bench-gan", 1, i)
        for i in range(SAMPLES)
    ]
    n_pairs = int(n_people * seconds / NEED * 1.2) + n_people
    plan = pairs.plan(["train"] * SAMPLES, n_pairs, rng)
    number = campaigns.create(store, f"load {time.time():.0f}", "bench-gan/1", "Choose.", samples, plan, NEED)
    return number, [people.add(store, f"{number}-p{i}") for i in range(n_people)]


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(address: str, folder: Path, n_people: int, seconds: float, thought: float) -> dict[str, float]:
    """The figures of one run."""
    store = Store.open(address)
    number, tokens = prepare(store, folder, n_people, seconds)
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, address, str(number), str(folder), str(port)], env=dict(os.environ)
    )
    try:
        _wait_for(port)
        times, until = Times(), time.monotonic() + seconds
        crowd = [Somebody(port, token, seed, thought, until, times) for seed, token in enumerate(tokens)]
        for person in crowd:
            person.start()
        for person in crowd:
            person.join()
    finally:
        server.terminate()
        server.wait()
    recorded = campaigns.get(store, number).votes
    broken = history.first_broken(store)
    store.close()
    for failure in sorted(set(times.failed))[:5]:
        print(f"failed: {failure}")
    figures: dict[str, float] = {
        "people": n_people, "seconds": seconds, "votes": len(times.vote), "failed": len(times.failed),
        "lost": max(len(times.vote) - recorded, 0), "votes_per_second": round(len(times.vote) / seconds, 1),
        "history_broken": int(broken is not None),
    }  # fmt: skip
    for name, found in (("vote", times.vote), ("page", times.page), ("picture", times.picture)):
        for label, q in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100)):
            figures[f"{name}_{label}_ms"] = round(float(np.percentile(found, q)), 1) if found else float("nan")
    return figures


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            try:
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.1)
    raise RuntimeError("the page did not start")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MINUTES:g} minutes instead of --minutes")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--people", type=int, default=50, help="annotators in session at once")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long they vote")
    parser.add_argument("--thought", type=float, default=1.0, help="seconds that a person looks at a pair, in the mean")
    parser.add_argument("--store", help="a PostgreSQL database's address instead of a SQLite file")
    options = parser.parse_args()
    seconds = 60 * (QUICK_MINUTES if options.quick else options.minutes)
    with TemporaryDirectory() as temporary:
        address = options.store or f"sqlite:///{temporary}/votes.db"
        kind = address.split(":")[0]
        print(f"{options.people} people, {options.thought:g} s of thought, {seconds:g} s, {kind}", flush=True)
        figures = measure(address, Path(temporary) / "pictures", options.people, seconds, options.thought)
    print("request   p50 ms   p95 ms   p99 ms   max ms")
    for name in ("vote", "page", "picture"):
        print(name.ljust(8) + "".join(f"{figures[f'{name}_{q}_ms']:9.1f}" for q in ("p50", "p95", "p99", "max")))
    outcome = f"{figures['failed']} people failed, {figures['lost']} votes lost"
    print(f"{figures['votes']} votes, {figures['votes_per_second']} a second; {outcome}")
    if options.json:
        print(json.dumps({"benchmark": "review_load", "figures": figures, "targets": TARGETS}))


if __name__ == "__main__":
    main()
