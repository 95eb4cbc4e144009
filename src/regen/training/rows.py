"""Training rows: on the device where they fit, else read ahead from a memory-mapped file while the last batch trains."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from regen.training.draws import Draws

CHUNK = 1024
"""Rows that one pass over all of them takes at a time."""
TOGETHER, TOGETHER_MIB = 8, 4
"""Batches, and their size, that are read ahead together at most; each handover between threads costs a step time."""


@dataclass(frozen=True)
class Batch:
    """Some rows."""

    images: Float[Tensor, "n c h w"]
    """In [0, 1]."""
    classes: Int64[Tensor, " n"]
    """Positions among the classes, all 0 without labels."""


@dataclass(frozen=True)
class Rows:
    """All rows of a split; one of `held` and `mapped` is there."""

    classes: Int64[Tensor, " m"]
    held: Tensor | None = None
    """Images `m c h w`: uint8 from 0 to 255, or floats in [0, 1]."""
    mapped: UInt8[np.ndarray, "k h w c"] | None = None
    """Images of which `index` are meant, on disk."""
    index: Int64[np.ndarray, " m"] | None = None

    @classmethod
    def of(cls, images: Float[Tensor, "m c h w"], classes: Int64[Tensor, " m"] | None = None) -> "Rows":
        """Rows that are in memory."""
        return cls(torch.zeros(len(images), dtype=torch.int64) if classes is None else classes, images)

    @classmethod
    def of_pixels(
        cls,
        pixels: UInt8[np.ndarray, "k h w c"],
        index: Int64[np.ndarray, " m"],
        classes: Int64[np.ndarray, " m"],
        resident_mib: float,
    ) -> "Rows":
        """The rows `index` of an array, which may be memory-mapped; kept in memory up to `resident_mib`."""
        positions = torch.from_numpy(np.ascontiguousarray(classes))
        if len(index) * pixels[:1].nbytes > resident_mib * 2**20:
            return cls(positions, mapped=pixels, index=index)
        chosen = np.ascontiguousarray(np.asarray(pixels[index]).transpose(0, 3, 1, 2))
        return cls(positions, torch.from_numpy(chosen))

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        if self.held is not None:
            c, h, w = self.held.shape[1:]
        else:
            assert self.mapped is not None
            h, w, c = self.mapped.shape[1:]
        return int(c), int(h), int(w)

    def to(self, device: torch.device) -> "Rows":
        """The same rows, those in memory moved to `device`."""
        held = None if self.held is None else self.held.to(device)
        return Rows(self.classes.to(device), held, self.mapped, self.index)

    def thinned(self, most: int) -> "Rows":
        """These rows, or `most` of them spread evenly over all."""
        if len(self) <= most:
            return self
        numbers = torch.linspace(0, len(self) - 1, most).long()
        if self.index is not None:
            return Rows(self.classes[numbers], mapped=self.mapped, index=self.index[numbers.numpy()])
        assert self.held is not None
        return Rows(self.classes[numbers], self.held[numbers])

    def gather(self, rows: Int64[Tensor, " n"]) -> Tensor:
        """The images of these numbers as they are kept, `n c h w`: where the rows lie, those on disk on the CPU."""
        if self.held is not None:
            return self.held.index_select(0, rows)
        assert self.mapped is not None
        assert self.index is not None
        chosen = self.mapped[self.index[rows.cpu().numpy()]]
        return torch.from_numpy(np.ascontiguousarray(chosen.transpose(0, 3, 1, 2)))

    def take(self, rows: Int64[Tensor, " n"]) -> Batch:
        """The rows of these numbers, which lie where the rows lie."""
        classes = self.classes.index_select(0, rows.to(self.classes.device))
        return Batch(_as_floats(self.gather(rows)), classes)

    def chunks(self, device: torch.device, size: int = CHUNK) -> Iterator[Batch]:
        """All rows, in order, some at a time, on `device`."""
        where = torch.device("cpu") if self.held is None else self.held.device
        for rows in torch.arange(len(self), device=where).split(size):
            batch = self.take(rows)
            yield Batch(batch.images.to(device), batch.classes.to(device))


def _as_floats(images: Tensor) -> Float[Tensor, "n c h w"]:
    return images if images.is_floating_point() else images.float().div_(255)


class Feed:
    """The batches of a loop, `n` rows a step drawn with replacement; a step's rows are the same whenever it is asked for."""

    def __init__(self, rows: Rows, n: int, draws: Draws) -> None:
        self.rows, self.n, self.draws = rows.to(draws.device), n, draws
        self._classes = rows.classes
        self._numbers = Draws(draws.seed, f"{draws.purpose} rows", rank=draws.rank, world=draws.world)
        self._together = max(min(TOGETHER, TOGETHER_MIB * 2**20 // (n * prod(rows.shape))), 1)
        self._ahead: dict[int, Future[list[Batch]]] = {}
        self._reader = ThreadPoolExecutor(1, "reads ahead") if rows.held is None else None

    def at(self, step: int) -> Batch:
        """The rows of a step."""
        device = self.draws.device
        if self._reader is None:
            return self.rows.take(self._draw(step).to(device))
        block, place = divmod(step, self._together)
        if not place or block not in self._ahead:
            kept = {wanted: self._ahead.get(wanted) for wanted in (block, block + 1, block + 2)}
            self._ahead = {wanted: found or self._reader.submit(self._read, wanted) for wanted, found in kept.items()}
        batch = self._ahead[block].result()[place]
        if device.type != "cpu":
            batch = Batch(*(part.to(device, non_blocking=True) for part in (batch.images, batch.classes)))
        return Batch(_as_floats(batch.images), batch.classes)

    def close(self) -> None:
        """Ends the reading ahead."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)

    def _draw(self, step: int) -> Int64[Tensor, " n"]:
        return self._numbers.start(step).integers(len(self.rows), self.n)

    def _read(self, block: int) -> list[Batch]:
        """The rows of some steps, images as bytes: whatever takes more than copying would take the loop's threads."""
        found = []
        for step in range(block * self._together, (block + 1) * self._together):
            numbers = self._draw(step)
            images, classes = self.rows.gather(numbers), self._classes.index_select(0, numbers)
            is_pinned = self.draws.device.type == "cuda"
            found.append(Batch(images.pin_memory(), classes.pin_memory()) if is_pinned else Batch(images, classes))
        return found
