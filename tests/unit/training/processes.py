"""What a process of several does in the tests: trains a tiny network, and tells all processes' weights and curve."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from regen.core.sections.models import GanConfig, VaeConfig
from regen.core.sections.table_gan import TableGanConfig
from regen.data.columns import Column
from regen.training import gan, table_gan, vae
from regen.training.runtime import Runtime
from tests.unit.training.toys import half_rows, weights_of

GAN = {"network": "mlp", "width": 1, "latent_dim": 4, "images": 12 * 16, "batch_size": 16, "augment_probability": 0.0}
TABLE = {"rows": 12 * 16, "batch_size": 16, "width": 16, "depth": 1, "latent_dim": 4, "given_share": 0.9}
VAE = {"network": "mlp", "width": 1, "latent_dim": 2, "images": 12 * 16, "batch_size": 16, "score_draws": 2}


def train(fabric: Any | None, kind: str, **settings: object) -> dict[str, Tensor]:
    """The weights that training gives, on however many processes."""
    torch.set_num_threads(1)
    runtime = Runtime(fabric=fabric, log_every_images=64, checkpoint_every_images=64)
    if kind == "gan":
        done = gan.train_gan(GanConfig(**GAN | settings), half_rows(), 0, runtime, ("left", "right"))
        return weights_of(generator=done.generator, discriminator=done.discriminator)
    if kind == "table gan":
        columns, rows = (Column("size", "numeric"), Column("bad", "boolean")), sizes()
        made = table_gan.fit_table_gan(TableGanConfig(**TABLE | settings), rows, columns, 0, runtime, "bad")
        return weights_of(generator=made.generator, discriminator=made.discriminator)
    return weights_of(vae=vae.train_vae(VaeConfig(**VAE | settings), half_rows(), half_rows(16, 9), 0, runtime).vae)


def sizes(n: int = 80) -> pd.DataFrame:
    """Rows of which the large ones are bad, but for some that have no size."""
    size = np.random.default_rng(0).lognormal(size=n)
    return pd.DataFrame({"size": np.where(np.arange(n) % 7 == 0, np.nan, size), "bad": size > 1.2})


def gathered(fabric: Any, kind: str, settings: dict[str, object]) -> list[dict[str, np.ndarray]]:
    """Every process's weights, as arrays, since a tensor does not outlive the process it comes from."""
    own = train(fabric, kind, **settings)
    everywhere = fabric.all_gather({name: t for name, t in own.items() if t.is_floating_point()})
    return [
        {name: tensor[rank].cpu().numpy() for name, tensor in everywhere.items()} for rank in range(fabric.world_size)
    ]


def all_of_them(fabric: Any, folder: str) -> None:
    """Every case, in one start of the processes, which takes longer than the trainings; what comes back is a file."""
    found = {
        "gan": gathered(fabric, "gan", {}),
        "wgan-gp": gathered(fabric, "gan", {"loss": "wgan-gp"}),
        "augmented gan": gathered(fabric, "gan", {"augment_probability": 0.5}),
        "vae": gathered(fabric, "vae", {}),
        "table gan": gathered(fabric, "table gan", {}),
        "packed table gan": gathered(fabric, "table gan", {"pac": 4, "loss": "wgan-gp", "given_share": 0.4}),
    }
    if fabric.global_rank == 0:
        (Path(folder) / "found.pickle").write_bytes(pickle.dumps(found))
