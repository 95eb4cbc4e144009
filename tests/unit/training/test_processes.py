"""Two processes that train together come to what one comes to, up to rounding, and to the same weights each."""

import pickle

import numpy as np
import pytest

from regen.core.sections.models import TrainingConfig
from regen.training.runtime import open_fabric
from tests.conftest import REPOSITORY
from tests.unit.training import processes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, np.ndarray]]]:
    """What each of two processes came to."""
    with pytest.MonkeyPatch.context() as around:
        around.syspath_prepend(REPOSITORY)  # the processes import this package too
        folder = tmp_path_factory.mktemp("processes")
        open_fabric(TrainingConfig(device="cpu", devices=2)).launch(processes.all_of_them, str(folder))
    return pickle.loads((folder / "found.pickle").read_bytes())


@pytest.mark.parametrize("case", ["gan", "wgan-gp", "augmented gan", "vae", "table gan", "packed table gan"])
def test_all_processes_end_with_equal_weights(together, case: str) -> None:
    one, other = together[case]

    assert [name for name in one if not np.array_equal(one[name], other[name])] == []


@pytest.mark.parametrize(("case", "settings"), [("gan", {}), ("wgan-gp", {"loss": "wgan-gp"})])
def test_two_processes_come_to_the_gan_that_one_comes_to_with_the_same_batch(
    together, case: str, settings: dict
) -> None:
    alone = processes.train(None, "gan", **settings)

    for name, found in together[case][0].items():
        if not name.endswith("bias") or name.startswith(
            "generator"
        ):  # a shift of all logits has no gradient but rounding
            np.testing.assert_allclose(found, alone[name].numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("case", "settings"),
    [("table gan", {}), ("packed table gan", {"pac": 4, "loss": "wgan-gp", "given_share": 0.4})],
)
def test_two_processes_come_to_the_table_gan_that_one_comes_to_with_the_same_batch(
    together, case: str, settings: dict
) -> None:
    alone = processes.train(None, "table gan", **settings)

    for name, found in together[case][0].items():
        least = (
            1e-3 if name.startswith("discriminator") else 1e-5
        )  # where slopes cancel, Adam makes whole steps of rounding
        np.testing.assert_allclose(found, alone[name].numpy(), rtol=1e-4, atol=least, err_msg=name)


def test_two_processes_come_to_the_vae_that_one_comes_to(together) -> None:
    alone = processes.train(None, "vae")

    for name, found in together["vae"][0].items():
        if "coder" in name:
            np.testing.assert_allclose(found, alone[name].numpy(), rtol=1e-4, atol=1e-5, err_msg=name)
