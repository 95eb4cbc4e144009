"""Witnesses: small classifiers of the training rows, by which a tuned generator's samples shall look as before on average.

A taste moves samples in a direction of its own; what else moves with it is waste. The mean features of a batch, before and
after on the same latents, tell that with little noise (feature matching, Salimans et al., 2016,
https://arxiv.org/abs/1606.03498). No witness has seen a row that the extractor was trained on, and none decides anything,
so that a Fréchet distance in the extractor's space is no measure of what tuning was after.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from regen.core.sections.models import ExtractorConfig
from regen.core.seeds import derive
from regen.models import storage
from regen.models.extractor import Extractor
from regen.training.extractor import train_extractor
from regen.training.rows import Rows
from regen.training.runtime import Runtime, Silent

COUNT = 2
SHARE = 0.5
"""A witness's budget as a share of the extractor's."""
SCALED_ON = 2048
"""Rows that the features' spread is measured on."""


@dataclass(frozen=True)
class Witnesses:
    """Frozen classifiers and the spread of their features over real rows."""

    networks: Sequence[Extractor]
    spreads: Sequence[float]
    """Summed variances of each one's features."""

    def shift(self, images: Float[Tensor, "n c h w"], before: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
        """Squared distance of the mean features from those before, over the features' spread, the mean over witnesses."""
        found = [
            (network.body(2 * images - 1) - network.body(2 * before - 1)).float().mean(dim=0).square().sum() / spread
            for network, spread in zip(self.networks, self.spreads, strict=True)
        ]
        return torch.stack(found).mean()

    def to(self, device: torch.device) -> "Witnesses":
        """The same on a device."""
        return replace(self, networks=[network.to(device).requires_grad_(False) for network in self.networks])


def train_witnesses(config: ExtractorConfig, rows: Rows, n_classes: int, seed: int, runtime: Runtime) -> Witnesses:
    """Trains them on the generator's own training rows, each from weights of its own.

    Raises:
        DivergenceError: a loss is not finite, again and again.
    """
    fewer = config.model_copy(update={"images": max(int(config.images * SHARE), 1)})
    networks = []
    for place in range(COUNT):
        kept = runtime.checkpoints and replace(
            runtime.checkpoints, folder=runtime.checkpoints.folder / f"witness-{place}"
        )
        aside = replace(runtime, monitor=Silent(), checkpoints=kept)
        networks.append(train_extractor(fewer, rows, n_classes, derive(seed, "witness", place), aside).extractor)
    return of(networks, rows)


def of(networks: Sequence[Extractor], rows: Rows) -> Witnesses:
    """Witnesses that see as these networks do."""
    images = torch.cat([batch.images for batch in rows.thinned(SCALED_ON).chunks(torch.device("cpu"))])
    spreads = [float(network.features(images).var(dim=0).sum().clamp_min(1e-12)) for network in networks]
    return Witnesses([network.cpu().eval().requires_grad_(False) for network in networks], spreads)


def save(folder: Path, witnesses: Witnesses, config: ExtractorConfig, shape: tuple[int, ...], n_classes: int) -> None:
    """Writes the networks, so that `load` reads them."""
    for place, network in enumerate(witnesses.networks):
        storage.save(
            folder / f"witness-{place}", "extractor", network, shape=shape, width=config.width, features=config.features,
            n_classes=n_classes,
        )  # fmt: skip


def load(folder: Path, rows: Rows) -> Witnesses | None:
    """The witnesses in a folder; None where there are none."""
    places = [folder / f"witness-{place}" for place in range(COUNT)]
    if not all((place / "extractor.json").exists() for place in places):
        return None
    return of([storage.load(place, "extractor") for place in places], rows)
