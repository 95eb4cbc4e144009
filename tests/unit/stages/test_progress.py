"""Progress is a bar in a terminal, a line now and then in a log, and an event to a parent process."""

import json

from hypothesis import given
from hypothesis import strategies as st

from regen.stages import progress


def test_terms_are_described_in_three_digits_with_the_speed():
    assert progress.describe({"reconstruction_mse": 0.012345, "kl": 12.0}, 1234.5) == (
        "reconstruction mse 0.0123 · kl 12 · 1,234 images/s"
    )


@given(st.dictionaries(st.text("abc_", min_size=1), st.floats(allow_nan=True), max_size=3), st.floats(0, 1e9))
def test_whatever_the_terms_the_description_is_one_line(terms, rate):
    assert "\n" not in progress.describe(terms, rate)


def test_a_line_tells_how_far_the_task_is_and_how_long_it_takes_still(capsys):
    progress.Lines().update("train vae", 500, 1500, {"kl": 1.0}, rate=100.0)

    assert capsys.readouterr().err == "  train vae: 500 of 1,500 images · kl 1 · 100 images/s · 10 s left\n"


def test_lines_come_now_and_then_and_at_the_end(capsys, monkeypatch):
    now = iter([100.0, 101.0, 102.0, 120.0, 121.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    lines = progress.Lines()

    for done in (10, 20, 30, 40, 50):
        lines.update("train gan", done, 50, {}, rate=1.0)

    told = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in told] == ["10", "40", "50"]
    assert told[-1].endswith("· done")


def test_each_task_has_lines_of_its_own(capsys, monkeypatch):
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100.0)
    lines = progress.Lines()

    for task in ("train vae", "train gan", "train vae"):
        lines.update(task, 1, 50, {}, rate=1.0)

    assert [line.split(":")[0].strip() for line in capsys.readouterr().err.splitlines()] == ["train vae", "train gan"]


def test_a_rate_of_zero_is_no_reason_to_fail(capsys):
    progress.Lines().update("train vae", 0, 10, {}, rate=0.0)

    assert "0 of 10 images" in capsys.readouterr().err


def test_what_is_counted_is_named(capsys):
    progress.Lines().update("train vae", 10, 10, {}, 5.0, of="rows")

    assert capsys.readouterr().err == "  train vae: 10 of 10 rows · 5 rows/s · done\n"


def test_events_are_one_json_object_a_line(capsys):
    events = progress.Events()

    events.say("hello")
    events.update("train vae", 1, 2, {"kl": 0.5}, 3.0, "rows")

    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"say": "hello"}, {"task": "train vae", "done": 1, "total": 2, "terms": {"kl": 0.5}, "rate": 3.0, "of": "rows"},
    ]  # fmt: skip


def test_bars_show_every_task_and_what_is_said(capsys):
    with progress.Bars() as bars:
        bars.update("train vae", 1, 2, {"kl": 0.5}, 3.0)
        bars.update("train vae", 2, 2, {"kl": 0.4}, 3.0)
        bars.say("all well")

    told = capsys.readouterr().err
    assert "train vae" in told
    assert "100%" in told
    assert "all well" in told


def test_whoever_shows_progress_can_be_replaced(monkeypatch):
    monkeypatch.setattr(progress, "_current", progress.current())
    events = progress.Events()

    progress.use(events)

    assert progress.current() is events
