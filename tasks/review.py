"""Opens a campaign, counts its votes, and keeps what came of it."""

from dataclasses import dataclass

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from regen.core.config import Config
from regen.preferences import campaigns
from regen.stages import collect as stage
from regen.stages import review
from regen.stages.collect import Collection, Wanted
from tasks.common import context_of


@dataclass(frozen=True)
class Standing:
    """How far a campaign has come."""

    campaign: int
    votes: int
    wanted: int
    seconds_left: float
    """0 where it has gone on for long enough."""


@task(name="open campaign", cache_policy=NO_CACHE)
def open_campaign(
    config: Config, model: str | None, pairs: int | None, need: int | None, against: str | None, guidelines: str | None
) -> int:
    """The number of the open campaign about a model, newly opened where there is none; who may vote stays as it is."""
    context, name = context_of(config), model or config.model_name("gan")
    least_sure = review.newest_reward(context.workspace, config.project, name)
    with review.open_store(context.workspace) as store:
        opened = review.open_review(
            context.workspace, store, name, config.seed, pairs, need, guidelines, least_sure, against, invites=False
        )
    return opened.campaign.id


@task(name="count votes", cache_policy=NO_CACHE)
def count(config: Config, campaign: int, votes: int | None, days: float) -> Standing:
    """How many votes there are, and how long the campaign still goes on."""
    with review.open_store(context_of(config).workspace) as store:
        found = campaigns.get(store, campaign)
        return Standing(found.id, found.votes, found.wanted, Wanted(votes, days).seconds_left(found, store.clock()))


@task(name="collect votes", cache_policy=NO_CACHE)
def collect(config: Config, campaign: int) -> Collection:
    """Closes the campaign, versions its votes, records its agreement."""
    context = context_of(config)
    with review.open_store(context.workspace) as store:
        found = stage.collect(context, store, campaign)
    create_markdown_artifact(
        stage.markdown(found), key=f"{config.project.replace('_', '-')}-votes", description="What a campaign came to"
    )
    return found
