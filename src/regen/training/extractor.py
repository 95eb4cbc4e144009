"""The extractor's loop: a classifier of the project's own classes, on rows that no generator sees, then frozen."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from regen.core.sections.base import Network
from regen.core.sections.models import ExtractorConfig
from regen.core.seeds import derive
from regen.models.extractor import Extractor
from regen.training.augment import augment
from regen.training.engine import Budget, Guard, State, spend
from regen.training.rows import Feed, Rows
from regen.training.runtime import Runtime
from regen.training.schedules import cosine

AUGMENT_PROBABILITY = 0.5
WEIGHT_DECAY = 0.01
JUDGE_SHARE = 0.5
"""The judge's budget as a share of the extractor's."""


@dataclass(frozen=True)
class TrainedExtractor:
    """What an extractor's training gives."""

    extractor: Extractor
    curve: list[dict[str, float]]


def build(
    config: ExtractorConfig,
    shape: tuple[int, int, int],
    n_classes: int,
    seed: int,
    network: Network = "conv",
    name: str = "extractor",
) -> Extractor:
    """An untrained extractor, its weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, name, "weights"))
        return Extractor(shape, config.width, config.features, n_classes, network)


def train_extractor(
    config: ExtractorConfig,
    rows: Rows,
    n_classes: int,
    seed: int,
    runtime: Runtime,
    network: Network = "conv",
    name: str = "extractor",
) -> TrainedExtractor:
    """Trains a classifier of the rows' classes.

    Args:
        name: what its random numbers and its errors go by.

    Raises:
        DivergenceError: the loss is not finite, again and again.
    """
    extractor = build(config, rows.shape, n_classes, seed, network, name).to(runtime.device)
    optimiser = torch.optim.AdamW(extractor.parameters(), config.learning_rate, weight_decay=WEIGHT_DECAY, fused=True)
    state, guard = State({name: extractor}, {name: optimiser}), Guard(runtime)
    n, draws = runtime.share(config.batch_size), runtime.draws(seed, name)
    feed = Feed(rows, n, draws)

    def step(spent: float) -> dict[str, Tensor]:
        draws.start(state.steps)
        optimiser.param_groups[0]["lr"] = state.rate * cosine(config.learning_rate, 0.0, spent)
        batch = feed.at(state.steps)
        with runtime.autocast():
            logits = extractor(augment(batch.images, AUGMENT_PROBABILITY, draws)).float()
        loss = F.cross_entropy(logits, batch.classes)
        guard.step(f"the {name}'s", loss, extractor, optimiser)
        accuracy = (logits.argmax(dim=1) == batch.classes).float().mean()
        return {"cross_entropy": loss, "accuracy": accuracy}

    try:
        spend(Budget(config.images), config.batch_size, state, step, runtime, guard)
    finally:
        feed.close()
    return TrainedExtractor(extractor.cpu().eval(), state.curve)


def train_judge(config: ExtractorConfig, rows: Rows, n_classes: int, seed: int, runtime: Runtime) -> TrainedExtractor:
    """Trains the second judge: another architecture on the same rows, with half the budget.

    No gate asks it, so a model that has learnt to please the extractor's features alone is told by it.

    Raises:
        DivergenceError: the loss is not finite, again and again.
    """
    images = max(round(JUDGE_SHARE * config.images), 1)
    return train_extractor(
        config.model_copy(update={"images": images}), rows, n_classes, seed, runtime, config.judge, "judge"
    )
