"""Schedules over the share of the budget that is spent, from 0 to 1."""

from math import cos, pi


def cosine(start: float, end: float, spent: float) -> float:
    """From `start` to `end` along half a cosine.

    Example:
        >>> [round(cosine(1.0, 0.0, spent), 2) for spent in (0.0, 0.5, 1.0)]
        [1.0, 0.5, 0.0]
    """
    return end + (start - end) * 0.5 * (1 + cos(pi * min(max(spent, 0.0), 1.0)))


def ramp(end: float, over: float, spent: float) -> float:
    """From 0 up to `end` over the first `over` of the budget, then flat.

    Example:
        >>> [ramp(1.0, 0.2, spent) for spent in (0.0, 0.1, 0.5)]
        [0.0, 0.5, 1.0]
    """
    return end if over <= 0 else end * min(spent / over, 1.0)
