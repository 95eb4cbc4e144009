"""What the unit tests share: one thread, and properties that are drawn alike each time, none of them timed."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings
from threadpoolctl import threadpool_limits

settings.register_profile("unit", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("unit")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Gives torch and the linear algebra under scikit-learn one thread, since small arrays gain nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)
