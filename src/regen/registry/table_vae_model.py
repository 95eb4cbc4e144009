"""A table's VAE as MLflow loads it: rows as they come in; anomaly score, flag and the columns that say so out."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel


class TableVaeModel(PythonModel):  # type: ignore[misc]  # MLflow's base is untyped
    """Rows with the schema's columns, the label left out, to a score (higher is stranger), a flag, and the top columns.

    What is computed from the rows' past looks back on the rows kept with the model, or on those of the Parquet or CSV
    files that the parameter `history` names, one a line, and on earlier ones among the rows themselves. Of a larger batch
    `batch` names the file, and `rows` which of its rows these are, so that they look back on all others of it too.
    """

    def load_context(self, context: Any) -> None:
        """Rebuilds the network from safetensors and config."""
        from regen.models.table_scorer import TableScorer

        self.scorer = TableScorer.load(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Scores rows."""
        given = params or {}
        paths, batch = [Path(line) for line in str(given.get("history", "")).splitlines()], str(given.get("batch", ""))
        return self.scorer.predict(
            model_input,
            self.scorer.past_in(paths) if paths else None,
            self.scorer.others_in(Path(batch), given.get("rows", [])) if batch else None,
        )


mlflow.models.set_model(TableVaeModel())
