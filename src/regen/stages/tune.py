"""Tunes a registered model toward the reward, watched by the judge and by the Fréchet distance as it goes."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from regen.core import files
from regen.core.errors import RegistryError
from regen.core.sections.alignment import AlignConfig
from regen.core.seeds import derive
from regen.evaluation.frechet import Gaussian
from regen.evaluation.measure import features_of
from regen.models import storage
from regen.models.gan import Discriminator, Generator
from regen.models.networks import count_parameters
from regen.models.reward import RewardEnsemble
from regen.models.vae import Vae
from regen.preferences.arms import WATCHED, Lookout
from regen.registry import packaging
from regen.registry.recorder import Recorder
from regen.stages import learn
from regen.stages.alignment import Alignment
from regen.stages.base import Outcome
from regen.stages.learn import JUDGE, seen
from regen.stages.train import Watcher, rows_of
from regen.training.checkpoints import Checkpoints
from regen.training.runtime import Runtime, Silent, open_fabric, prepare_process
from regen.training.tuning import Tuned, tune_gan, tune_vae
from regen.training.vae import calibrate
from regen.training.witnesses import train_witnesses


def tune(alignment: Alignment) -> Outcome:
    """Writes the tuned networks, curve.csv and looks.json.

    Raises:
        RegistryError: the base's files are gone or damaged, or there is no extractor yet.
        DivergenceError: a loss is not finite, again and again.
    """
    return alignment.perform("tune", lambda work, out: _tune(alignment, work, out))


def _tune(alignment: Alignment, work: Path, out: Path) -> None:
    context, config = alignment.context, alignment.context.config
    run, results = alignment.open_run("tune"), alignment.results("learn")
    with run.running():
        prepare_process(config.training.threads)
        with Recorder(run) as recorder:
            watcher = Watcher(context, f"align {alignment.kind}", run, recorder)
            runtime = open_runtime(alignment, watcher, Checkpoints(work, config.training.checkpoints_kept))
            judge = learn.load(results / JUDGE)
            done = tuned_toward(alignment, learn.load(results), config.align, runtime, lookout(alignment, judge))
        save(alignment, done, out)
        pd.DataFrame(done.curve).to_csv(out / "curve.csv", index=False, float_format="%.9g")
        files.write_json(out / "looks.json", {"looks": done.looks, "stopped": done.stopped})
        run.log_files({out / name: "training" for name in ("curve.csv", "looks.json")})


def open_runtime(alignment: Alignment, monitor: Any = None, checkpoints: Checkpoints | None = None) -> Runtime:
    """One device of those that the project file asks for: a tuning is short."""
    training = alignment.context.config.training.model_copy(update={"devices": 1})
    return Runtime.of(training, monitor or Silent(), checkpoints, open_fabric(training))


def lookout(alignment: Alignment, judge: RewardEnsemble | None = None) -> Lookout:
    """What looks at the model as it is tuned: the distance to rows that no figure is measured on, and the judge."""
    seed = derive(alignment.context.config.seed, "align", "lookout")
    real = Gaussian.fit(features_of(alignment.extractor, alignment.pixels("train", "validation")))
    says = None if judge is None else judged_against(alignment.network(), judge, seed)
    return Lookout(alignment.extractor, real, seed, says)


def judged_against(base: Any, judge: RewardEnsemble, seed: int) -> Callable[[Float[Tensor, "n c h w"]], float]:
    """The share of votes that a judge expects for images over the base's of the same latents."""
    before = seen(base.sample(WATCHED, torch.Generator().manual_seed(derive(seed, "lookout"))))
    return lambda images: float(expected_wins(judge, images, before).mean())


def expected_wins(
    judge: RewardEnsemble, images: Float[Tensor, "n c h w"], before: Float[Tensor, "n c h w"]
) -> Float[Tensor, "k n"]:
    """Each member's chance that people prefer an image to the other of its place, and half that of a tie."""
    chances = judge.outcomes(images, before)
    wins: Tensor = chances[..., 0] + chances[..., 2] / 2
    return wins


def tuned_toward(
    alignment: Alignment, reward: RewardEnsemble, settings: AlignConfig, runtime: Runtime, watch: Lookout | None
) -> Tuned[Any]:
    """The base as it is after tuning toward a reward; whether GAN or VAE, it keeps all that its use needs."""
    moved = deepcopy(reward).to(runtime.device).requires_grad_(False)
    seed = derive(alignment.context.config.seed, "align", "tuning")
    if alignment.kind == "gan":
        return _tuned_gan(alignment, moved, settings, seed, runtime, watch)
    return _tuned_vae(alignment, moved, settings, seed, runtime, watch)


def _tuned_gan(
    alignment: Alignment, reward: RewardEnsemble, settings: AlignConfig, seed: int, runtime: Runtime,
    watch: Lookout | None,
) -> Tuned[Generator]:  # fmt: skip
    config, generator = alignment.context.config, alignment.network()
    rows = rows_of(config, alignment.dataset, "train", alignment.labels)
    seen_by = None
    if settings.gan.feature_weight:
        seen_by = train_witnesses(config.extractor, rows, len(alignment.labels), config.seed, runtime)
    return tune_gan(
        settings, config.gan, generator, discriminator_of(alignment), rows, reward, seed, runtime, watch, seen_by
    )


def discriminator_of(alignment: Alignment) -> Discriminator:
    """The discriminator that was registered with the base.

    Raises:
        RegistryError: it was registered without one.
    """
    with TemporaryDirectory() as temporary:
        packaging.fetch(alignment.base.uri, Path(temporary))
        if not (Path(temporary) / "discriminator.json").exists():
            raise RegistryError(
                f"{alignment.name} was registered without its discriminator, which tuning goes on with; train and register "
                "it anew by 'regen run'"
            )
        found: Discriminator = storage.load(Path(temporary), "discriminator")
    return found


def _tuned_vae(
    alignment: Alignment, reward: RewardEnsemble, settings: AlignConfig, seed: int, runtime: Runtime,
    watch: Lookout | None,
) -> Tuned[Vae]:  # fmt: skip
    """The prior; the anomaly score, which knows it, and its threshold are fitted to the new one."""
    config, labels = alignment.context.config, alignment.labels
    labels = [label for label in labels if label != alignment.dataset.anomaly_class]
    train, held_out = (
        rows_of(config, alignment.dataset, split, labels, normal_only=True) for split in ("train", "validation")
    )
    seen_by = None
    if settings.vae.feature_weight:
        seen_by = train_witnesses(config.extractor, train, len(labels), config.seed, runtime)
    done = tune_vae(settings, alignment.network(), reward, seed, runtime, watch, seen_by)
    calibrate(
        done.model, train.thinned(config.vae.score_reference), held_out, config.vae, config.seed, refits_prior=False
    )
    return done


def save(alignment: Alignment, done: Tuned[Any], out: Path) -> None:
    """Writes the tuned networks as those of its base are written, and how many parameters are used."""
    with TemporaryDirectory() as temporary:
        packaging.fetch(alignment.base.uri, Path(temporary))
        networks = {packaging.NETWORK[alignment.kind]: done.model}
        if done.discriminator is not None:
            networks["discriminator"] = done.discriminator
        for name, network in networks.items():
            arguments = files.read_json(Path(temporary) / f"{name}.json")["arguments"]
            storage.save(out, name, network, **arguments)
    files.write_json(out / "network.json", {"parameters": count_parameters(done.model)})


def load(alignment: Alignment) -> Any:
    """The tuned model."""
    return storage.load(alignment.results("tune"), packaging.NETWORK[alignment.kind])
