"""GAN losses side by side, on the same networks, images and seeds; and the default against a plain DCGAN by the clock.

Three parts, each by its word: `losses` trains the five losses on digits and on Fashion-MNIST and measures Fréchet
distance, recall, and how far the classes' shares are from the data's; `modes` counts how many of 25 Gaussians each
loss's average generator finds (Srivastava et al., VEEGAN, 2017); `race` gives the default and a plain DCGAN (Radford et
al., 2016, kept here) the same minutes on Fashion-MNIST. What is in --out already is not run again.

    python benchmarks/gan_quality.py --out gan_quality.jsonl [--parts losses modes race] [--minutes 20] [--jobs 2]
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regen.core.config import Config, parse
from regen.core.sections.models import GanConfig
from regen.data import schemas, sources
from regen.data.splits import Dataset
from regen.evaluation.diversity import measure_diversity
from regen.evaluation.frechet import measure_frechet
from regen.models import storage
from regen.models.extractor import Extractor
from regen.models.gan import Generator
from regen.models.mlp import mlp
from regen.models.networks import HEADS, STEMS, Shape
from regen.training import extractor, gan
from regen.training.losses import LOSSES
from regen.training.rows import Rows
from regen.training.runtime import Runtime, prepare_process

IMAGES = {"digits": 192_000, "fashion-mnist": 64_000}
SEEDS = (0, 1)
GRID = 5
MODE_SPREAD = 0.05
UNITS = 128
"""Of each of the four hidden layers that find the Gaussians."""
CPU = torch.device("cpu")
FEATURES = 64
SETS = 4
REFERENCE = 5_000
"""Most test rows that a distance is measured to."""


@dataclass(frozen=True)
class Job:
    """One line of the ledger."""

    part: str
    data: str
    method: str
    seed: int
    minutes: float = 0.0
    threads: int = 1
    bf16: bool = False
    """Our arithmetic."""

    @property
    def name(self) -> str:
        """What the ledger calls it."""
        clock = f" {self.minutes:g} min {self.threads} threads" if self.minutes else ""
        return f"{self.part} {self.data} {self.method} seed {self.seed}{clock}{' bf16' if self.bf16 else ''}"


@dataclass(frozen=True)
class Bench:
    """A data set as every method sees it, and what it is judged by."""

    config: Config
    dataset: Dataset
    labels: list[int]

    @classmethod
    def open(cls, name: str) -> "Bench":
        """Reads, validates and splits the rows, as the pipeline does."""
        images = 96_000 if name == "digits" else 256_000
        raw = {"source": name, "max_duplicate_share": 0.1}
        config = parse(
            {"project": "bench", "data": raw, "extractor": {"features": FEATURES, "images": images}}, "the benchmark"
        )
        rows = sources.load(config.data)
        dataset = Dataset.build(rows.images, rows.labels, schemas.validate(rows, config.data), config.data, config.seed)
        return cls(config, dataset, sorted(set(dataset.labels.tolist())))

    def rows(self, split: str) -> Rows:
        """A split with its classes."""
        index = self.dataset.rows(split)
        return Rows.of_pixels(self.dataset.images, index, np.searchsorted(self.labels, self.dataset.labels[index]), 1e6)

    def extractor(self, folder: Path) -> Extractor:
        """The judge: trained once, on rows that no generator sees."""
        if not (folder / "extractor.json").exists():
            settings = self.config.extractor
            done = extractor.train_extractor(settings, self.rows("extractor"), len(self.labels), 0, Runtime())
            arguments = {"width": settings.width, "features": settings.features, "n_classes": len(self.labels)}
            storage.save(folder, "extractor", done.extractor, shape=self.dataset.shape, **arguments)
        found: Extractor = storage.load(folder, "extractor")
        return found

    def judge(self, folder: Path, sample: Callable[[int, torch.Generator], Tensor]) -> dict[str, float]:
        """Fréchet distance to test rows with its interval, recall, coverage, and the classes' shift (total variation)."""
        judge, real = self.extractor(folder), self.rows("test").thinned(REFERENCE)
        n, rng = len(real), torch.Generator().manual_seed(1)
        images = torch.cat([batch.images for batch in real.chunks(CPU)])
        fakes = (sample(SETS * n, rng).clamp(0, 1) * 255).round() / 255
        features = judge.features(images).double().numpy()
        sets = [judge.features(part).double().numpy() for part in fakes.split(n)]
        distance = measure_frechet(features, sets, 50, 0).estimate(0.95)
        spread = measure_diversity(features, sets[:1], 50, 0)
        wanted, met = (
            torch.bincount(judge.classes(one), minlength=len(self.labels)) / len(one) for one in (images, fakes)
        )
        return {
            "frechet": distance.value, "frechet_low": distance.low, "frechet_high": distance.high,
            "recall": spread.recall.estimate(0.95).value, "coverage": spread.coverage.estimate(0.95).value,
            "class_shift": float((wanted - met).abs().sum() / 2),
        }  # fmt: skip

    def floor(self, folder: Path) -> dict[str, float]:
        """What real training rows reach."""
        rows = self.rows("train")
        return self.judge(folder, lambda n, rng: rows.take(torch.randint(len(rows), (n,), generator=rng)).images)


def run(job: Job, folder: Path) -> dict[str, Any]:
    """Trains one model and measures it."""
    prepare_process(job.threads)
    started = time.perf_counter()
    if job.part == "modes":
        figures, images = _modes(job)
    else:
        bench = Bench.open(job.data)
        judged_by = folder / f"extractor-{job.data}"
        if job.method == "real rows":
            figures, images = bench.floor(judged_by), 0
        elif job.method == "dcgan":
            sample, images = _dcgan(bench.rows("train"), job.minutes * 60, job.seed)
            figures = bench.judge(judged_by, sample)
        else:
            generator, images = _ours(bench, job)
            figures = bench.judge(judged_by, generator.sample)
    return {"job": job.name, **figures, "images": images, "seconds": round(time.perf_counter() - started, 1)}


def _ours(bench: Bench, job: Job) -> tuple[Generator, int]:
    settings: dict[str, Any] = {"images": IMAGES[job.data]}
    if job.part == "race":
        settings = {"images": 10**9, "seconds": job.minutes * 60}
    else:
        settings["loss"] = job.method
    config = GanConfig(**settings)
    names = tuple(map(str, bench.labels)) if config.conditional else ()
    done = gan.train_gan(config, bench.rows("train"), job.seed, Runtime(bf16=job.bf16), names)
    return done.generator, int(done.curve[-1]["images"])


def _dcgan(rows: Rows, seconds: float, seed: int) -> tuple[Callable[[int, torch.Generator], Tensor], int]:
    """A plain DCGAN as published: batch normalisation, Adam at 2e-4 with β₁ = 0.5, batch 128, non-saturating loss."""
    torch.manual_seed(seed)
    channels, side = rows.shape[0], rows.shape[1] // 4
    generator = nn.Sequential(
        nn.Linear(100, 128 * side**2, bias=False), nn.Unflatten(1, (128, side, side)), nn.BatchNorm2d(128), nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.ConvTranspose2d(64, channels, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(channels, 64, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(128 * side**2, 1),
    )  # fmt: skip
    for module in (*generator.modules(), *discriminator.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
    optimisers = [
        torch.optim.Adam(net.parameters(), 2e-4, betas=(0.5, 0.999), fused=True) for net in (generator, discriminator)
    ]
    images, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        real = 2 * rows.take(torch.randint(len(rows), (128,))).images - 1
        fake = generator(torch.randn(128, 100))
        d_loss = (F.softplus(-discriminator(real)) + F.softplus(discriminator(fake.detach()))).mean()
        optimisers[1].zero_grad()
        d_loss.backward()
        optimisers[1].step()
        optimisers[0].zero_grad()
        F.softplus(-discriminator(fake)).mean().backward()
        optimisers[0].step()
        images += 128
    generator.eval()

    def sample(n: int, rng: torch.Generator) -> Tensor:
        with torch.no_grad():
            return torch.cat([(generator(z) + 1) / 2 for z in torch.randn(n, 100, generator=rng).split(1024)])

    return sample, images


class DeepHead(nn.Module):
    """Points to logits through four hidden layers; with the two of our own fully connected network no loss finds the grid."""

    def __init__(self, shape: Shape, width: int, out: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), *mlp(prod(shape), *4 * [UNITS], out))

    def forward(self, points: Tensor) -> Tensor:
        """One logit, and one more a class, of each point."""
        logits: Tensor = self.net(points)
        return logits


class DeepStem(nn.Module):
    """Latents to points through four hidden layers."""

    def __init__(self, shape: Shape, width: int, latent_dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(*mlp(latent_dim, *4 * [UNITS], prod(shape)), nn.Unflatten(1, shape))

    def forward(self, latents: Tensor) -> Tensor:
        """A point of each latent."""
        points: Tensor = self.net(latents)
        return points


def _modes(job: Job) -> tuple[dict[str, float], int]:
    """25 Gaussians on a grid from −4 to 4, σ = 0.05; a mode is found by 20 or more of 2,500 samples within 3 σ of it."""
    HEADS["mlp"], STEMS["mlp"] = DeepHead, DeepStem
    rng = np.random.default_rng(0)
    axis = np.linspace(-4, 4, GRID)
    modes = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    points = modes[rng.integers(len(modes), size=50_000)] + rng.normal(0, MODE_SPREAD, (50_000, 2))
    rows = Rows.of(torch.from_numpy(points).float().reshape(-1, 1, 1, 2))
    config = GanConfig(
        loss=job.method, network="mlp", latent_dim=4, images=1_280_000, batch_size=128, conditional=False,
        augment_probability=0.0, final_learning_rate=5e-5, penalty_weight=0.5 if job.method == "wgan-gp" else 1.0,
    )  # fmt: skip
    generator = gan.train_gan(config, rows, job.seed, Runtime()).generator
    samples = generator.sample(2_500, torch.Generator().manual_seed(1)).reshape(-1, 2).numpy()
    distances = np.linalg.norm(samples[:, None] - modes[None], axis=-1)
    nearest, close = distances.argmin(axis=1), distances.min(axis=1) < 3 * MODE_SPREAD
    found = np.bincount(nearest[close], minlength=len(modes)) >= 20
    return {"modes": int(found.sum()), "close": float(close.mean())}, config.images


def jobs(parts: list[str], minutes: float, threads: int, *, bf16: bool) -> Iterator[Job]:
    """Every line that the ledger should have."""
    for part, sets in (("losses", IMAGES), ("modes", ("gaussians",))):
        if part in parts:
            for data in sets:
                if part == "losses":
                    yield Job(part, data, "real rows", 0)
                ours = bf16 and part == "losses"
                yield from (Job(part, data, method, seed, bf16=ours) for method in LOSSES for seed in SEEDS)
    if "race" in parts:
        yield from (Job("race", "fashion-mnist", method, 0, minutes, threads) for method in ("r3", "dcgan"))


def main() -> None:
    """Runs what is missing, then prints every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the ledger, JSON lines; what it has is not run again")
    parser.add_argument("--parts", nargs="+", default=["losses", "modes", "race"], choices=["losses", "modes", "race"])
    parser.add_argument("--minutes", type=float, default=20, help="of each side of the race")
    parser.add_argument("--threads", type=int, default=2, help="of the race, whose sides run after one another")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time in the other parts")
    parser.add_argument(
        "--bf16", action="store_true", help="train the five losses in bfloat16, which pays on CPUs with AMX"
    )
    options = parser.parse_args()
    known = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    done = {line["job"] for line in known}
    missing = [
        job for job in jobs(options.parts, options.minutes, options.threads, bf16=options.bf16) if job.name not in done
    ]
    for data in {job.data for job in missing} - {"gaussians"}:
        Bench.open(data).extractor(options.out.parent / f"extractor-{data}")
    for alone, some in (
        (False, [j for j in missing if j.part != "race"]),
        (True, [j for j in missing if j.part == "race"]),
    ):
        with ProcessPoolExecutor(1 if alone else options.jobs, max_tasks_per_child=1) as pool:
            for line in pool.map(run, some, [options.out.parent] * len(some)):
                print(json.dumps(line), flush=True)
                with options.out.open("a") as ledger:
                    ledger.write(json.dumps(line) + "\n")
    show([json.loads(line) for line in options.out.read_text().splitlines()])


def show(lines: list[dict[str, Any]]) -> None:
    """One row a job."""
    columns = (
        "frechet",
        "frechet_low",
        "frechet_high",
        "recall",
        "coverage",
        "class_shift",
        "modes",
        "images",
        "seconds",
    )
    print("job".ljust(48) + "".join(column.rjust(14) for column in columns))
    for line in sorted(lines, key=lambda line: line["job"]):
        cells = ("" if line.get(c) is None else f"{line[c]:.4g}" if c != "images" else f"{line[c]:,}" for c in columns)
        print(line["job"].ljust(48) + "".join(cell.rjust(14) for cell in cells))


if __name__ == "__main__":
    main()
