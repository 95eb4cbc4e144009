"""Images a second and peak memory of our training loops, beside pythae's trainer and a plain PyTorch loop.

Every repetition is a process of its own, ours and the peer's in turn. The clock runs inside the training, from the end of
a first period that warms up to the end of the last; memory is read there too. The networks are the same on both sides:
pythae's two, built here from the same layers and swapped into our loop, and our GAN's own in the plain loop. Pixels are
random, which no speed hangs on. Each side sets up its process as it does by itself: ours keeps freed memory.

    python benchmarks/throughput.py --peers PYTHON [--device cpu] [--threads 2] [--repeats 5] [--quick]
        [--precision 32] [--only WORK …] [--json OUT]

`benchmarks/peers.sh FOLDER` makes the environment whose python --peers takes. This file runs in it, too, so Regen is
imported only where our side needs it.
"""

import argparse
import contextlib
import io
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.pythae_nets import LATENTS, ConvHead, ConvStem, Head, Stem

LOADING_TARGET = 0.03
ON_CUDA = 5
"""How many times as many periods a GPU is timed over."""


@dataclass(frozen=True)
class Work:
    """One comparison."""

    net: str
    """pythae's mlp or conv, or our gan."""
    side: int
    """Height and width of an image, of one channel."""
    batch: int
    period: int
    """Images between two looks at the clock, which is also how many rows there are."""
    periods: int
    """Those timed, after the one that warms up."""
    target: float
    """How many times the peer's speed is wanted."""


WORKS = {
    "vae_mlp_vs_pythae": Work("mlp", 28, 128, 12_800, 3, 4.0),
    "vae_conv_vs_pythae": Work("conv", 28, 128, 640, 2, 1.3),
    "gan_28x28_vs_plain_loop": Work("gan", 28, 64, 1_920, 3, 1.2),
    "gan_8x8_vs_plain_loop": Work("gan", 8, 32, 6_400, 3, 1.2),
}


@dataclass
class Job:
    """What one process does: a side of a work, or pythae's training on given images, kept."""

    party: str
    """ours, pythae, plain, or none, which only looks whether the device is there."""
    work: Work
    device: str
    threads: int
    precision: Literal["32", "bf16"] = "32"
    """Our arithmetic; the peers' is always of 32 bits."""
    mapped: bool = False
    """Whether our rows are read from a memory-mapped file."""
    likelihood: str = "mse"
    """pythae's reconstruction loss."""
    learning_rate: float = 1e-4
    """pythae's, whose default this is."""
    images_file: str = ""
    """Images for pythae to train on, as torch saves them; random ones without."""
    weights_file: str = ""
    """Where pythae's weights go."""


class Meter:
    """Looks at the clock and the memory at the end of each period; a monitor to our loops."""

    def __init__(self, device: str) -> None:
        self.device, self.laps, self.cpu, self.peak = torch.device(device), list[float](), list[float](), 0.0
        self.imported = resident()

    def lap(self) -> None:
        """The end of a period."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.laps.append(time.perf_counter())
        self.cpu.append(time.process_time())
        self.peak = torch.cuda.max_memory_allocated() / 2**20 if self.device.type == "cuda" else resident()

    def figures(self, work: Work) -> dict[str, float]:
        """Images a second, and the largest memory in MiB: in all, and above what importing took."""
        images = work.period * (len(self.laps) - 1)
        speeds = {
            "images_per_second": images / (self.laps[-1] - self.laps[0]),
            "images_per_cpu_second": images / (self.cpu[-1] - self.cpu[0]),
        }
        base = self.imported if self.device.type == "cpu" else 0.0
        return {**speeds, "peak_mib": self.peak, "above_import_mib": self.peak - base}

    def log(self, images: int, spent: float, terms: Mapping[str, float], images_per_second: float) -> None:
        """What our loops call after a period."""
        self.lap()

    def measure(self, images: int, figures: Mapping[str, float]) -> None:
        """Does nothing."""

    def picture(self, images: int, name: str, pixels: Any) -> None:
        """Does nothing."""

    def warn(self, text: str) -> None:
        """Passes it on."""
        print(text, file=sys.stderr)


def resident() -> float:
    """The largest memory this process has held, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def ours(job: Job, meter: Meter) -> dict[str, float]:
    """Our loop, as the pipeline runs it: rows of bytes, and the process prepared."""
    import numpy as np

    from regen.core.sections.models import GanConfig, TrainingConfig, VaeConfig
    from regen.models.networks import HEADS, STEMS
    from regen.training.checkpoints import Checkpoints
    from regen.training.gan import train_gan
    from regen.training.rows import Batch, Feed, Rows
    from regen.training.runtime import Runtime, open_fabric, prepare_process
    from regen.training.vae import train_vae

    meter.imported = resident()
    work = job.work
    prepare_process(job.threads)
    training = TrainingConfig(
        device=job.device, precision=job.precision, log_every_images=work.period, threads=job.threads,
        checkpoint_every_images=max(TrainingConfig().checkpoint_every_images, work.period),
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (work.period, work.side, work.side, 1), dtype=np.uint8)
    spent, fetch = 0.0, Feed.at

    def timed(feed: Feed, step: int) -> Batch:
        nonlocal spent
        start = time.perf_counter()
        batch = fetch(feed, step)
        spent += time.perf_counter() - start if meter.laps else 0.0
        return batch

    with tempfile.TemporaryDirectory() as folder:
        runtime = Runtime.of(training, meter, Checkpoints(Path(folder)), open_fabric(training))
        if job.mapped:
            np.save(Path(folder) / "images.npy", pixels)
            pixels = np.load(Path(folder) / "images.npy", mmap_mode="r")
        index = np.arange(work.period)
        rows = Rows.of_pixels(pixels, index, 0 * index, 0 if job.mapped else 1e6)
        budget = work.period * (1 + work.periods)
        if job.party == "ours, loading timed":
            setattr(Feed, "at", timed)  # noqa: B010
        if work.net == "gan":
            gan = GanConfig(images=budget, batch_size=work.batch, conditional=False, augment_probability=0.0)
            train_gan(gan, rows, 0, runtime)
        else:
            HEADS["mlp"], STEMS["mlp"] = (Head, Stem) if work.net == "mlp" else (ConvHead, ConvStem)
            vae = VaeConfig(network="mlp", latent_dim=LATENTS, images=budget, batch_size=work.batch, score_neighbours=0)
            train_vae(vae, rows, rows.thinned(64), 0, runtime)
    return {**meter.figures(work), "loading": spent / (meter.laps[-1] - meter.laps[0])}


def pythae(job: Job, meter: Meter) -> dict[str, float]:
    """The speed of pythae's own trainer with its default optimiser, loader and bookkeeping."""
    from pythae.data.datasets import BaseDataset  # type: ignore[import-not-found]
    from pythae.models import VAE, VAEConfig  # type: ignore[import-not-found]
    from pythae.models.nn.benchmarks.mnist import (  # type: ignore[import-not-found]
        Decoder_Conv_AE_MNIST,
        Encoder_Conv_VAE_MNIST,
    )
    from pythae.trainers import BaseTrainer, BaseTrainerConfig  # type: ignore[import-not-found]
    from pythae.trainers.training_callbacks import TrainingCallback  # type: ignore[import-not-found]

    class Laps(TrainingCallback):  # type: ignore[misc]
        """Tells the meter of every epoch."""

        def on_epoch_end(self, training_config: Any, **_: Any) -> None:
            meter.lap()

    meter.imported = resident()
    work = job.work
    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    shape = (1, work.side, work.side)
    images = torch.load(job.images_file) if job.images_file else torch.rand(work.period, *shape)
    config = VAEConfig(input_dim=tuple(images.shape[1:]), latent_dim=LATENTS, reconstruction_loss=job.likelihood)
    nets = {"encoder": Encoder_Conv_VAE_MNIST(config), "decoder": Decoder_Conv_AE_MNIST(config)}
    model = VAE(config, **(nets if work.net == "conv" else {}))
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        trainer = BaseTrainer(
            model, BaseDataset(images, torch.ones(len(images))), callbacks=[Laps()],
            training_config=BaseTrainerConfig(
                output_dir=folder, num_epochs=1 + work.periods, per_device_train_batch_size=work.batch,
                learning_rate=job.learning_rate, no_cuda=job.device == "cpu",
            ),
        )  # fmt: skip
        trainer.train()
    if job.weights_file:
        torch.save(model.state_dict(), job.weights_file)
    return meter.figures(work)


def plain(job: Job, meter: Meter) -> dict[str, float]:
    """The same GAN as one would write it: eager double backward, fused Adam, floats in memory, no checks."""
    from regen.core.sections.models import GanConfig
    from regen.models.gan import Discriminator, Generator

    meter.imported = resident()
    work, device = job.work, torch.device(job.device)
    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    config, shape = GanConfig(), (1, work.side, work.side)
    generator = Generator(shape, config.network, config.width, config.latent_dim).to(device)
    average = Generator(shape, config.network, config.width, config.latent_dim).to(device).requires_grad_(False)
    average.load_state_dict(generator.state_dict())
    discriminator = Discriminator(shape, config.network, config.width).to(device)
    g_optimiser, d_optimiser = (
        torch.optim.Adam(net.parameters(), config.learning_rate, betas=(0.0, 0.9), fused=True)
        for net in (generator, discriminator)
    )
    pairs = [[weights.data for weights in net.parameters()] for net in (average, generator)]
    images, of = torch.rand(work.period, *shape, device=device), torch.zeros(work.batch, dtype=torch.int64)

    def slopes(logits: Tensor, inputs: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
        return found.square().sum(dim=(1, 2, 3)).mean()

    def some() -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(images), (work.batch,), device=device)
        return images[chosen], torch.randn(work.batch, config.latent_dim, device=device)

    for step in range(work.period * (1 + work.periods) // work.batch):
        discriminator.requires_grad_(True)
        real, latents = some()
        with torch.no_grad():
            fake = generator(latents, of)
        real.requires_grad_(True)
        fake.requires_grad_(True)
        real_logits, fake_logits = discriminator(real, of), discriminator(fake, of)
        penalty = slopes(real_logits, real) + slopes(fake_logits, fake)
        loss = F.softplus(fake_logits - real_logits).mean() + config.penalty_weight / 2 * penalty
        d_optimiser.zero_grad()
        loss.backward()
        d_optimiser.step()

        discriminator.requires_grad_(False)
        real, latents = some()
        loss = F.softplus(discriminator(real, of) - discriminator(generator(latents, of), of)).mean()
        g_optimiser.zero_grad()
        loss.backward()
        g_optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(pairs[0], pairs[1], 0.01)
        if (step + 1) * work.batch % work.period == 0:
            meter.lap()
    return meter.figures(work)


def run_here(job: Job) -> dict[str, float]:
    """Does a job in this process."""
    if job.device != "cpu" and job.party == "pythae" and not torch.cuda.is_available():
        raise SystemExit(f"error: the peers' torch {torch.__version__} has no CUDA; set TORCH_ARGS for peers.sh")
    if job.party != "pythae":
        from regen.core.errors import RegenError
        from regen.training.runtime import resolve_device

        try:
            resolve_device(job.device)
        except RegenError as error:
            raise SystemExit(f"error: {error}") from error
    meter = Meter(job.device)
    if job.party == "none":
        return {}
    return {"pythae": pythae, "plain": plain}.get(job.party, ours)(job, meter)


def run(job: Job, python: str = sys.executable) -> dict[str, float]:
    """Does a job in a process of its own; ends this one with its message where it fails."""
    done = subprocess.run(
        [python, __file__, "--job", json.dumps(asdict(job))], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Both sides of a work, in turn; prints their line."""
    work = sized(WORKS[name], options)
    peer = "plain" if work.net == "gan" else "pythae"
    found: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}
    for _ in range(options.repeats):
        found["ours"].append(run(Job("ours", work, options.device, options.threads, options.precision)))
        python = options.peers if peer == "pythae" else sys.executable
        found["peer"].append(run(Job(peer, work, options.device, options.threads), python))
    sides = {who: {key: statistics.median(f[key] for f in runs) for key in runs[0]} for who, runs in found.items()}
    ratios = sorted(
        a["images_per_second"] / b["images_per_second"] for a, b in zip(found["ours"], found["peer"], strict=True)
    )
    ratio = sides["ours"]["images_per_second"] / sides["peer"]["images_per_second"]
    memory = [f"{side['peak_mib']:,.0f} (+{side['above_import_mib']:,.0f})" for side in sides.values()]
    speeds = [f"{side['images_per_second']:,.0f}" for side in sides.values()]
    cells = (*speeds, f"{ratio:.2f}", f"{ratios[0]:.2f}–{ratios[-1]:.2f}", f"{work.target:g}", *memory)
    print(name.ljust(28) + "".join(cell.rjust(16) for cell in cells), flush=True)
    return {**sides, "ratio": ratio, "ratio_range": [ratios[0], ratios[-1]], "target": work.target}


def sized(work: Work, options: argparse.Namespace) -> Work:
    """A work as large as the options and the device ask for."""
    if options.quick:
        return replace(work, period=max(work.period // 5, 2 * work.batch), periods=1)
    return replace(work, periods=work.periods * (1 if options.device == "cpu" else ON_CUDA))


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="python of the environment that benchmarks/peers.sh made")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", default="32", choices=["32", "bf16"], help="ours; the peers' is always 32")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--repeats", type=int, default=5, help="of each side")
    parser.add_argument("--only", nargs="+", choices=[*WORKS, "loading"], default=[*WORKS, "loading"], metavar="WORK")
    parser.add_argument("--quick", action="store_true", help="a fifth of the images, one timed period, one repetition")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures there")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        given = json.loads(options.job)
        print(json.dumps(run_here(Job(**{**given, "work": Work(**given["work"])}))))
        return
    if options.quick:
        options.repeats = 1
    if not options.peers and any(name.endswith("pythae") for name in options.only):
        parser.error("--peers is needed to compare with pythae; make its environment with benchmarks/peers.sh FOLDER")
    run(Job("none", WORKS["gan_8x8_vs_plain_loop"], options.device, options.threads))
    where = f"{options.device}, {options.threads} threads, ours at precision {options.precision}"
    print(f"torch {torch.__version__}, {where}, medians of {options.repeats}")
    titles = ("ours, images/s", "peer", "ratio", "range", "target", "ours, MiB", "peer, MiB")
    print(" " * 28 + "".join(title.rjust(16) for title in titles))
    figures: dict[str, Any] = {name: compare(name, options) for name in WORKS if name in options.only}
    if "loading" in options.only:
        print(f"\n{'share of a step that fetches its rows':<44}resident  mapped   (target under {LOADING_TARGET:.0%})")
        for name in [name for name in WORKS if name in options.only] or WORKS:
            jobs = [
                Job(
                    "ours, loading timed",
                    sized(WORKS[name], options),
                    options.device,
                    options.threads,
                    options.precision,
                    mapped,
                )
                for mapped in (False, True)
            ]
            shares = [statistics.median(run(job)["loading"] for _ in range(options.repeats)) for job in jobs]
            print(f"{name.split('_vs_')[0]:<44}{shares[0]:8.2%}{shares[1]:8.2%}", flush=True)
            figures[f"loading_{name.split('_vs_')[0]}"] = {
                "resident": shares[0], "mapped": shares[1], "target": LOADING_TARGET,
            }  # fmt: skip
    if options.json:
        settings = {key: getattr(options, key) for key in ("device", "precision", "threads", "repeats", "quick")}
        result = {"benchmark": "throughput", "torch": torch.__version__, **settings, "figures": figures}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
