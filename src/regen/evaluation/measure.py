"""Measures a model on the test rows: every figure with its resamples, so that two models can be compared pair by pair."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from regen.core.config import EvaluationConfig, Metric
from regen.core.errors import EvaluationError
from regen.core.seeds import derive
from regen.data.splits import Dataset, unit_interval
from regen.evaluation import anomaly, comparison, diversity, likelihood, reconstruction
from regen.evaluation.diversity import Diversity, MissingClass
from regen.evaluation.frechet import Features, measure_frechet
from regen.evaluation.intervals import Estimate, Replicated, bootstrap
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


def real_diversity(dataset: Dataset, extractor: Extractor, config: EvaluationConfig, seed: int) -> Diversity:
    """Recall and coverage of training rows against test rows, as many of each: what a perfect generator would reach."""
    real, train = (features_of(extractor, dataset.pixels(split)) for split in ("test", "train"))
    n, rng = min(len(real), len(train)), np.random.default_rng(derive(seed, "floor"))
    fakes = [train[rng.permutation(len(train))[:n]] for _ in range(config.sample_sets)]
    return diversity.measure_diversity(real[:n], fakes, config.bootstrap_draws, derive(seed, "diversity"))


def measure_samples(
    model: Sampler, reference: UInt8[np.ndarray, "n h w c"], extractor: Extractor, config: EvaluationConfig, seed: int
) -> Measured:
    """Fréchet distance, recall, coverage, class balance and sharpness of `sample_sets` sets as large as the reference."""
    n, latents = len(reference), torch.Generator().manual_seed(derive(seed, "evaluation", "latents"))
    started = time.perf_counter()
    images = model.sample(config.sample_sets * n, latents)
    seconds = time.perf_counter() - started
    if not torch.isfinite(images).all():
        raise EvaluationError("samples hold NaN or infinity; look at the model's training")
    pixels = to_pixels(images)
    real, fake = features_of(extractor, reference), features_of(extractor, pixels)
    frechet = measure_frechet(real, np.split(fake, config.sample_sets), config.bootstrap_draws, derive(seed, "frechet"))
    found = diversity.measure_diversity(
        real, np.split(fake, config.sample_sets), config.bootstrap_draws, derive(seed, "diversity")
    )
    n_classes = extractor.classifier.out_features
    real_classes, fake_classes = (extractor.classes(to_tensor(p)).numpy() for p in (reference, pixels))
    shift = bootstrap(
        lambda a, b: comparison.class_shift(real_classes[a], fake_classes[b], n_classes),
        [np.arange(n), np.arange(len(pixels))], config.bootstrap_draws, derive(seed, "class_shift"),
        together=False, corrects_bias=True, least=0,
    )  # fmt: skip
    side = {
        "frechet_distance_uncorrected": frechet.point,
        "precision": found.precision,
        "density": found.density,
        "sharpness_ratio": comparison.sharpness(to_tensor(pixels)) / comparison.sharpness(to_tensor(reference)),
        "diversity_ratio": comparison.diversity(torch.from_numpy(fake)) / comparison.diversity(torch.from_numpy(real)),
        "samples_per_second": len(pixels) / seconds,
    }
    figures: dict[Metric, Replicated] = {
        "frechet_distance": frechet, "recall": found.recall, "coverage": found.coverage, "class_shift": shift,
    }  # fmt: skip
    return Measured(figures, pixels[:n], side, diversity.missing_classes(real_classes, fake_classes, n_classes))


def measure_gan(
    generator: Generator, dataset: Dataset, extractor: Extractor, config: EvaluationConfig, seed: int
) -> Measured:
    """All figures of a GAN, against the whole test split."""
    measured = measure_samples(generator, dataset.pixels("test"), extractor, config, seed)
    measured.side["path_unevenness"] = _unevenness(generator, generator.latent_dim, extractor, seed)
    return measured


def measure_vae(vae: Vae, dataset: Dataset, extractor: Extractor, config: EvaluationConfig, seed: int) -> Measured:
    """All figures of a VAE: samples, reconstruction, likelihood on the normal test rows, detection on all of them."""
    normal = dataset.pixels("test", normal_only=True)
    sampled = measure_samples(vae, normal, extractor, config, seed)
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
        figures[name] = bootstrap(
            lambda chosen, values=values: float(values[chosen].mean()),
            [rows], config.bootstrap_draws, derive(seed, "reconstruction"),
        )  # fmt: skip
    figures |= _likelihood(vae, images[rows], config, seed)
    scores = vae.anomaly_score(images).double().numpy()
    if dataset.anomaly_class is not None:
        figures |= _detection(scores, is_anomaly, config, seed)
    return Measured(figures, sampled.samples, sampled.side, sampled.missing, scores, errors)


def measure_baselines(dataset: Dataset, config: EvaluationConfig, seed: int) -> dict[str, dict[str, Estimate]]:
    """AUC and AP of the other detectors, fitted on the VAE's own training rows; empty without an anomaly class."""
    if dataset.anomaly_class is None:
        return {}
    train, test = unit_interval(dataset.pixels("train", normal_only=True)), unit_interval(dataset.pixels("test"))
    is_anomaly = dataset.is_anomaly[dataset.rows("test")]
    return {
        name: {
            metric: figure.estimate(config.confidence)
            for metric, figure in _detection(fit(train, test, derive(seed, name)), is_anomaly, config, seed).items()
        }
        for name, fit in anomaly.BASELINES.items()
    }


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
    return {
        name: bootstrap(
            lambda rows, values=values: float(values[rows].mean()),
            [np.arange(len(chosen))], config.bootstrap_draws, derive(seed, "likelihood"),
        )
        for name, values in bits.items()
    }  # fmt: skip


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
