"""Two processes that train together come to what one comes to, up to rounding, and to the same weights each."""

import numpy as np
import pytest

from regen.core.config import TrainingConfig
from regen.training.runtime import open_fabric
from tests.conftest import REPOSITORY
from tests.unit.training import processes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def together() -> dict[str, list[dict[str, np.ndarray]]]:
    """What each of two processes came to."""
    with pytest.MonkeyPatch.context() as around:
        around.syspath_prepend(REPOSITORY)  # the processes import this package too
        return open_fabric(TrainingConfig(device="cpu", devices=2)).launch(processes.all_of_them)


@pytest.mark.parametrize("case", ["gan", "wgan-gp", "augmented gan", "vae"])
def test_all_processes_end_with_equal_weights(together, case: str) -> None:
    one, other = together[case]

    assert [name for name in one if not np.array_equal(one[name], other[name])] == []


@pytest.mark.parametrize(("case", "settings"), [("gan", {}), ("wgan-gp", {"loss": "wgan-gp"}), ("vae", {})])
def test_two_processes_come_to_what_one_comes_to_with_the_same_batch(together, case: str, settings: dict) -> None:
    alone = processes.train(None, "vae" if case == "vae" else "gan", **settings)

    for name, found in together[case][0].items():
        if "mixture" not in name:  # a mixture is fitted by steps that rounding can turn
            np.testing.assert_allclose(found, alone[name].numpy(), rtol=1e-3, atol=1e-4, err_msg=name)
