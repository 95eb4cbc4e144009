"""The engine: the device, the budget in images, what is reported and saved when, and the NaN guard."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from regen.core.config import TrainingConfig
from regen.core.errors import DeviceError, DivergenceError, StorageError
from regen.training import engine
from regen.training.checkpoints import Checkpoints
from regen.training.engine import Runtime, State, draw, require_finite, resolve_device, show, spend


class Recorder:
    """A monitor that writes down what it hears."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, int, dict[str, float]]] = []
        self.speeds: list[float] = []

    def log(self, images: int, budget: int, terms: Mapping[str, float], images_per_second: float) -> None:
        self.logged.append((images, budget, dict(terms)))
        self.speeds.append(images_per_second)

    def picture(self, images: int, name: str, pixels: np.ndarray) -> None:
        raise AssertionError("no pictures here")


def fresh() -> State:
    return State({}, {}, torch.Generator())


def counting(state: State):
    """A step whose loss is the number of steps done before it, and the shares of the budget it was told."""
    told: list[float] = []

    def step(spent: float) -> dict[str, torch.Tensor]:
        told.append(spent)
        return {"loss": torch.tensor(float(state.images // 10))}

    return step, told


def test_a_step_is_told_the_share_of_the_budget_that_is_spent() -> None:
    state = fresh()
    step, told = counting(state)

    spend(40, 10, state, step, Runtime())

    assert told == [0, 0.25, 0.5, 0.75]
    assert state.images == 40


def test_a_budget_that_is_no_multiple_of_the_batch_is_spent_to_its_end() -> None:
    state = fresh()
    step, told = counting(state)

    spend(35, 10, state, step, Runtime())

    assert told == pytest.approx([0, 10 / 35, 20 / 35, 30 / 35])
    assert state.images == 40


def test_means_of_the_terms_are_reported_at_each_log_point_and_at_the_end() -> None:
    state, monitor = fresh(), Recorder()
    step, _ = counting(state)

    spend(75, 10, state, step, Runtime(monitor=monitor, log_every_images=30))

    assert monitor.logged == [(30, 75, {"loss": 1.0}), (60, 75, {"loss": 4.0}), (75, 75, {"loss": 6.5})]
    assert state.curve == [{"images": 30, "loss": 1.0}, {"images": 60, "loss": 4.0}, {"images": 80, "loss": 6.5}]
    assert all(speed > 0 for speed in monitor.speeds)


@pytest.mark.parametrize("every", [1, 5, 10, 14])
def test_log_points_closer_than_a_batch_are_a_batch_apart(every: int) -> None:
    state, monitor = fresh(), Recorder()
    step, _ = counting(state)

    spend(30, 10, state, step, Runtime(monitor=monitor, log_every_images=every))

    assert [images for images, *_ in monitor.logged] == [10, 20, 30]


def test_checkpoints_are_written_where_asked_and_at_the_end_and_each_is_followed_by_a_preview(tmp_path: Path) -> None:
    state, previewed = fresh(), []
    step, _ = counting(state)
    runtime = Runtime(checkpoints=Checkpoints(tmp_path, kept=9), checkpoint_every_images=30)

    spend(75, 10, state, step, runtime, lambda: previewed.append(state.images))

    assert previewed == [30, 60, 80]
    assert sorted(path.stem for path in tmp_path.glob("*.pt")) == [f"{images:012d}" for images in (30, 60, 80)]


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    runtime = Runtime(checkpoints=Checkpoints(tmp_path))
    state = fresh()
    spend(30, 10, state, counting(state)[0], runtime)
    again = fresh()
    step, told = counting(again)

    spend(30, 10, again, step, runtime)

    assert told == []
    assert again.curve == state.curve


def test_a_resumed_training_reports_the_means_it_would_have_reported(tmp_path: Path) -> None:
    runtime = Runtime(
        checkpoints=Checkpoints(tmp_path), monitor=Recorder(), log_every_images=50, checkpoint_every_images=20
    )
    first, second = fresh(), fresh()
    step, _ = counting(first)

    def fails_late(spent: float) -> dict[str, torch.Tensor]:
        if first.images == 30:
            raise KeyboardInterrupt
        return step(spent)

    with pytest.raises(KeyboardInterrupt):
        spend(100, 10, first, fails_late, runtime)
    spend(100, 10, second, counting(second)[0], runtime)

    assert runtime.monitor.logged == [(50, 100, {"loss": 2.0}), (100, 100, {"loss": 7.0})]


def test_a_checkpoint_that_cannot_be_written_stops_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state = fresh()
    runtime = Runtime(checkpoints=Checkpoints(tmp_path / "file" / "work"))

    with pytest.raises(StorageError, match="cannot write"):
        spend(10, 10, state, counting(state)[0], runtime)


def test_a_restored_state_is_the_one_that_was_saved(tmp_path: Path) -> None:
    def make(seed: int) -> State:
        torch.manual_seed(seed)
        net = nn.Linear(3, 1)
        return State({"net": net}, {"net": torch.optim.Adam(net.parameters())}, torch.Generator().manual_seed(seed))

    one, other = make(0), make(1)
    one.modules["net"](torch.rand(2, 3)).sum().backward()
    one.optimisers["net"].step()
    one.images, one.curve, one.pending = 20, [{"images": 10, "loss": 1.0}], {"loss": torch.tensor(2.0)}
    Checkpoints(tmp_path).save(20, one.snapshot())

    other.restore(Checkpoints(tmp_path).newest())

    assert torch.equal(other.modules["net"].weight, one.modules["net"].weight)
    assert torch.equal(
        other.optimisers["net"].state_dict()["state"][0]["exp_avg"],
        one.optimisers["net"].state_dict()["state"][0]["exp_avg"],
    )
    assert torch.equal(torch.rand(3, generator=other.generator), torch.rand(3, generator=one.generator))
    assert (other.images, other.curve, other.pending) == (one.images, one.curve, one.pending)


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", "cuda:3"])
def test_cuda_that_is_not_there_is_refused_with_the_way_out(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(DeviceError, match=rf"training\.device is {wanted}, but .*no CUDA.*; set .* to cpu or auto"):
        resolve_device(wanted)


def test_a_cuda_device_beyond_those_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match=r"training\.device is cuda:2, but there are 2 CUDA devices"):
        resolve_device("cuda:2")


def test_mps_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    with pytest.raises(DeviceError, match=r"training\.device is mps, but this machine has none"):
        resolve_device("mps")


@pytest.mark.parametrize(("there", "chosen"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_cuda_where_there_is_one(there: bool, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)

    assert resolve_device("auto").type == chosen
    assert resolve_device("cpu").type == "cpu"


def test_a_runtime_is_what_the_project_file_asks_for(tmp_path: Path) -> None:
    config = TrainingConfig(device="cpu", log_every_images=7, checkpoint_every_images=9)
    monitor, checkpoints = Recorder(), Checkpoints(tmp_path)

    runtime = Runtime.of(config, monitor, checkpoints)

    assert runtime == Runtime(torch.device("cpu"), monitor, checkpoints, 7, 9)


def test_a_process_gets_the_threads_it_asks_for() -> None:
    before = torch.get_num_threads()

    engine.prepare_process(1)

    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_loss_that_is_no_number_names_itself_and_the_images(value: str) -> None:
    with pytest.raises(DivergenceError, match=rf"the VAE's loss is {value} after 12,800 images; lower its learning"):
        require_finite(torch.tensor(float(value)), 12_800, "the VAE's")


def test_a_finite_loss_passes() -> None:
    assert require_finite(torch.tensor(1e30), 0, "the VAE's") is None


def test_images_are_drawn_with_replacement_by_the_generator() -> None:
    images = torch.arange(5.0).reshape(5, 1, 1, 1)

    one, same = (draw(images, 1000, torch.Generator().manual_seed(0)) for _ in range(2))

    assert torch.equal(one, same)
    assert set(one.flatten().tolist()) == {0, 1, 2, 3, 4}


def test_images_are_shown_as_pixels_without_their_gradient() -> None:
    pixels = show(torch.full((2, 1, 3, 3), 0.5, requires_grad=True))

    assert pixels.shape == (2, 3, 3, 1)
    assert set(pixels.flatten().tolist()) == {128}


def test_who_looks_away_hears_nothing() -> None:
    silent = engine.Silent()

    assert silent.log(1, 2, {"loss": 1.0}, 3.0) is None
    assert silent.picture(1, "samples", np.zeros((1, 1, 1, 1), np.uint8)) is None
