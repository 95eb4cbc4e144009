"""The extractor's loop: it learns the classes it is given."""

import torch

from regen.core.sections.models import ExtractorConfig
from regen.models.mlp import MlpHead
from regen.training.extractor import build, train_extractor, train_judge
from regen.training.rows import Rows
from regen.training.runtime import Runtime

CONFIG = ExtractorConfig(width=2, features=4, images=300 * 16, batch_size=16)


def stripes(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with a bright band at one of three heights, and which."""
    rng = torch.Generator().manual_seed(seed)
    classes = torch.arange(n) % 3
    images = 0.3 * torch.rand(n, 1, 9, 9, generator=rng)
    for row in range(n):
        images[row, :, 3 * classes[row] : 3 * classes[row] + 3] += 0.6
    return images, classes


def test_a_few_hundred_steps_lower_the_loss_and_name_new_rows_rightly() -> None:
    images, classes = stripes(90, 0)

    done = train_extractor(CONFIG, Rows.of(images, classes), 3, 0, Runtime(log_every_images=50 * 16))

    unseen, theirs = stripes(60, 1)
    assert done.curve[-1]["cross_entropy"] < 0.5 * done.curve[0]["cross_entropy"]
    assert done.curve[-1]["accuracy"] > done.curve[0]["accuracy"]
    assert (done.extractor.classes(unseen) == theirs).float().mean() > 0.95
    assert not done.extractor.training


def test_untrained_weights_follow_the_seed() -> None:
    one, same, other = (build(CONFIG, (1, 9, 9), 3, seed).classifier.weight for seed in (0, 0, 1))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_judge_is_another_network_with_half_the_budget_and_learns_too() -> None:
    images, classes = stripes(90, 0)
    rows, runtime = Rows.of(images, classes), Runtime(log_every_images=50 * 16)

    judge = train_judge(CONFIG, rows, 3, 0, runtime)

    unseen, theirs = stripes(60, 1)
    assert isinstance(judge.extractor.body, MlpHead)
    assert judge.curve[-1]["images"] == CONFIG.images // 2
    assert (judge.extractor.classes(unseen) == theirs).float().mean() > 0.95
    assert judge.extractor.classifier.in_features == CONFIG.features
