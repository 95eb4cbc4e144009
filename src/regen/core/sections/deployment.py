"""When the project runs by itself."""

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator

from regen.core.sections.base import Section

CRON_FIELDS = 5


def _has_five_fields(value: str) -> str:
    if len(value.split()) != CRON_FIELDS:
        raise ValueError("wanted five fields: minute, hour, day of month, month, day of week, such as '0 3 * * *'")
    return value


def _is_a_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("wanted a time zone's IANA name, such as Europe/Vienna or UTC") from None
    return value


Cron = Annotated[str, AfterValidator(_has_five_fields)]


class ScheduleConfig(Section):
    """When the project is retrained and watched by itself, once `regen deploy` has said so to a server."""

    cron: Cron = "0 3 * * *"
    """When retraining starts, as cron says it; with nothing new it does nothing."""
    monitor_cron: Cron | None = "30 * * * *"
    """When new rows are compared with the champion's; never when absent."""
    timezone: Annotated[str, AfterValidator(_is_a_zone)] = "UTC"
    """The time zone of both, by its IANA name such as Europe/Vienna; daylight saving is followed."""
    active: bool = True
    """Whether the schedules fire; false keeps them paused."""
