"""Approvals: a candidate that the gate would promote waits for a person's word, and no longer than its comparison holds.

The tag `approval` of a version says where it stands; `approval.until` says, in milliseconds since 1970, how long it waits.
"""

import time
from datetime import UTC, datetime
from enum import StrEnum

from regen.core.errors import RegistryError
from regen.registry import versions
from regen.registry.versions import CHAMPION, Version, by_alias

APPROVAL, UNTIL = "approval", "approval.until"
MS_A_DAY = 24 * 60 * 60 * 1000


class State(StrEnum):
    """Where a version stands with people."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


def state(version: Version) -> State | None:
    """What the version's tag says; None for one that nobody was asked about.

    Raises:
        RegistryError: somebody has set the tag to another word.
    """
    if APPROVAL not in version.tags:
        return None
    try:
        return State(version.tags[APPROVAL])
    except ValueError:
        raise RegistryError(
            f"the tag {APPROVAL} of {version.model} {version.number} is {version.tags[APPROVAL]!r}, wanted one of "
            f"{', '.join(State)}; set it in MLflow to one of these, or take it away"
        ) from None


def ask(version: Version, days: float) -> bool:
    """Lets a version wait for approval, which one that was rejected does not; others of its model no longer wait."""
    if state(version) is State.REJECTED:
        return False
    for other in versions.all_versions(version.model):
        if other.number != version.number and state(other) is State.PENDING:
            versions.tag(other, {APPROVAL: State.EXPIRED})
    until = int(time.time() * 1000 + days * MS_A_DAY)
    versions.tag(version, {APPROVAL: State.PENDING, UNTIL: str(until)})
    return True


def why_stale(version: Version, champion: int | None, data: str | None, now: int) -> str | None:
    """Why a version's approval no longer stands; None while it does.

    Args:
        champion: the model's champion now.
        data: the recorded version of the project's data now; None when that cannot be told here.
        now: milliseconds since 1970.
    """
    name, against = f"{version.model} {version.number}", version.tags.get("regen.against", "")
    if state(version) is State.EXPIRED:
        return f"{name} was superseded by a later candidate"
    if against != ("" if champion is None else str(champion)):
        return f"{name} was compared with champion {against or 'none'}, but it is {champion or 'none'} now"
    if data is not None and data != version.tags.get("regen.data", data):
        return f"{name} was trained on data that has changed since"
    until = int(version.tags.get(UNTIL, now))
    if now > until:
        return f"{name} waited for approval until {datetime.fromtimestamp(until / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    return None


def is_stale(version: Version) -> bool:
    """Whether a version waits for an approval that can no longer be given."""
    if state(version) is not State.PENDING or CHAMPION in version.aliases:
        return False
    return why_stale(version, champion_of(version.model), None, int(time.time() * 1000)) is not None


def require_standing(version: Version, data: str | None) -> None:
    """Refuses to promote a version that people rejected, or whose approval no longer stands.

    Raises:
        RegistryError: it was rejected, superseded, waited too long, or champion or data have changed.
    """
    found = state(version)
    if found is State.REJECTED:
        raise RegistryError(f"{version.model} {version.number} was rejected by hand; --force promotes it all the same")
    if found in (State.PENDING, State.EXPIRED) and (
        why := why_stale(version, champion_of(version.model), data, int(time.time() * 1000))
    ):
        raise RegistryError(f"{why}; its approval has expired: run 'regen run' to judge anew, or promote it by --force")


def champion_of(model: str) -> int | None:
    """The number of the model's champion."""
    champion = by_alias(model, CHAMPION)
    return champion.number if champion else None
