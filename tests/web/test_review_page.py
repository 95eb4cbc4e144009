"""The page in a real browser: by key, by mouse, without scripts, on a phone, in the dark, and read aloud."""

import re

import pytest

from regen.preferences import export
from tests.reviews import Page, Review, make_review, open_store, rows, serving

EVIL = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'
SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 360, "height": 740}}
ROWS = [
    {
        "age": 20 + i,
        "workclass": "Self-emp-not-inc",
        "native-country": "Trinidad&Tobago",
        EVIL: EVIL,
        "a-name-without-a-break" * 3: i * 1000.5,
    }
    for i in range(30)
]


class Served:
    """A review of pictures and one of rows, each behind a server."""

    def __init__(self, review: Review, page: Page) -> None:
        self.review, self.page, self.people = review, page, 0

    def newcomer(self) -> str:
        """The token of somebody new."""
        self.people += 1
        return self.review.token(f"p{self.people}")

    def votes(self, person: str | None = None):
        found = export.votes(self.review.store, self.review.campaign)
        return found[found.annotator == (person or f"p{self.people}")]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    yield from _serve(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    yield from _serve(tmp_path_factory.mktemp("table"), samples=rows(ROWS), n_gold=0, guidelines=EVIL)


def _serve(folder, **options):
    store = open_store(f"sqlite:///{folder / 'votes.db'}")
    review = make_review(store, folder / "review", n_pairs=24, need=50, **options)
    with serving(Page(f"sqlite:///{folder / 'votes.db'}", review.campaign, review.folder, rate=1000)) as page:
        yield Served(review, page)
    store.close()


@pytest.fixture
def open_page(request):
    """Logs somebody new in and goes to their first pair; tells of whatever the page's console complains."""
    chromium = request.getfixturevalue("browser")
    contexts, complaints = [], []

    def call(served, begin=True, complaining=False, **options):
        context = chromium.new_context(**{"viewport": SIZES["desk"], **options})
        contexts.append(context)
        page = context.new_page()
        if not complaining:
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(served.page.url)
        page.get_by_label("Token").fill(served.newcomer())
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/guidelines")
        if begin:
            page.get_by_role("link", name="Begin").click()
            page.wait_for_selector("#vote")
            page.wait_for_load_state()  # the keys work from here on
        return page

    yield call
    for context in contexts:
        context.close()
    assert not complaints


def assignment(page) -> str:
    return page.locator("#vote input[name=assignment]").get_attribute("value")


def after(page, act) -> None:
    """Does something and waits for the page that it leads to."""
    with page.expect_navigation():
        act()


@pytest.mark.parametrize(
    ("key", "pressed"), [("1", "left"), ("2", "right"), ("3", "tie"), ("4", "both bad"), ("s", "skip"), ("S", "skip")]
)
def test_a_key_votes_and_shows_the_next_pair(open_page, pictures, key, pressed):
    page = open_page(pictures)
    before = assignment(page)

    after(page, lambda: page.keyboard.press(key))

    vote = pictures.votes().iloc[0]
    side = {"left": -1, "right": 1}.get(pressed, 0) * (-1 if vote.flipped else 1)
    assert (vote.choice, vote.both_bad, vote.skipped) == (side, pressed == "both bad", pressed == "skip")
    assert assignment(page) != before
    assert "1 by you" in page.inner_text("main")


@pytest.mark.parametrize(
    "name", ["The left picture Left", "The right picture Right", "Equally good", "Both bad", "Skip"]
)
def test_a_click_votes(open_page, pictures, name):
    page = open_page(pictures)

    after(page, lambda: page.get_by_role("button", name=name).click())

    assert len(pictures.votes()) == 1


def test_the_keyboard_alone_is_enough(open_page, pictures):
    page = open_page(pictures)

    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "right":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    after(page, lambda: page.keyboard.press("Enter"))

    assert outline == "solid"
    assert pictures.votes().iloc[0].choice == (-1 if pictures.votes().iloc[0].flipped else 1)


def test_z_takes_the_last_vote_back(open_page, pictures):
    page = open_page(pictures)
    shown = page.locator("#vote img").first.get_attribute("src")
    after(page, lambda: page.keyboard.press("1"))

    after(page, lambda: page.keyboard.press("z"))

    assert page.locator("#vote img").first.get_attribute("src") == shown
    assert pictures.votes().empty


def test_keys_can_be_switched_off_and_stay_off(open_page, pictures):
    page = open_page(pictures)
    page.get_by_role("button", name="Keyboard shortcuts").click()

    page.keyboard.press("1")
    page.reload()
    page.keyboard.press("1")
    page.wait_for_timeout(300)

    assert pictures.votes().empty
    assert page.get_by_role("button", name="Keyboard shortcuts").get_attribute("aria-pressed") == "false"


def test_a_key_with_a_modifier_is_the_browsers(open_page, pictures):
    page = open_page(pictures)

    page.keyboard.press("Alt+3")
    page.wait_for_timeout(300)

    assert pictures.votes().empty


def test_a_double_click_is_one_vote(open_page, pictures):
    page = open_page(pictures)

    after(page, lambda: page.get_by_role("button", name="Equally good").dblclick())
    page.wait_for_load_state("networkidle")

    assert len(pictures.votes()) == 1


@pytest.mark.parametrize("served", ["pictures", "table"])
def test_all_of_it_works_without_scripts(open_page, request, served):
    served = request.getfixturevalue(served)
    page = open_page(served, java_script_enabled=False)

    for name in ("Left", "Equally good", "Both bad", "Skip"):
        button = page.locator("#vote button", has_text=name).first
        after(page, lambda button=button: button.click())
    assert len(served.votes()) == 4
    after(page, lambda: page.get_by_role("button", name="Take the last answer back").click())
    assert len(served.votes()) == 3
    after(page, lambda: page.get_by_role("link", name="My votes").click())
    assert "3 votes by you" in page.inner_text("main")
    after(page, lambda: page.get_by_role("button", name="Log out").click())
    assert page.get_by_label("Token").is_visible()


@pytest.mark.parametrize("scripts", ["run", "are switched off", "are blocked"])
def test_keys_are_named_only_where_a_script_answers_to_them(open_page, pictures, scripts):
    page = open_page(pictures, complaining=True, java_script_enabled=scripts != "are switched off")
    if scripts == "are blocked":
        page.route("**/review.js", lambda route: route.abort())
        page.reload()

    hints = page.locator("kbd, #keys")
    assert hints.count() >= 6
    assert {hint.is_visible() for hint in hints.all()} == {scripts == "run"}
    page.goto(f"{pictures.page.url}/guidelines")
    assert page.locator("table.keys").is_visible() == (scripts == "run")


def test_a_double_click_without_scripts_is_one_vote_too(open_page, pictures):
    page = open_page(pictures, java_script_enabled=False)

    page.get_by_role("button", name="Skip").dblclick()
    page.wait_for_load_state("networkidle")

    assert pictures.votes().task.is_unique
    assert 1 <= len(pictures.votes()) <= 2  # the second click may have met the next pair's button


def test_two_tabs_show_one_pair_and_the_second_vote_is_told(open_page, pictures):
    page = open_page(pictures)
    other = page.context.new_page()
    other.goto(pictures.page.url)
    assert assignment(other) == assignment(page)

    after(page, lambda: page.keyboard.press("1"))
    other.evaluate("document.querySelector('[data-key=\"2\"]').click()")
    other.wait_for_selector("text=That did not work")

    assert "perhaps in another window" in other.inner_text("main")
    assert len(pictures.votes()) == 1
    other.get_by_role("link", name="Go on").click()
    other.wait_for_selector("#vote")
    assert assignment(other) == assignment(page)


def test_what_a_row_holds_is_never_markup(open_page, table):
    page = open_page(table)

    assert page.title() == "Pair 1 · Review"
    assert EVIL in page.inner_text("#vote")
    page.goto(f"{table.page.url}/guidelines")
    assert EVIL in page.inner_text("main")
    assert page.title() == "Guidelines · Review"


def test_a_script_that_got_in_would_not_run(open_page, pictures):
    page = open_page(pictures, complaining=True)

    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"/static/none.png\" onerror=\"document.title = 1\">')"
    )
    page.wait_for_timeout(300)

    assert page.title() == "Pair 1 · Review"


def test_small_pictures_are_shown_large_and_sharp(open_page, pictures):
    page = open_page(pictures)
    image = page.locator("#vote img").first

    box = image.bounding_box()

    assert box["width"] > 300
    assert image.evaluate("image => getComputedStyle(image).imageRendering") in ("pixelated", "crisp-edges")
    assert image.evaluate("image => image.naturalWidth") == 8


@pytest.mark.parametrize("served", ["pictures", "table"])
def test_both_samples_stand_side_by_side_on_a_phone_and_nothing_scrolls_sideways(open_page, request, served):
    page = open_page(request.getfixturevalue(served), viewport=SIZES["phone"], has_touch=True, is_mobile=True)

    left, right = (page.locator(".side").nth(i).bounding_box() for i in range(2))
    assert abs(left["y"] - right["y"]) < 1
    assert left["x"] + left["width"] <= right["x"]
    for path in ("/", "/guidelines", "/summary"):
        page.goto(request.getfixturevalue(served).page.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_is_tapped_is_large_enough(open_page, pictures):
    page = open_page(pictures, viewport=SIZES["phone"], has_touch=True, is_mobile=True)

    boxes = [button.bounding_box() for button in page.locator("#vote button").all()]

    assert all(box["height"] >= 44 and box["width"] >= 44 for box in boxes)


@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("served", ["pictures", "table"])
def test_axe_finds_nothing_serious(open_page, request, served, scheme, size):
    from axe_playwright_python.sync_playwright import Axe

    served = request.getfixturevalue(served)
    page = open_page(served, viewport=SIZES[size], color_scheme=scheme, bypass_csp=True, complaining=True)
    after(page, lambda: page.keyboard.press("1"))
    found = {}

    for path in ("/", "/guidelines", "/summary", "/none"):
        page.goto(served.page.url + path)
        found[path] = _serious(Axe().run(page))
    after(page, lambda: page.goto(served.page.url))
    page.get_by_role("button", name="Log out").click()
    page.wait_for_selector("#token")
    found["login"] = _serious(Axe().run(page))

    assert found == {name: [] for name in found}


def _serious(results) -> list[str]:
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in results.response["violations"]
        if one["impact"] in ("serious", "critical", "moderate")
    ]  # fmt: skip


def test_each_page_has_one_heading_a_main_part_and_a_title_of_its_own(open_page, pictures):
    page = open_page(pictures)
    titles = set()

    for path in ("/", "/guidelines", "/summary"):
        page.goto(pictures.page.url + path)
        assert page.locator("h1").count() == 1
        assert page.locator("main").count() == 1
        titles.add(page.title())

    assert len(titles) == 3


def test_the_address_bar_and_the_page_hold_no_secret(open_page, pictures):
    page = open_page(pictures)
    token = pictures.review.tokens[f"p{pictures.people}"]

    assert token not in page.url
    assert token not in page.content()
    assert not re.search("secret-gan|gold", page.content())
