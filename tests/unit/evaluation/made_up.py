"""A made-up evaluation: figures, pictures and curves of the types that a real one has, in an instant."""

from copy import deepcopy
from dataclasses import replace
from math import nan
from typing import Any, get_args

import numpy as np
import pandas as pd

from regen.core.config import Config
from regen.core.sections.evaluation import Metric
from regen.evaluation import latent
from regen.evaluation.exhibits import Exhibits, Pairs, Rebuilt

CONFIG = Config(project="digits")
NOTHING = {"value": nan, "low": nan, "high": nan}


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def side(scale: float) -> dict[str, float]:
    return {
        "sharpness_ratio": 0.91 * scale, "diversity_ratio": 0.92 * scale, "path_unevenness": 1.5 * scale,
        "samples_per_second": 12345.0 * scale, "frechet_at_infinity": 14.0 * scale, "copies": 0.0,
    }  # fmt: skip


def per_class(name: str, position: int) -> dict[str, Any]:
    generated = {"share": 0.1 * position, "frechet": estimate(10.0 + position)}
    return {
        "name": name, "rows": 40, "share": 0.5, "frechet_floor": estimate(2.0),
        "generated": {"gan": generated, "vae": generated | {"frechet": NOTHING}}, "reconstruction_mse": estimate(0.3),
    }  # fmt: skip


def measured() -> dict[str, Any]:
    """What evaluation.json holds of two candidates without champions."""
    gan = {
        "frechet_distance": estimate(20.0), "class_shift": estimate(0.25), "recall": estimate(0.7), "coverage": estimate(0.9),
        "kid": estimate(0.4), "precision": estimate(0.4), "density": estimate(0.4), "memorisation": estimate(0.01),
    }  # fmt: skip
    vae = {metric: estimate(0.5 + i) for i, metric in enumerate(get_args(Metric))}
    entry = {"champion": None, "difference": None, "warnings": []}
    return {
        "models": {
            "vae": {"estimates": vae, "side": side(2.0), **entry},
            "gan": {"estimates": gan, "side": side(1.0), **entry},
        },
        "rows": {"train": 500, "validation": 100, "test": 321, "extractor": 200},
        "anomaly_class": 8,
        "anomaly_name": "eights",
        "extractor": {"name": "digits-extractor", "sha256": "0123456789abcdef" * 4, "features": 32, "accuracy": 0.973},
        "real_rows": {
            "class_shift": estimate(0.1),
            "recall": estimate(0.96),
            "coverage": estimate(0.97),
            "precision": estimate(0.95),
            "density": estimate(1.0),
        },
        "frechet_floor": estimate(1.0),
        "frechet_untrained": estimate(2000.0),
        "vae_on_all_classes": {
            "estimates": {**{metric: estimate(0.2) for metric in gan}, "frechet_distance": estimate(33.0)},
            "side": side(2.0),
        },
        "gan_minus_vae": {
            "frechet_distance": estimate(-13.0),
            "recall": estimate(0.02),
            "coverage": estimate(0.5),
        },
        "baselines": {"kNN": {"anomaly_auc": estimate(0.9), "anomaly_ap": estimate(0.8)}},
        "parameters": {"gan": 12345, "vae": 67890},
        "seconds": {"gan": 98.7, "vae": 12.3},
        "per_class": [per_class("sevens", 1), per_class("eights", 2)],
        "provenance": {"data_version": "d41d8cd9", "key": "fedcba98", "git_commit": "c0ffee00", "seed": 0},
    }


def with_champions() -> dict[str, Any]:
    """The same beside champions of version 3: better, worse, and no clear difference."""
    found = measured()
    for model in found["models"].values():
        model["champion"] = {"version": 3, "estimates": deepcopy(model["estimates"])}
        model["difference"] = {
            "frechet_distance": estimate(-4.0), "recall": estimate(-0.3), "coverage": estimate(0.05),
        }  # fmt: skip
    return found


def everything() -> dict[str, Any]:
    """All that a report may be given, warnings and figures that came to nothing included."""
    found = with_champions()
    gan = found["models"]["gan"]
    gan["warnings"] = ["classes nearly missing from the samples: 3 (0.10%, 9.8% of the real rows)"]
    gan["estimates"]["preference_win_rate"] = estimate(0.4)
    gan["estimates"]["memorisation"] = NOTHING
    for detector in (found["models"]["vae"]["estimates"], found["baselines"]["kNN"]):
        detector["anomaly_recall_fpr1"] = estimate(0.6)
    vae = found["models"]["vae"]
    del vae["estimates"]["anomaly_recall_fpr01"]
    vae["unmeasured"] = {"anomaly_recall_fpr01": "not enough samples: it needs at least 1000 normal test rows, got 289"}
    vae["flagging"] = {"false_positive_rate": estimate(0.15), "recall": estimate(0.8)}
    preference = {"metric": "kid", "correlation": 0.62, "low": 0.41, "high": 0.78, "pairs": 1240}
    return found | {
        "seeds": {"gan": {"trainings": 3, "frechet_sd": 2.0, "seeds": [0, 1, 2]}},
        "judge": {"name": "digits-second@89abcdef", "frechet": {"gan": estimate(44.0)}},
        "preferences": [preference, preference | {"metric": "a judge of its own", "correlation": -0.1}],
    }


def exhibits(**changes: Any) -> Exhibits:
    """Noise in the place of images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    pairs = Pairs(images, images[::-1], np.arange(40.0))
    rebuilt = Rebuilt(images[:16], images[16:32])
    paths = np.repeat(images[: latent.ROWS], latent.STEPS, axis=0)
    shown = Exhibits(
        real=images, samples={"gan": pairs, "vae": pairs},
        closest={kind: pairs.closest(16) for kind in ("real", "gan", "vae")}, reconstructed=rebuilt, worst=rebuilt,
        scores={"normal": rng.normal(size=90), "anomaly": 2 + rng.normal(size=10)}, threshold=1.5,
        paths={"gan": paths, "vae": paths}, champions={},
    )  # fmt: skip
    return replace(shown, **changes)


def with_champions_samples() -> Exhibits:
    shown = exhibits()
    return replace(shown, champions={"gan": shown.real, "vae": shown.real})


def tables() -> dict[str, pd.DataFrame]:
    points = pd.DataFrame(
        {"detector": ["VAE", "VAE", "kNN", "kNN"], "x": [0.0, 1.0, 0.0, 1.0], "y": [0.5, 1.0, 0.0, 1.0]}
    )
    images = pd.Series([100, 200, 300], name="images")
    return {
        "vae": pd.DataFrame({"images": images, "nll": -1.0, "kl": 2.0, "negative_elbo": 1.0}),
        "gan": pd.DataFrame(
            {"images": images, "discriminator_loss": 0.6, "generator_loss": 0.7, "gradient_penalty": 0.1}
        ),
        "roc": points.rename(columns={"x": "false_positive_rate", "y": "true_positive_rate"}),
        "precision_recall": points.rename(columns={"x": "recall", "y": "precision"}),
    }
