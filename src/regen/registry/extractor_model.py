"""The feature extractor as MLflow loads it: images in; features out."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc import PythonModel


class ExtractorModel(PythonModel):  # type: ignore[misc]  # MLflow's base is untyped
    """`n h w c` pixels from 0 to 255 to `n d` features, the space that Fréchet distances are measured in."""

    def load_context(self, context: Any) -> None:
        """Rebuilds the network from safetensors and config."""
        from regen.models import storage

        self.extractor = storage.load(Path(context.artifacts["model"]), "extractor")

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Each image's features."""
        from regen.models.networks import to_tensor

        found: np.ndarray = self.extractor.features(to_tensor(np.asarray(model_input, dtype=np.uint8))).numpy()
        return found


mlflow.models.set_model(ExtractorModel())
