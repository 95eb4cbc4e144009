"""Fresh votes, those on a tuned version's samples beside its base's: what they say, and which of them no verdict counts."""

from dataclasses import replace

from regen.core.config import Config
from regen.core.seeds import derive
from regen.evaluation.intervals import Estimate
from regen.preferences.alignment import win_rate
from regen.preferences.store import Store
from regen.registry import versions
from regen.registry.versions import Version
from regen.stages import votes
from regen.stages.alignment import BASE, VOTES, Alignment

LEAST_VOTES = 20
"""Fewest fresh votes that speak before the judge does."""
COUNTED = "regen.counted_votes"
"""The tag that says how many fresh votes a version's verdict counts."""


def count(store: Store, version: Version, base: int) -> int:
    """How many votes there are on a version's samples beside those of the version it was tuned from."""
    return sum(map(len, votes.head_to_head(store, version.model, version.number, base).values()))


def by_people(store: Store, version: Version, base: int, config: Config) -> Estimate | None:
    """The win rate that fresh votes come to, people being resampled; None where they are too few."""
    said = votes.head_to_head(store, version.model, version.number, base)
    if sum(map(len, said.values())) < LEAST_VOTES:
        return None
    rules, seed = config.evaluation, derive(config.seed, "align", "votes")
    return win_rate(list(said.values()), rules.bootstrap_draws, seed, rules.confidence)


def uncounted(alignment: Alignment, store: Store) -> tuple[str, ...]:
    """A line for each tuned version, other than the one this alignment makes, with fresh votes that no verdict counts.

    It says how many they are, what they come to, why they do not count here, and what makes them count.
    """
    mine, known = alignment.key("tune"), versions.all_versions(alignment.base.model)
    bases = {f"{one.model}/{one.number}": one for one in known}
    tuned = [one for one in known if one.tags.get(BASE, "").startswith(f"{one.model}/") and one.key != mine]
    return tuple(filter(None, (_told(alignment, store, one, bases.get(one.tags[BASE])) for one in tuned)))


def _told(alignment: Alignment, store: Store, version: Version, base: Version | None) -> str:
    number = int(version.tags[BASE].rpartition("/")[2])
    left = count(store, version, number) - int(version.tags.get(COUNTED, 0))
    if left <= 0:
        return ""
    rate = by_people(store, version, number, alignment.context.config)
    why, way = _why(alignment, version, base)
    is_champion = versions.CHAMPION in version.aliases
    by_hand = f"rollback {version.model}" if is_champion else f"promote {version.model} {version.number}"
    return (
        f"{left} fresh votes on {version.model}/{version.number} beside {version.tags[BASE]} count in no verdict, since "
        f"{why}; {way}'regen {by_hand}' decides by hand"
        + ("" if rate is None else f" (by the votes its win rate is {rate})")
    )


def _why(alignment: Alignment, version: Version, base: Version | None) -> tuple[str, str]:
    """Why a tuned version is not the one that this alignment makes, and the way to judge it."""
    tags, now = version.tags, alignment.context.data_version
    counts = f"'regen align --model {tags[BASE]}' counts them, or "
    if base is None:
        return f"{tags[BASE]} was deleted", ""
    if tags.get(VOTES) != alignment.votes.digest:
        return (
            "it was tuned toward other votes than there are now",
            f"ask about the newest version of {tags[BASE]}, or ",
        )
    if (then := tags.get("regen.data", "")) != now:
        return (
            f"it was tuned on data {then[:8]}, and data.dvc records {now[:8]} now",
            f"with the data of then (git checkout REVISION data.dvc; dvc checkout data.dvc) {counts}",
        )
    if replace(alignment, base=base).key("tune") == version.key:
        return f"it was tuned from {tags[BASE]}, and this is about {alignment.name}", counts
    return "it was tuned with other settings, or by another release of Regen", f"with those settings {counts}"
