"""A vote that was acknowledged is recorded, once, though the server is killed while people vote and they send votes twice."""

import random
import threading
import time
from collections import Counter

import httpx
import pytest
import sqlalchemy as sa

from regen.preferences import campaigns, export, history
from regen.preferences.tables import task, vote
from tests.postgres import databases  # noqa: F401  # a fixture
from tests.reviews import Page, hidden, make_review, open_store, serving

PEOPLE, PAIRS, NEED = 20, 200, 3
KILLS = (0.25, 0.6)
"""Shares of the votes after which the server is killed."""
REPLAYS = 0.1
SECONDS = 400


class Voter(threading.Thread):
    """Somebody who votes until no pair is left, sends a tenth of their votes again, and tries anew when nobody answers."""

    def __init__(self, page: Page, token: str, seed: int, acknowledged: dict[str, tuple[str, str]]) -> None:
        super().__init__(daemon=True)
        self.page, self.token, self.acknowledged = page, token, acknowledged
        self.rng, self.deadline, self.error = random.Random(seed), time.monotonic() + SECONDS, ""
        self.refused: list[int] = []

    def run(self) -> None:
        try:
            with httpx.Client(base_url=self.page.url, headers={"Origin": self.page.url}, timeout=60) as client:
                self.send(client, "POST", "/login", data={"token": self.token})
                while "No pairs left" not in (page := self.send(client, "GET", "/").text):
                    self.vote(client, page)
        except Exception as error:
            self.error = repr(error)

    def vote(self, client: httpx.Client, page: str) -> None:
        form = {**hidden(page), "choice": self.rng.choice(["left", "right", "tie", "both_bad", "skip"])}
        answer = self.send(client, "POST", "/vote", data=form)
        if answer.status_code != 303:
            self.refused.append(answer.status_code)
            return
        self.acknowledged[form["key"]] = (form["assignment"], form["choice"])
        if self.rng.random() < REPLAYS:
            assert self.send(client, "POST", "/vote", data=form).status_code == 303

    def send(self, client: httpx.Client, method: str, path: str, **options: object) -> httpx.Response:
        """Sends a request until it is answered."""
        while time.monotonic() < self.deadline:
            try:
                return client.request(method, path, **options)
            except httpx.TransportError:
                time.sleep(0.2)
        raise TimeoutError(path)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_acknowledged_vote_is_recorded_once_though_the_server_is_killed(database, request, tmp_path):
    address = f"sqlite:///{tmp_path / 'votes.db'}" if database == "sqlite" else request.getfixturevalue("databases")()
    store = open_store(address)
    review = make_review(store, tmp_path / "review", n_pairs=PAIRS, need=NEED)
    with store.write() as connection:  # a repeat is for whoever judged the first; who that is depends on chance
        connection.execute(task.update().values(repeat_of=None))
    acknowledged: dict[str, tuple[str, str]] = {}
    page = Page(address, review.campaign, review.folder, rate=1000)
    tokens = [review.token(f"p{i}") for i in range(PEOPLE)]

    with serving(page):
        voters = [Voter(page, token, seed, acknowledged) for seed, token in enumerate(tokens)]
        for voter in voters:
            voter.start()
        for share in KILLS:
            while len(acknowledged) < share * PAIRS * NEED and any(voter.is_alive() for voter in voters):
                time.sleep(0.01)
            page.kill()
            page.start()
        for voter in voters:
            voter.join(SECONDS)

    assert not [voter.error for voter in voters if voter.error]
    assert not [voter.refused for voter in voters if voter.refused]
    with store.read() as connection:
        recorded = {
            key: (str(given), choice)
            for key, given, choice in connection.execute(sa.select(vote.c.client_key, vote.c.assignment, vote.c.choice))
        }
    assert recorded == acknowledged
    found = export.votes(store, review.campaign)
    assert len(found) == PAIRS * NEED
    assert set(Counter(found.task).values()) == {NEED}
    assert not found.duplicated(["task", "annotator"]).any()
    assert campaigns.get(store, review.campaign).votes == PAIRS * NEED
    assert history.first_broken(store) is None
    store.close()
