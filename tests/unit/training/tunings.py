"""Short tunings of toy models toward bright images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from regen.core.sections.alignment import AlignConfig
from regen.core.sections.models import GanConfig, VaeConfig
from regen.models.gan import Generator
from regen.models.vae import Vae
from regen.training.gan import TrainedGan
from regen.training.runtime import Runtime
from regen.training.tuning import Tuned, tune_gan, tune_vae
from regen.training.vae import train_vae
from tests.unit.training.toys import half_rows

GAN = GanConfig(network="mlp", width=2, latent_dim=4, images=150 * 16, batch_size=16)
VAE = VaeConfig(network="mlp", width=2, latent_dim=2, images=200 * 16, batch_size=16, score_draws=2)
CLASSES = ("left", "right")
SHORT = AlignConfig.model_validate({
    "inspect_every_images": 5 * 16, "ema_half_life_images": 100,
    "gan": {"images": 20 * 16, "learning_rate": 1e-4, "reward_weight": 2.0, "anchor_weight": 2.0},
    "vae": {"images": 20 * 16, "batch_size": 16, "learning_rate": 1e-2},
})  # fmt: skip
EVERY = 5 * 16


@dataclass(frozen=True)
class Brightness:
    """Likes bright images; its members differ by how much."""

    scales: tuple[float, ...] = (8.0, 12.0)
    mean: float = 0.45

    @classmethod
    def beside(cls, model: Generator | Vae) -> "Brightness":
        """With an sd of about 1 over the model's samples."""
        levels = sample(model).flatten(1).mean(dim=1)
        return cls((0.9 / float(levels.std()), 1.1 / float(levels.std())), float(levels.mean()))

    def __call__(self, images: Tensor) -> Tensor:
        centred = images.flatten(1).mean(dim=1) - self.mean
        return torch.stack([scale * centred for scale in self.scales])


def trained_vae() -> Vae:
    return train_vae(VAE, half_rows(100), half_rows(16, 9), 0, Runtime(), CLASSES).vae


def sample(model: Generator | Vae, n: int = 300) -> Tensor:
    return model.sample(n, torch.Generator().manual_seed(0)).clamp(0, 1)


def liked(model: Generator | Vae) -> float:
    return float(Brightness()(sample(model)).mean())


def changed(config: AlignConfig, section: str, **values: float) -> AlignConfig:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def tune(gan: TrainedGan, config: AlignConfig = SHORT, runtime: Runtime | None = None, **options: object) -> Tuned:
    given = {"reward": Brightness(), "seed": 0, "watch": None, "witnesses": None, "settings": GAN} | options
    return tune_gan(
        config, given["settings"], gan.generator, gan.discriminator, half_rows(100), given["reward"], given["seed"],
        runtime or Runtime(log_every_images=EVERY), given["watch"], given["witnesses"],
    )  # fmt: skip


def move(vae: Vae, config: AlignConfig = SHORT, runtime: Runtime | None = None, **options: object) -> Tuned:
    given = {"reward": Brightness(), "seed": 0, "watch": None, "witnesses": None} | options
    return tune_vae(
        config, vae, given["reward"], given["seed"], runtime or Runtime(log_every_images=EVERY), given["watch"],
        given["witnesses"],
    )  # fmt: skip


class Pixels(torch.nn.Module):
    """A witness that sees pixels."""

    body = torch.nn.Flatten()

    def to(self, device):
        return self
