"""What the gate says of a candidate is kept with it; a champion that is judged again keeps the rows of its floors."""

from dataclasses import replace

import pytest

from regen.registry import versions
from regen.stages import promote
from tests.unit.evaluation.test_alignment_report import estimate
from tests.unit.stages.test_alignment import BASED_ON

FOUND = {
    "against": {"gan": 1}, "rows": {"test": 400},
    "models": {"gan": {"estimates": {"frechet_distance": estimate(8.0)}, "difference": {"frechet_distance": estimate(0.0)}}},
}  # fmt: skip


@pytest.fixture
def verdicts(monkeypatch):
    """The verdicts that versions are tagged with, by their numbers."""
    kept = {}
    monkeypatch.setattr(
        versions, "record_verdict", lambda version, verdict, against: kept.update({version.number: verdict})
    )
    monkeypatch.setattr(promote.tracking.Run, "tag", lambda run, tags: None)
    monkeypatch.setattr(promote.tracking.Run, "log_files", lambda run, paths: None)
    return kept


def test_a_champion_that_is_judged_again_keeps_the_rows_of_its_floors(open_project, verdicts):
    context = open_project({"gate.gan.floors": "{frechet_distance: 60}"})

    entry = promote._decide(context, "gan", BASED_ON, FOUND)

    assert (entry["decision"], entry["reasons"], entry["promoted"]) == ("HOLD", ["it is the champion already"], True)
    assert [(check["kind"], check["metric"], check["passed"]) for check in entry["checks"]] == [
        ("floor", "frechet_distance", True)
    ]
    assert len(verdicts[1].checks) == 1


def test_another_version_is_judged_beside_the_champion(open_project, verdicts):
    context = open_project({"gate.gan.floors": "{frechet_distance: 60}"})

    entry = promote._decide(context, "gan", replace(BASED_ON, number=2, aliases=()), FOUND)

    assert (entry["decision"], entry["promoted"]) == ("HOLD", False)
    assert {check["kind"] for check in entry["checks"]} == {"floor", "primary"}
