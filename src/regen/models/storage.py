"""Models on disk: weights as safetensors beside a config.json that our own factory rebuilds them from; never a pickle."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from regen.core import files
from regen.core.errors import DataError
from regen.models.extractor import Extractor
from regen.models.gan import Discriminator, Generator
from regen.models.reward import RewardEnsemble
from regen.models.table_gan import TableDiscriminator, TableGenerator
from regen.models.table_vae import TableVae
from regen.models.vae import Vae

KINDS: dict[str, type[nn.Module]] = {
    "vae": Vae, "generator": Generator, "discriminator": Discriminator, "extractor": Extractor,
    "judge": Extractor, "reward": RewardEnsemble, "table_vae": TableVae,
    "table_generator": TableGenerator, "table_discriminator": TableDiscriminator,
}  # fmt: skip


def save(folder: Path, kind: str, module: nn.Module, **arguments: Any) -> None:
    """Writes `module`, which `KINDS[kind](**arguments)` rebuilds, to KIND.safetensors and KIND.json in `folder`."""
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
            module = KINDS[kind](**arguments)
        module.load_state_dict(load_file(folder / f"{kind}.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(
            f"the {kind} in {folder} cannot be loaded ({reason}); remove the folder and run again"
        ) from error
    return module.eval().requires_grad_(False)
