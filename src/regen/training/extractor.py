"""The extractor's loop: a classifier of the project's own classes, on rows that no generator sees, then frozen."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from regen.core.config import ExtractorConfig
from regen.core.seeds import derive
from regen.models.extractor import Extractor
from regen.training.augment import augment
from regen.training.engine import Runtime, State, require_finite, spend
from regen.training.schedules import cosine

AUGMENT_PROBABILITY = 0.5
WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class TrainedExtractor:
    """What an extractor's training gives."""

    extractor: Extractor
    curve: list[dict[str, float]]


def build(config: ExtractorConfig, shape: tuple[int, int, int], n_classes: int, seed: int) -> Extractor:
    """An untrained extractor, its weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "extractor", "weights"))
        return Extractor(shape, config.width, config.features, n_classes)


def train_extractor(
    config: ExtractorConfig,
    images: Float[Tensor, "n c h w"],
    classes: Int64[Tensor, " n"],
    n_classes: int,
    seed: int,
    runtime: Runtime,
) -> TrainedExtractor:
    """Trains a classifier of `classes`, numbered from 0.

    Raises:
        DivergenceError: the loss is not finite.
    """
    images, classes = images.to(runtime.device), classes.to(runtime.device)
    channels, height, width = images.shape[1:]
    extractor = build(config, (channels, height, width), n_classes, seed).to(runtime.device)
    optimiser = torch.optim.AdamW(extractor.parameters(), config.learning_rate, weight_decay=WEIGHT_DECAY, fused=True)
    rng = torch.Generator().manual_seed(derive(seed, "extractor", "draws"))
    state = State({"extractor": extractor}, {"extractor": optimiser}, rng)

    def step(spent: float) -> dict[str, Tensor]:
        optimiser.param_groups[0]["lr"] = cosine(config.learning_rate, 0.0, spent)
        rows = torch.randint(len(images), (config.batch_size,), generator=rng).to(runtime.device)
        logits = extractor(augment(images[rows], AUGMENT_PROBABILITY, rng))
        loss = F.cross_entropy(logits, classes[rows])
        require_finite(loss, state.images, "the extractor's")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        accuracy = (logits.argmax(dim=1) == classes[rows]).float().mean()
        return {"cross_entropy": loss, "accuracy": accuracy}

    spend(config.images, config.batch_size, state, step, runtime)
    return TrainedExtractor(extractor.cpu().eval(), state.curve)
