"""One training as a flow of its own, for the workers of a work pool: GPU machines train, the others do the rest."""

from contextlib import nullcontext
from typing import Literal

from prefect import flow
from prefect.concurrency.sync import concurrency

from tasks.common import Project
from tasks.train import train as train_here


@flow(name="train", flow_run_name="train {kind}")
def train(config: Project, kind: Literal["gan", "extractor", "vae"]) -> None:
    """Train the extractor, the VAE or the GAN here; no more at a time than the pool's limit allows.

    Args:
        config: the project file's path in the workspace, or the project itself.
        kind: what is trained.
    """
    pool = config.training.pool
    with nullcontext() if pool is None else concurrency(pool, strict=True):
        train_here(config, kind)
