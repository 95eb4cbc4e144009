"""What a run came to, as it is told later."""

from dataclasses import replace

from regen.stages.summary import ModelSummary

MADE = ModelSummary("digits-gan", 1, "PROMOTE", True, False, ("the first model",), None, {}, {}, was_promoted=True)


def test_a_champion_says_so_and_one_that_another_followed_says_that_too():
    assert MADE.standing == "it is digits-gan@champion"
    assert replace(MADE, promoted=False).standing == "it was promoted then, and another version is the champion now"
    assert replace(MADE, promoted=False, was_promoted=False).standing == "it is registered, and not the champion"
