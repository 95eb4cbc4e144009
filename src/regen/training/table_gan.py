"""The loop of the GAN of tables: R3GAN's loss and penalties (Huang et al., NeurIPS 2024) on rows of mixed types.

Columns are given at random and the generator makes the others; the discriminator sees real and made rows with the same
columns given (the game of GAIN, Yoon et al., ICML 2018). In some rows the label is given, each value as often, so that rare
ones are learnt (Xu et al., 2019). Beside its adversarial loss the generator lowers the distance of
the moments of what it makes from the real rows', which are known exactly. https://arxiv.org/abs/2501.05441
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor
from torch.optim import Optimizer

from regen.core.errors import CollapseError
from regen.core.sections.table_gan import TableGanConfig
from regen.core.seeds import derive
from regen.data.columns import Column
from regen.data.encoding import Encoded, TableEncoder
from regen.models.table_gan import Given, Layout, Rows, TableDiscriminator, TableGenerator
from regen.training import ema
from regen.training.draws import Draws
from regen.training.engine import Budget, Guard, State, spend
from regen.training.gan import LEAST_DIVERSITY, diversity
from regen.training.losses import LOSSES, gradient_norms
from regen.training.runtime import Runtime
from regen.training.schedules import cosine
from regen.training.table_calibration import calibrate
from regen.training.table_moments import Moments

BETA2 = (0.9, 0.99)
"""Adam's β₂ at the start and at the end."""
WASSERSTEIN_FACTOR = 100.0
"""λ of wgan-gp as a multiple of γ: 10, as published, at the default of 0.1."""
MOST_CLASSES = 10
LABEL_GIVEN = 0.5
"""How often the label is given in rows that are drawn as they come."""
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
        DivergenceError: a loss is not finite, again and again.
    """
    generator, discriminator = build(config, encoder, seed, label)
    generator.to(runtime.device)
    discriminator.to(runtime.device)
    layout, columns = generator.layout, len(encoder.columns)
    numbers, codes = (torch.from_numpy(part).to(runtime.device) for part in (rows.numbers, rows.codes))
    moments = Moments.of(layout, numbers, codes)
    average, labeller = ema.averaged_copy(generator), generator.labeller
    g_optimiser, d_optimiser = (
        torch.optim.Adam(net.parameters(), config.learning_rate, betas=(0.0, BETA2[0]), fused=True)
        for net in (generator.net, discriminator)
    )
    optimisers: dict[str, Optimizer] = {"generator": g_optimiser, "discriminator": d_optimiser}
    if labeller is not None:
        optimisers["labeller"] = torch.optim.AdamW(labeller.parameters(), config.learning_rate, fused=True)
    state = State(
        {"generator": generator, "discriminator": discriminator, "average": average}, optimisers,
        {"spent": torch.zeros((), dtype=torch.float64)},
    )  # fmt: skip
    loss, guard, n = LOSSES[config.loss], Guard(runtime), runtime.share(config.batch_size)
    draws = runtime.draws(seed, "table gan")

    balanced = Balanced.of(generator, codes)
    n_balanced = round(n * config.given_share / 2) if balanced else 0

    def real_rows() -> tuple[Rows, Given]:
        some = draws.integers(len(rows), n)
        given = draw_given(draws, n, columns, config.given_share)
        if balanced:
            some[:n_balanced] = balanced.draw(draws, n_balanced)
            given[:, balanced.column] = (draws.uniform(n) < LABEL_GIVEN).float()
            given[:n_balanced, balanced.column] = 1
        return layout.join(numbers[some], codes[some]), given

    def fake_rows(real: Rows, given: Given) -> Rows:
        noise = draws.uniform(n, layout.size - layout.n_numbers)
        made: Rows = generator(draws.normal(n, config.latent_dim), noise, real, given).float()
        return made

    def judged_with_slopes(seen: Rows, given: Given) -> tuple[Tensor, Tensor]:
        seen = seen.requires_grad_(True)
        logits = discriminator(seen, given).float()
        (slopes,) = torch.autograd.grad(logits.sum(), seen, create_graph=True)
        return logits, gradient_norms(slopes)

    def step(spent: float) -> dict[str, Tensor]:
        draws.start(state.steps)
        for optimiser in optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = state.rate * cosine(config.learning_rate, config.final_learning_rate, spent)
                group["betas"] = (group["betas"][0], cosine(*BETA2, spent))
        gamma = cosine(config.penalty_weight, config.penalty_weight / 10, spent)
        weight = WASSERSTEIN_FACTOR * config.penalty_weight if loss.penalised == "between" else gamma / 2

        discriminator.requires_grad_(True)
        (real, given), slope = real_rows(), torch.zeros((), device=runtime.device)
        with runtime.autocast():
            with torch.no_grad():
                fake = fake_rows(real, given)
            both, of_both = torch.cat([real, fake]), given.repeat(2, 1)
            if loss.penalised in ("real", "both"):
                logits, norms = judged_with_slopes(both, of_both)
                slope = norms[:n].mean() + (norms[n:].mean() if loss.penalised == "both" else 0)
            else:
                logits = discriminator(both, of_both).float()
            if loss.penalised == "between":
                share = draws.uniform(n, 1)
                norms = judged_with_slopes(share * real + (1 - share) * fake, given)[1]
                slope = ((norms + 1e-12).sqrt() - 1).square().mean()
        adversarial = loss.adversarial(*logits.chunk(2)).discriminator
        guard.step("the discriminator's", adversarial + weight * slope, discriminator, d_optimiser)

        discriminator.requires_grad_(False)
        real, given = real_rows()
        with runtime.autocast():
            real_logits = torch.zeros(n // config.pac, device=runtime.device)
            if loss.pairs:
                with torch.no_grad():
                    real_logits = discriminator(real, given).float()
            fake = fake_rows(real, given)
            trick = loss.adversarial(real_logits, discriminator(fake, given).float()).generator
        apart = moments.distance(fake[n_balanced:])
        guard.step("the generator's", trick + config.moments_weight * apart, generator.net, g_optimiser)
        of_label = torch.zeros((), device=runtime.device)
        if labeller is not None:
            with runtime.autocast(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(derive(seed, "table gan", "dropped", state.steps))
                logits_of_label = generator.label_logits(real).float()
            of_label = F.cross_entropy(logits_of_label, real[:, generator.positions].argmax(dim=1))
            guard.step("the labeller's", of_label, labeller, optimisers["labeller"])

        ema.update(average, generator, config.batch_size, config.ema_half_life_share * state.images)
        state.values["spent"].fill_(spent)  # noqa: PD011  no frame
        real_side, fake_side = logits.detach().chunk(2)
        return {
            "discriminator_loss": adversarial, "gradient_penalty": slope, "generator_loss": trick, "moments": apart,
            "label_loss": of_label,
            "confidence": runtime.mean(torch.sign(real_side if loss.has_zero else real_side - fake_side).mean()),
        }  # fmt: skip

    def inspect() -> None:
        fixed = torch.Generator().manual_seed(derive(seed, "table gan", "preview"))
        samples = average.make(INSPECTED, fixed, *average.nothing(INSPECTED)).cpu()
        some = torch.randint(len(rows), (INSPECTED,), generator=fixed).to(runtime.device)
        share = diversity(samples, layout.join(numbers[some], codes[some]).cpu())
        runtime.monitor.measure(state.images, {"diversity": share})
        if share < LEAST_DIVERSITY and float(state.values["spent"]) > 0.2:  # noqa: PD011
            text = f"the table GAN's rows differ {share:.2f} times as much as real ones, which is mode collapse"
            if config.stop_on_collapse:
                raise CollapseError(f"{text}; raise its penalty_weight or its moments_weight, or take its loss r3")
            runtime.monitor.warn(f"{text} (after {state.images:,} rows)")

    spend(Budget(config.rows, config.seconds), config.batch_size, state, step, runtime, guard, inspect)
    calibrate(average, rows, seed, numbers=config.encoding == "quantile")
    return TrainedTableGan(average.cpu(), discriminator.cpu().requires_grad_(True), state.curve)


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

    def draw(self, draws: Draws, n: int) -> Int64[Tensor, " n"]:
        """The numbers of `n` rows."""
        values = draws.integers(len(self.counts), n)
        places = (draws.uniform(n) * self.counts[values]).long().minimum(self.counts[values] - 1)
        return self.order[self.starts[values] + places]


def draw_given(draws: Draws, n: int, columns: int, share: float) -> Given:
    """Which columns are given: none in most rows, in a `share` of them about as many as chance says, from none to all."""
    some, many = draws.uniform(n, 1) < share, draws.uniform(n, 1)
    return (some & (draws.uniform(n, columns) < many)).float()
