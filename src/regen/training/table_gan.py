"""The loop of the GAN of tables: R3GAN's loss and penalties (Huang et al., NeurIPS 2024) on rows of mixed types.

Columns are given at random and the generator makes the others; the discriminator sees real and made rows with the same
columns given (the game of GAIN, Yoon et al., ICML 2018). Beside its adversarial loss the generator lowers the distance of
the moments of what it makes from the real rows', which are known exactly. https://arxiv.org/abs/2501.05441
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from regen.core.errors import CollapseError
from regen.core.sections.table_gan import TableGanConfig
from regen.core.seeds import derive
from regen.data.columns import Column
from regen.data.encoding import Encoded, TableEncoder
from regen.models.table_gan import DROPPED, Given, Layout, Rows, TableDiscriminator, TableGenerator
from regen.training import ema
from regen.training.critic import CriticLosses, away_from_one, confidence_of
from regen.training.draws import Draws
from regen.training.engine import Budget, Guard, State, spend
from regen.training.gan import BETA2, LEAST_DIVERSITY, anneal, diversity
from regen.training.losses import LOSSES, Loss, gradient_norms
from regen.training.runtime import Runtime
from regen.training.schedules import cosine
from regen.training.table_calibration import calibrate
from regen.training.table_draws import RealRows

WASSERSTEIN_FACTOR = 100.0
"""λ of wgan-gp as a multiple of γ: 10, as published, at the default of 0.1."""
MOST_CLASSES = 10
INSPECTED = 512
"""Rows whose diversity is measured."""


@dataclass(frozen=True)
class TrainedTableGan:
    """What the training gives."""

    generator: TableGenerator
    """The moving average of the generator's weights, calibrated, which is what is sampled from."""
    discriminator: TableDiscriminator
    curve: list[dict[str, float]]


def fit_table_gan(
    config: TableGanConfig, frame: pd.DataFrame, columns: Sequence[Column], seed: int, runtime: Runtime,
    label: str | None = None,
) -> TrainedTableGan:  # fmt: skip
    """Fits the encoding to the rows of a frame, then trains on them; what `train_table_gan` raises, and DataError.

    Args:
        columns: those to be made, such as a schema's `modelled` and its label.
        label: the column that is drawn last, from all the others; one of a few whole numbers is taken for categories.
    """
    columns = [as_classes(column, frame) if column.name == label else column for column in columns]
    encoder = TableEncoder.fit(frame, columns, config.encoding, derive(seed, "table gan", "encoding"))
    rng = np.random.default_rng(derive(seed, "table gan", "spread"))
    return train_table_gan(config, encoder, encoder.transform(frame, rng), seed, runtime, label)


def as_classes(label: Column, frame: pd.DataFrame) -> Column:
    """The label as a column of categories if it holds at most `MOST_CLASSES` whole numbers, such as 0 and 1; else as it is."""
    if label.kind not in ("numeric", "integer") or label.name not in frame:
        return label
    known = frame[label.name].dropna().unique()
    if len(known) > MOST_CLASSES or any(value != round(value) for value in known):
        return label
    return Column(label.name, "categorical", label.nullable, categories=tuple(str(value) for value in sorted(known)))


def build(
    config: TableGanConfig, encoder: TableEncoder, seed: int, label: str | None = None
) -> tuple[TableGenerator, TableDiscriminator]:
    """Untrained networks, their weights drawn from `seed`."""
    size, columns = Layout.of(encoder).size, len(encoder.columns)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "table gan", "discriminator"))
        discriminator = TableDiscriminator(size, columns, config.width, config.depth, config.pac)
        torch.manual_seed(derive(seed, "table gan", "generator"))
        parts = (config.width, config.depth, config.latent_dim, config.temperature, label)
        return TableGenerator(encoder.to_json(), *parts), discriminator


def train_table_gan(
    config: TableGanConfig, encoder: TableEncoder, rows: Encoded, seed: int, runtime: Runtime,
    label: str | None = None,
) -> TrainedTableGan:  # fmt: skip
    """Trains a generator of rows like `rows`, which `encoder` encoded.

    Raises:
        CollapseError: the samples have lost their diversity, and `stop_on_collapse` is set.
        DeviceError: the batch cannot be dealt out to the devices in whole packs.
        DivergenceError: a loss is not finite, again and again.
    """
    game, budget = _Game.of(config, encoder, rows, seed, runtime, label), Budget(config.rows, config.seconds)
    spend(budget, config.batch_size, game.state, game.step, runtime, game.guard, game.inspect)
    calibrate(game.average, rows, seed, numbers=config.encoding == "quantile")
    return TrainedTableGan(game.average.cpu(), game.discriminator.cpu().requires_grad_(True), game.state.curve)


@dataclass(frozen=True)
class _Game:
    """The networks, what they learn from, and a turn of each."""

    config: TableGanConfig
    seed: int
    runtime: Runtime
    generator: TableGenerator
    discriminator: TableDiscriminator
    average: TableGenerator
    """Of the generator's weights."""
    optimisers: dict[str, Optimizer]
    state: State
    guard: Guard
    draws: Draws
    dropping: Draws
    """Which of the labeller's units are dropped."""
    real: RealRows

    @classmethod
    def of(
        cls, config: TableGanConfig, encoder: TableEncoder, rows: Encoded, seed: int, runtime: Runtime,
        label: str | None,
    ) -> "_Game":  # fmt: skip
        """The game before its first turn."""
        generator, discriminator = build(config, encoder, seed, label)
        generator.to(runtime.device)
        discriminator.to(runtime.device)
        real, average, labeller = (
            RealRows.of(config, generator, rows, runtime), ema.averaged_copy(generator), generator.labeller
        )  # fmt: skip
        optimisers: dict[str, Optimizer] = {
            name: torch.optim.Adam(net.parameters(), config.learning_rate, betas=(0.0, BETA2[0]), fused=True)
            for name, net in (("generator", generator.net), ("discriminator", discriminator))
        }
        if labeller is not None:
            optimisers["labeller"] = torch.optim.AdamW(labeller.parameters(), config.learning_rate, fused=True)
        state = State(
            {"generator": generator, "discriminator": discriminator, "average": average}, optimisers,
            {"spent": torch.zeros((), dtype=torch.float64)},
        )  # fmt: skip
        return cls(
            config, seed, runtime, generator, discriminator, average, optimisers, state, Guard(runtime),
            runtime.draws(seed, "table gan"), runtime.draws(seed, "table gan:dropped"), real,
        )  # fmt: skip

    def step(self, spent: float) -> dict[str, Tensor]:
        """A turn of the discriminator, one of the generator, and one of the labeller if there is one."""
        config, state, loss = self.config, self.state, LOSSES[self.config.loss]
        self.draws.start(state.steps)
        first, last = config.learning_rate, config.final_learning_rate
        anneal(self.optimisers.values(), first, last, state.rate, spent)
        gamma = cosine(config.penalty_weight, config.penalty_weight / 10, spent)
        weight = WASSERSTEIN_FACTOR * config.penalty_weight if loss.penalised == "between" else gamma / 2

        adversarial, slope, logits = self._discriminate(loss, weight)
        real, given = self.real.draw(self.draws)
        trick, apart = self._generate(loss, real, given)
        of_label = self._label(real)

        ema.update(self.average, self.generator, config.batch_size, config.ema_half_life_share * state.images)
        state.values["spent"].fill_(spent)  # noqa: PD011  no frame
        return {
            "discriminator_loss": adversarial, "gradient_penalty": slope, "generator_loss": trick, "moments": apart,
            "label_loss": of_label, "confidence": self.runtime.mean(confidence_of(loss, logits)),
        }  # fmt: skip

    def _fake(self, real: Rows, given: Given) -> Rows:
        noise = self.draws.uniform(self.real.n, self.real.layout.size - self.real.layout.n_numbers)
        made: Rows = self.generator(self.draws.normal(self.real.n, self.config.latent_dim), noise, real, given).float()
        return made

    def _discriminate(self, loss: Loss, weight: float) -> CriticLosses:
        self.discriminator.requires_grad_(True)
        real, given = self.real.draw(self.draws)
        with self.runtime.autocast():
            with torch.no_grad():
                fake = self._fake(real, given)
            found = table_critic_losses(loss, self.discriminator, real, fake, given, self.draws)
        total = found.adversarial + weight * found.slope
        self.guard.step("the discriminator's", total, self.discriminator, self.optimisers["discriminator"])
        return found

    def _generate(self, loss: Loss, real: Rows, given: Given) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Its adversarial loss, and how far its moments are from the real ones."""
        self.discriminator.requires_grad_(False)
        with self.runtime.autocast():
            real_logits = torch.zeros(self.real.n // self.config.pac, device=self.runtime.device)
            if loss.pairs:
                with torch.no_grad():
                    real_logits = self.discriminator(real, given).float()
            fake = self._fake(real, given)
            trick = loss.adversarial(real_logits, self.discriminator(fake, given).float()).generator
        apart = self.real.distance(fake, self.runtime)
        total = trick + self.config.moments_weight * apart
        self.guard.step("the generator's", total, self.generator.net, self.optimisers["generator"])
        return trick, apart

    def _label(self, real: Rows) -> Float[Tensor, ""]:
        if self.generator.labeller is None:
            return torch.zeros((), device=self.runtime.device)
        self.dropping.start(self.state.steps)
        kept = [self.dropping.kept(self.real.n, 1 - DROPPED, self.config.width) for _ in range(2)]
        with self.runtime.autocast():
            logits = self.generator.label_logits(real, kept).float()
        found = F.cross_entropy(logits, real[:, self.generator.positions].argmax(dim=1))
        self.guard.step("the labeller's", found, self.generator.labeller, self.optimisers["labeller"])
        return found

    def inspect(self) -> None:
        """Tells of a collapse of the rows' diversity.

        Raises:
            CollapseError: there is one, and `stop_on_collapse` is set.
        """
        state, real = self.state, self.real
        fixed = torch.Generator().manual_seed(derive(self.seed, "table gan", "preview"))
        samples = self.average.make(INSPECTED, fixed, *self.average.nothing(INSPECTED)).cpu()
        some = torch.randint(len(real.numbers), (INSPECTED,), generator=fixed).to(self.runtime.device)
        share = diversity(samples, real.take(some).cpu())
        self.runtime.monitor.measure(state.images, {"diversity": share})
        if share < LEAST_DIVERSITY and float(state.values["spent"]) > 0.2:  # noqa: PD011
            text = f"the table GAN's rows differ {share:.2f} times as much as real ones, which is mode collapse"
            if self.config.stop_on_collapse:
                raise CollapseError(f"{text}; raise its penalty_weight or its moments_weight, or take its loss r3")
            self.runtime.monitor.warn(f"{text} (after {state.images:,} rows)")


def table_critic_losses(
    loss: Loss, critic: TableDiscriminator, real: Rows, fake: Rows, given: Given, draws: Draws
) -> CriticLosses:
    """The discriminator's losses on real and made rows with the same columns given; logits are of packs."""

    def with_norms(seen: Rows, given: Given) -> tuple[Tensor, Tensor]:
        seen = seen.requires_grad_(True)
        logits = critic(seen, given).float()
        (slopes,) = torch.autograd.grad(logits.sum(), seen, create_graph=True)
        return logits, gradient_norms(slopes)

    n, slope = len(real), torch.zeros((), device=real.device)
    both, of_both = torch.cat([real, fake]), given.repeat(2, 1)
    if loss.penalised in ("real", "both"):
        logits, norms = with_norms(both, of_both)
        slope = norms[:n].mean() + (norms[n:].mean() if loss.penalised == "both" else 0)
    else:
        logits = critic(both, of_both).float()
    if loss.penalised == "between":
        share = draws.uniform(n, 1)
        slope = away_from_one(with_norms(share * real + (1 - share) * fake, given)[1])
    return CriticLosses(loss.adversarial(*logits.chunk(2)).discriminator, slope, logits)
