"""Votes as a reward learns from them: pairs of images and what was said of each, as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from regen.core.errors import DataError


@dataclass(frozen=True)
class Votes:
    """Pairs of images and what was said of them; row i of every field belongs to the same vote."""

    images_a: Float[Tensor, "n c h w"]
    """In [0, 1]."""
    images_b: Float[Tensor, "n c h w"]
    choice: Int64[Tensor, " n"]
    """−1 prefers a, +1 prefers b, 0 is a tie."""
    both_bad: Bool[Tensor, " n"]
    skipped: Bool[Tensor, " n"]
    at_random: Bool[Tensor, " n"]
    """Whether the pair was drawn at random rather than chosen for what could be learned from it."""
    held_out: Bool[Tensor, " n"]
    """Whether both samples are held out: no vote that is trained on shows either."""

    def __len__(self) -> int:
        return len(self.choice)

    @classmethod
    def of_table(cls, table: pd.DataFrame, images: Mapping[str, Float[Tensor, "c h w"]]) -> "Votes":
        """The votes of an export, known pairs left out; each sample is looked up among `images` by its digest.

        Raises:
            DataError: no votes are left, or a sample is missing.
        """
        asked = table[table["split"] != "gold"]
        wanted = set(asked["sample_a"]) | set(asked["sample_b"])
        if not wanted:
            raise DataError(
                f"none of {len(table)} votes has an answer that is not known beforehand; collect more votes"
            )
        if missing := wanted - images.keys():
            raise DataError(
                f"{len(missing)} of {len(wanted)} samples that were voted on are missing, such as {min(missing)[:12]}; "
                "draw them again from their seeds"
            )
        a, b = (torch.stack([images[digest] for digest in asked[f"sample_{side}"]]) for side in ("a", "b"))
        flags = (asked["both_bad"], asked["skipped"], asked["strategy"] == "random", asked["split"] == "validation")
        choice = torch.from_numpy(asked["choice"].to_numpy(np.int64, copy=True))
        return cls(a, b, choice, *(torch.from_numpy(flag.to_numpy(bool, copy=True)) for flag in flags))

    def where(self, chosen: Bool[Tensor, " n"]) -> "Votes":
        """The chosen votes."""
        return Votes(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})

    @property
    def outcome(self) -> Int64[Tensor, " n"]:
        """Where the choice stands among Davidson's logits: 0 for a, 1 for b, 2 for a tie."""
        return torch.where(self.choice == 0, 2, (self.choice + 1) // 2)
