"""The VAE (Kingma and Welling, 2014) for tables of mixed types, with σ calibrated per column (after Rybkin et al., 2021).

Numbers have Gaussian likelihoods, in three views at once (`normaliser.py`), categories have categorical ones, and so has
whether a number is missing; what is missing is seen as such and costs nothing else. Columns may be given: then encoder
and decoder see them and model the rest (Sohn et al., *CVAE*, 2015). Raw rows go in and come out: how they are normalised
is part of the model, and so are a prior refitted to the latents, the anomaly detector's reference rows, its calibration
and, where anomalies were known, a head that learned from them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log, pi
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from regen.core.errors import DataError
from regen.models import neighbours
from regen.models.cells import VIEWS, Cells, Layout
from regen.models.mixture import Mixture
from regen.models.mlp import mlp
from regen.models.normaliser import Normaliser
from regen.models.surprise import Surprise
from regen.models.table_inputs import Inputs, inputs_of, spaces_of, split_slots
from regen.models.vae import LOG_VARIANCE_RANGE, SCORE_SEED, gaussian_kl

CHUNK = 1024
"""Rows looked at together."""
HEAD_UNITS = 32
"""Units of the head's hidden layer."""
HALF_LOG_TAU = 0.5 * log(2 * pi)


class Look(NamedTuple):
    """What one look at rows found."""

    contributions: Float[Tensor, "n c"]
    """−E log p of each column."""
    views: Float[Tensor, "v n"]
    """−ELBO with the numbers in each of their views."""
    divergence: Float[Tensor, " n"]
    latents: Float[Tensor, "n d"]
    """Their means."""
    rarity: Float[Tensor, " n"]
    """−log density of the means under the refitted prior."""


@dataclass(frozen=True)
class Explanation:
    """Why rows were scored as they were; columns are counted with the numbers first."""

    contributions: Float[Tensor, "n c"]
    """Nats by which each column is less likely than it is in a normal row; 0 of a given column."""
    top: Int64[Tensor, "n k"]
    """The columns with the largest contributions, the largest first."""
    expected: Cells
    """What the model would expect in each cell."""


class TableVae(nn.Module):
    """Encoder of rows to a diagonal Gaussian over latents, decoder to a distribution of each cell.

    Args:
        layout: the columns; as a mapping where it comes from a file.
        n_reference: training rows that the anomaly score measures the distance to.
        neighbours: how many of the nearest ones it averages over; 0 leaves them out of the score.
        draws: latent draws the score averages over.
        supervised_weight: what a head that learned from known anomalies counts in the score; 0 where there is none.
    """

    given_slots: Tensor
    told_slots: Tensor
    modelled: Tensor
    log_sigma: Tensor
    typical: Tensor
    rarity: Tensor
    reference_numbers: Tensor
    reference_codes: Tensor
    reference_latents: Tensor
    spreads: Tensor
    head_mean: Tensor
    head_scale: Tensor
    threshold: Tensor

    def __init__(
        self,
        layout: Layout | Mapping[str, Any],
        widths: Sequence[int],
        latent_dim: int,
        n_reference: int = 0,
        neighbours: int = 0,
        draws: int = 16,
        supervised_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if isinstance(layout, Mapping):
            layout = Layout.from_json(layout)
        self.layout, self.latent_dim, self.draws = layout, latent_dim, draws
        self.neighbours, self.supervised_weight = min(neighbours, n_reference), supervised_weight
        self.arguments: dict[str, Any] = {
            "layout": asdict(layout), "widths": list(widths), "latent_dim": latent_dim, "n_reference": n_reference,
            "neighbours": neighbours, "draws": draws, "supervised_weight": supervised_weight,
        }  # fmt: skip
        """What rebuilds an untrained model of this shape; plain values, for `storage.save`."""
        given = [slot for slot, column in enumerate(layout.column_of_slot) if column in layout.given]
        self.register_buffer("given_slots", torch.tensor(given, dtype=torch.int64), persistent=False)
        modelled = [float(column not in layout.given) for column in range(layout.columns)]
        ranks = range(layout.numeric, 2 * layout.numeric)  # one view of a number tells the prior all of it
        told = [slot for slot in given if slot >= VIEWS * layout.numeric or slot in ranks]
        self.register_buffer("told_slots", torch.tensor(told, dtype=torch.int64), persistent=False)
        self.register_buffer("modelled", torch.tensor(modelled), persistent=False)
        self.encoder = mlp(layout.slots, *widths, 2 * latent_dim)
        self.decoder = mlp(latent_dim + len(given), *reversed(widths), layout.slots)
        self.normaliser, self.prior = Normaliser(layout.numeric), Mixture(latent_dim, len(told))
        self.register_buffer("log_sigma", torch.zeros(VIEWS * layout.numeric))
        self.register_buffer("typical", torch.zeros(layout.columns))
        self.register_buffer("rarity", torch.zeros(()))
        self.register_buffer("reference_numbers", torch.zeros(n_reference, layout.numeric, dtype=torch.float64))
        self.register_buffer("reference_codes", torch.zeros(n_reference, len(layout.sizes), dtype=torch.int64))
        self.register_buffer("reference_latents", torch.zeros(n_reference, latent_dim))
        self.register_buffer("spreads", torch.ones(VIEWS, n_reference, dtype=torch.float64))
        self.surprise = Surprise(len(self.parts))
        self.register_buffer("threshold", torch.tensor(float("inf"), dtype=torch.float64))
        if supervised_weight:
            features = layout.slots + latent_dim + layout.columns
            self.head, self.head_surprise = mlp(features, HEAD_UNITS, 1), Surprise(1)
            self.register_buffer("head_mean", torch.zeros(features))
            self.register_buffer("head_scale", torch.ones(features))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the anomaly score's parts."""
        alone = ("bound, z-scores", "bound, ranks", "bound, places", "latent density")
        beside = tuple(
            f"{what}, {view}" for view in ("z-scores", "ranks", "places") for what in ("distance", "isolation")
        )
        return (*alone, "latent distance", *beside) if self.neighbours else alone

    def inputs(self, cells: Cells) -> Inputs:
        """Raw rows as the networks see them.

        Raises:
            DataError: rows of other columns, or an infinite number.
        """
        return inputs_of(cells, self.layout, self.normaliser)

    def split(self, slots: Float[Tensor, "n s"]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Slots, or what was decoded for them: views of the numbers, flags, and each category's units."""
        return split_slots(slots, self.layout)

    def spaces(self, cells: Cells) -> list[Float64[Tensor, "n e"]]:
        """Rows in the three views, as points whose Euclidean distance tells how unlike they are."""
        return spaces_of(cells, self.layout, self.normaliser)

    def encode(self, slots: Float[Tensor, "n s"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Mean and log-variance of each row's latents; the latter clamped to [−8, 6]."""
        encoded: Tensor = self.encoder(slots)
        mean, log_variance = encoded.chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)

    def decode(self, latents: Float[Tensor, "n d"], slots: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
        """Each slot's mean or logit, of latents and of the given columns in `slots`."""
        if len(self.given_slots):
            latents = torch.cat([latents, slots[:, self.given_slots]], dim=1)
        raw: Tensor = self.decoder(latents)
        return raw

    def nats(self, inputs: Inputs, raw: Float[Tensor, "n s"]) -> tuple[Float[Tensor, "v n p"], Float[Tensor, "n c"]]:
        """−log p(cell | decoded): of each number in each view, and of each column's other part (missing, category)."""
        squared = ((self.split(inputs.slots)[0] - self.split(raw)[0]) / self.log_sigma.exp()).square()
        numbers = (0.5 * squared + self.log_sigma + HALF_LOG_TAU).unflatten(1, (VIEWS, self.layout.numeric))
        numbers = numbers * self.modelled[: self.layout.numeric]
        return numbers.masked_fill(inputs.absent[:, None], 0.0).transpose(0, 1), self.other_nats(inputs, raw)

    def other_nats(self, inputs: Inputs, raw: Float[Tensor, "n s"]) -> Float[Tensor, "n c"]:
        """−log p of what is no number: whether one is missing, and categories.

        What training never saw (a missing number where none was, an unknown category) counts as one in all its rows.
        """
        layout, (_, missing, units) = self.layout, self.split(inputs.slots)
        _, missing_logits, logits = self.split(raw)
        rest = torch.zeros(len(raw), layout.columns, device=raw.device)
        rest[:, : layout.numeric] = inputs.absent * self.rarity
        rest[:, list(layout.nullable)] = F.binary_cross_entropy_with_logits(missing_logits, missing, reduction="none")
        for place, (unit, logit) in enumerate(zip(units, logits, strict=True)):
            known = -(unit * logit.log_softmax(dim=1)).sum(dim=1)
            rest[:, layout.numeric + place] = known + inputs.unknown[:, place] * self.rarity
        return rest * self.modelled

    @torch.no_grad()
    def look(self, cells: Cells) -> Look:
        """−log p of each column under fixed draws of the latents, and the rest that scores are made of."""
        found = [self._look(self.inputs(some)) for some in cells.chunks(CHUNK)]
        parts = zip(*found, strict=True)
        return Look(*(torch.cat(part, dim=1 if place == 1 else 0) for place, part in enumerate(parts)))

    def _look(self, inputs: Inputs) -> Look:
        mean, log_variance = self.encode(inputs.slots)
        generator = torch.Generator().manual_seed(SCORE_SEED)
        views = torch.zeros(VIEWS, len(mean), device=mean.device)
        contributions = torch.zeros(len(mean), self.layout.columns, device=mean.device)
        for _ in range(self.draws):
            noise = torch.randn(self.latent_dim, generator=generator).to(mean)
            raw = self.decode(mean + (log_variance / 2).exp() * noise, inputs.slots)
            numbers, rest = self.nats(inputs, raw)
            views += (numbers.sum(dim=2) + rest.sum(dim=1)) / self.draws
            contributions += rest / self.draws
            contributions[:, : self.layout.numeric] += numbers.sum(dim=0) / self.draws
        divergence = gaussian_kl(mean, log_variance)
        rarity = -self.prior.log_density(mean, inputs.slots[:, self.told_slots])
        return Look(contributions, views + divergence, divergence, mean, rarity)

    def negative_elbo(self, cells: Cells) -> Float[Tensor, " n"]:
        """−ELBO under the calibrated decoder, in nats a row; lower is more normal, and one row has one value."""
        seen = self.look(cells)
        return seen.contributions.sum(dim=1) + seen.divergence

    @torch.no_grad()
    def score_parts(self, cells: Cells, seen: Look | None = None) -> Float[Tensor, "k n"]:
        """The parts of the anomaly score, in the order of `parts`; higher is stranger in each.

        −ELBO with the numbers in each of their views; −log density of the latents under the refitted prior; then, with
        neighbours, the mean distance to the nearest reference rows in latents, and in each view the mean distance to
        them and how isolated the row is for its surroundings.
        """
        seen = self.look(cells) if seen is None else seen
        alone = [*seen.views, seen.rarity]
        if not self.neighbours:
            return torch.stack(alone)
        found = [
            neighbours.nearest(some, self.reference_latents, self.neighbours).distances.mean(dim=1)
            for some in seen.latents.split(CHUNK)
        ]
        parts = [*alone, torch.cat(found)]
        reference = self.spaces(self.reference)
        for view, (rows, those) in enumerate(zip(self.spaces(cells), reference, strict=True)):
            near = [neighbours.nearest(some, those, self.neighbours) for some in rows.split(CHUNK)]
            parts.append(torch.cat([one.distances.mean(dim=1) for one in near]))
            parts.append(torch.cat([neighbours.isolation(one, self.spreads[view]) for one in near]))
        return torch.stack([part.double() for part in parts])

    @property
    def reference(self) -> Cells:
        """The reference rows."""
        return Cells(self.reference_numbers, self.reference_codes)

    @torch.no_grad()
    def anomaly_score(self, cells: Cells) -> Float64[Tensor, " n"]:
        """How unlike the training rows each row is, in nats of surprise; higher is stranger, and one row has one score.

        The median of its parts' surprises, so that a view which does not suit the table cannot spoil the others; without
        neighbours `vae_score`. A head that learned from known anomalies has its share of it.
        """
        seen = self.look(cells)
        surprises = self.surprise(self.score_parts(cells, seen))
        score = middle(surprises) if self.neighbours else surprises.mean(dim=0)
        if not self.supervised_weight:
            return score
        learned: Tensor = self.head_surprise(self.log_odds(cells, seen)[None])[0]
        return (1 - self.supervised_weight) * score + self.supervised_weight * learned

    @torch.no_grad()
    def vae_score(self, cells: Cells) -> Float64[Tensor, " n"]:
        """The same from the VAE alone: the mean surprise of the bounds and of the latents' density."""
        seen = self.look(cells)
        surprises: Tensor = self.surprise(torch.stack([*seen.views, seen.rarity]))
        return surprises.mean(dim=0)

    def head_features(self, seen: Look, slots: Float[Tensor, "n s"]) -> Float[Tensor, "n f"]:
        """What the head looks at: the row, its latents, and how unlikely each column is."""
        excess = seen.contributions - self.typical
        features = torch.cat([slots, seen.latents, excess.sign() * excess.abs().log1p()], dim=1)
        return ((features - self.head_mean) / self.head_scale).clamp(-10, 10)

    def log_odds(self, cells: Cells, seen: Look | None = None) -> Float[Tensor, " n"]:
        """Log-odds that a row is such an anomaly as were known, half of all rows being so."""
        slots = torch.cat([self.inputs(some).slots for some in cells.chunks(CHUNK)])
        odds: Tensor = self.head(self.head_features(self.look(cells) if seen is None else seen, slots)).squeeze(1)
        return odds

    def is_anomaly(self, scores: Float64[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Whether each score lies above the calibrated threshold."""
        return scores > self.threshold

    @torch.no_grad()
    def explain(self, cells: Cells, top: int = 3) -> Explanation:
        """Which columns make each row unlikely, and what was to be expected there."""
        excess = (self.look(cells).contributions - self.typical) * self.modelled
        most = min(top, self.layout.columns)
        return Explanation(excess, excess.topk(most, dim=1).indices, self.reconstruct(cells))

    @torch.no_grad()
    def reconstruct(self, cells: Cells) -> Cells:
        """Each row decoded from the mean of its latents: means of numbers, likeliest categories; given cells as given."""
        found = []
        for some in cells.chunks(CHUNK):
            slots = self.inputs(some).slots
            decoded, _, logits = self.split(self.decode(self.encode(slots)[0], slots))
            codes = [logit.argmax(dim=1) for logit in logits]
            found.append(self._cells(self._ranks(decoded), codes, some))
        return Cells(torch.cat([f.numbers for f in found]), torch.cat([f.codes for f in found]))

    def _ranks(self, decoded: Float[Tensor, "n v"]) -> Float[Tensor, "n p"]:
        return decoded[:, self.layout.numeric : 2 * self.layout.numeric]

    def _cells(self, scores: Float[Tensor, "n p"], codes: Sequence[Tensor], given: Cells) -> Cells:
        """Raw rows of normal scores and codes, with the given cells in their places."""
        numbers = self.normaliser.numbers_of(scores)
        joined = torch.stack(list(codes), dim=1) if codes else given.codes.clone()
        for column in self.layout.given:
            if column < self.layout.numeric:
                numbers[:, column] = given.numbers[:, column]
            else:
                joined[:, column - self.layout.numeric] = given.codes[:, column - self.layout.numeric]
        return Cells(numbers, joined)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, given: Cells | None = None) -> Cells:
        """`n` rows in the table's own units; the same state gives the same ones.

        Args:
            given: rows whose given columns the new rows have, one each; drawn from the reference rows when absent.

        Raises:
            DataError: `given` holds another number of rows, or there are no reference rows to draw from.
        """
        given = self._given(n, generator, given)
        latents, found = (
            self.prior.draw(self.inputs(given).slots[:, self.told_slots], generator).to(self.log_sigma.device),
            [],
        )
        for some, of in zip(latents.split(CHUNK), given.chunks(CHUNK), strict=True):
            decoded, missing, logits = self.split(self.decode(some, self.inputs(of).slots))
            log_sigma = self._ranks(self.log_sigma[None])
            noise = torch.randn(len(some), self.layout.numeric, generator=generator).to(some)
            codes = [
                torch.multinomial(one.softmax(dim=1).cpu(), 1, generator=generator)[:, 0].to(some.device)
                for one in logits
            ]
            rows = self._cells(self._ranks(decoded) + log_sigma.exp() * noise, codes, of)
            left_out = (
                torch.rand(len(some), len(self.layout.nullable), generator=generator).to(some) < missing.sigmoid()
            )
            for place, column in enumerate(self.layout.nullable):
                if column not in self.layout.given:
                    rows.numbers[left_out[:, place], column] = torch.nan
            found.append(rows)
        return Cells(torch.cat([f.numbers for f in found]).cpu(), torch.cat([f.codes for f in found]).cpu())

    def _given(self, n: int, generator: torch.Generator, given: Cells | None) -> Cells:
        device = self.log_sigma.device
        if given is not None:
            self.layout.require(given)
            if len(given) != n:
                raise DataError(f"{len(given)} rows are given for {n} samples; give one a sample")
            return given.to(device)
        if not self.layout.given:
            layout = self.layout
            numbers = torch.zeros(n, layout.numeric, dtype=torch.float64, device=device)
            return Cells(numbers, torch.zeros(n, len(layout.sizes), dtype=torch.int64, device=device))
        if not len(self.reference_numbers):
            raise DataError("no reference rows are kept to draw the given columns from; pass them as `given`")
        return self.reference.take(torch.randint(len(self.reference_numbers), (n,), generator=generator).to(device))


def middle(values: Float[Tensor, "k n"]) -> Float[Tensor, " n"]:
    """The median over the first axis, of an even number the mean of the two in the middle.

    Example:
        >>> middle(torch.tensor([[1.0], [9.0], [4.0], [2.0]]))
        tensor([3.])
    """
    ordered, k = values.sort(dim=0).values, len(values)
    return (ordered[(k - 1) // 2] + ordered[k // 2]) / 2
