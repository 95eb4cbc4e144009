"""The VAE as MLflow loads it: images in; anomaly score, flag and reconstruction out."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc import PythonModel


class VaeModel(PythonModel):  # type: ignore[misc]  # MLflow's base is untyped
    """`n h w c` pixels from 0 to 255 to a score (higher is stranger), a flag, and pixels as the VAE would have them."""

    def load_context(self, context: Any) -> None:
        """Rebuilds the networks from safetensors and config."""
        from regen.models import storage

        self.vae = storage.load(Path(context.artifacts["model"]), "vae")

    def predict(
        self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        """Scores images."""
        from regen.models.networks import to_pixels, to_tensor

        images = to_tensor(np.asarray(model_input, dtype=np.uint8))
        scores = self.vae.anomaly_score(images)
        return {
            "anomaly_score": scores.numpy().astype(np.float32),
            "is_anomaly": self.vae.is_anomaly(scores).numpy(),
            "reconstruction": to_pixels(self.vae.reconstruct(images)),
        }


mlflow.models.set_model(VaeModel())
