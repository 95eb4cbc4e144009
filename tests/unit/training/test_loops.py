"""What holds for every loop: it learns, its seed decides it, and neither an interruption nor a mapped file leaves a trace."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regen.core.errors import DivergenceError
from regen.core.sections.models import ExtractorConfig, GanConfig, GanLoss, VaeConfig
from regen.training import extractor, gan, vae
from regen.training.checkpoints import Checkpoints
from regen.training.engine import Guard
from regen.training.losses import LOSSES
from regen.training.rows import Rows
from regen.training.runtime import Monitor, Runtime, Silent
from tests.unit.training.toys import Heard, differing, half_rows, halves, weights_of

BATCH = 16
IMAGES = 16 * BATCH
EVERY = 4 * BATCH
CLASSES = ("left", "right")


@dataclass(frozen=True)
class Trained:
    """What any loop gives."""

    weights: dict[str, Tensor]
    curve: list[dict[str, float]]


def train_vae(rows: Rows, seed: int, runtime: Runtime, classes: tuple[str, ...] = (), **settings: object) -> Trained:
    small = {"network": "mlp", "width": 1, "latent_dim": 2, "images": IMAGES, "batch_size": BATCH, "score_draws": 2}
    done = vae.train_vae(VaeConfig(**small | settings), rows, half_rows(16, 9), seed, runtime, classes)
    return Trained(weights_of(vae=done.vae), done.curve)


def train_gan(rows: Rows, seed: int, runtime: Runtime, classes: tuple[str, ...] = (), **settings: object) -> Trained:
    small = {"network": "mlp", "width": 1, "latent_dim": 4, "images": IMAGES, "batch_size": BATCH}
    done = gan.train_gan(GanConfig(**small | settings), rows, seed, runtime, classes)
    return Trained(weights_of(generator=done.generator, discriminator=done.discriminator), done.curve)


def train_extractor(rows: Rows, seed: int, runtime: Runtime, **settings: object) -> Trained:
    small = {"width": 2, "features": 4, "images": IMAGES, "batch_size": BATCH}
    done = extractor.train_extractor(ExtractorConfig(**small | settings), rows, 2, seed, runtime)
    return Trained(weights_of(extractor=done.extractor), done.curve)


Loop = Callable[..., Trained]
LOOPS: dict[str, Loop] = {"vae": train_vae, "gan": train_gan, "extractor": train_extractor}
VARIANTS: dict[str, Loop] = {
    **LOOPS,
    **{f"gan {loss}": partial(train_gan, loss=loss) for loss in LOSSES if loss != "r3"},
    "conditional gan": partial(train_gan, classes=CLASSES),
    "vae with classes": partial(train_vae, classes=CLASSES),
    "conv gan": partial(train_gan, network="conv"),
    "conv vae": partial(train_vae, network="conv"),
    "transformer gan": partial(train_gan, network="transformer", classes=CLASSES),
    "transformer vae": partial(train_vae, network="transformer"),
    "bernoulli vae": partial(train_vae, likelihood="bernoulli"),
}
every_loop = pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
every_variant = pytest.mark.parametrize("loop", VARIANTS.values(), ids=VARIANTS)


def runtime(monitor: Monitor | None = None, checkpoints: Checkpoints | None = None) -> Runtime:
    return Runtime(torch.device("cpu"), monitor or Silent(), checkpoints, EVERY, EVERY)


def assert_equal(one: Trained, other: Trained) -> None:
    assert differing(one.weights, other.weights) == []
    assert one.curve == other.curve


@every_loop
def test_the_same_seed_gives_the_same_weights(loop: Loop) -> None:
    torch.manual_seed(1)
    one = loop(half_rows(), 0, runtime())
    torch.manual_seed(2)

    assert_equal(one, loop(half_rows(), 0, runtime()))


@every_loop
def test_another_seed_gives_other_weights(loop: Loop) -> None:
    one, other = loop(half_rows(), 0, runtime()), loop(half_rows(), 1, runtime())

    assert not any(torch.equal(one.weights[name], other.weights[name]) for name in one.weights if ".weight" in name)


@every_loop
def test_a_training_leaves_the_global_generator_and_its_rows_alone(loop: Loop) -> None:
    images, classes = halves()
    before, state = images.clone(), torch.get_rng_state()

    loop(Rows.of(images, classes), 0, runtime())

    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


@every_variant
def test_a_trained_model_is_finite_and_its_curve_has_a_point_for_each_log_point(loop: Loop) -> None:
    done = loop(half_rows(), 0, runtime())

    assert all(torch.isfinite(t).all() for t in done.weights.values() if t.is_floating_point())
    assert [point["images"] for point in done.curve] == list(range(EVERY, IMAGES + 1, EVERY))
    assert all(np.isfinite(list(point.values())).all() for point in done.curve)


def interrupt_and_compare(folder: Path, loop: Loop, stops: list[int]) -> None:
    """Trains in one go, and again with interruptions at these log points."""
    whole = loop(half_rows(), 0, runtime())
    checkpoints, last = Checkpoints(folder), Heard()

    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            loop(half_rows(), 0, runtime(Heard(stop), checkpoints))
    resumed = loop(half_rows(), 0, runtime(last, checkpoints))

    assert [images for images, *_ in last.logged] == list(range(stops[-1], IMAGES + 1, EVERY))
    assert_equal(resumed, whole)


@every_loop
@pytest.mark.parametrize("stops", [[EVERY], [EVERY, 3 * EVERY], [EVERY, EVERY], [IMAGES]])
def test_an_interrupted_training_that_is_resumed_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, loop: Loop, stops: list[int]
) -> None:
    interrupt_and_compare(tmp_path, loop, stops)


@pytest.mark.parametrize("loop", [train_vae, partial(train_gan, network="conv"), train_extractor])
def test_in_bfloat16_a_training_is_another_and_still_one_of_its_seed(loop: Loop) -> None:
    one, other = (loop(half_rows(), 0, replace(runtime(), bf16=True)) for _ in range(2))

    assert_equal(one, other)
    assert differing(one.weights, loop(half_rows(), 0, runtime()).weights)


@every_variant
def test_every_loss_and_network_is_resumed_bit_for_bit(tmp_path: Path, loop: Loop) -> None:
    interrupt_and_compare(tmp_path, loop, [3 * EVERY])


@every_loop
@pytest.mark.parametrize("stop", [1, 4, 7, 13, 16])
def test_an_interruption_at_any_step_leaves_no_trace(
    tmp_path: Path, loop: Loop, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = loop(half_rows(), 0, runtime())
    original, calls = Guard.step, [0]

    def step(self: Guard, *arguments: object, **options: object) -> None:
        calls[0] += 1
        if calls[0] == stop:
            raise KeyboardInterrupt
        original(self, *arguments, **options)

    monkeypatch.setattr(Guard, "step", step)
    with pytest.raises(KeyboardInterrupt):
        loop(half_rows(), 0, runtime(None, Checkpoints(tmp_path)))

    assert_equal(loop(half_rows(), 0, runtime(None, Checkpoints(tmp_path))), whole)


@every_loop
def test_a_training_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(tmp_path: Path, loop: Loop) -> None:
    whole, last = loop(half_rows(), 0, runtime()), Heard()
    with pytest.raises(KeyboardInterrupt):
        loop(half_rows(), 0, runtime(Heard(3 * EVERY), Checkpoints(tmp_path)))
    newest = max(tmp_path.glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])

    resumed = loop(half_rows(), 0, runtime(last, Checkpoints(tmp_path)))

    assert last.logged[0][0] == 2 * EVERY
    assert_equal(resumed, whole)


@every_loop
def test_a_finished_training_is_read_from_its_last_checkpoint(tmp_path: Path, loop: Loop) -> None:
    whole, again = loop(half_rows(), 0, runtime(None, Checkpoints(tmp_path))), Heard()

    resumed = loop(half_rows(), 0, runtime(again, Checkpoints(tmp_path)))

    assert again.logged == []
    assert_equal(resumed, whole)


@every_loop
def test_training_from_a_mapped_file_gives_the_weights_of_training_from_memory(tmp_path: Path, loop: Loop) -> None:
    images, classes = halves(100)
    pixels = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    np.save(tmp_path / "images.npy", pixels)
    index, mapped = np.arange(0, 100, 3), np.load(tmp_path / "images.npy", mmap_mode="r")

    one, other = (
        loop(Rows.of_pixels(mapped, index, classes.numpy()[index], resident_mib), 0, runtime())
        for resident_mib in (0, 2048)
    )

    assert_equal(one, other)


@every_loop
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_that_hold_no_numbers_stop_the_training(loop: Loop, value: float) -> None:
    images, classes = halves()
    images[:, 0, 3, 3] = value

    with pytest.raises(
        DivergenceError, match=r"loss is (nan|inf|-inf) after 0 images; lower its learning rate, or look"
    ):
        loop(Rows.of(images, classes), 0, runtime())


@every_loop
def test_a_learning_rate_that_is_too_high_stops_the_training(loop: Loop) -> None:
    monitor = Heard()

    with pytest.raises(DivergenceError, match=r"loss is (nan|inf|-inf) after [\d,]+ images; lower its learning rate"):
        loop(half_rows(), 0, runtime(monitor), learning_rate=1e30)
    assert len([text for text in monitor.warnings if "of the learning rate" in text]) == 3


def spoil(monkeypatch: pytest.MonkeyPatch, call: int, *, at_once: bool = True) -> None:
    """Makes one call of the guarded step see a loss that is not finite."""
    original, init, calls = Guard.step, Guard.__init__, [0]

    def step(self: Guard, what: str, loss: Tensor, module: nn.Module, optimiser: Optimizer, clip: float = 0.0) -> None:
        calls[0] += 1
        original(self, what, loss * float("nan") if calls[0] == call else loss, module, optimiser, clip)

    def start(self: Guard, runtime: Runtime) -> None:
        init(self, runtime)
        self.at_once = at_once

    monkeypatch.setattr(Guard, "step", step)
    monkeypatch.setattr(Guard, "__init__", start)


@every_loop
@pytest.mark.parametrize("at_once", [True, False], ids=["told at once", "told at the log point"])
def test_one_bad_step_is_recovered_from_and_told(loop: Loop, at_once: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Heard()
    spoil(monkeypatch, 11, at_once=at_once)

    done = loop(half_rows(), 0, runtime(monitor))

    assert len([text for text in monitor.warnings if "of the learning rate (1 of 3)" in text]) == 1
    assert [point["images"] for point in done.curve] == list(range(EVERY, IMAGES + 1, EVERY))
    assert all(torch.isfinite(t).all() for t in done.weights.values() if t.is_floating_point())
    assert all(np.isfinite(list(point.values())).all() for point in done.curve)


def test_the_bad_network_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Heard()
    spoil(monkeypatch, 4)

    train_gan(half_rows(), 0, runtime(monitor))

    assert monitor.warnings[0].startswith("the generator's loss is nan after 16 images")


@pytest.mark.parametrize(
    ("loop", "name", "shape"),
    [(train_vae, "reconstructions", (32, 8, 8, 1)), (train_gan, "samples", (64, 8, 8, 1))],
    ids=["vae", "gan"],
)
def test_each_checkpoint_comes_with_a_picture_and_figures(tmp_path: Path, loop: Loop, name: str, shape: tuple) -> None:
    watcher = Heard()

    loop(half_rows(), 0, runtime(watcher, Checkpoints(tmp_path)))

    assert watcher.pictures == [(name, shape)] * (IMAGES // EVERY)
    assert [images for images, _ in watcher.measured] == list(range(EVERY, IMAGES + 1, EVERY))
    assert all(np.isfinite(list(figures.values())).all() for _, figures in watcher.measured)


@pytest.mark.parametrize("loop", [partial(train_vae, free_bits=0.0), train_gan], ids=["vae", "gan"])
def test_inspections_leave_no_trace_in_the_weights(loop: Loop) -> None:
    often, once = (
        loop(half_rows(), 0, Runtime(log_every_images=EVERY, checkpoint_every_images=every)) for every in (BATCH, 10**9)
    )

    assert_equal(often, once)


def recorded(monkeypatch: pytest.MonkeyPatch, module: object) -> list[float]:
    """The shares of the budget that a loop's cosines are asked for."""
    told, original = [], module.cosine
    monkeypatch.setattr(module, "cosine", lambda start, end, spent: told.append(spent) or original(start, end, spent))
    return told


@pytest.mark.parametrize(("loop", "module"), [(train_vae, vae), (train_gan, gan)], ids=["vae", "gan"])
def test_a_budget_in_seconds_takes_every_schedule_to_its_end(
    loop: Loop, module: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regen.training import engine
    from tests.unit.training.engines import Clock

    clock, told, original = Clock(), recorded(monkeypatch, module), Guard.step

    def step(self: Guard, *arguments: object, **options: object) -> None:
        clock.now += 1
        original(self, *arguments, **options)

    monkeypatch.setattr(engine, "time", clock)
    monkeypatch.setattr(Guard, "step", step)

    done = loop(half_rows(), 0, runtime(), images=10**9, seconds=40.0)

    steps = 20 if loop is train_gan else 40  # a step of the GAN has two guarded ones
    assert (told[0], told[-1]) == (0, pytest.approx((steps - 1) / steps))
    assert done.curve[-1]["images"] == steps * BATCH


def test_every_loss_is_named_alike_in_the_curve() -> None:
    for loss in LOSSES:
        done = train_gan(half_rows(), 0, runtime(), loss=loss)
        assert set(done.curve[0]) == {
            "images", "discriminator_loss", "gradient_penalty", "generator_loss", "confidence", "augment_probability",
        }  # fmt: skip


def test_the_losses_are_five_trainings() -> None:
    losses: list[GanLoss] = list(LOSSES)
    found = [train_gan(half_rows(), 0, runtime(), loss=loss).weights for loss in losses]

    assert not any(
        torch.equal(one["generator.stem.net.0.weight"], other["generator.stem.net.0.weight"])
        for place, one in enumerate(found)
        for other in found[:place]
    )
