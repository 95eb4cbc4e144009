"""Checkpoints: whole or absent, known by their digest; a damaged one is passed over for the one before it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from regen.core import files
from regen.core.errors import StorageError


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints in `folder`, of which the newest `kept` stay."""

    folder: Path
    kept: int = 2

    def save(self, images: int, state: dict[str, Any]) -> Path:
        """Writes the state after `images` images, then removes those beyond `kept`.

        Raises:
            StorageError: the disk is full, read-only or refuses.
        """
        path = self.folder / f"{images:012d}.pt"
        try:
            with files.replacing(path) as temporary:
                torch.save(state, temporary)
        except RuntimeError as error:  # torch's writer reports a full disk so
            raise StorageError(
                f"cannot write {path}: the disk is full or refuses ({' '.join(str(error).split())[:80]}); free some space, "
                "then run the command again"
            ) from error
        files.write_text(path.with_suffix(".sha256"), files.sha256(path))
        older = sorted(other for other in self.folder.glob("*.pt") if other < path)
        kept = {
            path,
            *older[max(len(older) - self.kept + 1, 0) :],
        }  # a newer one is damaged, else training had gone on from it
        for other in set(self.folder.glob("*.pt")) - kept:
            other.with_suffix(".sha256").unlink(missing_ok=True)
            other.unlink(missing_ok=True)
        return path

    def newest(self) -> dict[str, Any] | None:
        """The state of the newest whole checkpoint, on the CPU; None when there is none."""
        for path in sorted(self.folder.glob("*.pt"), reverse=True):
            digest = path.with_suffix(".sha256")
            if digest.is_file() and digest.read_text() == files.sha256(path):
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                return state
        return None
