"""The pages: a person logs in, judges pairs, goes back, and whatever is sent twice or wrongly has its own answer."""

import re
from contextlib import contextmanager

import pytest

from regen.core.errors import StorageError
from regen.preferences import campaigns, export, people
from regen.preferences.people import DAY_MS, SESSION_MS
from regen.preferences.store import Store
from regen.preferences.voting import LEASE_MS
from regen.web.app import create_app
from regen.web.settings import Settings
from tests.reviews import hidden, make_review, rows
from tests.unit.web.conftest import DIGEST, Browser

EVIL = '<img src=x onerror=alert(1)>"><script>alert(2)</script>'


@pytest.fixture
def new_page(store, tmp_path):
    """A browser at a page that shows a table's rows."""

    def call(values, **options):
        review = make_review(store, tmp_path, n_pairs=4, samples=rows(values), n_gold=0, **options)
        return Browser(create_app(store, Settings(review.campaign, tmp_path))).log_in(review.token("ada"))

    return call


def votes(review):
    return export.votes(review.store, review.campaign)


def test_a_stranger_sees_how_to_log_in(new_browser):
    page = new_browser().get("/")

    assert page.status_code == 200
    assert 'action="/login"' in page.text


@pytest.mark.parametrize("path", ["/guidelines", "/summary", "/img/" + "0" * 64])
def test_a_stranger_sees_nothing_else(new_browser, path):
    answer = new_browser().get(path)

    assert answer.status_code == 401
    assert "Log in again" in answer.text


def test_a_token_opens_the_guidelines_and_a_strict_cookie(new_browser, review):
    answer = new_browser().post("/login", data={"token": f" {review.token('ada')}\n"})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/guidelines")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert review.token("ada") not in cookie


def test_over_https_the_cookie_stays_there(new_browser, review):
    browser = new_browser()
    browser.base_url, browser.headers["Origin"] = "https://127.0.0.1:8321", "https://127.0.0.1:8321"

    assert "Secure" in browser.post("/login", data={"token": review.token("ada")}).headers["Set-Cookie"]


def test_a_wrong_token_is_told_and_opens_nothing(new_browser):
    answer = new_browser().post("/login", data={"token": "wrong"})

    assert answer.status_code == 401
    assert "unknown, expired or revoked" in answer.text
    assert "Set-Cookie" not in answer.headers


def test_a_token_in_an_address_opens_nothing(new_browser, review):
    assert 'action="/login"' in new_browser().get(f"/?token={review.token('ada')}").text


def test_a_revoked_token_ends_the_session_in_the_middle(ada, review):
    form = hidden(ada.get("/").text)
    people.revoke(review.store, "ada")

    answer = ada.post("/vote", data={**form, "choice": "left"})

    assert answer.status_code == 401
    assert 'action="/login"' in ada.get("/").text
    assert votes(review).empty


def test_an_expired_token_and_an_expired_session_are_refused(new_browser, review, clock):
    browser = new_browser("ada")
    clock.pass_ms(SESSION_MS)
    assert browser.get("/summary").status_code == 401

    clock.pass_ms(people.TOKEN_DAYS * DAY_MS)
    assert browser.post("/login", data={"token": review.tokens["ada"]}).status_code == 401


def test_the_guidelines_are_shown_as_text(ada):
    page = ada.get("/guidelines").text

    assert "Prefer the cleaner stroke." in page
    assert "Take your time." in page
    assert 'href="/"' in page


@pytest.mark.parametrize("choice", ["left", "right", "tie", "both_bad", "skip"])
def test_each_choice_is_recorded_and_the_next_pair_shown(ada, review, choice):
    before = hidden(ada.get("/").text)["assignment"]

    answer = ada.vote(choice)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert len(votes(review)) == 1
    assert hidden(ada.get("/").text)["assignment"] != before


def test_a_double_click_is_one_vote_and_has_one_answer(ada, review):
    form = {**hidden(ada.get("/").text), "choice": "left"}

    answers = [ada.post("/vote", data=form) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [303, 303]
    assert len(votes(review)) == 1


def test_a_replay_with_other_content_is_a_conflict(ada, review):
    form = hidden(ada.get("/").text)
    ada.post("/vote", data={**form, "choice": "left"})

    answer = ada.post("/vote", data={**form, "choice": "right"})

    assert answer.status_code == 409
    assert "the first one counts" in answer.text
    assert len(votes(review)) == 1


def test_two_browsers_of_one_person_show_one_pair_and_the_second_vote_is_told(new_browser, review):
    one, other = new_browser("ada"), new_browser("ada")
    forms = [hidden(browser.get("/").text) for browser in (one, other)]

    answers = [
        browser.post("/vote", data={**form, "choice": "left"})
        for browser, form in zip((one, other), forms, strict=True)
    ]

    assert forms[0]["assignment"] == forms[1]["assignment"]
    assert forms[0]["key"] != forms[1]["key"]
    assert [answer.status_code for answer in answers] == [303, 409]
    assert "perhaps in another window" in answers[1].text
    assert 'href="/"' in answers[1].text
    assert len(votes(review)) == 1


def test_another_sessions_form_secret_is_refused(new_browser, review):
    one, other = new_browser("ada"), new_browser("ada")
    secret = hidden(one.get("/").text)["csrf"]

    answer = other.vote(csrf=secret)

    assert answer.status_code == 403
    assert votes(review).empty


@pytest.mark.parametrize("path", ["/vote", "/undo", "/logout"])
@pytest.mark.parametrize(("csrf", "status"), [("", 422), ("wrong", 403), ("ä", 403)])
def test_a_form_without_its_secret_is_refused(ada, path, csrf, status):
    form = {**hidden(ada.get("/").text), "choice": "left", "vote": "1", "csrf": csrf}

    assert ada.post(path, data=form).status_code == status
    assert ada.get("/summary").status_code == 200


def test_somebody_elses_assignment_answers_as_one_that_is_not_there(ada, new_browser, review):
    theirs = hidden(new_browser("bob").get("/").text)["assignment"]

    answers = [ada.vote(assignment=number) for number in (theirs, "99999")]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text == answers[1].text
    assert votes(review).empty


def test_a_vote_after_the_campaign_closed_is_told(ada, review):
    form = hidden(ada.get("/").text)
    campaigns.close(review.store, review.campaign)

    answer = ada.post("/vote", data={**form, "choice": "left"})

    assert answer.status_code == 409
    assert "The review is closed" in answer.text
    assert "The review is closed" in ada.get("/").text
    assert votes(review).empty


def test_a_vote_whose_lease_ran_out_is_told_when_the_place_is_gone(ada, new_browser, review, clock):
    bob = new_browser("bob")
    form = hidden(ada.get("/").text)
    clock.pass_ms(LEASE_MS)
    bob.get("/")

    answer = ada.post("/vote", data={**form, "choice": "left"})

    assert answer.status_code == 410
    assert "given to somebody else" in answer.text
    assert votes(review).empty


@pytest.mark.parametrize(
    "changed",
    [
        {"assignment": "0"}, {"assignment": "-1"}, {"assignment": "x"}, {"assignment": str(2**70)}, {"key": "short"},
        {"key": "k" * 65}, {"key": "k" * 15 + "\x00"}, {"choice": "best"}, {"choice": ""}, {"csrf": "c" * 65},
    ],
)  # fmt: skip
def test_a_form_that_makes_no_sense_is_not_understood(ada, review, changed):
    answer = ada.post("/vote", data={**hidden(ada.get("/").text), "choice": "left", **changed})

    assert answer.status_code == 422
    assert "cannot be understood" in answer.text
    assert votes(review).empty


def test_the_last_vote_can_be_taken_back_and_judged_anew(ada, review):
    first = DIGEST.findall(ada.get("/").text)
    ada.vote("left")
    form = hidden(ada.get("/").text, "/undo")

    answer = ada.post("/undo", data=form)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert DIGEST.findall(ada.get("/").text) == first
    ada.vote("right")
    assert len(votes(review)) == 1


def test_there_is_nothing_to_take_back_before_the_first_vote(ada):
    assert "/undo" not in ada.get("/").text


def test_progress_is_shown(ada):
    ada.vote()
    page = ada.get("/").text

    assert "1 by you" in page
    assert '<progress id="progress" max="8" value="1">' in page


def test_when_no_pair_is_left_a_summary_thanks(ada):
    for choice in ("left", "right", "tie", "both_bad", "skip", "left", "left", "left"):
        ada.vote(choice)

    page = ada.get("/").text

    assert "No pairs left" in page
    assert "8 votes by you" in page
    assert re.findall(r"<td>(\d+)</td>", page) == ["4", "1", "1", "1", "1"]


def test_one_can_look_at_ones_votes_at_any_time(ada):
    ada.vote()

    page = ada.get("/summary").text

    assert "Your votes so far" in page
    assert "1 vote by you" in page


def test_logging_out_ends_the_session(ada):
    answer = ada.post("/logout", data=hidden(ada.get("/").text, "/logout"))

    assert answer.status_code == 303
    assert 'action="/login"' in ada.get("/").text


def test_rows_stand_side_by_side_and_what_differs_is_marked(new_page):
    page = new_page([{"age": i, "job": "smith"} for i in range(16)]).get("/").text

    assert page.count("<section") == 2
    assert page.count('class="differs"><dt>age') == 2
    assert page.count("<div><dt>job</dt><dd>smith</dd>") == 2


def test_what_rows_and_guidelines_hold_is_text_and_never_markup(new_page):
    browser = new_page([{EVIL: EVIL, "age": i} for i in range(16)], guidelines=EVIL)

    for path in ("/", "/guidelines"):
        page = browser.get(path).text
        assert "&lt;script&gt;" in page
        assert "<script>" not in page
        assert "<img src=x" not in page


def test_the_page_is_well_while_its_store_is(ada):
    assert ada.get("/healthz").json() == {"status": "ok"}


def test_a_store_that_does_not_answer_is_told_without_its_secrets(ada, review, monkeypatch):
    @contextmanager
    def refuse(self):
        raise StorageError("the vote store postgresql://hunter2 refuses")
        yield

    monkeypatch.setattr(Store, "read", refuse)

    for path in ("/", "/healthz"):
        answer = ada.get(path)
        assert answer.status_code == 503
        assert "does not answer; try again" in answer.text
        assert "hunter2" not in answer.text


def test_metrics_count_requests_by_route_and_votes_by_result(ada):
    ada.vote()
    ada.vote(assignment="99999")

    page = ada.get("/metrics").text

    assert 'regen_review_votes_total{result="recorded"} 1.0' in page
    assert 'regen_review_votes_total{result="notfound"} 1.0' in page
    assert 'route="/vote"' in page
    assert 'regen_review_request_seconds_count{method="POST",route="/vote"} 2.0' in page


def test_an_address_there_is_none_of_is_told(ada):
    answer = ada.get("/none")

    assert answer.status_code == 404
    assert "There is no such page." in answer.text
    assert ada.get("/vote").status_code == 405
