"""Draws images from a registered model into a grid or a folder."""

from pathlib import Path

import torch

from regen.core import files
from regen.core.errors import ConfigError, RegistryError, writes_to
from regen.core.workspace import Workspace
from regen.evaluation.pictures import grid, png
from regen.models.gan import position_of
from regen.models.networks import to_pixels
from regen.registry import packaging, tracking, versions
from regen.registry.versions import Version


def sample_images(
    workspace: Workspace, reference: str, n: int, seed: int, out: Path, wanted: str | None = None
) -> Version:
    """Writes `n` images, as one grid if `out` ends in .png, else one file each into the folder `out`.

    Args:
        wanted: name of the class that all of them shall be of; drawn by the classes' shares if left out.

    Raises:
        RegistryError: there is no such model, or it makes no images.
        ConfigError: `out` ends as another kind of file, or the model has no such class.
    """
    if out.suffix not in ("", ".png"):
        raise ConfigError(f"--out {out} ends in {out.suffix}; name a .png file for a grid, or a folder")
    tracking.open_store(workspace)
    version = versions.resolve(reference)
    if version.kind == "extractor":
        raise RegistryError(f"{version.model} makes no images, it looks at them; name a VAE or a GAN")
    network = packaging.load_network(version.kind, version.uri)
    classes = None if wanted is None else torch.full((n,), position_of(wanted, network.classes, reference))
    pixels = to_pixels(network.sample(n, torch.Generator().manual_seed(seed), classes))
    if out.suffix == ".png":
        with files.replacing(out) as temporary:
            temporary.write_bytes(png(grid(pixels)))
        return version
    with writes_to(out):
        out.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(pixels):
            (out / f"{number:06d}.png").write_bytes(png(image))
    return version
