"""The runtime: the device and the processes that a project file asks for, and each process's part of the work."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from regen.core.errors import DeviceError
from regen.core.sections.models import TrainingConfig
from regen.training import runtime as module
from regen.training.checkpoints import Checkpoints
from regen.training.draws import Draws
from regen.training.runtime import Runtime, Silent, open_fabric, prepare_process, resolve_device
from tests.unit.training.toys import Heard


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


def test_more_cuda_devices_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    with pytest.raises(DeviceError, match=r"training\.devices is 3, but there are 2 CUDA devices; lower it"):
        open_fabric(TrainingConfig(device="cuda", devices=3))


def test_mps_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    with pytest.raises(DeviceError, match=r"training\.device is mps, but this machine has none"):
        resolve_device("mps")


def test_there_is_one_mps_device_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)

    with pytest.raises(DeviceError, match=r"there is one mps device; set it to 1"):
        open_fabric(TrainingConfig(device="mps", devices=2))


@pytest.mark.parametrize(("there", "chosen"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_cuda_where_there_is_one(there: bool, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)

    assert resolve_device("auto").type == chosen
    assert resolve_device("cpu").type == "cpu"


def test_one_process_on_a_cpu_needs_no_fabric() -> None:
    assert open_fabric(TrainingConfig(device="cpu")) is None
    assert open_fabric(TrainingConfig(device="cpu", precision="bf16")) is None


@pytest.mark.parametrize(
    ("precision", "dtype"), [("32", torch.float32), ("auto", torch.float32), ("bf16", torch.bfloat16)]
)
def test_networks_on_a_cpu_compute_in_the_precision_asked_for(precision: str, dtype: torch.dtype) -> None:
    runtime = Runtime.of(TrainingConfig(device="cpu", precision=precision), Heard(), None)

    with runtime.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_a_runtime_is_what_the_project_file_asks_for(tmp_path: Path) -> None:
    config = TrainingConfig(device="cpu", log_every_images=7, checkpoint_every_images=9)
    monitor, checkpoints = Heard(), Checkpoints(tmp_path)

    runtime = Runtime.of(config, monitor, checkpoints)

    assert runtime == Runtime(torch.device("cpu"), monitor, checkpoints, 7, 9)
    assert (runtime.rank, runtime.world) == (0, 1)


def test_a_process_gets_the_threads_it_asks_for() -> None:
    before = torch.get_num_threads()

    prepare_process(1)

    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_a_system_without_glibc_keeps_its_memory_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(module.ctypes, "CDLL", pytest.fail)

    prepare_process(1)


def of_two(rank: int, **methods: object) -> Runtime:
    """A runtime that is one of two, as far as it knows."""
    return Runtime(fabric=SimpleNamespace(global_rank=rank, world_size=2, **methods))


def test_one_process_is_the_whole_of_its_world() -> None:
    runtime, value = Runtime(), torch.tensor(3.0, requires_grad=True)

    assert runtime.share(7) == 7
    assert runtime.agree(0.25) == 0.25
    assert runtime.mean(value).item() == 3
    assert not runtime.mean(value).requires_grad
    assert runtime.wait() is None


def test_one_process_keeps_its_gradients() -> None:
    net = nn.Linear(2, 1)
    net(torch.ones(1, 2)).sum().backward()

    Runtime().average(net)

    assert net.weight.grad.tolist() == [[1, 1]]


def test_a_batch_is_dealt_out_evenly() -> None:
    assert of_two(1).share(8) == 4


def test_a_batch_that_cannot_be_dealt_out_is_refused() -> None:
    with pytest.raises(DeviceError, match="a batch of 7 cannot be dealt out to 2 devices; make batch_size a multiple"):
        of_two(0).share(7)


def test_each_process_draws_its_own_share() -> None:
    whole = Draws(0, "gan").normal(6)

    parts = [of_two(rank).draws(0, "gan").normal(3) for rank in (0, 1)]

    assert torch.equal(torch.cat(parts), whole)


def test_gradients_are_averaged_over_processes_each_in_its_shape_and_none_where_there_is_none() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1).requires_grad_(False))
    net(torch.rand(4, 2)).sum().backward()
    before = [p.grad.clone() for p in net[0].parameters()]
    runtime = of_two(
        0, all_reduce=lambda tensor, reduce_op: tensor / 2 if reduce_op == "mean" else pytest.fail("a mean was wanted")
    )

    runtime.average(net)

    assert all(torch.equal(p.grad, b / 2) for p, b in zip(net[0].parameters(), before, strict=True))
    assert all(p.grad is None for p in net[1].parameters())


def test_a_mean_over_processes_leaves_the_value_itself_alone() -> None:
    runtime = of_two(0, all_reduce=lambda tensor, reduce_op: tensor.mul_(2))
    value = torch.tensor(1.0)

    assert runtime.mean(value).item() == 2
    assert value.item() == 1


def test_who_looks_away_hears_nothing() -> None:
    silent = Silent()

    assert silent.log(1, 0.5, {"loss": 1.0}, 3.0) is None
    assert silent.measure(1, {"diversity": 1.0}) is None
    assert silent.picture(1, "samples", np.zeros((1, 1, 1, 1), np.uint8)) is None
    assert silent.warn("look") is None
