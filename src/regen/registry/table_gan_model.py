"""A table's GAN as MLflow loads it: how many, which seed and which values of columns in; rows out."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel


class TableGanModel(PythonModel):  # type: ignore[misc]  # MLflow's base is untyped
    """Rows of (n, seed, columns that are given) to synthetic rows, all rows' samples after one another.

    The seed is 0 if left out; a column that is left out, or has no value, is made to suit the others.
    """

    def load_context(self, context: Any) -> None:
        """Rebuilds the generator from safetensors and config."""
        from regen.models import storage

        self.generator = storage.load(Path(context.artifacts["model"]), "table_generator")

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Samples rows; the same seed gives the same ones."""
        import torch

        batches = []
        for row in model_input.to_dict("records"):
            asked = {name: value for name, value in row.items() if not pd.isna(value)}
            n, rng = int(asked.pop("n")), torch.Generator().manual_seed(int(asked.pop("seed", 0)))
            batches.append(self.generator.sample(n, rng, asked or None))
        found: pd.DataFrame = pd.concat(batches, ignore_index=True)
        return found


mlflow.models.set_model(TableGanModel())
