"""The two networks of a GAN of tables: rows of mixed types, made from noise and from whatever columns are given.

A row is a vector of its numbers and of its codes, one-hot. The generator sees latents, the given columns and which they
are; it draws codes by a straight-through Gumbel softmax (Jang et al., 2017), so that the discriminator meets whole
categories only, and hands the given columns on as they are. In CTGAN (Xu et al., 2019) one category is given; here any
subset of the columns may be, numbers too. A label is drawn last, by what the other columns say: to make rows worth
learning from, CTAB-GAN (Zhao et al., 2021, https://arxiv.org/abs/2102.08369) lets a classifier correct the generator; here
the classifier of the real rows draws the label itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from regen.core.errors import ConfigError
from regen.data.encoding import CategoryColumn, Encoded, NumberColumn, TableEncoder

Rows = Float[Tensor, "n d"]
"""Encoded rows: the numbers, then every code, one-hot."""
Given = Float[Tensor, "n k"]
"""1 where a column is given and 0 where it is to be made."""
KNOTS = 512
"""Points of the map that takes what the generator makes of a number to what the real rows hold."""
DROPPED = 0.3
"""Share of the labeller's units that are dropped in training."""
CHUNK = 8192
"""Rows made at once."""


@dataclass(frozen=True)
class Layout:
    """Where each part of an encoded row stands."""

    n_numbers: int
    sizes: tuple[int, ...]
    """Of each code."""
    owners: tuple[int, ...]
    """The column of each position."""
    masks: tuple[tuple[int, int], ...]
    """The number and the position of each code that says whether that number is missing."""

    @classmethod
    def of(cls, encoder: TableEncoder) -> "Layout":
        """The layout of an encoder's rows."""
        numbers = [place for place, column in enumerate(encoder.columns) if isinstance(column, NumberColumn)]
        owners, masks, end = list(numbers), [], len(numbers)
        for place, column in enumerate(encoder.columns):
            for size in column.codes.values():
                owners += [place] * size
                end += size
            if isinstance(column, NumberColumn) and column.masked:
                masks.append((numbers.index(place), end - 1))
        return cls(len(numbers), tuple(encoder.code_sizes.values()), tuple(owners), tuple(masks))

    @property
    def size(self) -> int:
        """Dimensions of a row."""
        return len(self.owners)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each code begins."""
        return tuple(self.n_numbers + sum(self.sizes[:place]) for place in range(len(self.sizes)))

    def of_column(self, place: int) -> slice:
        """The positions of a column of categories."""
        mine = [position for position, owner in enumerate(self.owners) if owner == place]
        return slice(mine[0], mine[-1] + 1)

    def join(self, numbers: Float[Tensor, "n p"], codes: Int64[Tensor, "n q"]) -> Rows:
        """Rows of these numbers and codes."""
        rows = numbers.new_zeros(len(numbers), self.size)
        rows[:, : self.n_numbers] = numbers
        offsets = torch.tensor(self.offsets, dtype=torch.int64, device=codes.device)
        return rows.scatter_(1, codes + offsets, 1.0)

    def split(self, rows: Rows) -> Encoded:
        """The numbers and codes of rows."""
        parts = (
            [part.argmax(dim=1) for part in rows[:, self.n_numbers :].split(self.sizes, dim=1)] if self.sizes else []
        )
        codes = torch.stack(parts, dim=1) if parts else torch.zeros(len(rows), 0, dtype=torch.int64)
        return Encoded(rows[:, : self.n_numbers].cpu().numpy(), codes.cpu().numpy())


class Residual(nn.Module):
    """Vectors through blocks of two layers, each added to what came in; the last layer of a block starts at 0."""

    def __init__(self, size: int, width: int, depth: int, out: int) -> None:
        super().__init__()
        self.first = nn.Linear(size, width)
        self.blocks = nn.ModuleList(_block(width) for _ in range(depth))
        self.last = nn.Linear(width, out)

    def forward(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n o"]:
        hidden = self.first(vectors)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        found: Tensor = self.last(F.leaky_relu(hidden, 0.2))
        return found


def _block(width: int) -> nn.Sequential:
    last = nn.Linear(width, width)
    nn.init.zeros_(last.weight)
    return nn.Sequential(nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), last)


class Labeller(nn.Module):
    """Rows without their label to logits of it."""

    def __init__(self, size: int, width: int, out: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(size, width), nn.LeakyReLU(0.2), nn.Dropout(DROPPED),
            nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Dropout(DROPPED), nn.Linear(width, out),
        )  # fmt: skip

    def forward(self, rows: Rows, kept: Sequence[Float[Tensor, "n w"]] = ()) -> Float[Tensor, "n k"]:
        """The logits.

        Args:
            kept: 1 for each unit of each hidden layer that is not dropped, and 0 for the others; drawn if left out.
        """
        hidden, masks = rows, iter(kept)
        for layer in self.net:
            if kept and isinstance(layer, nn.Dropout):
                hidden = hidden * next(masks).to(hidden).div_(1 - layer.p)
            else:
                hidden = layer(hidden)
        return hidden


class TableGenerator(nn.Module):
    """Latents, drawn from N(0, I), and what is given to rows.

    Args:
        encoding: what `TableEncoder.to_json` gave.
        width: units of a hidden layer.
        depth: residual blocks.
        temperature: of the Gumbel softmax.
        label: the column of categories or truth values that is drawn last, from all the others.
    """

    owners: Tensor
    shift: Tensor
    label_shares: Tensor
    label_shift: Tensor
    made: Tensor
    real: Tensor

    def __init__(
        self, encoding: list[dict[str, Any]], width: int, depth: int, latent_dim: int, temperature: float,
        label: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.arguments = {
            "encoding": encoding, "width": width, "depth": depth, "latent_dim": latent_dim, "temperature": temperature,
            "label": label,
        }  # fmt: skip
        self.encoder = TableEncoder.of_json(encoding)
        self.layout, self.latent_dim, self.temperature = Layout.of(self.encoder), latent_dim, temperature
        columns = len(self.encoder.columns)
        self.net = Residual(latent_dim + self.layout.size + columns, width, depth, self.layout.size)
        self.label = label_of(self.encoder, label)
        self.positions = self.layout.of_column(self.label) if self.label is not None else slice(0, 0)
        out = self.positions.stop - self.positions.start
        self.labeller = Labeller(self.layout.size, width, out) if out else None
        self.register_buffer("owners", torch.tensor(self.layout.owners, dtype=torch.int64), persistent=False)
        self.register_buffer("shift", torch.zeros(self.layout.size - self.layout.n_numbers))  # of the codes' logits
        self.register_buffer("label_shares", torch.full((out,), 1 / max(out, 1)))
        self.register_buffer("label_shift", torch.zeros(out))  # of the labeller's logits
        grid = torch.linspace(-6, 6, KNOTS).repeat(self.layout.n_numbers, 1)
        self.register_buffer("made", grid)
        self.register_buffer("real", grid.clone())

    def forward(self, latents: Float[Tensor, "n z"], noise: Float[Tensor, "n c"], known: Rows, given: Given) -> Rows:
        """Rows that hold `known` wherever `given` says so.

        Args:
            noise: uniform numbers in [0, 1), one for each position of a code.
        """
        return self.draw(self.raw(latents, known, given), noise, known, given)

    def raw(self, latents: Float[Tensor, "n z"], known: Rows, given: Given) -> Rows:
        """Numbers and the codes' logits."""
        made: Tensor = self.net(torch.cat([latents, known * given[:, self.owners], given], dim=1))
        return made

    def draw(self, raw: Rows, noise: Float[Tensor, "n c"], known: Rows, given: Given) -> Rows:
        """Codes drawn by their logits; gradients pass as through a softmax of the temperature."""
        numbers = [raw[:, : self.layout.n_numbers]]
        logits = raw[:, self.layout.n_numbers :] + self.shift
        for part in (logits + gumbel(noise)).split(self.layout.sizes, dim=1) if self.layout.sizes else ():
            soft = F.softmax(part / self.temperature, dim=1)
            hard = F.one_hot(part.argmax(dim=1), part.shape[1]).to(soft)
            numbers.append(hard + (soft - soft.detach()))
        rows = self.without_missing(torch.cat(numbers, dim=1))
        shown = given[:, self.owners]
        return known * shown + rows * (1 - shown)

    def without_missing(self, rows: Rows) -> Rows:
        """The rows with 0 for each number whose code says that it is missing."""
        for number, mask in self.layout.masks:
            place = torch.tensor([number], device=rows.device)
            rows = rows.index_copy(1, place, rows[:, [number]] * (1 - rows[:, [mask]]))
        return rows

    @torch.no_grad()
    def sample(
        self, n: int, generator: torch.Generator, given: pd.DataFrame | Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """`n` rows in the types of the table; the same state of `generator` gives the same ones.

        Args:
            given: columns that are decided beforehand, as one value each or as `n` rows; the others are made to suit.

        Raises:
            ConfigError: a given column is not among the table's, or there are not as many rows.
            DataError: a given value is none that the training rows had.
        """
        frame = _as_rows(given, n, self.encoder)
        known, shown = self._known(frame, n)
        made = []
        for some, which in zip(known.split(CHUNK), shown.split(CHUNK), strict=True):
            rows = self.make(len(some), generator, some.to(self.owners.device), which.to(self.owners.device))
            made.append(self.encoder.inverse(self.layout.split(rows.cpu())))
        table = pd.concat(made, ignore_index=True)
        for name in frame:  # a number comes back from its encoding all but exact
            one_for_all = isinstance(given, Mapping) and bool(frame[name].notna().all())
            table[name] = frame[name].astype(table[name].dtype) if one_for_all else frame[name].array
        return table

    def make(self, n: int, generator: torch.Generator, known: Rows, given: Given) -> Rows:
        """Encoded rows whose numbers are distributed as the real rows' are."""
        device, codes = self.owners.device, self.layout.size - self.layout.n_numbers
        first, seen = self.first_label(generator, known, given)
        latents = torch.randn(n, self.latent_dim, generator=generator).to(device)
        rows = self(latents, torch.rand(n, codes, generator=generator).to(device), first, seen)
        for place, (made, real) in enumerate(zip(self.made, self.real, strict=True)):
            moved = np.interp(rows[:, place].cpu().numpy(), made.cpu().numpy(), real.cpu().numpy())
            free = given[:, self.owners[place]] == 0
            rows[:, place] = torch.where(free, torch.from_numpy(moved).to(rows), rows[:, place])
        rows = self.without_missing(rows)
        if self.labeller is not None:
            free = given[:, [self.label]] == 0
            noise = gumbel(torch.rand(n, self.layout.size, generator=generator)[:, self.positions].to(device))
            drawn = (self.label_logits(rows) + self.label_shift + noise).argmax(dim=1)
            labels = F.one_hot(drawn, noise.shape[1]).to(rows)
            rows[:, self.positions] = torch.where(free, labels, rows[:, self.positions])
        return rows

    def nothing(self, n: int) -> tuple[Rows, Given]:
        """What is given where no column is."""
        device = self.owners.device
        return torch.zeros(n, self.layout.size, device=device), torch.zeros(n, len(self.encoder.columns), device=device)

    def first_label(self, generator: torch.Generator, known: Rows, given: Given) -> tuple[Rows, Given]:
        """What is given, and a label drawn by its share in rows where nothing is: so rare labels' rows are made, too."""
        if self.label is None:
            return known, given
        drawn = torch.multinomial(self.label_shares.cpu(), max(len(known), 1), replacement=True, generator=generator)
        labels = F.one_hot(drawn[: len(known)], len(self.label_shares)).to(known)
        bare = (given.sum(dim=1, keepdim=True) == 0).to(known)
        known, given = known.clone(), given.clone()
        known[:, self.positions] += bare * labels
        given[:, self.label] += bare[:, 0]
        return known, given

    def label_logits(self, rows: Rows, kept: Sequence[Float[Tensor, "n w"]] = ()) -> Float[Tensor, "n k"]:
        """What the label may be, by all the other columns."""
        assert self.labeller is not None
        hidden = rows.clone()
        hidden[:, self.positions] = 0
        logits: Tensor = self.labeller(hidden, kept)
        return logits

    def _known(self, frame: pd.DataFrame, n: int) -> tuple[Rows, Given]:
        """The given columns encoded, 0 elsewhere, and which they are."""
        places = [place for place, column in enumerate(self.encoder.columns) if column.name in frame]
        given = torch.zeros(n, len(self.encoder.columns))
        given[:, places] = 1
        known = torch.zeros(n, self.layout.size)
        if places:
            part = TableEncoder(tuple(self.encoder.columns[place] for place in places))
            encoded = part.transform(frame)
            rows = Layout.of(part).join(torch.from_numpy(encoded.numbers), torch.from_numpy(encoded.codes))
            of_part = [place for place, owner in enumerate(self.layout.owners) if owner in places]
            known[:, of_part] = rows
        return known, given


def gumbel(uniform: Tensor) -> Tensor:
    """Gumbel noise of uniform numbers: the largest of logits with it is drawn by their softmax."""
    return -(-uniform.clamp(1e-9, 1 - 1e-7).log()).log()


def label_of(encoder: TableEncoder, label: str | None) -> int | None:
    """Where the label stands among the columns, if it is one of categories or truth values; numbers have no last draw."""
    for place, column in enumerate(encoder.columns):
        if column.name == label:
            return place if isinstance(column, CategoryColumn) else None
    return None


def _as_rows(given: pd.DataFrame | Mapping[str, Any] | None, n: int, encoder: TableEncoder) -> pd.DataFrame:
    frame = pd.DataFrame() if given is None else given
    if not isinstance(frame, pd.DataFrame):
        frame = pd.DataFrame({name: [value] * n for name, value in frame.items()})
    if unknown := [str(name) for name in frame if name not in encoder.names]:
        raise ConfigError(
            f"the table has no column {', '.join(unknown)} that could be given; it has {', '.join(encoder.names)}"
        )
    if len(frame.columns) and len(frame) != n:
        raise ConfigError(f"{n} rows need as many given ones, got {len(frame)}; give one value a column, or {n} rows")
    frame = frame.reset_index(drop=True)
    for column in encoder.columns:  # whose categories are known as text: 1 is none of 1.0 and 0.0
        if isinstance(column, CategoryColumn) and column.name in frame and pd.api.types.is_numeric_dtype(column.dtype):
            frame[column.name] = as_number(frame[column.name], column.dtype)
    return frame


def as_number(values: "pd.Series[Any]", dtype: str) -> "pd.Series[Any]":
    """The values in the type of numbers or truth values, if they are some; else as they are, for the encoder to refuse."""
    numbers = pd.to_numeric(values, errors="coerce")
    try:
        cast = numbers.astype(pd.api.types.pandas_dtype(dtype))
    except (ValueError, TypeError):
        return values
    told = numbers.notna()
    same = bool((cast[told] == numbers[told]).all()) and not (values.notna() & ~told).any()
    return (cast if told.all() else cast.astype("object").where(told, None)) if same else values


class TableDiscriminator(nn.Module):
    """Rows, and which of their columns were given, to logits: the higher, the more real; one for each pack of `pac` rows."""

    def __init__(self, size: int, columns: int, width: int, depth: int, pac: int = 1) -> None:
        super().__init__()
        self.arguments = {"size": size, "columns": columns, "width": width, "depth": depth, "pac": pac}
        self.pac = pac
        self.net = Residual(pac * (size + columns), width, depth, 1)

    def forward(self, rows: Rows, given: Given) -> Float[Tensor, " m"]:
        together = torch.cat([rows, given], dim=1)
        logits: Tensor = self.net(together.view(len(rows) // self.pac, -1)).squeeze(1)
        return logits
