"""The GAN as MLflow loads it: how many, which seed and which class in; images out."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel


class GanModel(PythonModel):  # type: ignore[misc]  # MLflow's base is untyped
    """Rows of (n, seed, class) to `n h w c` pixels from 0 to 255, all rows' samples after one another.

    The seed is 0 if left out; without a class, classes are drawn by their shares.
    """

    def load_context(self, context: Any) -> None:
        """Rebuilds the generator from safetensors and config."""
        from regen.models import storage

        self.generator = storage.load(Path(context.artifacts["model"]), "generator")

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        """Samples images; the same seed gives the same ones."""
        import torch

        from regen.models.gan import position_of
        from regen.models.networks import to_pixels

        batches = []
        for row in model_input.to_dict("records"):
            seed = row.get("seed")
            rng = torch.Generator().manual_seed(0 if seed is None or pd.isna(seed) else int(seed))
            n, wanted = int(row["n"]), row.get("class")
            classes = None
            if isinstance(wanted, str):
                classes = torch.full((n,), position_of(wanted, self.generator.classes, "the model"))
            batches.append(to_pixels(self.generator.sample(n, rng, classes)))
        return np.concatenate(batches)


mlflow.models.set_model(GanModel())
