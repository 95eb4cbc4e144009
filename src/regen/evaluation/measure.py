"""Measures a model on the test rows: every figure with its resamples, so that two models can be compared pair by pair."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from regen.core.errors import EvaluationError
from regen.core.sections.evaluation import EvaluationConfig, Metric
from regen.core.seeds import derive
from regen.data.splits import Dataset, unit_interval
from regen.evaluation import anomaly, comparison, diversity, likelihood, reconstruction
from regen.evaluation.anomaly import Flagging
from regen.evaluation.diversity import MissingClass
from regen.evaluation.frechet import Features, frechet_at_infinity, measure_frechet
from regen.evaluation.intervals import Estimate, Replicated, mean_of
from regen.evaluation.kernel import measure_kernel
from regen.evaluation.memorisation import measure_memorised
from regen.evaluation.ranking import Scores
from regen.models.extractor import Extractor
from regen.models.gan import Generator
from regen.models.networks import to_pixels, to_tensor
from regen.models.vae import Vae


class Sampler(Protocol):
    """A model that makes images."""

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """`n` images."""


@dataclass(frozen=True)
class Measured:
    """A model's figures, and what pictures are drawn from."""

    figures: Mapping[Metric, Replicated]
    samples: UInt8[np.ndarray, "n h w c"]
    side: dict[str, float] = field(default_factory=dict)
    """Figures without resamples."""
    missing: list[MissingClass] = field(default_factory=list)
    """Classes that hardly any sample belongs to."""
    scores: np.ndarray | None = None  # (m,) anomaly scores of the test rows
    errors: np.ndarray | None = None  # (m,) MSE of each test row
    unmeasured: Mapping[Metric, str] = field(default_factory=dict)
    """Figures that these rows cannot tell, with the reason."""
    flagging: Flagging | None = None
    """What the calibrated threshold does on the test rows."""

    def estimates(self, config: EvaluationConfig) -> dict[Metric, Estimate]:
        """Values and intervals."""
        return {name: figure.estimate(config.confidence) for name, figure in self.figures.items()}

    def difference(self, champion: "Measured", config: EvaluationConfig) -> dict[Metric, Estimate]:
        """This model minus the champion, pair by pair, wherever both have the figure."""
        return {
            name: figure.minus(champion.figures[name]).estimate(config.confidence)
            for name, figure in self.figures.items()
            if name in champion.figures
        }


def features_of(extractor: Extractor, pixels: UInt8[np.ndarray, "n h w c"]) -> Features:
    """The features of images as people see them: 8-bit pixels."""
    found: Features = extractor.features(to_tensor(pixels)).double().numpy()
    return found


def real_floor(dataset: Dataset, extractor: Extractor, config: EvaluationConfig, seed: int) -> Replicated:
    """Fréchet distance between training and test rows, as many of each: what a perfect generator would reach."""
    real, train = (features_of(extractor, dataset.pixels(split)) for split in ("test", "train"))
    n, rng = min(len(real), len(train)), np.random.default_rng(derive(seed, "floor"))
    fakes = [train[rng.permutation(len(train))[:n]] for _ in range(config.sample_sets)]
    return measure_frechet(real[:n], fakes, config.bootstrap_draws, derive(seed, "frechet"))


def real_rows(dataset: Dataset, extractor: Extractor, config: EvaluationConfig, seed: int) -> dict[Metric, Replicated]:
    """Training rows in the place of samples, against as many test rows: what a perfect generator would reach.

    For memorisation, which training rows cannot be asked, validation rows stand in their place.
    """
    real, train, held = (features_of(extractor, dataset.pixels(split)) for split in ("test", "train", "validation"))
    draws, n = config.bootstrap_draws, min(len(real), len(train))
    rng = np.random.default_rng(derive(seed, "floor"))
    fakes = [train[rng.permutation(len(train))[:n]] for _ in range(config.sample_sets)]
    found = diversity.measure_diversity(real[:n], fakes, draws, derive(seed, "diversity"))
    wanted, met = (extractor.classes(to_tensor(dataset.pixels(split))).numpy() for split in ("test", "train"))
    return {
        "kid": measure_kernel(real[:n], fakes, draws, derive(seed, "kernel")),
        "precision": found.precision, "recall": found.recall, "density": found.density, "coverage": found.coverage,
        "class_shift": comparison.measure_class_shift(
            wanted, met, extractor.classifier.out_features, draws, derive(seed, "class_shift")
        ),
        "memorisation": measure_memorised(held, train, real, draws, derive(seed, "memorisation")),
    }  # fmt: skip


def measure_samples(
    model: Sampler,
    reference: UInt8[np.ndarray, "n h w c"],
    training: UInt8[np.ndarray, "m h w c"],
    extractor: Extractor,
    config: EvaluationConfig,
    seed: int,
) -> Measured:
    """Every figure of `sample_sets` sets of samples, each as large as the reference, from one pass through the extractor.

    Args:
        reference: real rows that the model was not trained on.
        training: those it was trained on, which samples should not repeat.
    """
    n, latents = len(reference), torch.Generator().manual_seed(derive(seed, "evaluation", "latents"))
    started = time.perf_counter()
    images = model.sample(config.sample_sets * n, latents)
    seconds = time.perf_counter() - started
    if not torch.isfinite(images).all():
        raise EvaluationError("samples hold NaN or infinity; look at the model's training")
    pixels, draws = to_pixels(images), config.bootstrap_draws
    real, fake, seen = (features_of(extractor, some) for some in (reference, pixels, training))
    sets = np.split(fake, config.sample_sets)
    frechet = measure_frechet(real, sets, draws, derive(seed, "frechet"))
    found = diversity.measure_diversity(real, sets, draws, derive(seed, "diversity"))
    n_classes = extractor.classifier.out_features
    real_classes, fake_classes = (extractor.classes(to_tensor(p)).numpy() for p in (reference, pixels))
    figures: dict[Metric, Replicated] = {
        "frechet_distance": frechet,
        "kid": measure_kernel(real, sets, draws, derive(seed, "kernel")),
        "precision": found.precision, "recall": found.recall, "density": found.density, "coverage": found.coverage,
        "class_shift": comparison.measure_class_shift(
            real_classes, fake_classes, n_classes, draws, derive(seed, "class_shift")
        ),
        "memorisation": measure_memorised(fake, seen, real, draws, derive(seed, "memorisation")),
    }  # fmt: skip
    side = {
        "frechet_distance_uncorrected": frechet.point,
        "copies": float(_copies(pixels, training)),
        "sharpness_ratio": comparison.sharpness(to_tensor(pixels)) / comparison.sharpness(to_tensor(reference)),
        "diversity_ratio": comparison.diversity(torch.from_numpy(fake)) / comparison.diversity(torch.from_numpy(real)),
        "samples_per_second": len(pixels) / seconds,
    }
    if n >= max(3 * real.shape[1], 20):
        at_infinity = [frechet_at_infinity(real, some, seed=derive(seed, "infinity")) for some in sets]
        side["frechet_at_infinity"] = float(np.mean(at_infinity))
    return Measured(figures, pixels[:n], side, diversity.missing_classes(real_classes, fake_classes, n_classes))


def _copies(pixels: UInt8[np.ndarray, "n h w c"], training: UInt8[np.ndarray, "m h w c"]) -> int:
    """How many images equal some training image, pixel for pixel; features differ in their last bits from batch to batch."""
    known = {image.tobytes() for image in training}
    return sum(image.tobytes() in known for image in pixels)


def measure_frechet_of(
    model: Sampler, reference: UInt8[np.ndarray, "n h w c"], extractor: Extractor, config: EvaluationConfig, seed: int
) -> Replicated:
    """The Fréchet distance alone, of the same samples that `measure_samples` draws."""
    latents = torch.Generator().manual_seed(derive(seed, "evaluation", "latents"))
    fake = features_of(extractor, to_pixels(model.sample(config.sample_sets * len(reference), latents)))
    real = features_of(extractor, reference)
    return measure_frechet(real, np.split(fake, config.sample_sets), config.bootstrap_draws, derive(seed, "frechet"))


def measure_gan(
    generator: Generator, dataset: Dataset, extractor: Extractor, config: EvaluationConfig, seed: int
) -> Measured:
    """All figures of a GAN, against the whole test split."""
    measured = measure_samples(generator, dataset.pixels("test"), dataset.pixels("train"), extractor, config, seed)
    measured.side["path_unevenness"] = _unevenness(generator, generator.latent_dim, extractor, seed)
    return measured


def measure_vae(vae: Vae, dataset: Dataset, extractor: Extractor, config: EvaluationConfig, seed: int) -> Measured:
    """All figures of a VAE: samples, reconstruction, likelihood on the normal test rows, detection on all of them."""
    normal, seen = (dataset.pixels(split, normal_only=True) for split in ("test", "train"))
    sampled = measure_samples(vae, normal, seen, extractor, config, seed)
    sampled.side["path_unevenness"] = _unevenness(vae, vae.latent_dim, extractor, seed)
    images = to_tensor(dataset.pixels("test"))
    is_anomaly = dataset.is_anomaly[dataset.rows("test")]
    rebuilt = vae.reconstruct(images)
    errors = reconstruction.mse(images, rebuilt)
    quality: dict[Metric, np.ndarray] = {
        "reconstruction_mse": errors,
        "reconstruction_psnr": reconstruction.psnr(errors),
        "reconstruction_ssim": reconstruction.ssim(images, rebuilt),
    }
    rows = np.flatnonzero(~is_anomaly)
    figures = dict(sampled.figures)
    for name, values in quality.items():
        figures[name] = mean_of(values[rows], config.bootstrap_draws, derive(seed, "reconstruction"))
    figures |= _likelihood(vae, images[rows], config, seed)
    scores = vae.anomaly_score(images).double().numpy()
    whole = replace(sampled, figures=figures, scores=scores, errors=errors)
    if dataset.anomaly_class is None:
        return whole
    recalls = anomaly.measure_recalls(scores, is_anomaly, config.bootstrap_draws, derive(seed, "detection"))
    flagging = anomaly.measure_flagging(scores, is_anomaly, float(vae.threshold), config.confidence)
    figures |= _detection(scores, is_anomaly, config, seed) | recalls.figures
    return replace(whole, figures=figures, unmeasured=recalls.unmeasured, flagging=flagging)


@dataclass(frozen=True)
class Baseline:
    """Another detector's figures, and the scores of the test rows that they are of."""

    estimates: dict[Metric, Estimate]
    scores: Scores


def measure_baselines(dataset: Dataset, config: EvaluationConfig, seed: int) -> dict[str, Baseline]:
    """AUC and AP of the other detectors, fitted on the VAE's own training rows; empty without an anomaly class."""
    if dataset.anomaly_class is None:
        return {}
    train, test = unit_interval(dataset.pixels("train", normal_only=True)), unit_interval(dataset.pixels("test"))
    is_anomaly, drawn = dataset.is_anomaly[dataset.rows("test")], derive(seed, "detection")
    found = {}
    for name, fit in anomaly.BASELINES.items():
        scores = fit(train, test, derive(seed, name))
        recalls = anomaly.measure_recalls(scores, is_anomaly, config.bootstrap_draws, drawn)
        figures = _detection(scores, is_anomaly, config, seed) | recalls.figures
        found[name] = Baseline({m: figure.estimate(config.confidence) for m, figure in figures.items()}, scores)
    return found


def _likelihood(
    vae: Vae, images: Float[Tensor, "n c h w"], config: EvaluationConfig, seed: int
) -> dict[Metric, Replicated]:
    """Bits per dimension by the ELBO and by the tighter IWAE bound, on the same rows, evenly spaced if there are many."""
    kept = (
        np.linspace(0, len(images) - 1, min(len(images), likelihood.most_images(images[0].numel())))
        .round()
        .astype(np.int64)
    )
    chosen = images[torch.from_numpy(kept)]
    generator = torch.Generator().manual_seed(derive(seed, "evaluation", "likelihood"))
    nats: dict[Metric, np.ndarray] = {
        "negative_elbo_bits": vae.negative_elbo(chosen).double().numpy(),
        "iwae_bits": -likelihood.iwae_bound(vae, chosen, likelihood.DRAWS, generator),
    }
    bits = {name: likelihood.bits_per_dimension(values, chosen[0].numel()) for name, values in nats.items()}
    return {name: mean_of(values, config.bootstrap_draws, derive(seed, "likelihood")) for name, values in bits.items()}


def _detection(
    scores: np.ndarray, is_anomaly: np.ndarray, config: EvaluationConfig, seed: int
) -> dict[Metric, Replicated]:
    return anomaly.measure_detection(scores, is_anomaly, config.bootstrap_draws, derive(seed, "detection"))


def _unevenness(model: Generator | Vae, latent_dim: int, extractor: Extractor, seed: int) -> float:
    ends = torch.randn(
        2 * comparison.PATHS, latent_dim, generator=torch.Generator().manual_seed(derive(seed, "evaluation", "paths"))
    )

    def decode(points: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        if isinstance(model, Vae):
            return model.decode(points)
        of = torch.arange(len(points)) % comparison.PATHS % max(len(model.classes), 1)  # one class a path
        images: Tensor = model(points, of)
        return images

    return comparison.path_unevenness(decode, extractor.features, ends)
