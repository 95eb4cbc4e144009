"""Draws from a registered model: images into a grid or a folder, rows into a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from regen.core import files
from regen.core.errors import ConfigError, RegistryError, writes_to
from regen.core.workspace import Workspace
from regen.evaluation.pictures import grid, png
from regen.models.gan import position_of
from regen.models.networks import to_pixels
from regen.registry import packaging, tracking, versions
from regen.registry.versions import Version

WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
"""What stands for something else than itself, unless in quotes."""


@dataclass(frozen=True)
class Drawn:
    """What was drawn, and where it lies."""

    version: Version
    out: Path
    what: str
    """images or rows."""


def sample(
    workspace: Workspace, reference: str, n: int, seed: int, out: Path | None, wanted: str | None, given: Sequence[str]
) -> Drawn:
    """Draws `n` images or rows, as the model makes them.

    Args:
        out: where to; named after the model if left out.
        wanted: the class that all images shall be of.
        given: COLUMN=VALUE, which all rows shall have.

    Raises:
        RegistryError: there is no such model, or it makes nothing.
        ConfigError: `out` ends as another kind of file, or what was asked for cannot be given.
    """
    from regen.stages.tables.models import is_of_rows, sample_rows

    tracking.open_store(workspace)
    version, name = versions.resolve(reference), reference.replace("@", "-").replace("/", "-")
    if not is_of_rows(version):
        if given:
            raise ConfigError(
                f"{version.model} makes images, which have no columns to be given; --class asks for one class"
            )
        out = out or Path(f"{name}.png")
        return Drawn(sample_images(workspace, reference, n, seed, out, wanted), out, "images")
    if wanted is not None:
        raise ConfigError(f"{version.model} makes rows; --given COLUMN=VALUE asks for a value")
    out = out or Path(f"{name}.csv")
    sample_rows(version, n, seed, out, parse_given(given))
    return Drawn(version, out, "rows")


def parse_given(words: Sequence[str]) -> Mapping[str, Any]:
    """Columns to their values, from COLUMN=VALUE.

    Raises:
        ConfigError: a word has no =, or its value cannot be read.

    Example:
        >>> parse_given(["fraud=1", "zip=01067", "smoker=no", "online=true", "note='true'"])
        {'fraud': '1', 'zip': '01067', 'smoker': 'no', 'online': True, 'note': 'true'}
    """
    if wrong := [word for word in words if not all(word.partition("=")[:2])]:
        lacking = "gives no value" if "=" not in wrong[0] else "names no column"
        raise ConfigError(f"--given {wrong[0]} {lacking}; write COLUMN=VALUE, such as fraud=1")
    try:
        found = {name: _value(text) for name, _, text in (word.partition("=") for word in words)}
    except yaml.YAMLError:
        raise ConfigError(f"--given {' '.join(words)}: a value cannot be read; put odd texts in quotes") from None
    if odd := [name for name, value in found.items() if isinstance(value, dict | list | set)]:
        raise ConfigError(
            f"--given {odd[0]}={found[odd[0]]} is more than one value; give one, and put odd texts in quotes"
        )
    if len(found) < len(words):
        raise ConfigError(f"--given {' '.join(words)}: a column is given twice; leave one out")
    return found


def _value(text: str) -> Any:
    """What a text stands for: itself, which a column of numbers or dates reads as such, or true, false or nothing."""
    if text[:1] in ("'", '"', "[", "{"):
        return yaml.safe_load(text)
    return WORDS.get(text.lower(), text)


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
