"""Sweeps go through grids and ranges, ask the same way again, and name the best trial whichever way is better."""

from itertools import product
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.config import Config, parse
from regen.core.errors import ConfigError, EvaluationError, TrainingError
from regen.core.files import write_json
from regen.stages import sweep
from regen.stages.sweep import Choice, Grid, Plan, Range, Search, Sweep, Trial, parse_axis, proposals

GATED = parse(
    {"project": "digits", "gate": {"gan": {"primary": "frechet_distance"}, "vae": {"primary": "anomaly_auc"}}}
)


def plan(*over: str, kind: str | None = None, metric: str | None = None, at_once: int = 2, trials: int | None = None):
    return Plan.of(GATED, over, kind, metric, at_once, trials)


def asked(proposing) -> list[dict]:
    """All that is proposed when every trial comes to the sum of its numbers."""
    found = []
    while settings := proposing.ask():
        figures = [float(sum(v for v in one.values() if not isinstance(v, str))) for one in settings]
        proposing.tell([Trial(n, one, "", (f, f, f)) for n, (one, f) in enumerate(zip(settings, figures, strict=True))])
        found.append(settings)
    return found


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("seed=0,1,2", ("seed", Choice((0, 1, 2)))),
        ("gan.loss=r3,hinge", ("gan.loss", Choice(("r3", "hinge")))),
        ("gate.gan.floors={recall: 0.5},{}", ("gate.gan.floors", Choice(({"recall": 0.5}, {})))),
        ("vae.width=4..16", ("vae.width", Range(4, 16, log=False))),
        ("vae.learning_rate=log:1e-4..1e-2", ("vae.learning_rate", Range(1e-4, 1e-2, log=True))),
    ],
)
def test_an_axis_is_a_key_with_values_or_a_range(text, axis):
    assert parse_axis(text) == axis


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("gan.los=r3", "a key of the project file"),
        ("seed", "a key of the project file"),
        ("vae.width=16..4", "in rising order"),
        ("vae.width=log:0..4", "above 0"),
        ("vae.width=a..b", "two numbers"),
        ("seed=[0", "no YAML"),
    ],
)
def test_what_is_no_axis_is_refused(text, reason):
    with pytest.raises(ConfigError, match=reason):
        parse_axis(text)


def test_the_keys_say_whose_figure_decides_and_the_gate_says_which():
    found = plan("vae.width=4,8", "seed=0,1")

    assert (found.kind, found.metric, found.higher_is_better) == ("vae", "anomaly_auc", True)
    assert not plan("gan.width=4,8").higher_is_better


@pytest.mark.parametrize("over", [("seed=0,1",), ("gan.width=4,8", "vae.width=4,8")], ids="-".join)
def test_keys_that_do_not_tell_whose_figure_decides_ask_for_the_model(over):
    with pytest.raises(ConfigError, match="--model"):
        plan(*over)

    assert plan(*over, kind="gan").kind == "gan"


def test_a_figure_that_nothing_names_is_asked_for():
    with pytest.raises(ConfigError, match="--metric"):
        Plan.of(Config(project="digits"), ("gan.width=4,8",), None, None, 1, None)


def test_a_gan_is_not_judged_by_what_it_has_none_of():
    with pytest.raises(ConfigError, match="a GAN has no anomaly_auc"):
        plan("gan.width=4,8", metric="anomaly_auc")


def test_a_grid_refuses_a_range():
    with pytest.raises(ConfigError, match="--search"):
        plan("gan.width=4..8")


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 5))
def test_a_grid_is_every_combination_once_some_at_a_time(sizes, at_once):
    keys = ("seed", "gan.width", "gan.images")[: len(sizes)]
    over = [f"{key}={','.join(map(str, range(1, size + 1)))}" for key, size in zip(keys, sizes, strict=True)]

    rounds = asked(Grid(plan(*over, kind="gan", at_once=at_once)))

    tried = [tuple(one.values()) for settings in rounds for one in settings]
    assert tried == list(product(*(range(1, size + 1) for size in sizes)))
    assert all(len(settings) == at_once for settings in rounds[:-1])


def test_a_search_stays_within_its_ranges_and_asks_the_same_again():
    over = ("gan.width=2..32", "gan.learning_rate=log:0.0001..0.01", "gan.loss=r3,hinge")

    first, second = (asked(Search(plan(*over, trials=15, at_once=4))) for _ in range(2))

    assert first == second
    tried = [one for settings in first for one in settings]
    assert len(tried) == 15
    assert all(isinstance(one["gan.width"], int) and 2 <= one["gan.width"] <= 32 for one in tried)
    assert all(1e-4 <= one["gan.learning_rate"] <= 1e-2 for one in tried)
    assert {one["gan.loss"] for one in tried} == {"r3", "hinge"}


def test_a_search_goes_where_it_is_good():
    proposing, tried = proposals(plan("gan.learning_rate=0.0001..1.0", trials=40, at_once=1)), []
    while settings := proposing.ask():
        (one,) = settings
        miss = (one["gan.learning_rate"] - 0.7) ** 2
        proposing.tell([Trial(len(tried), one, "", (miss, miss, miss))])
        tried.append(abs(one["gan.learning_rate"] - 0.7))

    assert sum(tried[-10:]) / 10 < sum(tried[:10]) / 20


def test_a_search_survives_trials_that_fail():
    proposing = Search(plan("gan.width=2..8", trials=6, at_once=3))
    for _ in range(2):
        settings = proposing.ask()
        proposing.tell(
            [
                Trial(0, settings[0], "", None, error="diverged"),
                *(Trial(n, s, "", (1.0, 1.0, 1.0)) for n, s in enumerate(settings[1:])),
            ]
        )

    assert proposing.ask() == []


@pytest.mark.parametrize(("kind", "best"), [("vae", 1), ("gan", 2)])
def test_the_best_trial_is_the_highest_or_the_lowest_as_the_figure_goes(kind, best):
    figures = [(0.5, 0.4, 0.6), (0.9, 0.8, 1.0), (0.1, 0.0, 0.2), None]
    trials = tuple(Trial(n, {"seed": n}, f"run-{n}", figure) for n, figure in enumerate(figures))

    found = Sweep("run", plan("seed=0,1,2,3", kind=kind), trials)

    assert found.best.number == best
    assert found.ranked[-1].figure is None
    assert found.to_json()["best"] == {"seed": best}
    assert [trial["value"] for trial in found.to_json()["trials"]][-1] is None


def test_a_sweep_in_which_nothing_finished_says_why():
    found = Sweep("run", plan("seed=0", kind="gan"), (Trial(0, {"seed": 0}, "run-0", None, error="the loss is nan"),))

    with pytest.raises(TrainingError, match="no trial has finished; the first one: the loss is nan"):
        _ = found.best


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_is_no_number_fails_its_trial(tmp_path, monkeypatch, value):
    found = {"models": {"gan": {"estimates": {"frechet_distance": {"value": value, "low": value, "high": value}}}}}
    write_json(tmp_path / "evaluation.json", found)
    monkeypatch.setattr(sweep, "run_in_process", lambda context, *steps: None)
    context = SimpleNamespace(results=lambda stage: tmp_path)

    with pytest.raises(EvaluationError, match=rf"frechet_distance could not be measured, it came out as {value}; look"):
        sweep._measure(context, plan("gan.width=4,8"))
