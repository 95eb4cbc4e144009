"""The report: one self-contained HTML page that works offline, with figures, pictures and curves."""

import re
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from regen.core import files
from regen.core.config import Config
from regen.evaluation import charts, latent, likelihood, pictures, report_tables
from regen.evaluation.exhibits import Exhibits, Pairs, Rebuilt
from regen.evaluation.glossary import GLOSSARY
from regen.evaluation.intervals import Estimate
from regen.evaluation.report_tables import outcome, plain, say, stability

if TYPE_CHECKING:
    from jinja2 import Environment

NAMES = {"gan": "GAN", "vae": "VAE"}
LABELS = {name: entry.label for name, entry in GLOSSARY.items()}
"""What people read for each metric."""
DETECTION = [name for name in GLOSSARY if name.startswith("anomaly_")]
CURVES = {
    "GAN: losses": (
        "gan", {"discriminator": "discriminator_loss", "generator": "generator_loss"}, "loss",
    ),
    "GAN: gradient penalty": ("gan", {"penalty": "gradient_penalty"}, "penalty"),
    "VAE: −ELBO and its two parts": (
        "vae", {"−ELBO": "negative_elbo", "reconstruction": "nll", "KL divergence": "kl"}, "nats an image",
    ),
}  # fmt: skip
"""Title to a training's table, its columns by the words for them, and their unit."""
OPTIONAL: dict[str, Any] = {"anomaly_name": None, "per_class": [], "preferences": []}
"""What evaluation.json need not hold."""


def write(
    out: Path, config: Config, found: dict[str, Any], shown: Exhibits, tables: Mapping[str, pd.DataFrame]
) -> None:
    """Writes report.html and samples.png into `out`.

    Args:
        found: what evaluation.json holds.
        tables: the curves of both trainings (`vae`, `gan`) and, with an anomaly class, `roc` and `precision_recall`.
    """
    detectors = {"VAE": found["models"]["vae"]["estimates"], **found["baselines"]}
    page = environment().get_template("report.html.j2").render(
        config=config, found=OPTIONAL | found, shown=shown, names=NAMES, labels=LABELS, likelihood=likelihood,
        say=say, tables=report_tables, alone=pictures.joined, pairs=_pairs, triples=_triples, path_steps=latent.STEPS,
        comparison=comparison_table(found), note=frechet_note(found), provenance=provenance(config, found),
        detectors=detectors, charts=_charts(shown, tables),
        detection_metrics=[name for name in DETECTION if any(name in figures for figures in detectors.values())],
    )  # fmt: skip
    files.write_text(out / "report.html", page)
    samples = {NAMES[kind]: pairs.images for kind, pairs in shown.samples.items()}
    with files.replacing(out / "samples.png") as temporary:
        temporary.write_bytes(pictures.png(pictures.panels({"real": shown.real, **samples})))


def environment() -> "Environment":
    """The templates, with the filters that they use."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("regen.evaluation"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= {"minus": typographic_minus, "sheet": data_uri}
    return found


def typographic_minus(text: str) -> str:
    """The text with a minus sign before negative numbers.

    Example:
        >>> typographic_minus("-4.0 [-4.1, -3.9], digits-2")
        '−4.0 [−4.1, −3.9], digits-2'
    """
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def data_uri(tiles: UInt8[np.ndarray, "n h w a"], columns: int) -> str:
    """A sheet of tiles as an address that holds the picture itself."""
    return "data:image/png;base64," + b64encode(pictures.sheet(tiles, columns)).decode()


def _pairs(pairs: Pairs) -> UInt8[np.ndarray, "n h w a"]:
    return pictures.joined(pairs.images, pairs.nearest)


def _triples(rebuilt: Rebuilt) -> UInt8[np.ndarray, "n h w a"]:
    return pictures.joined(rebuilt.images, rebuilt.rebuilt, rebuilt.error, axis=1)


def _charts(shown: Exhibits, tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, str]]:
    """Title to drawing, for each section that has some."""
    detection = detection_charts("test images", shown.scores, shown.threshold, tables)
    training = {
        title: charts.lines(
            {name: _series(tables[table], "images", column) for name, column in columns.items()},
            title, "training images seen", unit,
        )
        for title, (table, columns, unit) in CURVES.items()
    }  # fmt: skip
    return {"detection": detection, "training": training}


def detection_charts(
    rows: str, scores: Mapping[str, Any], threshold: float | None, tables: Mapping[str, pd.DataFrame]
) -> dict[str, str]:
    """Title to drawing: the scores of normal and anomalous rows, and the curves of each detector, where there are such.

    Args:
        rows: what the scored rows are called.
    """
    drawn: dict[str, str] = {}
    if len(scores) > 1:
        drawn[f"Anomaly scores of {rows}"] = charts.histogram(
            scores, "Histogram", "anomaly score", threshold, "threshold"
        )
    axes = {
        "roc": ("ROC: anomalies found, by false alarms", "false_positive_rate", "true_positive_rate"),
        "precision_recall": ("Precision, by anomalies found", "recall", "precision"),
    }
    for table, (title, x, y) in axes.items():
        if table in tables:
            series = {str(name): _series(found, x, y) for name, found in tables[table].groupby("detector", sort=False)}
            series["guessing"] = ([0.0, 1.0], [0.0, 1.0] if table == "roc" else _all_alarms(tables[table]))
            drawn[title] = charts.lines(series, title, x.replace("_", " "), y.replace("_", " "), unit_square=True)
    return drawn


def _series(rows: pd.DataFrame, x: str, y: str) -> tuple[list[float], list[float]]:
    return rows[x].tolist(), rows[y].tolist()


def _all_alarms(curve: pd.DataFrame) -> list[float]:
    """The precision of an alarm for every row, which is the anomalies' share, whatever the recall."""
    return [float(curve.loc[curve["recall"] == 1, "precision"].min())] * 2


def frechet_note(found: Mapping[str, Any]) -> str:
    """The space that the Fréchet distances are measured in, by name, and the distances to hold them against."""
    extractor = found["extractor"]
    floor, untrained = (Estimate(**found[name]) for name in ("frechet_floor", "frechet_untrained"))
    n, normal = found["rows"]["test"], found["models"]["vae"].get("judged_by", {}).get("n", found["rows"]["test"])
    of_all = f" (beside all {n})" if normal != n else ""
    reached = (
        f"real training rows reach {floor.value:.1f}, the untrained generator {untrained.value:,.0f}{of_all}"
        if floor.is_finite and untrained.is_finite
        else f"{report_tables.TOO_FEW} to say what real training rows and the untrained generator reach"
    )
    rows = f"n={n}" + (f", {normal} normal ones for the VAE" if normal != n else "")
    return f"Fréchet distances are FD[{extractor['name']}@{extractor['sha256'][:8]}, {rows}]: {reached}"


def comparison_table(found: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """GAN versus VAE by what was measured: question, GAN, VAE, what a perfect model would show.

    Samples of both are held against the test rows of all classes, the anomaly's too.
    """
    gan, vae = (found["models"][kind] for kind in ("gan", "vae"))
    wide = found["vae_on_all_classes"]

    def interval(model: Mapping[str, Any], metric: str) -> str:
        return say(model["estimates"][metric]) if metric in model["estimates"] else "not measured"

    def sampled(question: str, metric: str, perfect: str) -> tuple[str, str, str, str]:
        reached = found["real_rows"].get(metric)
        beside = f"; real rows {plain(reached['value'])}" if reached else ""
        return question, interval(gan, metric), interval(wide, metric), perfect + beside

    def side(question: str, name: str, perfect: str, form: str = ".2f") -> tuple[str, str, str, str]:
        whose = wide if name in wide["side"] else vae
        return question, plain(gan["side"][name], form), plain(whose["side"][name], form), perfect

    def apart(question: str, metric: str, perfect: str) -> tuple[str, str, str, str]:
        difference = found["gan_minus_vae"][metric]
        ahead = {"better": "the GAN is ahead", "worse": "the VAE is ahead"}
        word = outcome(metric, difference)
        return question, say(difference), ahead.get(word, word), perfect

    judged = (found.get("judge") or {"frechet": {}})["frechet"]
    gan_judged, vae_judged = (say(judged[kind]) if kind in judged else "not measured" for kind in ("gan", "vae"))
    apart_from = "" if found["anomaly_class"] is None else "; the VAE's beside normal rows alone"
    infinite = all("frechet_at_infinity" in model["side"] for model in (gan, wide))
    preferred = (
        "Preferred by people: win rate", interval(gan, "preference_win_rate"), interval(vae, "preference_win_rate"), "1",
    )  # fmt: skip
    floor = plain(found["frechet_floor"]["value"], ".1f")
    return [
        (
            "Sample quality: Fréchet distance",
            interval(gan, "frechet_distance"),
            interval(wide, "frechet_distance"),
            f"0; real rows {floor}",
        ),
        apart("… Fréchet distance, GAN minus VAE, paired", "frechet_distance", "–"),
        *([side("… another estimate without bias: FD∞", "frechet_at_infinity", "0", ".1f")] if infinite else []),
        *([(f"… by the second judge (never gated{apart_from})", gan_judged, vae_judged, "0")] if judged else []),
        *([preferred] if set(preferred[1:3]) != {"not measured"} else []),
        sampled("Kernel distance (KID)", "kid", "0"),
        sampled("Modes found: recall", "recall", "1"),
        apart("… recall, GAN minus VAE, paired", "recall", "–"),
        sampled("Real rows with a sample near: coverage", "coverage", "1"),
        apart("… coverage, GAN minus VAE, paired", "coverage", "–"),
        sampled("Samples that could be real: precision", "precision", "1"),
        sampled("Density of real rows around samples", "density", "1"),
        sampled("Balance of classes: class shift", "class_shift", "0"),
        sampled("Nearer to training rows than to others, share above ½", "memorisation", "0"),
        side("Copies of training rows", "copies", "0", ",.0f"),
        side("Sharpness against real images", "sharpness_ratio", "1"),
        side("Diversity against real images", "diversity_ratio", "1"),
        side("Latent path: largest step over mean step", "path_unevenness", "1"),
        (
            "Stability over seeds: sd of the Fréchet distance",
            stability(found, "gan"),
            stability(found, "vae"),
            "0",
        ),
        ("Reconstruction: PSNR, dB", "no encoder", interval(vae, "reconstruction_psnr"), "higher"),
        ("Likelihood: −IWAE bound, bits per dimension", "no likelihood", interval(vae, "iwae_bits"), "lower"),
        ("Anomaly detection: ROC-AUC", "no score", interval(vae, "anomaly_auc"), "1"),
        ("Training, seconds", f"{found['seconds']['gan']:,.0f}", f"{found['seconds']['vae']:,.0f}", "fewer"),
        ("Parameters when used", f"{found['parameters']['gan']:,}", f"{found['parameters']['vae']:,}", "fewer"),
        side("Samples a second", "samples_per_second", "more", ",.0f"),
    ]


def provenance(config: Config, found: Mapping[str, Any]) -> list[tuple[str, str | tuple[str]]]:
    """What the figures were made from; a text alone in a tuple is prose, the others are identifiers."""
    origin, extractor, rows = found.get("provenance", {}), found["extractor"], found["rows"]
    rules = config.evaluation
    identifiers = {
        "Data version": origin.get("data_version"),
        "Key of this evaluation": origin.get("key"),
        "Git commit": origin.get("git_commit"),
        f"Extractor, {extractor['name']} (SHA-256)": extractor["sha256"],
    }
    counts = ", ".join(f"{count:,} {split}" for split, count in rows.items())
    return [
        *((what, value) for what, value in identifiers.items() if value),
        ("Images", (counts,)),
        ("Seed", (str(config.seed),)),
        ("Sets of samples, resamples an interval", (f"{rules.sample_sets}, {rules.bootstrap_draws}",)),
        ("Networks", (", ".join(f"{NAMES[kind]} {getattr(config, kind).network}" for kind in ("gan", "vae")),)),
    ]
