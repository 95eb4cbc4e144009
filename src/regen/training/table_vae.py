"""The table VAE's loop (Kingma and Welling, 2014): σ of each column at its best value (Rybkin et al., 2021), β warm-up.

After the loop the model is calibrated: σ, the prior and the anomaly detector are fitted to rows, weights untouched, and
a head learns from known anomalies, if there are any.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from regen.core.errors import DataError, DeviceError
from regen.core.sections.table_vae import TableVaeConfig
from regen.core.seeds import derive
from regen.models import neighbours
from regen.models.cells import VIEWS, Cells, Layout
from regen.models.table_inputs import Inputs
from regen.models.table_vae import HALF_LOG_TAU, TableVae
from regen.models.vae import gaussian_kl_terms
from regen.training import ema
from regen.training.draws import Draws
from regen.training.engine import Budget, Guard, State, spend
from regen.training.runtime import Runtime
from regen.training.schedules import cosine, ramp
from regen.training.vae import ACTIVE_VARIANCE, INSPECTED, LARGEST_GRADIENT, grant_free_nats

LEAST_LOG_SIGMA = -4.0
"""σ is soft-clipped here, so that a column that is the same in every row does not blow the likelihood up."""
HEAD_STEPS, HEAD_BATCH, HEAD_LEARNING_RATE, HEAD_DECAY = 400, 128, 2e-3, 1e-2
"""How the head learns: AdamW on batches of as many normal rows as anomalies."""
CHUNK = 4096
"""Rows that are prepared at a time."""


@dataclass(frozen=True)
class TrainedTableVae:
    """What a table VAE's training gives."""

    vae: TableVae
    """The moving average of the weights, calibrated."""
    curve: list[dict[str, float]]


def build(config: TableVaeConfig, layout: Layout, n_reference: int, seed: int, *, supervised: bool = False) -> TableVae:
    """An untrained VAE, its weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "table vae", "weights"))
        return TableVae(
            layout, config.widths, config.latent_dim, n_reference, config.score_neighbours, config.score_draws,
            config.supervised_weight if supervised else 0.0,
        )  # fmt: skip


def log_sigma_of(mse: Float[Tensor, " v"], numeric: int) -> Float[Tensor, " v"]:
    """½·log of each column's MSE, the log σ under which it is likeliest, soft-clipped at −4; places share one σ.

    With a σ of its own a column that hardly ever changes would count more than all others, the day it does.

    Example:
        >>> log_sigma_of(torch.tensor([1.0, 4.0, 1.0, 1.0, 2.0, 0.0]), 2)
        tensor([0.0181, 0.7023, 0.0181, 0.0181, 0.0181, 0.0181])
    """
    own, places = mse.split([(VIEWS - 1) * numeric, numeric])
    joined = torch.cat([own, places.mean().expand(numeric)]) if numeric else mse
    return LEAST_LOG_SIGMA + F.softplus(0.5 * joined.clamp_min(1e-12).log() - LEAST_LOG_SIGMA)


def mean_squares(vae: TableVae, inputs: Inputs, raw: Float[Tensor, "n s"]) -> Float[Tensor, " v"]:
    """Mean squared error of each view of each number, over the rows where it is present."""
    squared = (vae.split(inputs.slots)[0] - vae.split(raw)[0]).square()
    if not vae.layout.nullable:
        return squared.mean(dim=0)
    present = (~inputs.absent).float().repeat(1, VIEWS)
    return (squared * present).sum(dim=0) / present.sum(dim=0).clamp_min(1)


def mean_nll(
    vae: TableVae, inputs: Inputs, raw: Float[Tensor, "n s"], mse: Float[Tensor, " v"], log_sigma: Float[Tensor, " v"]
) -> Float[Tensor, ""]:
    """The mean over rows of all of `vae.nats`; the numbers' part is a function of their mean squared errors alone."""
    layout = vae.layout
    each = 0.5 * mse * (-2 * log_sigma).exp() + log_sigma + HALF_LOG_TAU
    shares = vae.modelled[: layout.numeric].repeat(VIEWS)
    if layout.nullable:
        shares = shares * (~inputs.absent).float().mean(dim=0).repeat(VIEWS)
    nll = (each * shares).sum()
    return nll + vae.other_nats(inputs, raw).sum() / len(raw) if layout.nullable or layout.sizes else nll


def train_table_vae(
    config: TableVaeConfig,
    layout: Layout,
    rows: Cells,
    held_out: Cells,
    seed: int,
    runtime: Runtime,
    anomalies: Cells | None = None,
) -> TrainedTableVae:
    """Trains on `rows` and calibrates on `held_out`, normal rows that training never saw.

    Args:
        anomalies: known anomalies that a head shall learn from; without any the score is unsupervised.

    Raises:
        DataError: fewer than two rows to train or to calibrate on, or a missing number where the layout has none.
        DeviceError: the device knows no float64, which dates need.
        DivergenceError: a loss is not finite, again and again.
    """
    _require(layout, rows, held_out)
    if runtime.device.type == "mps":
        raise DeviceError("a table's numbers are kept in float64, which mps does not know; set training.device to cpu")
    supervised = anomalies is not None and len(anomalies) > 0 and config.supervised_weight > 0
    loop = _Loop.of(config, layout, rows, held_out, seed, runtime)
    spend(loop.budget, config.batch_size, loop.state, loop.step, runtime, loop.guard, loop.inspect)
    reference = rows.thinned(config.score_reference)
    final = build(config, layout, len(reference), seed, supervised=supervised).to(runtime.device)
    final = final.requires_grad_(False).eval()
    final.load_state_dict(
        dict(loop.average.named_parameters()), strict=False
    )  # whose buffers are sized for no reference
    final.normaliser.load_state_dict(loop.vae.normaliser.state_dict())
    final.rarity.fill_(len(rows) + 2.0).log_()
    calibrate(final, reference.to(runtime.device), held_out.to(runtime.device), config, seed)
    if supervised:
        assert anomalies is not None
        train_head(
            final, rows.to(runtime.device), held_out.to(runtime.device), anomalies.to(runtime.device), config, seed
        )
    return TrainedTableVae(final.cpu(), loop.state.curve)


@dataclass(frozen=True)
class _Loop:
    """The network, what it learns from, and a step of it."""

    config: TableVaeConfig
    runtime: Runtime
    vae: TableVae
    average: TableVae
    """Of its weights."""
    weights: nn.ParameterList
    averages: nn.ParameterList
    """The parameters of both, found quicker than in a tree."""
    optimiser: Optimizer
    state: State
    budget: Budget
    guard: Guard
    draws: Draws
    take: Callable[[int], Inputs]
    """The rows of a step."""
    shown: Float[Tensor, "n s"]
    """Held-out rows to look at."""

    @classmethod
    def of(
        cls, config: TableVaeConfig, layout: Layout, rows: Cells, held_out: Cells, seed: int, runtime: Runtime
    ) -> "_Loop":
        """The loop before its first step."""
        vae = build(config, layout, 0, seed).to(runtime.device)
        vae.normaliser.fit(rows.numbers.to(runtime.device))
        average = ema.averaged_copy(vae)
        optimiser = torch.optim.AdamW(vae.parameters(), config.learning_rate, fused=True)
        state = State(
            {"vae": vae, "average": average}, {"vae": optimiser}, {"free_nats": torch.zeros((), device=runtime.device)}
        )
        weights, averages = (nn.ParameterList(one.parameters()) for one in (vae, average))
        take = feed(vae, rows, runtime.share(config.batch_size), runtime.draws(seed, "table vae rows"))
        shown = vae.inputs(held_out.thinned(INSPECTED).to(runtime.device)).slots
        return cls(
            config, runtime, vae, average, weights, averages, optimiser, state, Budget(config.rows, config.seconds),
            Guard(runtime), runtime.draws(seed, "table vae"), take, shown,
        )  # fmt: skip

    def step(self, spent: float) -> dict[str, Tensor]:
        """Lowers −ELBO, each column's σ being at its best value for the batch."""
        config, state, vae = self.config, self.state, self.vae
        self.draws.start(state.steps)
        self.optimiser.param_groups[0]["lr"] = state.rate * cosine(config.learning_rate, 0.0, spent)
        beta = ramp(1.0, config.warmup_share, spent)

        real = self.take(state.steps)
        with self.runtime.autocast():
            mean, log_variance = vae.encode(real.slots)
            noise = self.draws.normal(len(mean), config.latent_dim)
            raw = vae.decode(mean + (log_variance / 2).exp() * noise, real.slots).float()
        mean, log_variance = mean.float(), log_variance.float()
        mse = mean_squares(vae, real, raw)
        log_sigma = log_sigma_of(
            self.runtime.mean(mse), vae.layout.numeric
        )  # at its best no gradient passes through it
        nll = mean_nll(vae, real, raw, mse, log_sigma)
        kl = gaussian_kl_terms(mean, log_variance).mean(dim=0)
        paid = kl.clamp_min(state.values["free_nats"]).sum()
        self.guard.step("the table VAE's", nll + beta * paid, self.weights, self.optimiser, clip=LARGEST_GRADIENT)

        half_life = min(config.ema_half_life_rows, 0.05 * state.images)
        ema.update(self.averages, self.weights, config.batch_size, half_life)
        return {"negative_elbo": nll + kl.sum(), "nll": nll, "kl": kl.sum()}

    def inspect(self) -> None:
        """Tells of the posterior, and gives free nats while it is collapsed."""
        state, monitor = self.state, self.runtime.monitor
        with torch.no_grad():
            mean, log_variance = self.average.encode(self.shown)
            active = float((mean.var(dim=0) > ACTIVE_VARIANCE).float().mean())
            per_dimension = gaussian_kl_terms(mean, log_variance).mean(dim=0)
        kl = {f"kl_{place:02d}": float(nats) for place, nats in enumerate(per_dimension)}
        monitor.measure(state.images, {"active_units": active, **kl})
        spent = self.runtime.agree(self.budget.spent(state.images, state.seconds))
        if grant_free_nats(state, active, self.config.free_bits, after_warm_up=spent > self.config.warmup_share):
            monitor.warn(
                f"{active:.0%} of the table VAE's latent dimensions are active after {state.images:,} rows, which is "
                f"posterior collapse; each now holds {self.config.free_bits:g} nats for free (free_bits)"
            )


def _require(layout: Layout, rows: Cells, held_out: Cells) -> None:
    layout.require(rows)
    layout.require(held_out)
    if min(len(rows), len(held_out)) < 2:
        raise DataError(
            f"a table VAE trains on 2 or more normal rows and is calibrated on 2 or more others, got {len(rows)} and "
            f"{len(held_out)}; add rows"
        )
    missing = rows.numbers.isnan().any(dim=0).nonzero().flatten().tolist()
    if surplus := sorted(set(missing) - set(layout.nullable)):
        raise DataError(
            f"numbers are missing in the columns {surplus}, which the layout has as complete; make it by Layout.of"
        )


def feed(vae: TableVae, rows: Cells, n: int, draws: Draws) -> Callable[[int], Inputs]:
    """The batches of a loop, `n` rows a step drawn with replacement; a step's rows are the same whenever it is asked for.

    Rows are brought to a network's inputs once, not at each step.
    """
    device = vae.log_sigma.device
    prepared = [vae.inputs(some.to(device)) for some in rows.chunks(CHUNK)]
    slots, absent, unknown = (torch.cat(parts) for parts in zip(*prepared, strict=True))

    def at(step: int) -> Inputs:
        chosen = draws.start(step).integers(len(slots), n)
        rows = slots.index_select(0, chosen)
        if not vae.layout.nullable and not vae.layout.sizes:  # then nobody asks for the rest
            return Inputs(rows, absent, unknown)
        return Inputs(rows, absent.index_select(0, chosen), unknown.index_select(0, chosen))

    return at


@torch.no_grad()
def calibrate(vae: TableVae, reference: Cells, held_out: Cells, config: TableVaeConfig, seed: int) -> None:
    """Fits what is not learned by gradient: σ and the score's scale to `held_out`, prior and neighbours to `reference`."""
    if vae.layout.numeric:
        total, count = torch.zeros((2, *vae.log_sigma.shape), device=vae.log_sigma.device)
        for inputs in map(vae.inputs, held_out.chunks(CHUNK)):
            present = (~inputs.absent).sum(dim=0).repeat(VIEWS) if vae.layout.nullable else len(inputs.slots)
            total += mean_squares(vae, inputs, vae.decode(vae.encode(inputs.slots)[0], inputs.slots)) * present
            count += present
        vae.log_sigma.copy_(log_sigma_of(total / count.clamp_min(1), vae.layout.numeric))
    slots = torch.cat([vae.inputs(some).slots for some in reference.chunks(CHUNK)])
    mean, log_variance = vae.encode(slots)
    rng = torch.Generator().manual_seed(derive(seed, "table vae", "prior"))
    noise = torch.randn(mean.shape, generator=rng).to(mean)
    posterior = mean + (log_variance / 2).exp() * noise
    vae.prior.fit(posterior, slots[:, vae.told_slots], derive(seed, "table vae", "mixture"))
    vae.reference_numbers.copy_(reference.numbers)
    vae.reference_codes.copy_(reference.codes)
    vae.reference_latents.copy_(mean)
    if vae.neighbours:
        vae.spreads.copy_(torch.stack([neighbours.spread(space, vae.neighbours) for space in vae.spaces(reference)]))
    seen = vae.look(held_out)
    vae.typical.copy_(seen.contributions.mean(dim=0))
    vae.surprise.fit(vae.score_parts(held_out, seen))
    _set_threshold(vae, held_out, config)


def _set_threshold(vae: TableVae, held_out: Cells, config: TableVaeConfig) -> None:
    vae.threshold.copy_(torch.quantile(vae.anomaly_score(held_out), config.flag_quantile))


def train_head(
    vae: TableVae, rows: Cells, held_out: Cells, anomalies: Cells, config: TableVaeConfig, seed: int
) -> None:
    """Teaches the head to tell known anomalies from normal rows, and gives it its share of the score."""
    known, normal = _head_inputs(vae, anomalies), _head_inputs(vae, rows.thinned(config.score_reference))
    vae.head_mean.copy_(normal.mean(dim=0))
    vae.head_scale.copy_(torch.maximum(normal.std(dim=0), torch.tensor(1e-3, device=normal.device)))
    known, normal = (((some - vae.head_mean) / vae.head_scale).clamp(-10, 10) for some in (known, normal))
    draws, device = Draws(seed, "table vae head"), normal.device
    head = vae.head.requires_grad_(True)
    optimiser = torch.optim.AdamW(head.parameters(), HEAD_LEARNING_RATE, weight_decay=HEAD_DECAY, fused=True)
    target = torch.cat([torch.ones(HEAD_BATCH), torch.zeros(HEAD_BATCH)]).to(device)
    for step in range(HEAD_STEPS):
        draws.start(step)
        optimiser.param_groups[0]["lr"] = cosine(HEAD_LEARNING_RATE, 0.0, step / HEAD_STEPS)
        batch = [some[draws.integers(len(some), HEAD_BATCH).to(device)] for some in (known, normal)]
        loss = F.binary_cross_entropy_with_logits(head(torch.cat(batch)).squeeze(1), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    head.requires_grad_(False)
    with torch.no_grad():
        vae.head_surprise.fit(vae.log_odds(held_out)[None])
        _set_threshold(vae, held_out, config)


@torch.no_grad()
def _head_inputs(vae: TableVae, cells: Cells) -> Float[Tensor, "n f"]:
    slots = torch.cat([vae.inputs(some).slots for some in cells.chunks(CHUNK)])
    return vae.head_features(vae.look(cells), slots)
