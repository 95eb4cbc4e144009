"""Registered models that say how unlike their training data a row is, whatever they are, loaded as consumers load them."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from regen.core.errors import RegistryError
from regen.registry.tracking import speaking_plainly
from regen.registry.versions import Version

HISTORY = "history"
"""The parameter by which a model of rows is told of files with their past, one a line."""
BATCH, ROWS = "batch", "rows"
"""The parameters by which it is told of the file of which the rows are a part, and of their numbers there, from 0."""
SCORE, FLAG, COLUMNS = "anomaly_score", "is_anomaly", "top_columns"
"""What a model of anomalies gives for each row: a number, higher for stranger; whether it is over the threshold; and, where
it can tell, the columns that say so."""
ColumnType = Literal["text", "number", "integer", "boolean", "date"]
TYPES: dict[str, ColumnType] = {
    "string": "text", "double": "number", "float": "number", "long": "integer", "integer": "integer",
    "boolean": "boolean", "datetime": "date",
}  # fmt: skip
"""What a column of a signature holds, by MLflow's word."""


class Scorer(Protocol):
    """Whoever scores rows."""

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Height, width and channels of the images it takes; None if it takes rows of a table."""

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The columns that a row must have; empty if it takes images."""

    @property
    def required(self) -> Set[str]:
        """Those of them in which no value may be absent."""

    @property
    def tells_columns(self) -> bool:
        """Whether it names the columns that make a row strange."""

    def predict(self, rows: np.ndarray | pd.DataFrame) -> Mapping[str, Any]:
        """Score and flag of each image (`n h w c` pixels from 0 to 255) or row, and its top columns if it tells them.

        The index of a frame says which rows of the batch these are.
        """


@dataclass(frozen=True)
class Registered:
    """A registered version as a scorer."""

    version: Version
    model: Any
    shape: tuple[int, int, int] | None
    columns: Mapping[str, ColumnType]
    tells_columns: bool
    history: tuple[str, ...] = ()
    """Files of earlier rows that a model of rows looks back on; those kept with it if empty."""
    batch: str = ""
    """The file that the rows are a part of, where the model looks back on its other rows."""
    required: Set[str] = frozenset()

    def predict(self, rows: np.ndarray | pd.DataFrame) -> Mapping[str, Any]:
        """Score and flag of each image or row, and its top columns if it tells them."""
        told: dict[str, Any] = {HISTORY: "\n".join(self.history)} if self.history else {}
        if isinstance(rows, pd.DataFrame):
            if self.batch:
                told |= {BATCH: self.batch, ROWS: rows.index.tolist()}
            rows = rows.reset_index(drop=True)
        params = {"params": told} if told else {}
        with speaking_plainly(f"scoring with {self.version.model} {self.version.number}"):
            given = self.model.predict(rows, **params)
        found: Mapping[str, Any] = {name: given[name].tolist() for name in given} if _is_frame(given) else given
        return found


def _is_frame(given: object) -> bool:
    return isinstance(given, pd.DataFrame)


def open_scorer(version: Version, history: Sequence[Path] = (), batch: Path | None = None) -> Registered:
    """Loads a registered version that gives anomaly scores.

    Args:
        history: files of earlier rows, for a model that looks back on the past of those it scores.
        batch: the file that they are a part of, for the same; a version that knows no batch has it as history.

    Raises:
        RegistryError: it gives none, or its files are gone or damaged.
    """
    import mlflow

    with speaking_plainly(f"loading {version.model} {version.number}"):
        model = mlflow.pyfunc.load_model(version.uri)
    signature = model.metadata.signature
    given = [spec.name for spec in signature.outputs.inputs] if signature and signature.outputs else []
    if SCORE not in given:
        raise RegistryError(f"{version.model} {version.number} gives no {SCORE}; name a VAE, 'regen models' lists them")
    tensors = signature.inputs.is_tensor_spec()
    shape = tuple(map(int, signature.inputs.inputs[0].shape[1:])) if tensors else None
    columns = {} if tensors else {spec.name: TYPES.get(spec.type.name, "text") for spec in signature.inputs.inputs}
    assert shape is None or len(shape) == 3  # images are n h w c
    required = frozenset() if tensors else frozenset(spec.name for spec in signature.inputs.inputs if spec.required)
    asks = [spec.name for spec in signature.params.params] if signature.params is not None else []
    part = str(batch) if batch is not None and {BATCH, ROWS} <= set(asks) else ""
    past = [*history, *([batch] if batch is not None and not part else [])] if HISTORY in asks else []
    return Registered(version, model, shape, columns, COLUMNS in given, tuple(map(str, past)), part, required)
