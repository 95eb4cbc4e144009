"""A made-up evaluation of a table: figures, charts and curves of the types that a real one has, in an instant."""

from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd

from regen.core.config import Config
from regen.data.codebook import Codebook
from regen.data.columns import Column
from regen.evaluation.table_measure import RealRows
from regen.evaluation.table_report import TableExhibits

CONFIG = Config(project="payments")
COLUMNS = (
    Column("amount", "numeric"), Column("count", "integer"), Column("trade", "categorical", nullable=True),
    Column("night", "boolean"), Column("fraud", "categorical", categories=("0", "1")),
)  # fmt: skip


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def frame(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "amount": rng.lognormal(3, 1, n), "count": rng.poisson(3, n), "trade": rng.choice(["fuel", "<travel>", None], n),
        "night": rng.random(n) < 0.2, "fraud": np.where(rng.random(n) < 0.05, "1", "0"),
    })  # fmt: skip


def measured(*, champions: bool = False) -> dict[str, Any]:
    """What evaluation.json holds."""
    vae = {name: estimate(0.6) for name in ("anomaly_auc", "anomaly_ap", "anomaly_precision_top_k", "column_error")}
    gan = {
        name: estimate(0.9)
        for name in ("column_shapes", "pair_trends", "utility_auc", "utility_f1", "told_apart_auc", "closer_than_control", "copies")
    }  # fmt: skip
    side = {
        "closest_record": 0.4, "closest_record_of_control": 0.41, "copies_in_control": 0.0, "utility_auc_of_real": 0.97,
    }  # fmt: skip
    entry = {"champion": None, "difference": None, "warnings": [], "judged_by": {"rows": "ab" * 32, "n": 900}}
    models = {
        "vae": {
            "estimates": vae, "side": {}, **entry,
            "unmeasured": {"anomaly_recall_fpr01": "not enough samples: 1000 normal test rows are needed, got 850"},
            "flagging": {"false_positive_rate": estimate(0.06), "recall": estimate(0.7)},
        },
        "gan": {"estimates": gan, "side": side, **entry, "unmeasured": {}, "flagging": None, "warnings": ["modes are missing"]},
    }  # fmt: skip
    if champions:
        for model in models.values():
            model["champion"] = {"version": 3, "estimates": deepcopy(model["estimates"])}
            model["difference"] = {name: estimate(0.1) for name in model["estimates"]}
    columns = [
        {"name": c.name, "kind": c.kind, "shape": 0.8 + 0.02 * i, "error": None if c.name == "fraud" else 0.3}
        for i, c in enumerate(COLUMNS)
    ]
    names = ["amount", "count", "trade", "night", "fraud"]
    pairs = [{"a": a, "b": b, "score": 0.9 - 0.01 * i} for i, a in enumerate(names) for b in names[i + 1 :]]
    week = {"rows": 300, "anomalies": 12, "champion": 0.4 if champions else None, "candidate": 0.6, "forest": 0.3}
    day = {"candidate": 0.4, "champion": 0.3 if champions else None, "possible": 0.9, "forest": 0.1}
    return {
        "models": models, "rows": {"train": 4000, "validation": 800, "test": 900, "gap": 300},
        "begins": {"validation": "2026-04-01", "test": "2026-05-01"}, "label": "fraud", "label_delay_days": 7.0,
        "anomalies": 45, "unknown_labels": 0, "semi_supervised": True, "note": "The isolation forest reaches an average precision of 0.3.",
        "baselines": {"isolation forest": {"anomaly_auc": estimate(0.8), "anomaly_ap": estimate(0.3)}},
        "real_rows": {"column_shapes": estimate(0.98), "pair_trends": estimate(0.97), "told_apart_auc": estimate(0.5)},
        "columns": columns, "pairs": pairs, "weeks": [week | {"week": w} for w in range(4)],
        "alerts": {"k": 20, "possible": 0.9, "days": [day | {"day": d} for d in range(20)]},
        "explained": [{
            "name": "transaction 17, 2026-05-03 11:02", "score": 9.1, "is_anomaly": True,
            "columns": [{"name": "amount", "value": "1,234", "expected": "-34.5", "nats": 12.3}],
        }],
        "provenance": {"data_version": "d41d8cd9", "key": "fedcba98", "git_commit": "c0ffee00", "seed": 0},
    }  # fmt: skip


def exhibits() -> TableExhibits:
    frames = [frame(300, seed) for seed in range(4)]
    book = Codebook.of(frames, COLUMNS)
    train, control, test, fake = map(book.table, frames)
    rng = np.random.default_rng(0)
    scores = {"normal": rng.normal(size=90), "anomaly": 3 + rng.normal(size=10)}
    return TableExhibits(RealRows(train, control, test, "fraud"), fake, book, scores, 1.5)


def curves() -> dict[str, pd.DataFrame]:
    images = pd.Series([100, 200, 300], name="images")
    points = pd.DataFrame(
        {"detector": ["VAE", "VAE", "kNN", "kNN"], "x": [0.0, 1.0, 0.0, 1.0], "y": [0.5, 1.0, 0.0, 1.0]}
    )
    return {
        "vae": pd.DataFrame({"images": images, "nll": -1.0, "kl": 2.0, "negative_elbo": 1.0}),
        "gan": pd.DataFrame(
            {"images": images, "discriminator_loss": 0.6, "generator_loss": 0.7, "gradient_penalty": 0.1}
        ),
        "roc": points.rename(columns={"x": "false_positive_rate", "y": "true_positive_rate"}),
        "precision_recall": points.rename(columns={"x": "recall", "y": "precision"}),
    }
