"""Random numbers that a step number and a seed decide alone, so that a loop can be resumed anywhere and read ahead.

Every step starts a stream of its own. All processes of a training draw the whole batch's numbers and keep their share,
so that more devices mean other sums of the same terms, not another training.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from regen.core.seeds import derive


@dataclass
class Draws:
    """The stream of one purpose, such as the GAN's latents; drawn on the CPU, handed out on `device`."""

    seed: int
    purpose: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        self.generator = torch.Generator()
        """The stream itself, for whoever draws for the whole batch."""
        self.start(0)

    def start(self, step: int) -> "Draws":
        """Goes to the beginning of a step's stream."""
        self.generator.manual_seed(derive(self.seed, self.purpose, str(step)))
        return self

    def normal(self, n: int, *shape: int) -> Float[Tensor, "n ..."]:
        """This process's `n` rows of standard normal numbers."""
        return self.share(torch.randn(n * self.world, *shape, generator=self.generator), n)

    def uniform(self, n: int, *shape: int) -> Float[Tensor, "n ..."]:
        """This process's `n` rows of numbers in [0, 1)."""
        return self.share(torch.rand(n * self.world, *shape, generator=self.generator), n)

    def integers(self, below: int, n: int, *shape: int) -> Int64[Tensor, "n ..."]:
        """This process's `n` rows of whole numbers from 0 to below `below`."""
        return self.share(torch.randint(below, (n * self.world, *shape), generator=self.generator), n)

    def kept(self, n: int, chance: float, *shape: int) -> Float[Tensor, "n ..."]:
        """This process's `n` rows of ones, each with this chance, and zeros."""
        drawn = torch.empty(n * self.world, *shape).bernoulli_(chance, generator=self.generator)
        return self.share(drawn, n)

    def share(self, drawn: Tensor, n: int) -> Tensor:
        """Of what is drawn for the first rows of the whole batch, what belongs to this process's `n` rows."""
        mine = drawn[self.rank * n : (self.rank + 1) * n] if self.world > 1 else drawn
        if self.device.type == "cuda":
            return mine.pin_memory().to(self.device, non_blocking=True)
        return mine.to(self.device)
