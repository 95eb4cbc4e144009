"""Trains one network: the extractor, the VAE or the GAN; every loss and picture goes to its MLflow run as it trains."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import UInt8

from regen.core import files
from regen.core.config import Config
from regen.data.splits import Dataset
from regen.evaluation.pictures import grid
from regen.models import storage
from regen.models.networks import count_parameters, to_tensor
from regen.registry import tracking
from regen.registry.tracking import Run
from regen.stages.base import Context, Outcome, perform
from regen.stages.prepare import dataset as prepared
from regen.training import engine, extractor, gan, vae
from regen.training.checkpoints import Checkpoints

KINDS = ("extractor", "vae", "gan")


class Watcher:
    """Sends what a loop reports to MLflow and to whoever shows progress."""

    def __init__(self, context: Context, kind: str, run: Run) -> None:
        self.progress, self.name, self.run = context.progress, f"train {kind}", run

    def log(self, images: int, budget: int, terms: Mapping[str, float], images_per_second: float) -> None:
        """Means of the loss terms since the last call."""
        self.progress.update(self.name, images, budget, terms, images_per_second)
        figures = {f"train/{name}": value for name, value in terms.items()}
        self.run.log_metrics({**figures, tracking.SPEED: images_per_second}, images)

    def picture(self, images: int, name: str, pixels: UInt8[np.ndarray, "n h w c"]) -> None:
        """Pictures of what the model does now."""
        self.run.log_picture(f"{name}/{images:09d}.png", grid(pixels))


def open_run(context: Context, kind: str) -> Run:
    """The MLflow run of this training, with its parameters and lineage."""
    config, stage = context.config, f"train_{kind}"
    run = Run.of_key(
        context.workspace, config.project, config.model_name(kind), context.key(stage), lineage(context, kind)
    )
    run.log_params(parameters(config, kind))
    return run


def lineage(context: Context, kind: str) -> dict[str, str]:
    """Where a model comes from, as tags."""
    return {
        "regen.kind": kind,
        "regen.data": context.data_version,
        "regen.git": tracking.git_commit(context.workspace.root),
        "regen.device": context.config.training.device,
    }


def parameters(config: Config, kind: str) -> dict[str, object]:
    """The part of the configuration that shapes this training, dotted."""
    dump: dict[str, Any] = config.model_dump(mode="json")
    sections = {section: dump[section] for section in (kind, "data", "training")}
    return {"seed": config.seed} | {
        f"{s}.{key}": value for s, values in sections.items() for key, value in values.items()
    }


def train(context: Context, kind: str) -> Outcome:
    """Trains and writes the networks, curve.csv and cost.json.

    Raises:
        DivergenceError: a loss is not finite.
        DeviceError: the device that was asked for is not there.
    """
    config = context.config

    def body(work: Path, out: Path) -> None:
        engine.prepare_process(config.training.threads)
        dataset = prepared(context)
        tracking.open_store(context.workspace)
        run = open_run(context, kind)
        checkpoints = Checkpoints(work, config.training.checkpoints_kept)
        runtime = engine.Runtime.of(config.training, Watcher(context, kind, run), checkpoints)
        with run.running():
            curve = LOOPS[kind](config, dataset, runtime, out)
            pd.DataFrame(curve).to_csv(out / "curve.csv", index=False, float_format="%.9g")
            run.log_files({out / "curve.csv": "training"})

    return perform(context, f"train_{kind}", body)


Curve = list[dict[str, float]]


def _train_extractor(config: Config, dataset: Dataset, runtime: engine.Runtime, out: Path) -> Curve:
    classes = sorted(set(dataset.labels.tolist()))
    rows = dataset.rows("extractor")
    positions = torch.from_numpy(np.searchsorted(classes, dataset.labels[rows]))
    done = extractor.train_extractor(
        config.extractor, to_tensor(dataset.images[rows]), positions, len(classes), config.seed, runtime
    )
    arguments = {"width": config.extractor.width, "features": config.extractor.features, "n_classes": len(classes)}
    storage.save(out, "extractor", done.extractor, shape=dataset.shape, **arguments)
    return done.curve


def _train_vae(config: Config, dataset: Dataset, runtime: engine.Runtime, out: Path) -> Curve:
    images, held_out = (to_tensor(dataset.pixels(split, normal_only=True)) for split in ("train", "validation"))
    done = vae.train_vae(config.vae, images, held_out, config.seed, runtime)
    storage.save(
        out, "vae", done.vae, shape=dataset.shape, network=config.vae.network, width=config.vae.width,
        latent_dim=config.vae.latent_dim, n_reference=len(images), neighbours=config.vae.score_neighbours,
        draws=config.vae.score_draws,
    )  # fmt: skip
    files.write_json(out / "network.json", {"parameters": count_parameters(done.vae)})
    return done.curve


def _train_gan(config: Config, dataset: Dataset, runtime: engine.Runtime, out: Path) -> Curve:
    done = gan.train_gan(config.gan, to_tensor(dataset.pixels("train")), config.seed, runtime)
    arguments = {"shape": dataset.shape, "network": config.gan.network, "width": config.gan.width}
    storage.save(out, "generator", done.generator, latent_dim=config.gan.latent_dim, **arguments)
    storage.save(out, "discriminator", done.discriminator, **arguments)
    files.write_json(out / "network.json", {"parameters": count_parameters(done.generator)})
    return done.curve


LOOPS = {"extractor": _train_extractor, "vae": _train_vae, "gan": _train_gan}
