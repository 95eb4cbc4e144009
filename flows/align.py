"""Tunes models toward people's votes: the reward is learned, the model tuned, the gain proven, the version registered."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from regen.core.config import Config
from regen.stages.conclude import AlignSummary
from tasks.align import find_bases, find_finished, judge, learn, prove, tune
from tasks.common import Project
from tasks.data import prepare, pull_data


@flow(name="align")
def align(
    config: Project, models: list[str] | None = None, kind: str | None = None, *, controls: bool = False
) -> list[AlignSummary] | State[list[AlignSummary]]:
    """Tune each model toward the votes on its samples, prove the gain, register it; the same votes are never learned twice.

    Args:
        config: the project file's path in the workspace, or the project itself.
        models: NAME, NAME@ALIAS or NAME/NUMBER of each; the champions that enough people voted on where none is named.
        kind: gan or vae, of the champions only these.
        controls: whether arms that need a tuning of their own are measured too.
    """
    pull_data(config)
    prepare(config)
    bases, missing = find_bases(config, models or [], kind)
    if missing:
        return Completed(name="Too few votes", message=missing, data=[])
    return [align_one(config, base, controls=controls) for base in bases]


def align_one(config: Config, base: str, *, controls: bool) -> AlignSummary:
    """One model's way from votes to a registered version."""
    if (earlier := find_finished(config, base, controls=controls)) is not None:
        return earlier
    learn(config, base, controls=controls)
    tune(config, base, controls=controls)
    prove(config, base, controls=controls)
    return judge(config, base, controls=controls)
