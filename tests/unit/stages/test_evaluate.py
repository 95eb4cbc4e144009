"""The evaluation's plots: drawn from the scores that were measured, not from detectors that are fitted again."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import auc

from regen.stages.evaluate import _write_plots

IS_ANOMALY = np.array([False, False, True, True])
SCORES = {"VAE": np.array([0.1, 0.4, 0.35, 0.8]), "kNN": np.array([0.1, 0.2, 0.3, 0.4])}


@pytest.fixture
def context(tmp_path):
    """What the trainings left."""
    for kind in ("vae", "gan", "extractor"):
        (tmp_path / f"train_{kind}").mkdir()
        pd.DataFrame({"images": [10, 20], "loss": [2.0, 1.0]}).to_csv(
            tmp_path / f"train_{kind}" / "curve.csv", index=False
        )
    return SimpleNamespace(results=lambda stage: tmp_path / stage)


@pytest.fixture
def dataset():
    return SimpleNamespace(is_anomaly=IS_ANOMALY, rows=lambda split: np.arange(4))


def test_each_detectors_curves_are_those_of_its_scores(context, dataset, tmp_path):
    tables = _write_plots(context, dataset, SCORES, tmp_path / "plots")

    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["precision_recall.csv", "roc.csv"]
    for name, area in (("VAE", 0.75), ("kNN", 1.0)):
        roc = tables["roc"][tables["roc"]["detector"] == name]
        assert auc(roc["false_positive_rate"], roc["true_positive_rate"]) == area
    assert pd.read_csv(tmp_path / "plots" / "roc.csv")["detector"].unique().tolist() == ["VAE", "kNN"]


def test_where_nothing_was_detected_the_trainings_curves_are_all(context, dataset, tmp_path):
    tables = _write_plots(context, dataset, {}, tmp_path / "plots")

    assert set(tables) == {"vae", "gan", "extractor"}
    assert list((tmp_path / "plots").iterdir()) == []
