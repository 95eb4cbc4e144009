"""Tunes registered models toward people's votes: the reward, the tuning, the proof, the registry."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from regen.core.config import Config
from regen.core.errors import TooFewVotesError
from regen.preferences.store import Store
from regen.stages import alignment, conclude, review
from regen.stages.alignment import Alignment
from regen.stages.base import Outcome
from regen.stages.conclude import AlignSummary
from regen.stages.learn import learn as learn_stage
from regen.stages.prove import prove as prove_stage
from regen.stages.tune import tune as tune_stage
from tasks.common import context_of, shown


@task(name="count votes", cache_policy=NO_CACHE)
def find_bases(config: Config, models: list[str], kind: str | None) -> tuple[list[str], str]:
    """The models to be tuned, as NAME/NUMBER, and what is missing where there is nothing to learn from yet.

    Those named or, where none is, the champions that enough people voted on.
    """
    context = context_of(config)
    with review.open_store(context.workspace) as store:
        try:
            return [one.name for one in alignment.open_all(context, store, models, kind)], ""
        except TooFewVotesError as error:
            return [], str(error)


@task(name="look for finished work", cache_policy=NO_CACHE)
def find_finished(config: Config, base: str, *, controls: bool) -> AlignSummary | None:
    """What an earlier alignment on these very votes came to."""
    with _opening(config, base, controls=controls) as (opened, store):
        return conclude.find_finished(opened, store)


@task(name="learn reward", cache_policy=NO_CACHE)
def learn(config: Config, base: str, *, controls: bool) -> Outcome | State[Outcome]:
    """Learns the reward, and the judge of what it leads to."""
    return shown(learn_stage(_open(config, base, controls=controls)))


@task(name="tune", task_run_name="tune {base}", cache_policy=NO_CACHE)
def tune(config: Config, base: str, *, controls: bool) -> Outcome | State[Outcome]:
    """Tunes the base toward the reward."""
    return shown(tune_stage(_open(config, base, controls=controls)))


@task(name="prove", cache_policy=NO_CACHE)
def prove(config: Config, base: str, *, controls: bool) -> Outcome | State[Outcome]:
    """Measures every arm, and the tuned model beside its base."""
    return shown(prove_stage(_open(config, base, controls=controls)))


@task(name="register and judge", cache_policy=NO_CACHE)
def judge(config: Config, base: str, *, controls: bool) -> AlignSummary:
    """Registers the tuned model, judges it, and promotes it if it wins."""
    with _opening(config, base, controls=controls) as (opened, store):
        conclude.conclude(opened, store, prefect_run=str(runtime.flow_run.id or ""))
        summary = conclude.summarise(opened, store, reused=False)
    create_markdown_artifact(
        conclude.markdown(summary),
        key=f"{summary.model.replace('_', '-')}-alignment",
        description="What tuning toward votes came to",
    )
    return summary


def _open(config: Config, base: str, *, controls: bool) -> Alignment:
    """The alignment of a base; the store of votes is closed before its long work begins."""
    with _opening(config, base, controls=controls) as (opened, _):
        return opened


@contextmanager
def _opening(config: Config, base: str, *, controls: bool) -> Iterator[tuple[Alignment, Store]]:
    """The alignment of a base and, until the block ends, the store of votes."""
    context = context_of(config)
    with review.open_store(context.workspace) as store:
        yield alignment.open_alignment(context, store, base, controls=controls), store
