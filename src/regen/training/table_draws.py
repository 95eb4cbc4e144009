"""What a turn of the GAN of tables is drawn from: real rows, and which of their columns are given.

In some rows the label is given, each value as often, so that rare ones are learnt (Xu et al., 2019). Several processes draw
the whole batch's rows and take their share, the balanced ones first, so that together they see what one would see alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from regen.core.errors import DeviceError
from regen.core.sections.table_gan import TableGanConfig
from regen.data.encoding import Encoded
from regen.models.table_gan import Given, Layout, Rows, TableGenerator
from regen.training.draws import Draws
from regen.training.runtime import Runtime
from regen.training.table_moments import Moments

LABEL_GIVEN = 0.5
"""How often the label is given in rows that are drawn as they come."""


@dataclass(frozen=True)
class Balanced:
    """Rows drawn so that every value of the label is as frequent, as CTGAN's training-by-sampling draws them."""

    column: int
    order: Int64[Tensor, " m"]
    """The rows, sorted by their label."""
    starts: Int64[Tensor, " k"]
    counts: Int64[Tensor, " k"]

    @classmethod
    def of(cls, generator: TableGenerator, codes: Int64[Tensor, "m q"]) -> "Balanced | None":
        """The rows by the generator's label; None where it has none."""
        if generator.label is None:
            return None
        labels = codes[:, generator.layout.offsets.index(generator.positions.start)]
        counts = torch.bincount(labels)
        starts, met = counts.cumsum(0) - counts, counts > 0
        return cls(generator.label, labels.argsort(stable=True), starts[met], counts[met])

    def draw(self, generator: torch.Generator, n: int) -> Int64[Tensor, " n"]:
        """The numbers of `n` rows."""
        values = torch.randint(len(self.counts), (n,), generator=generator)
        places = (torch.rand(n, generator=generator) * self.counts[values]).long().minimum(self.counts[values] - 1)
        return self.order[self.starts[values] + places]


@dataclass(frozen=True)
class RealRows:
    """The real rows, and how many of them this process takes in a turn."""

    layout: Layout
    numbers: Float[Tensor, "m p"]
    codes: Int64[Tensor, "m q"]
    moments: Moments
    balanced: Balanced | None
    given_share: float
    batch: int
    """Rows of a turn, over all processes."""
    n: int
    """This process's part of them."""
    n_balanced: int
    """The first rows of the batch, in which the label is given, each value as often."""

    @classmethod
    def of(cls, config: TableGanConfig, generator: TableGenerator, rows: Encoded, runtime: Runtime) -> "RealRows":
        """The rows on the runtime's device.

        Raises:
            DeviceError: the batch cannot be dealt out in whole packs.
        """
        n, layout = runtime.share(config.batch_size), generator.layout
        if n % config.pac:
            raise DeviceError(
                f"each of {runtime.world} devices would get {n} rows of a batch of {config.batch_size}, which are not packed "
                f"by {config.pac}; make batch_size a multiple of the devices times pac"
            )
        numbers, codes = (torch.from_numpy(part) for part in (rows.numbers, rows.codes))
        balanced = Balanced.of(generator, codes)
        numbers, codes = numbers.to(runtime.device), codes.to(runtime.device)
        moments, n_balanced = Moments.of(layout, numbers, codes), round(config.batch_size * config.given_share / 2)
        return cls(
            layout, numbers, codes, moments, balanced, config.given_share, config.batch_size, n,
            n_balanced if balanced else 0,
        )  # fmt: skip

    def take(self, some: Int64[Tensor, " n"]) -> Rows:
        """The rows of these numbers."""
        return self.layout.join(self.numbers[some], self.codes[some])

    def draw(self, draws: Draws) -> tuple[Rows, Given]:
        """This process's rows of a turn, and which of their columns are given."""
        some = draws.integers(len(self.numbers), self.n)
        given = draw_given(draws, self.n, self.columns, self.given_share)
        if self.balanced is not None:
            mine = draws.share(self.balanced.draw(draws.generator, self.n_balanced), self.n)
            some[: len(mine)] = mine
            given[:, self.balanced.column] = (draws.uniform(self.n) < LABEL_GIVEN).float()
            given[: len(mine), self.balanced.column] = 1
        return self.take(some), given

    @property
    def columns(self) -> int:
        """How many columns the rows have."""
        return max(self.layout.owners) + 1

    def distance(self, made: Rows, runtime: Runtime) -> Float[Tensor, ""]:
        """The distance of the moments of what all processes made, rows whose label was balanced left out."""
        mine = min(max(self.n_balanced - runtime.rank * self.n, 0), self.n)
        total, products = map(runtime.total, self.moments.sums(made[mine:]))
        return self.moments.distance_of(total, products, self.batch - self.n_balanced)


def draw_given(draws: Draws, n: int, columns: int, share: float) -> Given:
    """Which columns are given: none in most rows, in a `share` of them about as many as chance says, from none to all."""
    some, many = draws.uniform(n, 1) < share, draws.uniform(n, 1)
    return (some & (draws.uniform(n, columns) < many)).float()
