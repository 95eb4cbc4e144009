"""A clock that the engine looks at."""

import pytest

from regen.training import engine
from tests.unit.training.engines import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(engine, "time", clock)
    return clock
