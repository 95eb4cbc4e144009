"""What is refused before it reaches a page, and the headers that close every answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.web.guard import HEADERS, Buckets


@pytest.mark.parametrize("path", ["/", "/healthz", "/none", "/static/review.css", "/api/campaigns", "/img/" + "0" * 64])
def test_every_answer_is_closed(ada, path):
    answer = ada.get(path)

    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_the_policy_lets_nothing_run_but_the_pages_own_files(ada):
    policy = ada.get("/").headers["Content-Security-Policy"]

    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", ["/guidelines", "/", "/summary"])
def test_a_page_is_not_kept_and_holds_no_script_or_style_of_its_own(ada, path):
    answer = ada.get(path)

    assert answer.headers["Cache-Control"] == "no-store"
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert "onclick" not in answer.text
    assert answer.text.count("<script") == answer.text.count('<script src="/static/')


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8321", "127.0.0.1.evil.example", "", "[::2]:8321"])
def test_a_name_that_is_not_the_pages_is_refused(ada, host):
    assert ada.get("/", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8321", "LOCALHOST", "[::1]:8321", "[::1]"])
def test_loopback_by_any_name_is_served(ada, host):
    assert ada.get("/healthz", headers={"Host": host}).status_code == 200


def test_a_name_can_be_allowed(new_browser):
    browser = new_browser(hosts=("review.example",))

    assert browser.get("/healthz", headers={"Host": "Review.example:443"}).status_code == 200
    assert browser.get("/healthz").status_code == 400


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "", "http://127.0.0.1:8321.evil.example"]
)
@pytest.mark.parametrize("path", ["/login", "/vote", "/undo", "/logout"])
def test_a_form_of_another_page_is_refused(ada, path, origin):
    assert ada.post(path, data={"token": "x"}, headers={"Origin": origin}).status_code == 403


def test_without_an_origin_the_browser_must_say_that_the_page_is_the_same(new_browser, review):
    browser = new_browser()
    del browser.headers["Origin"]
    form = {"token": review.token("ada")}

    assert browser.post("/login", data=form).status_code == 403
    assert browser.post("/login", data=form, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.post("/login", data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303


def test_a_request_that_is_too_large_is_refused_whether_it_says_so_or_not(ada):
    large = b"token=" + b"x" * 20_000
    kind = {"Content-Type": "application/x-www-form-urlencoded"}

    assert ada.post("/login", content=large, headers=kind).status_code == 413
    assert ada.post("/login", content=iter([large]), headers=kind).status_code == 413


def test_somebody_who_sends_more_than_people_can_is_slowed(new_browser):
    browser = new_browser("ada", votes_per_second=0.001, burst=3)

    answers = [browser.vote() for _ in range(4)]

    assert [answer.status_code for answer in answers] == [303, 303, 303, 429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert "quicker than anybody can look" in answers[-1].text


@given(st.lists(st.floats(0, 5), max_size=60), st.floats(0.1, 5), st.integers(1, 5))
def test_a_bucket_never_gives_more_than_it_has_gained(waits, rate, burst):
    now = 0.0
    buckets = Buckets(rate, burst, clock=lambda: now)

    taken = 0
    for wait in waits:
        now += wait
        taken += buckets.take(1)

    assert taken <= burst + rate * now + 1e-6
