"""A campaign from its opening to its votes in version control: opened, waited for, closed, exported, its agreement recorded.

The page itself is served by `regen review`, for as long as people vote; this flow only waits for them.
"""

import time
from typing import Literal

from prefect import flow
from prefect.flow_runs import suspend_flow_run

from regen.stages.collect import Collection
from tasks.common import Project
from tasks.review import Standing, collect, count, open_campaign


@flow(name="review")
def review(
    config: Project, model: str | None = None, pairs: int | None = None, need: int | None = None,
    against: str | None = None, guidelines: str | None = None, votes: int | None = None, days: float = 7.0,
    poll_seconds: float = 30.0, wait: Literal["poll", "suspend"] = "poll", campaign: int | None = None,
) -> Collection:  # fmt: skip
    """Open a campaign about a model, wait for its votes or its deadline, close it, and keep the votes.

    Args:
        config: the project file's path in the workspace, or the project itself.
        model: whose samples people judge; PROJECT-gan's champion if left out.
        pairs: pairs of a new campaign; 200 if left out.
        need: how many people judge each pair; 1 if left out.
        against: another version, whose samples stand beside the model's.
        guidelines: what people are told to look for.
        votes: votes that are enough; all that the pairs need if left out.
        days: days from the campaign's opening after which it is over.
        poll_seconds: seconds between two counts.
        campaign: the number of a campaign that is there already; without it one about the model is opened or gone on with.
        wait: poll keeps this process counting; suspend ends it until somebody resumes the run, which then counts anew.
    """
    number = campaign or open_campaign(config, model, pairs, need, against, guidelines)
    while (standing := count(config, number, votes, days)).seconds_left > 0:
        wait_for_votes(standing, poll_seconds, wait)
    return collect(config, number)


def wait_for_votes(standing: Standing, poll_seconds: float, wait: Literal["poll", "suspend"]) -> None:
    """Lets time pass: some seconds, or until the run is resumed."""
    if wait == "suspend":
        suspend_flow_run(timeout=max(int(standing.seconds_left), 1), key=f"{standing.campaign}-{standing.votes}")
    time.sleep(min(poll_seconds, standing.seconds_left))
