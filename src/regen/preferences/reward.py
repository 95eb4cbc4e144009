"""Learns a reward from votes: an ensemble by Davidson's model, calibrated, on the scale of the base's samples.

Votes are pairs with a choice. Ties count, skipped pairs do not, and a tie between two bad images also teaches what is
unacceptable. How sure the ensemble is stands in its members' disagreement (Lakshminarayanan et al., 2017).
"""

import hashlib
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.optim import Optimizer

from regen.core.errors import DataError
from regen.core.sections.alignment import RewardConfig
from regen.core.seeds import derive
from regen.evaluation.intervals import Estimate, bootstrap
from regen.models.networks import Shape
from regen.models.reward import RewardEnsemble, davidson_logits
from regen.preferences.votes import Votes
from regen.training.draws import Draws
from regen.training.engine import Budget, Guard, State, spend
from regen.training.runtime import Runtime
from regen.training.schedules import cosine

LOOK_EVERY = 25
"""Steps between two looks at the validation loss."""
UNACCEPTABLE_WEIGHT = 0.1
"""What the loss about unacceptable images counts beside that of the choices, which share the networks' first layers."""
LEAST_HELD_OUT = 10
"""Fewest votes on held-out samples that a report and a temperature are made of."""
BINS = 10
DRAWS, CONFIDENCE = 400, 0.95


@dataclass(frozen=True)
class RewardReport:
    """What is known of a reward from votes on samples that it never saw."""

    votes: int
    """Votes it was learned from."""
    held_out: int
    """Votes it was judged by."""
    accuracy: Estimate
    """Share of the decided votes, ties left out, whose winner it gives the higher reward."""
    log_loss: float
    """Nats a vote; ln 3 = 1.099 is what knowing nothing costs."""
    calibration_error: float
    """Expected calibration error of the likeliest outcome, 0 at best."""
    disagreement: float
    """Mean information, in nats, that the members' disagreement says one more such vote would bring."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True)
class TrainedReward:
    """What learning from votes gives."""

    reward: RewardEnsemble
    report: RewardReport
    curve: list[dict[str, float]]


def davidson_loss(
    difference: Float[Tensor, "... n"], tie: Float[Tensor, "... n"], outcome: Int64[Tensor, "... n"]
) -> Float[Tensor, "..."]:
    """Negative log-likelihood, in nats a pair, that people chose as they did (Davidson, 1970).

    Args:
        difference: reward of the first image minus that of the second.
        tie: ν of the model.
        outcome: 0 where the first was preferred, 1 the second, 2 neither.

    Example:
        >>> davidson_loss(torch.zeros(3), torch.zeros(3), torch.tensor([0, 1, 2]))
        tensor(1.0986)
    """
    chances = davidson_logits(difference, tie).log_softmax(dim=-1)
    return -chances.gather(-1, outcome[..., None]).squeeze(-1).mean(dim=-1)


def both_bad_loss(
    logits_a: Float[Tensor, "... n"], logits_b: Float[Tensor, "... n"], both_bad: Bool[Tensor, "... n"]
) -> Float[Tensor, "..."]:
    """Cross-entropy, in nats a pair, of both images being unacceptable, each with the chance that its logit gives.

    Example:
        >>> both_bad_loss(torch.zeros(1), torch.zeros(1), torch.tensor([False]))  # −log(1 − ¼)
        tensor(0.2877)
    """
    log_both = F.logsigmoid(logits_a) + F.logsigmoid(logits_b)
    log_not = torch.log1p(-log_both.exp().clamp_max(1 - 1e-6))
    return -torch.where(both_bad, log_both, log_not).mean(dim=-1)


def build(config: RewardConfig, shape: Shape, seed: int) -> RewardEnsemble:
    """An untrained ensemble, its weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "reward", "weights"))
        return RewardEnsemble(shape, config.network, config.width, config.members)


def train_reward(
    config: RewardConfig, votes: Votes, base: Float[Tensor, "m c h w"], seed: int, runtime: Runtime
) -> TrainedReward:
    """Learns from the votes on training samples, calibrates and reports on those on held-out ones.

    Each member sees a bootstrap resample of the votes (bagging, Breiman, 1996) and keeps the weights that did best on the
    votes outside it.

    Args:
        base: samples of the base model, whose rewards get mean 0 and sd 1.

    Raises:
        DataError: too few votes, or a sample both held out and trained on.
        DivergenceError: the loss is not finite, again and again.
    """
    said = votes.where(~votes.skipped)
    _require_enough(said, config.min_votes)
    _require_apart(said)
    train, held_out = said.where(~said.held_out), said.where(said.held_out)
    shape: Shape = tuple(int(side) for side in base.shape[1:])  # type: ignore[assignment]  # three of them
    loop = _Loop.of(config, train, shape, seed, runtime)
    loop.look()
    spend(Budget(config.pairs), config.batch_size, loop.state, loop.step, runtime, loop.guard)
    loop.look()
    reward = loop.best.cpu().eval()
    _normalise(reward, base)
    reward.temperature.fill_(_temperature(reward, held_out))
    return TrainedReward(reward, report(reward, held_out, len(train), seed), loop.state.curve)


@dataclass(frozen=True)
class Bags:
    """Which votes each member trains on, and which are left to judge it by."""

    inside: list[Int64[Tensor, " n"]]
    outside: list[Int64[Tensor, " v"]]

    @classmethod
    def draw(cls, n: int, members: int, draws: Draws) -> "Bags":
        """As many votes a member as there are, drawn with replacement; about 37 % are left outside."""
        inside = [draws.start(member).integers(n, n).sort().values for member in range(members)]
        return cls(inside, [torch.from_numpy(np.setdiff1d(np.arange(n), some.numpy())) for some in inside])


@dataclass(frozen=True)
class _Loop:
    """The members, the votes that they learn from, and a step of them."""

    config: RewardConfig
    runtime: Runtime
    ensemble: RewardEnsemble
    best: RewardEnsemble
    """Each member's weights that did best on the votes outside its bag."""
    optimiser: Optimizer
    state: State
    guard: Guard
    draws: Draws
    bags: Bags
    images: Float[Tensor, "2 m c h w"]
    """Of both sides of each vote."""
    outcome: Int64[Tensor, " m"]
    both_bad: Bool[Tensor, " m"]

    @classmethod
    def of(cls, config: RewardConfig, train: Votes, shape: Shape, seed: int, runtime: Runtime) -> "_Loop":
        """The loop before its first step."""
        ensemble = build(config, shape, seed).to(runtime.device)
        best = deepcopy(ensemble).requires_grad_(False)
        optimiser = torch.optim.AdamW(
            ensemble.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        state = State(
            {"reward": ensemble, "best": best}, {"reward": optimiser},
            {"least": torch.full((config.members,), torch.inf, device=runtime.device)},
        )  # fmt: skip
        images = torch.stack([train.images_a, train.images_b]).to(runtime.device)
        return cls(
            config, runtime, ensemble, best, optimiser, state, Guard(runtime), runtime.draws(seed, "reward"),
            Bags.draw(len(train), config.members, Draws(seed, "reward bags")), images, train.outcome.to(runtime.device),
            train.both_bad.to(runtime.device),
        )  # fmt: skip

    def losses(self, rows: list[Tensor]) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
        """Of each member on rows of its own: the choices' loss, and that about unacceptable images."""
        found = []
        for member, tie, some in zip(self.ensemble.members, self.ensemble.tie, rows, strict=True):
            both = member(2 * self.images[:, some].flatten(0, 1) - 1).float()
            (a, b), (bad_a, bad_b) = both[:, 0].chunk(2), both[:, 1].chunk(2)
            choices = davidson_loss(a - b, tie.expand(len(some)), self.outcome[some])
            found.append(torch.stack([choices, both_bad_loss(bad_a, bad_b, self.both_bad[some])]))
        choice, bad = torch.stack(found, dim=1)
        return choice, bad

    def look(self) -> None:
        """Keeps the weights of those members that do better outside their bags than ever before."""
        ensemble, best, least = self.ensemble, self.best, self.state.values["least"]
        with torch.no_grad():
            now = self.losses([some.to(self.runtime.device) for some in self.bags.outside])[0]
        better = now < least
        self.state.values["least"] = torch.where(better, now, least)
        for place in better.nonzero().flatten().tolist():
            best.members[place].load_state_dict(ensemble.members[place].state_dict())
            best.tie.data[place] = ensemble.tie.data[place]

    def step(self, spent: float) -> dict[str, Tensor]:
        """Lowers the members' losses, each on votes of its own bag."""
        config, state, runtime = self.config, self.state, self.runtime
        self.draws.start(state.steps)
        self.optimiser.param_groups[0]["lr"] = state.rate * cosine(config.learning_rate, 0.0, spent)
        n, votes = runtime.share(config.batch_size), len(self.outcome)
        numbers = self.draws.integers(votes, n, config.members).cpu()
        rows = [inside[some].to(runtime.device) for inside, some in zip(self.bags.inside, numbers.T, strict=True)]
        with runtime.autocast():
            choices, bad = self.losses(rows)
        self.guard.step("the reward's", choices.sum() + UNACCEPTABLE_WEIGHT * bad.sum(), self.ensemble, self.optimiser)
        if state.steps % LOOK_EVERY == 0:
            self.look()
        return {"choices": choices.mean(), "both_bad": bad.mean(), "validation": state.values["least"].mean()}


def _require_enough(said: Votes, least: int) -> None:
    if len(said) < least:
        raise DataError(
            f"a reward is learned from {least} or more votes that were not skipped, got {len(said)}: {least - len(said)} are "
            "missing; collect them, or lower reward.min_votes"
        )
    held_out = int(said.held_out.sum())
    if held_out < LEAST_HELD_OUT or held_out == len(said):
        missing = max(LEAST_HELD_OUT - held_out, 0)
        raise DataError(
            f"a reward is judged by {LEAST_HELD_OUT} or more votes on held-out samples and learned from others, got "
            f"{held_out} of {len(said)}: {missing} are missing; collect votes on {'held-out' if missing else 'other'} samples"
        )


def _require_apart(said: Votes) -> None:
    """Refuses a sample on both sides, which would let a reward be judged by what it has learned by heart."""
    seen = [
        {hashlib.sha256(image.numpy().tobytes()).digest() for image in torch.cat([some.images_a, some.images_b]).cpu()}
        for some in (said.where(said.held_out), said.where(~said.held_out))
    ]
    if shared := len(seen[0] & seen[1]):
        raise DataError(
            f"{shared} samples are in held-out votes and in votes to train on; hold out samples, with all pairs they are in"
        )


@torch.no_grad()
def _normalise(reward: RewardEnsemble, base: Float[Tensor, "m c h w"]) -> None:
    """Gives each member's rewards mean 0 and sd 1 over the base's samples."""
    raw = torch.cat([reward.raw(batch)[0] for batch in base.cpu().split(1024)], dim=1)
    reward.mean.copy_(raw.mean(dim=1))
    reward.scale.copy_(raw.std(dim=1).clamp_min(1e-6))


def _temperature(reward: RewardEnsemble, held_out: Votes) -> float:
    """What the logits are divided by so that random pairs' outcomes are likeliest (Guo et al., 2017); 1 without such pairs."""
    from scipy.optimize import minimize_scalar

    fair = held_out.where(held_out.at_random)
    if len(fair) < LEAST_HELD_OUT:
        return 1.0

    def loss(log_temperature: float) -> float:
        reward.temperature.fill_(float(np.exp(log_temperature)))
        chances = reward.outcomes(fair.images_a, fair.images_b).mean(dim=0)
        return float(F.nll_loss(chances.clamp_min(1e-12).log(), fair.outcome))

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def report(reward: RewardEnsemble, held_out: Votes, votes: int, seed: int) -> RewardReport:
    """How well the reward foretells votes on samples that it never saw."""
    members = reward.outcomes(held_out.images_a, held_out.images_b)
    chances, outcome = members.mean(dim=0), held_out.outcome
    decided = held_out.choice != 0
    right = (chances[decided, 1] > chances[decided, 0]) == (held_out.choice[decided] > 0)
    return RewardReport(
        votes, len(held_out), _share(right.double().numpy(), seed),
        float(F.nll_loss(chances.clamp_min(1e-12).log(), outcome)),
        calibration_error(chances.double().numpy(), outcome.numpy()),
        float(mutual_information(members).mean()),
    )  # fmt: skip


def _share(right: Float[np.ndarray, " n"], seed: int) -> Estimate:
    if len(right) < 2:
        return Estimate(float("nan"), float("nan"), float("nan"))
    rows = np.arange(len(right))
    return bootstrap(lambda some: right[some].mean(), [rows], DRAWS, derive(seed, "accuracy")).estimate(CONFIDENCE)


def calibration_error(chances: Float[np.ndarray, "n o"], outcome: Int64[np.ndarray, " n"], bins: int = BINS) -> float:
    """Mean gap between how sure the likeliest outcome is and how often it comes true; 0 is best (Guo et al., 2017).

    Example:
        >>> calibration_error(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]))
        0.4
    """
    sure, right = chances.max(axis=1), chances.argmax(axis=1) == outcome
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    gaps = [abs(sure[place == one].mean() - right[place == one].mean()) * (place == one).mean() for one in set(place)]
    return float(sum(gaps))


def mutual_information(members: Float[Tensor, "k n o"]) -> Float[Tensor, " n"]:
    """Nats that a pair's outcome would tell about which member is right (BALD, Houlsby et al., 2011); 0 where all agree.

    Example:
        >>> mutual_information(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))  # ln 2: each is sure, of different things
        tensor([0.6931])
    """
    together, apart = torch.special.entr(members.mean(dim=0)), torch.special.entr(members).mean(dim=0)
    told: Tensor = (together - apart).sum(dim=-1).clamp_min(0)
    return told


def disagreement(
    reward: RewardEnsemble, images_a: Float[Tensor, "n c h w"], images_b: Float[Tensor, "n c h w"]
) -> Float[Tensor, " n"]:
    """How much a vote on each pair would teach, in nats; the pairs to ask people about are those with the most."""
    return mutual_information(reward.outcomes(images_a, images_b))
