"""A table's models as MLflow models: rows in and scores out, or a number in and rows out; our code bundled."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from regen.data.columns import Column, TableSchema
from regen.registry import packaging
from regen.registry.packaging import CARD, REQUIREMENTS
from regen.registry.scorers import BATCH, HISTORY, ROWS
from regen.registry.tracking import Run, speaking_plainly

TABLE_REQUIREMENTS = (*REQUIREMENTS, *(f"{name}=={version(name)}" for name in ("polars", "pyarrow", "scipy")))
"""What a packaged model of a table needs where it is loaded."""
PARTS = ("core", "data", "models")
TYPES = {
    "numeric": "double", "integer": "long", "categorical": "string", "boolean": "boolean", "datetime": "datetime",
}  # fmt: skip
"""MLflow's word for each kind of column."""
LEFT_OUT = ("curve.csv", "network.json")
"""What a training writes that a packaged model does without."""


def log_table_model(
    run: Run, kind: str, name: str, folder: Path, schema: TableSchema, made: Sequence[Column], card: str
) -> str:
    """Logs what `folder` holds of a trained model to the run as a pyfunc; gives back the logged model's address.

    Args:
        kind: vae or gan.
        schema: of rows as they come in.
        made: the columns that the GAN makes.
        card: the model card, as markdown.
    """
    import mlflow

    with TemporaryDirectory() as temporary, speaking_plainly(f"logging {name}"):
        model = Path(temporary) / "model"
        model.mkdir()
        for file in folder.iterdir():
            if file.is_file() and file.name not in LEFT_OUT:
                shutil.copy(file, model)
        (model / CARD).write_text(card)
        with mlflow.start_run(run_id=run.id):
            info = mlflow.pyfunc.log_model(
                name=name,
                python_model=str(Path(__file__).with_name(f"table_{kind}_model.py")),
                artifacts={"model": str(model)},
                code_paths=[str(packaging.code(Path(temporary), PARTS))],
                signature=_vae_signature(schema) if kind == "vae" else _gan_signature(made),
                input_example=_rows(schema) if kind == "vae" else pd.DataFrame({"n": [4], "seed": [0]}),
                pip_requirements=list(TABLE_REQUIREMENTS),
            )
    return str(info.model_uri)


def _taken(schema: TableSchema) -> list[Column]:
    """The columns that rows to be scored have: all but the label."""
    return [column for column in schema.columns if column.name != schema.label]


def _vae_signature(schema: TableSchema) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    taken = [
        ColSpec(
            "double" if column.kind == "integer" and column.nullable else TYPES[column.kind],
            column.name, required=not column.nullable,
        )
        for column in _taken(schema)
    ]  # fmt: skip
    given = [ColSpec("double", "anomaly_score"), ColSpec("boolean", "is_anomaly"), ColSpec("string", "top_columns")]
    past = [ParamSpec(HISTORY, "string", ""), ParamSpec(BATCH, "string", ""), ParamSpec(ROWS, "long", [], shape=(-1,))]
    return ModelSignature(Schema(taken), Schema(given), ParamSchema(past))


def _gan_signature(made: Sequence[Column]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    wanted = [ColSpec("long", "n"), ColSpec("long", "seed", required=False)]
    givable = [
        ColSpec("double" if column.kind == "integer" else TYPES[column.kind], column.name, required=False)
        for column in made
        if column.name not in ("n", "seed")
    ]
    return ModelSignature(
        Schema([*wanted, *givable]), Schema([ColSpec(TYPES[column.kind], column.name) for column in made])
    )


def _rows(schema: TableSchema) -> pd.DataFrame:
    """A row that the schema lets pass, made up, so that no real one travels as the example."""
    return pd.DataFrame({column.name: [_value(column)] for column in _taken(schema)})


def _value(column: Column) -> Any:
    if column.kind == "categorical":
        return column.categories[0] if column.categories else "a"
    if column.kind == "boolean":
        return False
    low = column.low if column.low is not None else min(column.high or 0.0, 0.0)
    if column.kind == "datetime":
        return pd.Timestamp(datetime.fromtimestamp(low, UTC).replace(tzinfo=None))
    if column.kind == "integer":
        return float(low) if column.nullable else int(low)
    return float(low)
