"""What holds for every loop: it learns, its seed decides it, and an interruption leaves no trace."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regen.core.config import ExtractorConfig, GanConfig, VaeConfig
from regen.core.errors import DivergenceError
from regen.training import engine, extractor, gan, vae
from regen.training.checkpoints import Checkpoints
from regen.training.engine import Runtime

BATCH = 16
IMAGES = 30 * BATCH
EVERY = 5 * BATCH


class Watcher:
    """A monitor that writes down what it hears, and interrupts at the log point `stops_at`."""

    def __init__(self, stops_at: int | None = None) -> None:
        self.stops_at = stops_at
        self.logged: list[int] = []
        self.pictures: list[tuple[str, tuple[int, ...]]] = []

    def log(self, images: int, budget: int, terms: Mapping[str, float], images_per_second: float) -> None:
        if images == self.stops_at:
            raise KeyboardInterrupt
        self.logged.append(images)

    def picture(self, images: int, name: str, pixels: np.ndarray) -> None:
        self.pictures.append((name, pixels.shape))


def halves(n: int = 64) -> tuple[Tensor, Tensor]:
    """Images that are bright on the left or on the right, and which of the two."""
    rng = torch.Generator().manual_seed(0)
    classes = torch.arange(n) % 2
    images = 0.2 * torch.rand(n, 1, 8, 8, generator=rng)
    images[classes == 0, :, :, :4] += 0.7
    images[classes == 1, :, :, 4:] += 0.7
    return images, classes


@dataclass(frozen=True)
class Trained:
    """What any loop gives."""

    weights: dict[str, Tensor]
    curve: list[dict[str, float]]


def weights_of(**modules: nn.Module) -> dict[str, Tensor]:
    return {f"{kind}.{name}": t.clone() for kind, m in modules.items() for name, t in m.state_dict().items()}


def train_vae(images: Tensor, seed: int, runtime: Runtime, learning_rate: float = 1e-3) -> Trained:
    config = VaeConfig(
        network="mlp",
        width=1,
        latent_dim=2,
        images=IMAGES,
        batch_size=BATCH,
        score_draws=2,
        learning_rate=learning_rate,
    )
    done = vae.train_vae(config, images, halves(16)[0], seed, runtime)
    return Trained(weights_of(vae=done.vae), done.curve)


def train_gan(images: Tensor, seed: int, runtime: Runtime, learning_rate: float = 1e-3) -> Trained:
    config = GanConfig(
        network="mlp", width=1, latent_dim=4, images=IMAGES, batch_size=BATCH, learning_rate=learning_rate
    )
    done = gan.train_gan(config, images, seed, runtime)
    return Trained(weights_of(generator=done.generator, discriminator=done.discriminator), done.curve)


def train_extractor(images: Tensor, seed: int, runtime: Runtime, learning_rate: float = 1e-3) -> Trained:
    config = ExtractorConfig(width=2, features=4, images=IMAGES, batch_size=BATCH, learning_rate=learning_rate)
    done = extractor.train_extractor(config, images, halves(len(images))[1], 2, seed, runtime)
    return Trained(weights_of(extractor=done.extractor), done.curve)


Loop = Callable[..., Trained]
LOOPS: dict[str, Loop] = {"vae": train_vae, "gan": train_gan, "extractor": train_extractor}
every_loop = pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)


def runtime(monitor: engine.Monitor | None = None, checkpoints: Checkpoints | None = None) -> Runtime:
    return Runtime(torch.device("cpu"), monitor or engine.Silent(), checkpoints, EVERY, EVERY)


def assert_equal(one: Trained, other: Trained) -> None:
    assert one.weights.keys() == other.weights.keys()
    assert [name for name in one.weights if not torch.equal(one.weights[name], other.weights[name])] == []
    assert one.curve == other.curve


@every_loop
def test_the_same_seed_gives_the_same_weights(loop: Loop) -> None:
    images, _ = halves()
    torch.manual_seed(1)
    one = loop(images, 0, runtime())
    torch.manual_seed(2)

    assert_equal(one, loop(images, 0, runtime()))


@every_loop
def test_another_seed_gives_other_weights(loop: Loop) -> None:
    images, _ = halves()

    one, other = loop(images, 0, runtime()), loop(images, 1, runtime())

    assert not any(torch.equal(one.weights[name], other.weights[name]) for name in one.weights if "weight" in name)


@every_loop
def test_a_training_leaves_the_global_generator_and_its_images_alone(loop: Loop) -> None:
    images, _ = halves()
    before, state = images.clone(), torch.get_rng_state()

    loop(images, 0, runtime())

    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


@every_loop
@pytest.mark.parametrize("stops", [[2 * EVERY], [3 * EVERY, 5 * EVERY], [IMAGES]])
def test_an_interrupted_training_that_is_resumed_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, loop: Loop, stops: list[int]
) -> None:
    images, _ = halves()
    whole = loop(images, 0, runtime())
    checkpoints, last = Checkpoints(tmp_path), Watcher()

    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            loop(images, 0, runtime(Watcher(stop), checkpoints))
    resumed = loop(images, 0, runtime(last, checkpoints))

    assert last.logged == list(range(stops[-1], IMAGES + 1, EVERY))
    assert_equal(resumed, whole)


@every_loop
def test_a_training_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(tmp_path: Path, loop: Loop) -> None:
    images, _ = halves()
    whole = loop(images, 0, runtime())
    last = Watcher()
    with pytest.raises(KeyboardInterrupt):
        loop(images, 0, runtime(Watcher(4 * EVERY), Checkpoints(tmp_path)))
    newest = max(tmp_path.glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])

    resumed = loop(images, 0, runtime(last, Checkpoints(tmp_path)))

    assert last.logged[0] == 3 * EVERY
    assert_equal(resumed, whole)


@every_loop
def test_a_finished_training_is_read_from_its_last_checkpoint(tmp_path: Path, loop: Loop) -> None:
    images, _ = halves()
    whole, again = loop(images, 0, runtime(None, Checkpoints(tmp_path))), Watcher()

    resumed = loop(images, 0, runtime(again, Checkpoints(tmp_path)))

    assert again.logged == []
    assert_equal(resumed, whole)


@every_loop
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_that_hold_no_numbers_stop_the_training(loop: Loop, value: float) -> None:
    images, _ = halves()
    images[:, 0, 3, 3] = value

    with pytest.raises(
        DivergenceError, match=r"loss is (nan|inf|-inf) after 0 images; lower its learning rate, or look"
    ):
        loop(images, 0, runtime())


@every_loop
def test_a_learning_rate_that_is_too_high_stops_the_training(loop: Loop) -> None:
    with pytest.raises(DivergenceError, match=r"loss is (nan|inf|-inf) after [\d,]+ images; lower its learning rate"):
        loop(halves()[0], 0, runtime(), learning_rate=1e30)


@every_loop
def test_a_trained_model_is_finite_and_its_curve_has_a_point_for_each_log_point(loop: Loop) -> None:
    done = loop(halves()[0], 0, runtime())

    assert all(torch.isfinite(tensor).all() for tensor in done.weights.values())
    assert [point["images"] for point in done.curve] == list(range(EVERY, IMAGES + 1, EVERY))
    assert all(np.isfinite(list(point.values())).all() for point in done.curve)


@pytest.mark.parametrize(
    ("loop", "name", "shape"),
    [(train_vae, "reconstructions", (32, 8, 8, 1)), (train_gan, "samples", (64, 8, 8, 1))],
    ids=["vae", "gan"],
)
def test_each_checkpoint_is_followed_by_a_picture(tmp_path: Path, loop: Loop, name: str, shape: tuple) -> None:
    watcher = Watcher()

    loop(halves()[0], 0, runtime(watcher, Checkpoints(tmp_path)))

    assert watcher.pictures == [(name, shape)] * (IMAGES // EVERY)


@pytest.mark.parametrize("loop", [train_vae, train_gan], ids=["vae", "gan"])
def test_pictures_leave_no_trace_in_the_weights(tmp_path: Path, loop: Loop) -> None:
    images, _ = halves()

    assert_equal(loop(images, 0, runtime(None, Checkpoints(tmp_path))), loop(images, 0, runtime()))
