"""Test bounds on the likelihood of our VAE beside pythae's, and what the refitted prior does for our samples.

Two parts, each by its word. `bounds`: the ELBO and the importance-weighted bound (IWAE, Burda et al., 2016) of test rows
that are binarised once, each pixel by one Bernoulli draw with its grey value as the probability and a fixed seed
(Salakhutdinov and Murray, 2008). Both sides train the same fully connected network, pythae's default, on the same rows for
as many images, pythae with its own trainer, at its default learning rate and at ours; one formula here measures all.
`samples`: the Fréchet distance of our VAE's grey samples, by the judge of gan_quality.py, with latents from the refitted
prior and from N(0, I). What is in --out already of the same budget, rows, threads and settings is not run again.

    python benchmarks/vae_quality.py --peers PYTHON --out FILE.jsonl [--parts bounds samples] [--data digits fashion-mnist]
        [--images N] [--rows N] [--threads 2] [--json]
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import pythae_nets, throughput
from benchmarks.gan_quality import REFERENCE, SETS, Bench
from regen.core.sections.models import VaeConfig
from regen.evaluation.frechet import measure_frechet
from regen.evaluation.likelihood import Decodes, bits_per_dimension, iwae_bound
from regen.models.networks import HEADS, STEMS, Shape
from regen.models.vae import Vae, bernoulli_nll
from regen.training.rows import Rows
from regen.training.runtime import Runtime, prepare_process
from regen.training.vae import train_vae

IMAGES = {"digits": 192_000, "fashion-mnist": 640_000}
"""Budget of every training, unless --images says another."""
BATCH, ROWS, THREADS = 128, 1_000, 2
DRAWS = 500
"""Latents an image, of the importance-weighted bound."""
ELBO_DRAWS = 20
PEERS = {"pythae": 1e-4, "pythae at our learning rate": VaeConfig().learning_rate}
TARGETS = {"bound_margin": 0.0, "frechet_ratio": 0.5}


@dataclass(frozen=True)
class PeerVae:
    """What pythae trained, in layers of ours."""

    encoder: pythae_nets.Head
    decoder: pythae_nets.Stem

    @classmethod
    def of(cls, weights: dict[str, Tensor], shape: Shape) -> "PeerVae":
        """Puts pythae's weights into the same layers."""
        encoder = pythae_nets.Head(shape, 0, 2 * pythae_nets.LATENTS)
        decoder = pythae_nets.Stem(shape, 0, pythae_nets.LATENTS)
        for kind in ("weight", "bias"):
            both = [weights[f"encoder.{name}.{kind}"] for name in ("embedding", "log_var")]
            first, last = weights[f"encoder.layers.0.0.{kind}"], torch.cat(both)
            pairs = [(encoder.net[1], first), (encoder.net[3], last)]
            pairs += [(decoder.net[2 * place], weights[f"decoder.layers.{place}.0.{kind}"]) for place in (0, 1)]
            for layer, values in pairs:
                getattr(layer, kind).data.copy_(values)
        return cls(encoder, decoder)

    def encode(self, images: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Mean and log-variance of the posterior."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        """Each pixel's probability of being 1."""
        return torch.sigmoid(self.decoder(latents))

    def nll(self, images: Float[Tensor, "n c h w"], decoded: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """−log p(image | latent), in nats, summed over pixels."""
        return bernoulli_nll(images, decoded)


def binarised(bench: Bench, split: str, most: int = 10**9) -> Rows:
    """A split's rows as pixels 0 and 255, always the same."""
    grey = bench.dataset.images
    ones = np.random.default_rng(0).random(grey.shape, dtype=np.float32) * 255 < grey
    index = bench.dataset.rows(split)
    return Rows.of_pixels(ones.astype(np.uint8) * 255, index, 0 * index, 1e6).thinned(most)


def tensor(rows: Rows) -> Float[Tensor, "n c h w"]:
    """All the rows' images."""
    return torch.cat([batch.images for batch in rows.chunks(torch.device("cpu"))])


def bounds(bench: Bench, method: str, options: argparse.Namespace) -> dict[str, float]:
    """Trains one side; the bounds of test rows with the means' standard errors, and the ELBO of training rows, in nats."""
    train, shape, images = binarised(bench, "train"), binarised(bench, "train").shape, budget(bench, options)
    started = time.perf_counter()
    vae: Decodes
    if method == "ours":
        HEADS["mlp"], STEMS["mlp"] = pythae_nets.Head, pythae_nets.Stem
        vae, passed = ours(binarised(bench, "validation"), train, images, options), images
    else:
        epochs = round(images / len(train))
        work = throughput.Work("mlp", shape[1], BATCH, len(train), epochs - 1, 0.0)
        with tempfile.TemporaryDirectory() as folder:
            data, weights = (str(Path(folder) / name) for name in ("images.pt", "weights.pt"))
            torch.save(tensor(train), data)
            job = throughput.Job(
                "pythae", work, "cpu", options.threads, likelihood="bce", learning_rate=PEERS[method],
                images_file=data, weights_file=weights,
            )  # fmt: skip
            throughput.run(job, options.peers)
            vae, passed = PeerVae.of(torch.load(weights), shape), epochs * len(train)
    seconds = time.perf_counter() - started
    test, seen = tensor(binarised(bench, "test", options.rows)), tensor(train.thinned(options.rows))
    rng = torch.Generator().manual_seed(0)
    elbo, of_training = (
        np.mean([iwae_bound(vae, some, 1, rng) for _ in range(ELBO_DRAWS)], axis=0) for some in (test, seen)
    )
    bound = iwae_bound(vae, test, DRAWS, rng)
    return {
        "elbo": float(elbo.mean()), "elbo_se": float(elbo.std() / len(elbo) ** 0.5),
        "bound": float(bound.mean()), "bound_se": float(bound.std() / len(bound) ** 0.5),
        "bits": float(bits_per_dimension(-bound, prod(shape)).mean()),
        "elbo_of_training_rows": float(of_training.mean()), "images": passed, "seconds": round(seconds, 1),
    }  # fmt: skip


def ours(held_out: Rows, train: Rows, images: int, options: argparse.Namespace) -> Vae:
    """Our VAE of pythae's layers; its weights are the average, as in use."""
    config = VaeConfig(
        network="mlp", likelihood="bernoulli", latent_dim=pythae_nets.LATENTS, batch_size=BATCH, images=images,
        score_neighbours=0, **dict(options.settings),
    )  # fmt: skip
    return train_vae(config, train, held_out, 0, Runtime()).vae


def samples(bench: Bench, method: str, options: argparse.Namespace) -> dict[str, float]:
    """Fréchet distances with both priors, or that of real rows; lower is better."""
    judged_by, started = options.out.parent / f"extractor-{bench.config.data.source}", time.perf_counter()
    if method == "real rows":
        rows = bench.rows("train")
        return distance(
            bench, judged_by, lambda n, rng: rows.take(torch.randint(len(rows), (n,), generator=rng)).images
        )
    images = budget(bench, options)
    config = VaeConfig(images=images, score_neighbours=0, **dict(options.settings))
    vae = train_vae(config, bench.rows("train"), bench.rows("validation"), 0, Runtime()).vae
    refitted = distance(bench, judged_by, vae.sample)
    standard = distance(bench, judged_by, lambda n, rng: vae.sample(n, rng, refitted=False))
    return {
        **refitted, **{f"{name}_standard": value for name, value in standard.items()},
        "ratio": refitted["frechet"] / standard["frechet"], "images": images,
        "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip


def distance(bench: Bench, folder: Path, sample: Callable[[int, torch.Generator], Tensor]) -> dict[str, float]:
    """Fréchet distance of samples to test rows with its 95 % interval; lower is better."""
    judge, real = bench.extractor(folder), tensor(bench.rows("test").thinned(REFERENCE))
    fakes = (sample(SETS * len(real), torch.Generator().manual_seed(1)).clamp(0, 1) * 255).round() / 255
    sets = [judge.features(part).double().numpy() for part in fakes.split(len(real))]
    found = measure_frechet(judge.features(real).double().numpy(), sets, 50, 0).estimate(0.95)
    return {"frechet": found.value, "frechet_low": found.low, "frechet_high": found.high}


def budget(bench: Bench, options: argparse.Namespace) -> int:
    """Images that a training sees."""
    return int(options.images or IMAGES[bench.config.data.source])


PARTS = {"bounds": (bounds, ("ours", *PEERS)), "samples": (samples, ("real rows", "ours"))}


def key(part: str, data: str, method: str, options: argparse.Namespace) -> str:
    """The name of a line in the ledger; settings other than the defaults are told in it."""
    own: dict[str, Any] = dict(options.settings) if method == "ours" else {}
    if options.images and options.images != IMAGES[data] and method != "real rows":
        own["images"] = options.images
    if part == "bounds" and options.rows != ROWS:
        own["rows"] = options.rows
    if options.threads != THREADS:
        own["threads"] = options.threads
    return " ".join([part, data, method, *(f"{name}={value}" for name, value in sorted(own.items()))])


def margins(lines: list[dict[str, Any]], data: list[str], options: argparse.Namespace) -> dict[str, float]:
    """How much better our bound is than the better of pythae's, in nats, and the ratio of the Fréchet distances."""
    known, found = {line["job"]: line for line in lines}, {}
    for name in data:
        mine, *theirs = (known.get(key("bounds", name, method, options)) for method in ("ours", *PEERS))
        if mine and all(theirs):
            for kind in ("elbo", "bound"):
                found[f"{name}_{kind}_margin"] = mine[kind] - max(peer[kind] for peer in theirs if peer)
        if one := known.get(key("samples", name, "ours", options)):
            found[f"{name}_frechet_ratio"] = one["ratio"]
    return found


def setting(text: str) -> tuple[str, float | str]:
    """A VAE's setting, as NAME=VALUE."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        return name, value


def main() -> None:
    """Runs what is missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="python of the environment that benchmarks/peers.sh made")
    parser.add_argument("--out", type=Path, required=True, help="the ledger, JSON lines; what it has is not run again")
    parser.add_argument("--parts", nargs="+", default=[*PARTS], choices=[*PARTS])
    parser.add_argument("--data", nargs="+", default=[*IMAGES], choices=[*IMAGES])
    parser.add_argument("--images", type=int, help=f"budget of every training; default {IMAGES}")
    parser.add_argument("--rows", type=int, default=ROWS, help="most rows that a bound is measured on")
    parser.add_argument("--threads", type=int, default=THREADS, help="of each process")
    parser.add_argument("--settings", nargs="+", type=setting, default=[], metavar="NAME=VALUE", help="of our VAE")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    prepare_process(options.threads)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.touch()
    done = {json.loads(line)["job"] for line in options.out.read_text().splitlines()}
    for part in options.parts:
        measure, methods = PARTS[part]
        for data in options.data:
            missing = [method for method in methods if key(part, data, method, options) not in done]
            bench = Bench.open(data) if missing else None
            for method in missing:
                assert bench
                line = {"job": key(part, data, method, options), **measure(bench, method, options)}
                with options.out.open("a") as ledger:
                    ledger.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)
    lines = [json.loads(line) for line in options.out.read_text().splitlines()]
    columns = ("elbo", "elbo_se", "bound", "bound_se", "bits", "elbo_of_training_rows", "frechet", "frechet_standard")
    print(
        "\n" + "job".ljust(52) + "".join(column[:13].rjust(14) for column in (*columns, "ratio", "images", "seconds"))
    )
    for line in lines:
        cells = [f"{line[c]:.2f}" if c in line else "" for c in (*columns, "ratio")]
        cells += [f"{line.get(c, 0):,.0f}" for c in ("images", "seconds")]
        print(line["job"].ljust(52) + "".join(cell.rjust(14) for cell in cells))
    figures = margins(lines, options.data, options)
    print("\n" + "\n".join(f"{name}: {value:.3f}" for name, value in figures.items()))
    if options.json:
        print(json.dumps({"benchmark": "vae_quality", "figures": figures, "targets": TARGETS}))


if __name__ == "__main__":
    main()
