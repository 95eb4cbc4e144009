"""Models on disk: weights as safetensors beside a config.json that our own factory rebuilds them from; never a pickle."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from regen.core import files
from regen.core.errors import DataError

KINDS: dict[str, str] = {
    "vae": "vae.Vae", "generator": "gan.Generator", "discriminator": "gan.Discriminator", "extractor": "extractor.Extractor",
    "judge": "extractor.Extractor", "reward": "reward.RewardEnsemble", "table_vae": "table_vae.TableVae",
    "table_generator": "table_gan.TableGenerator", "table_discriminator": "table_gan.TableDiscriminator",
}  # fmt: skip
"""The class of each kind of network, as module and name: imported when asked for, so that a packaged model of images needs
nothing that tables do."""


def network(kind: str) -> type[nn.Module]:
    """The class of a kind of network.

    Example:
        >>> network("vae").__name__
        'Vae'
    """
    module, name = KINDS[kind].split(".")
    found: type[nn.Module] = getattr(import_module(f"regen.models.{module}"), name)
    return found


def save(folder: Path, kind: str, module: nn.Module, **arguments: Any) -> None:
    """Writes `module`, which `network(kind)(**arguments)` rebuilds, to KIND.safetensors and KIND.json in `folder`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    with files.replacing(folder / f"{kind}.safetensors") as temporary:
        save_file(tensors, temporary)
    files.write_json(folder / f"{kind}.json", {"kind": kind, "arguments": arguments})


def load(folder: Path, kind: str) -> Any:
    """The module that `save` wrote, ready for use.

    Raises:
        DataError: a file is missing, damaged, or of another architecture.
    """
    try:
        arguments = files.read_json(folder / f"{kind}.json")["arguments"]
        if "shape" in arguments:
            arguments["shape"] = tuple(arguments["shape"])
        with torch.random.fork_rng(devices=[]):
            module = network(kind)(**arguments)
        module.load_state_dict(load_file(folder / f"{kind}.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(
            f"the {kind} in {folder} cannot be loaded ({reason}); remove the folder and run again"
        ) from error
    return module.eval().requires_grad_(False)
