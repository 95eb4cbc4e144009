"""The report: one self-contained HTML page that works offline, with figures, pictures and curves."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from regen.core import files
from regen.core.config import Config
from regen.data.splits import Dataset
from regen.evaluation import likelihood, pictures
from regen.evaluation.intervals import Estimate
from regen.evaluation.measure import Measured
from regen.models.networks import to_pixels, to_tensor
from regen.models.vae import Vae

SHOWN = 64
LABELS = {
    "anomaly_auc": "ROC-AUC",
    "anomaly_ap": "Average precision",
    "reconstruction_mse": "Reconstruction MSE",
    "reconstruction_psnr": "Reconstruction PSNR, dB",
    "reconstruction_ssim": "Reconstruction SSIM",
    "negative_elbo_bits": "−ELBO, bits per dimension",
    "iwae_bits": "−IWAE bound, bits per dimension",
    "frechet_distance": "Fréchet distance",
    "recall": "Recall of modes",
    "coverage": "Coverage of real rows",
    "class_shift": "Class shift",
}
"""What people read for each metric."""


@dataclass(frozen=True)
class Pictures:
    """The images and scores that the report shows."""

    real: UInt8[np.ndarray, "n h w c"]
    gan: UInt8[np.ndarray, "n h w c"]
    vae: UInt8[np.ndarray, "n h w c"]
    reconstructed: UInt8[np.ndarray, "m h w c"]
    """Pairs of rows: 16 real, then the same 16 reconstructed."""
    worst: UInt8[np.ndarray, "m h w c"]
    """The same for the rows that the VAE reconstructs worst."""
    scores: Mapping[str, np.ndarray]
    """Anomaly scores of each group of test rows."""
    threshold: float

    @classmethod
    def of(cls, dataset: Dataset, vae: Vae, measured: Mapping[str, Measured]) -> "Pictures":
        """Picks them from the test rows."""
        test, is_anomaly = dataset.pixels("test"), dataset.is_anomaly[dataset.rows("test")]
        scores, errors = measured["vae"].scores, measured["vae"].errors
        assert scores is not None and errors is not None  # measured on a VAE
        normal = np.flatnonzero(~is_anomaly)
        worst = normal[np.argsort(-errors[normal])[:16]]
        rebuilt = to_pixels(vae.reconstruct(to_tensor(test)))
        groups = {"normal": scores[~is_anomaly], f"class {dataset.anomaly_class}": scores[is_anomaly]}
        return cls(
            test[:SHOWN], measured["gan"].samples[:SHOWN], measured["vae"].samples[:SHOWN],
            np.concatenate([test[normal[:16]], rebuilt[normal[:16]]]), np.concatenate([test[worst], rebuilt[worst]]),
            {name: values for name, values in groups.items() if len(values)}, float(vae.threshold),
        )  # fmt: skip


def write(
    out: Path, config: Config, found: Mapping[str, Any], shown: Pictures, tables: Mapping[str, pd.DataFrame]
) -> None:
    """Writes report.html and samples.png into `out`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("regen.evaluation"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("report.html.j2").render(
        config=config, found=found, labels=LABELS,
        comparison=comparison_table(found), plots=_plots(shown, tables), likelihood=likelihood,
        grids={name: _data_uri(pictures.grid(pixels)) for name, pixels in _grids(shown).items()},
        show=lambda values: str(Estimate(**values)),
    )  # fmt: skip
    files.write_text(out / "report.html", page)
    side_by_side = {"real": shown.real[:40], "GAN": shown.gan[:40], "VAE": shown.vae[:40]}
    with files.replacing(out / "samples.png") as temporary:
        temporary.write_bytes(pictures.png(pictures.panels(side_by_side)))


def _grids(shown: Pictures) -> dict[str, UInt8[np.ndarray, "n h w c"]]:
    return {
        "Real test images": shown.real,
        "Samples from the GAN": shown.gan,
        "Samples from the VAE": shown.vae,
        "Reconstructions: real above, reconstructed below": shown.reconstructed,
        "The 16 worst reconstructions: real above, reconstructed below": shown.worst,
    }


def _data_uri(pixels: UInt8[np.ndarray, "h w c"]) -> str:
    return "data:image/png;base64," + b64encode(pictures.png(pixels)).decode()


def _plots(shown: Pictures, tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    plots: dict[str, str] = {}
    if len(shown.scores) > 1:
        plots["Anomaly scores"] = pictures.histogram(shown.scores, "anomaly score", shown.threshold, "threshold")
    axes = {
        "ROC": ("roc", "false_positive_rate", "true_positive_rate"),
        "Precision and recall": ("precision_recall", "recall", "precision"),
    }
    for title, (table, x, y) in axes.items():
        if table in tables:
            series = {
                str(name): (rows[x].tolist(), rows[y].tolist())
                for name, rows in tables[table].groupby("detector", sort=False)
            }
            plots[title] = pictures.lines(series, x.replace("_", " "), y.replace("_", " "), square=True)
    curves = {
        "VAE training": ("vae", ("nll", "kl", "negative_elbo")),
        "GAN training": ("gan", ("discriminator_loss", "generator_loss", "gradient_penalty")),
    }
    for title, (table, columns) in curves.items():
        rows = tables[table]
        series = {name.replace("_", " "): (rows["images"].tolist(), rows[name].tolist()) for name in columns}
        plots[title] = pictures.lines(series, "images seen", "nats" if table == "vae" else "loss")
    return plots


def frechet_note(found: Mapping[str, Any]) -> str:
    """The space that the Fréchet distances are measured in, by name, and the distances to hold them against."""
    extractor = found["extractor"]
    floor, untrained = (Estimate(**found[name]).value for name in ("frechet_floor", "frechet_untrained"))
    return (
        f"Fréchet distances are FD[{extractor['name']}@{extractor['sha256'][:8]}, n={found['rows']['test']}]: "
        f"real training rows reach {floor:.1f}, the untrained generator {untrained:,.0f}"
    )


def comparison_table(found: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """GAN versus VAE by what was measured: question, GAN, VAE, what a perfect model would show."""
    gan, vae = (found["models"][kind] for kind in ("gan", "vae"))

    def interval(model: Mapping[str, Any], metric: str) -> str:
        return str(Estimate(**model["estimates"][metric])) if metric in model["estimates"] else "not measured"

    def side(question: str, name: str, perfect: str, form: str = ".2f") -> tuple[str, str, str, str]:
        return question, format(gan["side"][name], form), format(vae["side"][name], form), perfect

    real_recall, real_coverage = (f"{found['real_rows'][name]['value']:.2f}" for name in ("recall", "coverage"))
    on_all_classes = str(Estimate(**found["frechet_vae_all_classes"]))
    return [
        ("Sample quality: Fréchet distance", interval(gan, "frechet_distance"), interval(vae, "frechet_distance"), "0"),
        ("… the VAE also against all classes", interval(gan, "frechet_distance"), on_all_classes, "0"),
        ("… GAN minus VAE on all classes, paired", str(Estimate(**found["frechet_gan_minus_vae"])), "", "below 0: GAN"),
        ("Balance of classes: total variation", interval(gan, "class_shift"), interval(vae, "class_shift"), "0"),
        ("Modes found: recall", interval(gan, "recall"), interval(vae, "recall"), f"1; real rows {real_recall}"),
        (
            "Real rows with a sample near: coverage",
            interval(gan, "coverage"),
            interval(vae, "coverage"),
            f"1; real rows {real_coverage}",
        ),
        side("Samples that could be real: precision", "precision", "1"),
        side("Density of real rows around samples", "density", "1"),
        side("Sharpness against real images", "sharpness_ratio", "1"),
        side("Diversity against real images", "diversity_ratio", "1"),
        side("Latent path: largest step over mean step", "path_unevenness", "1"),
        ("Reconstruction: PSNR, dB", "no encoder", interval(vae, "reconstruction_psnr"), "higher"),
        ("Likelihood: IWAE bound, bits per dimension", "no likelihood", interval(vae, "iwae_bits"), "lower"),
        ("Anomaly detection: ROC-AUC", "no score", interval(vae, "anomaly_auc"), "1"),
        ("Training, seconds", f"{found['seconds']['gan']:,.0f}", f"{found['seconds']['vae']:,.0f}", "fewer"),
        ("Parameters when used", f"{found['parameters']['gan']:,}", f"{found['parameters']['vae']:,}", "fewer"),
        side("Samples a second", "samples_per_second", "more", ",.0f"),
    ]
