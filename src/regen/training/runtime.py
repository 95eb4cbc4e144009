"""Where a loop runs and whom it tells: the device, the precision, the other processes, the monitor, the checkpoints.

One process on a CPU needs nothing but torch. Everything else is Lightning Fabric's: the device, mixed precision, the
processes of `training.devices` and what they tell each other. It is imported only then, since that takes seconds.
"""

import ctypes
import logging
import os
import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from jaxtyping import UInt8
from numpy import ndarray
from torch import Tensor, nn

from regen.core.environment import torchrun_rank
from regen.core.errors import DeviceError
from regen.core.sections.models import TrainingConfig
from regen.training.checkpoints import Checkpoints
from regen.training.draws import Draws


class Monitor(Protocol):
    """Whoever watches a training."""

    def log(self, images: int, spent: float, terms: Mapping[str, float], images_per_second: float) -> None:
        """Means of the loss terms since the last call; `spent` is the share of the budget, from 0 to 1."""

    def measure(self, images: int, figures: Mapping[str, float]) -> None:
        """What an inspection of the model found."""

    def picture(self, images: int, name: str, pixels: UInt8[ndarray, "n h w c"]) -> None:
        """Pictures of what the model does now."""

    def warn(self, text: str) -> None:
        """Something that a person should look at."""


class Silent:
    """A monitor that looks away."""

    def log(self, images: int, spent: float, terms: Mapping[str, float], images_per_second: float) -> None:
        """Does nothing."""

    def measure(self, images: int, figures: Mapping[str, float]) -> None:
        """Does nothing."""

    def picture(self, images: int, name: str, pixels: UInt8[ndarray, "n h w c"]) -> None:
        """Does nothing."""

    def warn(self, text: str) -> None:
        """Does nothing."""


def resolve_device(wanted: str) -> torch.device:
    """The device that `training.device` names.

    Raises:
        DeviceError: it is not there.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    wayout = "set training.device to cpu or auto"
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"training.device is {wanted}, but this machine shows no CUDA device to torch {torch.__version__}; {wayout}"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"training.device is {wanted}, but there are {torch.cuda.device_count()} CUDA devices; {wayout}"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"training.device is mps, but this machine has none; {wayout}")
    return device


def prepare_process(threads: int) -> None:
    """Sets a training process's threads, and on glibc keeps freed memory.

    Each step frees and takes the same megabytes; handing them back to the system between steps cost half the speed. Pieces
    of 32 MiB and more go back nonetheless: a step is no slower for it, and the heap has fewer holes.
    """
    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_threshold, 32 << 20)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)


def open_fabric(config: TrainingConfig) -> Any | None:
    """Lightning Fabric for this configuration, not launched yet; None where one process on a CPU does.

    Raises:
        DeviceError: the device is not there, or not as many of it, or torchrun has started another number of processes.
    """
    device = resolve_device(config.device)
    if torchrun_rank() is not None:
        return _open_among_torchruns(config, device)
    if config.devices == 1 and device.type == "cpu":
        return None
    if device.type == "cuda" and config.devices > torch.cuda.device_count():
        raise DeviceError(
            f"training.devices is {config.devices}, but there are {torch.cuda.device_count()} CUDA devices; lower it"
        )
    if device.type == "mps" and config.devices > 1:
        raise DeviceError("training.devices is over 1, but there is one mps device; set it to 1")
    one = [device.index] if device.index is not None and config.devices == 1 else config.devices
    return _fabric(config, device, devices=one, strategy="ddp_spawn" if config.devices > 1 else "auto")


def _open_among_torchruns(config: TrainingConfig, device: torch.device) -> Any:
    """Fabric in one of the processes that torchrun started, on one machine or several."""
    everywhere, here = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if everywhere != config.devices:
        raise DeviceError(
            f"torchrun has started {everywhere} processes, but training.devices is {config.devices}; make them equal, since "
            "the number decides how batches are dealt out"
        )
    return _fabric(config, device, devices=here, num_nodes=everywhere // here, strategy="ddp")


def _fabric(config: TrainingConfig, device: torch.device, **places: Any) -> Any:
    from lightning_fabric import Fabric

    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    bf16 = config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")
    return Fabric(accelerator=device.type, precision="bf16-mixed" if bf16 else "32-true", **places)


@dataclass(frozen=True)
class Runtime:
    """Where a loop runs and whom it tells."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    monitor: Monitor = field(default_factory=Silent)
    checkpoints: Checkpoints | None = None
    log_every_images: int = 12_800
    checkpoint_every_images: int = 64_000
    fabric: Any | None = None
    """Lightning's, launched; None on one CPU."""
    bf16: bool = False
    """Whether one CPU's networks compute with bfloat16; Fabric knows by itself."""

    @classmethod
    def of(
        cls, config: TrainingConfig, monitor: Monitor, checkpoints: Checkpoints | None, fabric: Any | None = None
    ) -> "Runtime":
        """The runtime that a project file asks for."""
        device = resolve_device(config.device) if fabric is None else fabric.device
        bf16 = fabric is None and config.precision == "bf16"
        return cls(device, monitor, checkpoints, config.log_every_images, config.checkpoint_every_images, fabric, bf16)

    @property
    def rank(self) -> int:
        """This process's number; 0 logs and saves."""
        return 0 if self.fabric is None else int(self.fabric.global_rank)

    @property
    def world(self) -> int:
        """How many processes train together."""
        return 1 if self.fabric is None else int(self.fabric.world_size)

    def draws(self, seed: int, purpose: str) -> Draws:
        """Random numbers for this process."""
        return Draws(seed, purpose, self.device, self.rank, self.world)

    def share(self, batch_size: int) -> int:
        """This process's part of a batch.

        Raises:
            DeviceError: the batch cannot be dealt out evenly.
        """
        if batch_size % self.world:
            raise DeviceError(
                f"a batch of {batch_size} cannot be dealt out to {self.world} devices; make batch_size a multiple of it"
            )
        return batch_size // self.world

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision that networks are called in."""
        if self.fabric is not None:
            return self.fabric.autocast()  # type: ignore[no-any-return]
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def average(self, module: nn.Module) -> None:
        """Makes every process's gradients their mean over all processes.

        One sum over the flattened gradients, where a DistributedDataParallel wrapper would not allow the gradient
        penalties' double backward.
        """
        if self.world > 1:
            gradients = [p.grad for p in module.parameters() if p.grad is not None]
            flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
            for gradient, new in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(new.view_as(gradient))

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over all processes; no gradient passes."""
        if self.world == 1:
            return value.detach()
        with torch.no_grad():
            total: Tensor = self.fabric.all_reduce(value.detach().clone(), reduce_op="mean")  # type: ignore[union-attr]
        return total

    def total(self, own: Tensor) -> Tensor:
        """The sum of every process's tensor; of a loss of it, `average` gives the gradient over all processes."""
        return self.world * (own + (self.mean(own) - own.detach()))

    def agree(self, value: float) -> float:
        """The first process's value, everywhere."""
        return value if self.world == 1 else float(self.fabric.broadcast(value))  # type: ignore[union-attr]

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            self.fabric.barrier()  # type: ignore[union-attr]
