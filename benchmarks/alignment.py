"""Tuning toward votes on handwritten digits, judged by the hidden taste of the simulated annotator who gave them.

The annotator prefers strokes heavier than usual, but not too heavy (mean + 1.5 sd), a quarter of the answers being ties.
Each seed trains the default project's models, learns a reward from 1,000 votes on samples of each, tunes GAN and VAE
toward it, and measures every arm on fresh latents: the true win rate over the base, the Fréchet distance to all rows
that the extractor never saw, and how far the classes' shares move. What the folder of --out holds is not run again.

    python benchmarks/alignment.py [--out alignment.jsonl] [--quick] [--json] [--jobs 2] [--seeds 0 1 2] [--kinds gan vae]
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from regen.core.config import Config, load
from regen.core.sections.alignment import AlignConfig
from regen.core.seeds import derive
from regen.data import schemas, sources
from regen.data.splits import Dataset
from regen.evaluation.comparison import class_shift
from regen.evaluation.frechet import Gaussian
from regen.evaluation.intervals import Estimate
from regen.evaluation.measure import Sampler, features_of
from regen.models import storage
from regen.models.extractor import Extractor
from regen.models.gan import Generator
from regen.models.networks import to_pixels, to_tensor
from regen.models.reward import RewardEnsemble
from regen.models.vae import Vae
from regen.preferences.alignment import win_rate
from regen.preferences.arms import BestOf, Lookout, adversarial_only, distance_to, reward_only, shuffled
from regen.preferences.reward import train_reward
from regen.preferences.simulate import Annotator, gold_wins, simulated_votes
from regen.preferences.votes import Votes
from regen.stages import train
from regen.training import witnesses
from regen.training.rows import Rows
from regen.training.runtime import Runtime, prepare_process
from regen.training.tuning import tune_gan, tune_vae
from regen.training.witnesses import Witnesses

Kind = Literal["gan", "vae"]
VOTES, REWARD_SIZES = 1000, (100, 300, 1000)
FORMED_ON, JUDGED, MEASURED, PAIRS = 4096, 2000, 7000, 4000
SHUFFLES = 5
TARGETS = {
    "win_tuned_gan": 0.88, "fd_ratio_tuned_gan": 1.6, "win_lambda0_low": 0.45, "win_lambda0_high": 0.55,
    "win_tuned_vae": 0.80, "fd_ratio_tuned_vae": 1.6,
    "reward_accuracy_100": 0.718, "reward_accuracy_300": 0.866, "reward_accuracy_1000": 0.913,
}  # fmt: skip
QUICK = {"gan.images": "48000", "vae.images": "32000", "extractor.images": "32000", "reward.pairs": "8000"}
ARMS: dict[Kind, tuple[str, ...]] = {
    "gan": ("base", "tuned", "lambda0", "best_of_4", "best_of_16", "reward_only", *(f"shuffled{i}" for i in range(SHUFFLES))),
    "vae": ("base", "tuned", "best_of_4", "best_of_16"),
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One line of the ledger."""

    kind: Kind
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """What the ledger calls it."""
        return f"{self.kind} {self.arm} seed {self.seed}"


@dataclass(frozen=True)
class Bench:
    """A seed's data, base models and annotators; what takes long is kept in `folder`."""

    seed: int
    folder: Path
    quick: bool

    @cached_property
    def config(self) -> Config:
        """The default project with another seed."""
        few = QUICK if self.quick else {}
        changed = {"seed": str(self.seed), "training.device": "cpu", **few}
        return load(Path(__file__).parents[1] / "params.yaml", changed)

    @cached_property
    def dataset(self) -> Dataset:
        """The rows, validated and split as the pipeline does."""
        raw, config = sources.load(self.config.data), self.config
        return Dataset.build(raw.images, raw.labels, schemas.validate(raw, config.data), config.data, config.seed)

    @property
    def models(self) -> Path:
        """Where the base models lie."""
        return self.folder / f"base-{self.seed}"

    def train_base(self) -> None:
        """Trains extractor, VAE and GAN, where they are not there yet."""
        for kind, network in (("extractor", "extractor"), ("vae", "vae"), ("gan", "discriminator")):
            if not (self.models / f"{network}.json").exists():
                train.LOOPS[kind](self.config, self.dataset, Runtime(), self.models)

    def network(self, kind: str) -> Any:
        """A base network, or the extractor."""
        return storage.load(self.models, {"gan": "generator"}.get(kind, kind))

    @cached_property
    def extractor(self) -> Extractor:
        """The judge of distances and classes."""
        return cast(Extractor, self.network("extractor"))

    def real(self, kind: Kind) -> Gaussian:
        """Features of all rows that the extractor never saw and that the model is to be like."""
        splits = ("train", "validation", "test")
        rows = np.concatenate([self.dataset.pixels(split, normal_only=kind == "vae") for split in splits])
        return Gaussian.fit(features_of(self.extractor, rows))

    def draw(self, model: Sampler, n: int, purpose: str) -> Tensor:
        """Samples as people see them, the same for the same purpose."""
        images = model.sample(n, torch.Generator().manual_seed(derive(self.seed, "bench", purpose)))
        return to_tensor(to_pixels(images))

    @property
    def labels(self) -> list[int]:
        """All labels, in the order of the extractor's classes."""
        return sorted(set(self.dataset.labels.tolist()))

    def rows(self, kind: Kind) -> Rows:
        """What the model was trained on."""
        return train.rows_of(self.config, self.dataset, "train", self.seen(kind), normal_only=kind == "vae")

    def seen(self, kind: Kind) -> list[int]:
        """The labels of these rows."""
        return [label for label in self.labels if kind == "gan" or label != self.dataset.anomaly_class]

    def witnesses(self, kind: Kind) -> Witnesses:
        """By whose features tuned samples shall look as before."""
        rows, place = self.rows(kind), self.models if kind == "gan" else self.models / "normal"
        if (found := witnesses.load(place, rows)) is None:
            config, n_classes = self.config.extractor, len(self.seen(kind))
            found = witnesses.train_witnesses(config, rows, n_classes, self.seed, Runtime())
            witnesses.save(place, found, config, self.dataset.shape, n_classes)
        return found

    def annotator(self, kind: Kind) -> Annotator:
        """Whoever votes on this model's samples."""
        return Annotator.of(self.draw(self.network(kind), FORMED_ON, "taste"), derive(self.seed, "annotator"))

    def votes(self, kind: Kind, n: int) -> Votes:
        """What the annotator says of `n` pairs of the base's samples."""
        images = self.draw(self.network(kind), 2 * n, "votes")
        return simulated_votes(self.annotator(kind), images, self.seed)

    def reward(self, kind: Kind, *, shuffle: int | None = None) -> RewardEnsemble:
        """What is learned from the votes, or from votes dealt out anew."""
        settings, name = self.config.reward, "" if shuffle is None else f"-shuffled{shuffle}"
        place = self.models / f"reward-{kind}{name}"
        if not (place / "reward.json").exists():
            votes = self.votes(kind, VOTES // 3 if self.quick else VOTES)
            votes = votes if shuffle is None else shuffled(votes, derive(self.seed, shuffle))
            base = self.draw(self.network(kind), FORMED_ON, "scale")
            done = train_reward(settings, votes, base, derive(self.seed, "reward", name), Runtime())
            storage.save(
                place, "reward", done.reward, shape=self.dataset.shape, network=settings.network, width=settings.width,
                members=settings.members,
            )  # fmt: skip
        return cast(RewardEnsemble, storage.load(place, "reward"))


@cache
def bench_of(seed: int, folder: Path, quick: bool) -> Bench:
    """A seed's bench, opened once a process."""
    prepare_process(1)
    return Bench(seed, folder, quick)


def prepare(seed: int, folder: Path, quick: bool) -> None:
    """Makes what several arms share."""
    bench = bench_of(seed, folder, quick)
    bench.train_base()
    for kind in ARMS:
        bench.witnesses(kind)
        bench.reward(kind)


def gan_arm(bench: Bench, arm: str) -> Sampler:
    """The GAN as an arm has it."""
    config, generator = bench.config, cast(Generator, bench.network("gan"))
    if arm == "base":
        return generator
    reward = bench.reward("gan", shuffle=int(arm.removeprefix("shuffled")) if arm.startswith("shuffled") else None)
    if arm.startswith("best_of_"):
        return BestOf(generator, reward, int(arm.removeprefix("best_of_")))
    changed: AlignConfig = {"lambda0": adversarial_only, "reward_only": reward_only}.get(arm, lambda same: same)(
        config.align
    )
    return tune_gan(
        changed, config.gan, generator, bench.network("discriminator"), bench.rows("gan"), reward,
        derive(bench.seed, "tuning"), Runtime(), Lookout(bench.extractor, bench.real("gan"), bench.seed),
        bench.witnesses("gan"),
    ).model  # fmt: skip


def vae_arm(bench: Bench, arm: str) -> Sampler:
    """The VAE as an arm has it."""
    config, vae = bench.config, cast(Vae, bench.network("vae"))
    if arm == "base":
        return vae
    reward = bench.reward("vae")
    if arm.startswith("best_of_"):
        return BestOf(vae, reward, int(arm.removeprefix("best_of_")))
    watch = Lookout(bench.extractor, bench.real("vae"), bench.seed)
    seed, seen_by = derive(bench.seed, "tuning"), bench.witnesses("vae")
    return tune_vae(config.align, vae, reward, seed, Runtime(), watch, seen_by).model


def measure(bench: Bench, kind: Kind, model: Sampler) -> dict[str, float]:
    """Wins and ties over the base by the hidden taste, distance, and the classes' shift against the base's own."""
    base, annotator = bench.network(kind), bench.annotator(kind)
    images, others = bench.draw(model, MEASURED, "judged"), bench.draw(base, MEASURED, "judged against")
    wins = gold_wins(annotator, images[:JUDGED], others[:JUDGED])
    classes = [bench.extractor.classes(some).numpy() for some in (others, images)]
    return {
        "wins": float((wins == 1).sum()), "ties": float((wins == 0.5).sum()), "losses": float((wins == 0).sum()),
        "frechet": distance_to(bench.real(kind), images, bench.extractor),
        "class_shift": class_shift(classes[0], classes[1], bench.extractor.classifier.out_features),
        "unacceptable": float((~annotator.acceptable(images)).double().mean()),
    } | ({} if isinstance(model, BestOf) else {"proxy": float(bench.reward(kind).score(images).mean())})  # fmt: skip


def run(job: Job, folder: Path, quick: bool) -> dict[str, Any]:
    """Makes an arm and measures it."""
    started, bench = time.perf_counter(), bench_of(job.seed, folder, quick)
    if job.arm.startswith("reward_from_"):
        figures = reward_accuracy(bench, int(job.arm.removeprefix("reward_from_")))
    else:
        model = gan_arm(bench, job.arm) if job.kind == "gan" else vae_arm(bench, job.arm)
        figures = measure(bench, job.kind, model)
    return {
        "job": job.name, "kind": job.kind, "arm": job.arm, "seed": job.seed, **figures,
        "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip


def reward_accuracy(bench: Bench, n: int) -> dict[str, float]:
    """Share of fresh pairs whose truly better image the reward learned from `n` votes prefers."""
    generator = bench.network("gan")
    base = bench.draw(generator, FORMED_ON, "scale")
    done = train_reward(bench.config.reward, bench.votes("gan", n), base, derive(bench.seed, n), Runtime())
    a, b = bench.draw(generator, 2 * PAIRS, "fresh pairs").split(PAIRS)
    says = (done.reward.score(a) > done.reward.score(b)).double().numpy()
    wins = gold_wins(bench.annotator("gan"), a, b)
    return {
        "accuracy": float((says == wins)[wins != 0.5].mean()), "of_votes": done.report.accuracy.value,
        "calibration_error": done.report.calibration_error, "disagreement": done.report.disagreement,
    }  # fmt: skip


def jobs(seeds: list[int], kinds: list[Kind]) -> list[Job]:
    """Every line that the ledger should have; what takes longest comes last."""
    arms = [Job(kind, arm, seed) for kind in kinds for arm in ARMS[kind] for seed in seeds]
    rewards = [Job("gan", f"reward_from_{n}", seed) for n in REWARD_SIZES for seed in seeds if "gan" in kinds]
    return sorted(arms + rewards, key=lambda job: (job.arm == "reward_only", job.arm.startswith("shuffled")))


@dataclass(frozen=True)
class Row:
    """An arm over all seeds."""

    win: Estimate
    distance: float
    class_shift: float
    unacceptable: float
    proxy: float


def group(arm: str) -> str:
    """What the tables call an arm: all shuffles are one."""
    return "shuffled" if arm.startswith("shuffled") else arm


def summary(lines: list[dict[str, Any]], kind: Kind, name: str) -> Row | None:
    """A group's lines put together."""
    mine = [line for line in lines if line["kind"] == kind and group(line["arm"]) == name]
    if not mine:
        return None
    wins = [np.repeat([1.0, 0.5, 0.0], [int(line[of]) for of in ("wins", "ties", "losses")]) for line in mine]
    means = (
        float(np.mean([line.get(of, np.nan) for line in mine]))
        for of in ("frechet", "class_shift", "unacceptable", "proxy")
    )
    return Row(win_rate(wins, 1000, 0), *means)


def show(lines: list[dict[str, Any]]) -> dict[str, float]:
    """Prints the tables; gives back the figures that targets are about."""
    figures: dict[str, float] = {}
    for n in REWARD_SIZES:
        found = [line for line in lines if line["arm"] == f"reward_from_{n}"]
        if found:
            figures[f"reward_accuracy_{n}"] = float(np.mean([line["accuracy"] for line in found]))
            errors = np.mean([line["calibration_error"] for line in found])
            print(
                f"reward from {n} votes: accuracy {figures[f'reward_accuracy_{n}']:.3f}, calibration error {errors:.3f}"
            )
    print("arm".ljust(18) + "".join(c.rjust(24) for c in ("win rate", "Fréchet distance", "over base")), end="")
    print("".join(c.rjust(14) for c in ("class shift", "unacceptable", "reward, sd")))
    for kind, arms in ARMS.items():
        base = summary(lines, kind, "base")
        for name in dict.fromkeys(map(group, arms)):
            row = summary(lines, kind, name)
            if row is None or base is None:
                continue
            ratio = row.distance / base.distance
            figures |= {
                f"win_{name}_{kind}": row.win.value, f"win_{name}_{kind}_low": row.win.low,
                f"win_{name}_{kind}_high": row.win.high, f"fd_ratio_{name}_{kind}": ratio,
                f"class_shift_{name}_{kind}": row.class_shift,
            }  # fmt: skip
            cells = (str(row.win), f"{row.distance:.1f}", f"{ratio:.2f}")
            print(f"{kind} {name}".ljust(18) + "".join(cell.rjust(24) for cell in cells), end="")
            print("".join(f"{value:.3f}".rjust(14) for value in (row.class_shift, row.unacceptable, row.proxy)))
    for name in ("lambda0", "shuffled"):
        if f"win_{name}_gan" in figures:
            figures[f"win_{name}"] = figures[f"win_{name}_gan"]
    return figures


def main() -> None:
    """Runs what is missing, then prints every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("alignment.jsonl"),
        help="the ledger, JSON lines; base models lie beside it, all of --quick in its folder quick",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one seed, a third of the votes, bases of a quarter's budget"
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--jobs", type=int, default=2, help="arms at a time")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", choices=list(ARMS), default=list(ARMS), help="whose arms are measured")
    options = parser.parse_args()
    seeds, folder = (
        (options.seeds[:1], options.out.parent / "quick") if options.quick else (options.seeds, options.out.parent)
    )
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / options.out.name
    known = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {line["job"] for line in known}
    missing = [job for job in jobs(seeds, options.kinds) if job.name not in done]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for ready in [pool.submit(prepare, seed, folder, options.quick) for seed in {job.seed for job in missing}]:
            ready.result()
        for line in pool.map(run, missing, [folder] * len(missing), [options.quick] * len(missing)):
            print(json.dumps(line), flush=True)
            with out.open("a") as ledger:
                ledger.write(json.dumps(line) + "\n")
    figures = show([json.loads(line) for line in out.read_text().splitlines()])
    if options.json:
        print(json.dumps({"benchmark": "alignment", "figures": figures, "targets": TARGETS}))


if __name__ == "__main__":
    main()
