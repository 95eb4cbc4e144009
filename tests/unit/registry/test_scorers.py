"""Any registered model that gives anomaly scores can score, images or rows; any other is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regen.core.errors import RegistryError
from regen.registry import scorers, versions
from regen.registry.scorers import Registered, open_scorer

TABLE_MODEL = """
import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel


class Table(PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        amount = model_input["amount"]
        return {"anomaly_score": amount.to_numpy(), "is_anomaly": (amount > 5).to_numpy(), "top_columns": ["amount"] * len(amount)}


mlflow.models.set_model(Table())
"""


@pytest.fixture
def table_version(store, tmp_path: Path):
    """A registered model of rows, as a table's VAE would be."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    (tmp_path / "model.py").write_text(TABLE_MODEL)
    signature = ModelSignature(
        Schema([ColSpec("double", "amount"), ColSpec("string", "kind"), ColSpec("long", "count")]),
        Schema(
            [
                TensorSpec(np.dtype(t), (-1,), n)
                for n, t in (("anomaly_score", "float64"), ("is_anomaly", "bool"), ("top_columns", "str"))
            ]
        ),
    )
    with mlflow.start_run(run_id=store.run.id):
        info = mlflow.pyfunc.log_model(
            name="table", python_model=str(tmp_path / "model.py"), signature=signature, pip_requirements=["mlflow"]
        )
    return versions.register("ledger-vae", "vae", store.run, info.model_uri, "key-of-the-table", {}, "# card")


def test_a_vae_of_images_scores_images(store):
    scorer = open_scorer(store.register("digits-vae"))

    found = scorer.predict(np.zeros((3, 8, 8, 1), np.uint8))

    assert (scorer.shape, dict(scorer.columns), scorer.tells_columns) == ((8, 8, 1), {}, False)
    assert len(found[scorers.SCORE]) == len(found[scorers.FLAG]) == 3


def test_a_model_of_rows_scores_rows_and_tells_columns(table_version):
    scorer = open_scorer(table_version)

    found = scorer.predict(pd.DataFrame({"amount": [1.0, 9.0], "kind": ["a", "b"], "count": [1, 2]}))

    assert scorer.shape is None
    assert dict(scorer.columns) == {"amount": "number", "kind": "text", "count": "integer"}
    assert scorer.tells_columns
    assert list(found[scorers.SCORE]) == [1.0, 9.0]
    assert list(found[scorers.FLAG]) == [False, True]
    assert list(found[scorers.COLUMNS]) == ["amount", "amount"]


@pytest.mark.parametrize("kind", ["gan", "extractor"])
def test_a_model_that_gives_no_scores_is_refused(store, kind):
    version = store.register(f"digits-{kind}", kind)

    with pytest.raises(RegistryError, match=rf"digits-{kind} \d+ gives no anomaly_score; name a VAE"):
        open_scorer(version)


class Batches:
    """A loaded model that keeps what it was given."""

    def predict(self, rows: pd.DataFrame, params: dict | None = None) -> dict:
        self.params, self.index = params, rows.index.tolist()
        return {"anomaly_score": rows["amount"], "is_anomaly": rows["amount"] > 5}


@pytest.mark.parametrize("batch", ["", "rows.csv"])
def test_a_model_is_told_which_rows_of_a_batch_it_has(table_version, batch):
    model = Batches()
    scorer = Registered(table_version, model, None, {"amount": "number"}, False, ("known.parquet",), batch)

    scorer.predict(pd.DataFrame({"amount": [1.0, 9.0]}, index=[3, 5]))

    part = {"batch": "rows.csv", "rows": [3, 5]} if batch else {}
    assert model.params == {"history": "known.parquet"} | part
    assert model.index == [0, 1]


def test_columns_without_which_a_row_is_none_are_told(table_version):
    assert open_scorer(table_version).required == {"amount", "kind", "count"}
