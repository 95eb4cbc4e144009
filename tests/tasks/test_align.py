"""The flow from votes to a registered version: its order, where it stops, and that one model's end is not another's."""

import pytest
from prefect.client.schemas.objects import State

STEPS = ("learn", "tune", "prove", "judge")


@pytest.fixture
def calls(monkeypatch):
    """Every task's place is taken by one that notes its call; `finished` says what was done before."""
    from flows import align as module

    noted, finished = [], {}

    def standing_in(name, value):
        def call(config, *arguments, **options):
            noted.append(" ".join((name, *map(str, arguments))))
            return value(*arguments) if callable(value) else value

        monkeypatch.setattr(module, name, call)

    standing_in("pull_data", "version")
    standing_in("prepare", None)
    standing_in("find_bases", lambda models, kind: (models or ["digits-gan/1"], ""))
    standing_in("find_finished", lambda base: finished.get(base))
    for step in STEPS:
        standing_in(step, lambda base: f"summary of {base}")
    return noted, finished


def test_the_reward_is_learned_the_model_tuned_the_gain_proven_and_judged(calls, config):
    from flows.align import align

    found = align.fn(config)

    assert found == ["summary of digits-gan/1"]
    assert calls[0] == [
        "pull_data", "prepare", "find_bases [] None", "find_finished digits-gan/1",
        *(f"{step} digits-gan/1" for step in STEPS),
    ]  # fmt: skip


def test_what_was_done_before_is_not_done_again_and_the_next_model_is(calls, config):
    from flows.align import align

    noted, finished = calls
    finished["digits-gan/1"] = "the earlier summary"

    found = align.fn(config, ["digits-gan/1", "digits-vae/1"])

    assert found == ["the earlier summary", "summary of digits-vae/1"]
    assert [call for call in noted if call.startswith("learn")] == ["learn digits-vae/1"]


def test_too_few_votes_end_the_flow_cleanly_with_the_number_that_is_missing(calls, config, monkeypatch):
    from flows import align as module

    monkeypatch.setattr(module, "find_bases", lambda config, models, kind: ([], "60 are missing"))

    found = module.align.fn(config)

    assert isinstance(found, State)
    assert found.is_completed()
    assert (found.name, found.message) == ("Too few votes", "60 are missing")
    assert calls[0] == ["pull_data", "prepare"]
