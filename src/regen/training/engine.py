"""The engine under every loop: the device, the budget in images, reports, checkpoints, exact resume, the NaN guard."""

import ctypes
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn
from torch.optim import Optimizer

from regen.core.config import TrainingConfig
from regen.core.errors import DeviceError, DivergenceError
from regen.models.networks import to_pixels
from regen.training.checkpoints import Checkpoints


class Monitor(Protocol):
    """Whoever watches a training."""

    def log(self, images: int, budget: int, terms: Mapping[str, float], images_per_second: float) -> None:
        """Means of the loss terms since the last call."""

    def picture(self, images: int, name: str, pixels: UInt8[ndarray, "n h w c"]) -> None:
        """Pictures of what the model does now."""


class Silent:
    """A monitor that looks away."""

    def log(self, images: int, budget: int, terms: Mapping[str, float], images_per_second: float) -> None:
        """Does nothing."""

    def picture(self, images: int, name: str, pixels: UInt8[ndarray, "n h w c"]) -> None:
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

    Each step frees and takes the same megabytes; handing them back to the system between steps cost half the speed.
    """
    torch.set_num_threads(threads)
    if platform.libc_ver()[0] == "glibc":
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)


@dataclass(frozen=True)
class Runtime:
    """Where a loop runs and whom it tells."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    monitor: Monitor = field(default_factory=Silent)
    checkpoints: Checkpoints | None = None
    log_every_images: int = 12_800
    checkpoint_every_images: int = 64_000

    @classmethod
    def of(cls, config: TrainingConfig, monitor: Monitor, checkpoints: Checkpoints | None) -> "Runtime":
        """The runtime that a project file asks for."""
        return cls(
            resolve_device(config.device), monitor, checkpoints, config.log_every_images, config.checkpoint_every_images
        )


@dataclass
class State:
    """All that a loop changes, so that a checkpoint of it makes interrupted equal uninterrupted, bit for bit."""

    modules: dict[str, nn.Module]
    optimisers: dict[str, Optimizer]
    generator: torch.Generator
    """On the CPU; every draw of the loop comes from it."""
    images: int = 0
    """Images seen."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """Means of the loss terms at each log point."""
    pending: dict[str, Tensor] = field(default_factory=dict)
    """Sums of the loss terms since the last log point."""

    def snapshot(self) -> dict[str, Any]:
        """Everything, as tensors and plain values."""
        return {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "generator": self.generator.get_state(),
            "images": self.images,
            "curve": self.curve,
            "pending": self.pending,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Goes back to a snapshot."""
        for name, module in self.modules.items():
            module.load_state_dict(snapshot["modules"][name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(snapshot["optimisers"][name])
        self.generator.set_state(snapshot["generator"])
        self.images, self.curve, self.pending = snapshot["images"], snapshot["curve"], snapshot["pending"]


Step = Callable[[float], dict[str, Tensor]]
"""Takes the share of the budget that is spent, does one optimisation step, gives back its loss terms."""


def spend(
    budget: int, batch_size: int, state: State, step: Step, runtime: Runtime, preview: Callable[[], None] | None = None
) -> State:
    """Steps until `budget` images are seen, from the newest checkpoint where there is one.

    Args:
        preview: called after each checkpoint, to send pictures to the monitor.

    Raises:
        DivergenceError: a loss is not finite.
        StorageError: a checkpoint cannot be written.
    """
    if runtime.checkpoints and (snapshot := runtime.checkpoints.newest()):
        state.restore(snapshot)
    every = max(runtime.log_every_images // batch_size, 1) * batch_size
    save_every = max(runtime.checkpoint_every_images // batch_size, 1) * batch_size
    steps_since, since = 0, time.perf_counter()
    while state.images < budget:
        terms = step(state.images / budget)
        state.images += batch_size
        steps_since += 1
        for name, term in terms.items():
            state.pending[name] = state.pending.get(name, torch.zeros_like(term)) + term.detach()
        if state.images % every == 0 or state.images >= budget:
            steps = every // batch_size if state.images % every == 0 else (state.images % every) // batch_size
            means = {name: float(total) / steps for name, total in state.pending.items()}
            state.pending = {}
            state.curve.append({"images": state.images, **means})
            now = time.perf_counter()
            runtime.monitor.log(min(state.images, budget), budget, means, steps_since * batch_size / (now - since))
            steps_since, since = 0, now
        if runtime.checkpoints and (state.images % save_every == 0 or state.images >= budget):
            runtime.checkpoints.save(state.images, state.snapshot())
            if preview is not None:
                preview()
    return state


def require_finite(loss: Tensor, images: int, what: str) -> None:
    """Stops before a step that would write NaN or infinity into the weights.

    Raises:
        DivergenceError: the loss is not finite.
    """
    if not torch.isfinite(loss):
        raise DivergenceError(
            f"{what} loss is {float(loss.detach())} after {images:,} images; lower its learning rate, or look at the data"
        )


def draw(images: Float[Tensor, "m c h w"], n: int, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """`n` images drawn with replacement."""
    return images[torch.randint(len(images), (n,), generator=generator).to(images.device)]


def show(images: Float[Tensor, "n c h w"]) -> UInt8[ndarray, "n h w c"]:
    """Images in [0, 1] as pixels, for the monitor."""
    return to_pixels(images.detach())
