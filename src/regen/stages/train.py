"""Trains one network: the extractor, the VAE or the GAN; every loss and picture goes to its MLflow run as it trains."""

import signal
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from torch import nn

from regen.core import files
from regen.core.config import Config
from regen.core.environment import torchrun_rank
from regen.core.errors import BY_NAME, KilledError, RegenError
from regen.data import schemas
from regen.data.splits import Dataset
from regen.evaluation.pictures import grid
from regen.models import storage
from regen.models.networks import count_parameters
from regen.registry import tracking
from regen.registry.recorder import Recorder
from regen.registry.tracking import Run
from regen.stages import freeze, progress
from regen.stages.base import Context, Outcome, perform
from regen.stages.prepare import dataset as prepared
from regen.stages.prepare import table as prepared_table
from regen.stages.tables import train as table_loops
from regen.training import extractor, gan, vae
from regen.training.checkpoints import Checkpoints
from regen.training.rows import Rows
from regen.training.runtime import Monitor, Runtime, Silent, open_fabric, prepare_process

KINDS = ("extractor", "vae", "gan")


class Watcher:
    """Sends what a loop reports to MLflow and to whoever shows progress."""

    def __init__(self, context: Context, kind: str, run: Run, recorder: Recorder, of: str = "images") -> None:
        self.progress, self.name, self.run, self.recorder = context.progress, f"train {kind}", run, recorder
        self.of = of
        """What is counted: images, rows or pairs."""

    def log(self, images: int, spent: float, terms: Mapping[str, float], images_per_second: float) -> None:
        """Means of the loss terms since the last call."""
        self.progress.update(self.name, images, round(images / max(spent, 1e-9)), terms, images_per_second, self.of)
        figures = {f"train/{name}": value for name, value in terms.items()}
        self.recorder.put({**figures, tracking.SPEED: images_per_second}, images)

    def measure(self, images: int, figures: Mapping[str, float]) -> None:
        """What an inspection of the model found."""
        self.recorder.put({f"train/{name}": value for name, value in figures.items()}, images)

    def picture(self, images: int, name: str, pixels: UInt8[np.ndarray, "n h w c"]) -> None:
        """Pictures of what the model does now."""
        self.run.log_picture(f"{name}/{images:09d}.png", grid(pixels))

    def warn(self, text: str) -> None:
        """Something that a person should look at: a line now, a tag for later."""
        self.progress.say(f"warning: {text}")
        self.run.tag({"regen.warning": text})


class Beside:
    """Tells a training's monitor of the judge that is trained with the extractor, by names of its own."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor

    def log(self, images: int, spent: float, terms: Mapping[str, float], images_per_second: float) -> None:
        """Means of the loss terms since the last call."""
        self.measure(images, terms)

    def measure(self, images: int, figures: Mapping[str, float]) -> None:
        """What was found."""
        self.monitor.measure(images, {f"judge_{name}": value for name, value in figures.items()})

    def picture(self, images: int, name: str, pixels: UInt8[np.ndarray, "n h w c"]) -> None:
        """Pictures of what the model does now."""
        self.monitor.picture(images, f"judge_{name}", pixels)

    def warn(self, text: str) -> None:
        """Something that a person should look at."""
        self.monitor.warn(text)


def open_run(context: Context, kind: str) -> Run:
    """The MLflow run of this training, with its parameters and lineage."""
    config, stage = context.config, f"train_{kind}"
    run = Run.of_key(
        context.workspace, config.project, config.model_name(kind), context.key(stage), lineage(context, kind)
    )
    run.log_params(parameters(config, kind))
    return run


def origins(context: Context) -> dict[str, Any]:
    """Where the VAE and the GAN come from, as their evaluation tells it: sizes, times, data, code."""
    kinds = ("vae", "gan")
    networks = {kind: files.read_json(context.results(f"train_{kind}") / "network.json") for kind in kinds}
    return {
        "parameters": {kind: network["parameters"] for kind, network in networks.items()},
        "seconds": {kind: open_run(context, kind).training_seconds() for kind in kinds},
        "provenance": {
            "data_version": context.data_version, "key": context.key("evaluate"),
            "git_commit": tracking.git_commit(context.workspace.root), "seed": context.config.seed,
        },
    }  # fmt: skip


def lineage(context: Context, kind: str) -> dict[str, str]:
    """Where a model comes from, as tags."""
    return {
        "regen.kind": kind,
        "regen.project": context.config.project,
        "regen.seed": str(context.config.seed),
        "regen.split": train_from(context.config),
        "regen.recipe": files.digest(context.config.recipe(kind).model_dump(mode="json")),
        "regen.of": "rows" if context.config.data.is_table else "images",
        "regen.data": context.data_version,
        "regen.git": tracking.git_commit(context.workspace.root),
        "regen.device": context.config.training.device,
    }


def train_from(config: Config) -> str:
    """The split's seed, and the number above which a row's digest makes it a training row."""
    data = config.data
    return f"{data.split_seed}:{data.extractor_share + data.validation_share + data.test_share:.6f}"


def parameters(config: Config, kind: str) -> dict[str, object]:
    """The part of the configuration that shapes this training, dotted."""
    dump: dict[str, Any] = config.model_dump(mode="json")
    name = f"tables.{kind}" if config.data.is_table else kind
    sections = {name: config.recipe(kind).model_dump(mode="json"), "data": dump["data"], "training": dump["training"]}
    return {"seed": config.seed} | {
        f"{s}.{key}": value for s, values in sections.items() for key, value in values.items()
    }


def train(context: Context, kind: str) -> Outcome:
    """Trains and writes the networks and curve.csv; an extractor is trained, tried and registered once, then used again.

    Raises:
        CollapseError: the GAN's samples have lost their diversity, and `gan.stop_on_collapse` is set.
        DivergenceError: a loss is not finite, again and again.
        DeviceError: the device that was asked for is not there.
        EvaluationError: the extractor fails its self-tests.
    """
    if torchrun_rank() is None:
        return _train_once(context, kind)
    fabric = open_fabric(context.config.training)
    assert fabric is not None  # torchrun's processes always have one
    fabric.launch()
    if fabric.global_rank > 0:
        return _follow(fabric, context, kind)
    outcome = _train_once(context, kind, fabric)
    fabric.broadcast(False)  # nothing more to train
    return outcome


def _follow(fabric: Any, context: Context, kind: str) -> Outcome:
    """Trains with the first of torchrun's processes whenever that one does; it alone locks, logs and saves."""
    stage, folder = f"train_{kind}", context.folder(f"train_{kind}")
    while fabric.broadcast(False):
        _train_here(fabric, context, kind, Run(""), folder.work, folder.out)
    return Outcome(stage, context.key(stage), reused=False)


def _train_once(context: Context, kind: str, launched: Any = None) -> Outcome:
    if kind == "extractor" and context.config.data.is_table:
        return table_loops.nothing_to_do(context)
    if kind == "extractor":
        return _train_extractor_once(context, launched)
    return perform(context, f"train_{kind}", lambda work, out: _train(context, kind, work, out, launched))


def _train_extractor_once(context: Context, launched: Any) -> Outcome:
    tracking.open_store(context.workspace)

    def body(work: Path, out: Path) -> None:
        with context.workspace.lock(f"{context.config.model_name('extractor')}-freezing"):
            if version := freeze.frozen(context):
                freeze.take(context, version, out)
            else:
                _train(context, "extractor", work, out, launched)

    outcome = perform(context, "train_extractor", body, lambda out: freeze.still_holds(context, out))
    freeze.use(context)
    return outcome


def _train(context: Context, kind: str, work: Path, out: Path, launched: Any) -> None:
    tracking.open_store(context.workspace)
    run, fabric = open_run(context, kind), launched or open_fabric(context.config.training)
    with run.running():
        if launched:
            launched.broadcast(True)
        if launched or context.config.training.devices == 1:
            curve = _train_here(fabric, context, kind, run, work, out)
        else:
            curve = _train_in_processes(fabric, context, kind, run, work, out)
        pd.DataFrame(curve).to_csv(out / "curve.csv", index=False, float_format="%.9g")
        run.log_files({out / "curve.csv": "training"})
        if kind == "extractor":
            freeze.admit(context, run, lineage(context, kind), out)


Curve = list[dict[str, float]]


def _train_here(fabric: Any, context: Context, kind: str, run: Run, work: Path, out: Path) -> Curve:
    config = context.config
    checkpoints = Checkpoints(work, config.training.checkpoints_kept)
    prepare_process(config.training.threads)
    with Recorder(run) as recorder:
        of = "rows" if config.data.is_table else "images"
        watcher = Watcher(context, kind, run, recorder, of) if fabric is None or fabric.global_rank == 0 else Silent()
        runtime = Runtime.of(config.training, watcher, checkpoints, fabric)
        if config.data.is_table:
            return table_loops.LOOPS[kind](config, prepared_table(context), runtime, out)
        return LOOPS[kind](config, prepared(context), runtime, out)


def _train_in_processes(fabric: Any, context: Context, kind: str, run: Run, work: Path, out: Path) -> Curve:
    """The same in a process a device; an error crosses back as the same error."""
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

    failure, found = work / "error.json", work / "curve.json"
    failure.unlink(missing_ok=True)
    job = partial(
        _one_of_many, context=context, kind=kind, run=run, work=work, out=out, events=progress.is_events()
    )  # Lightning would try to move a frozen argument to its device
    try:
        fabric.launch(job)
    except ProcessExitedException as error:
        raise KilledError(
            f"train_{kind}: {error}; run the command again, it goes on from its last checkpoint"
        ) from None
    except ProcessRaisedException:
        if not failure.exists():
            raise
        said = files.read_json(failure)
        raise BY_NAME[said["error"]](said["message"]) from None
    curve: Curve = files.read_json(found)
    found.unlink()
    return curve


def _one_of_many(fabric: Any, *, context: Context, kind: str, run: Run, work: Path, out: Path, events: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which torch sends when the parent has died
    progress.use(progress.Events() if events else progress.Lines())
    tracking.open_store(context.workspace)
    try:
        curve = _train_here(fabric, context, kind, run, work, out)
    except RegenError as error:
        files.write_json(work / "error.json", {"error": type(error).__name__, "message": str(error)})
        raise
    if fabric.global_rank == 0:
        files.write_json(work / "curve.json", curve)


def rows_of(config: Config, dataset: Dataset, split: str, labels: list[int], *, normal_only: bool = False) -> Rows:
    """A split's rows, their classes being positions in `labels`."""
    index = dataset.rows(split, normal_only=normal_only)
    positions = np.searchsorted(labels, dataset.labels[index])
    return Rows.of_pixels(dataset.images, index, positions, config.training.resident_mib)


def _names(dataset: Dataset, labels: list[int]) -> tuple[str, ...]:
    """What the classes are called; none where there is one class only."""
    return tuple(dataset.class_names.get(label, str(label)) for label in labels) if len(labels) > 1 else ()


def _train_extractor(config: Config, dataset: Dataset, runtime: Runtime, out: Path) -> Curve:
    labels = sorted(set(dataset.labels.tolist()))
    rows = rows_of(config, dataset, "extractor", labels)
    arguments = {
        "shape": dataset.shape, "width": config.extractor.width, "features": config.extractor.features,
        "n_classes": len(labels),
    }  # fmt: skip
    seed = config.data.split_seed  # the project's own seed makes other candidates, never another space to judge them in
    done = extractor.train_extractor(config.extractor, rows, len(labels), seed, runtime)
    _save(runtime, out, "extractor", done.extractor, **arguments)
    judge = extractor.train_judge(config.extractor, rows, len(labels), seed, _beside(runtime))
    _save(runtime, out, "judge", judge.extractor, **arguments, network=config.extractor.judge)
    return done.curve


def _beside(runtime: Runtime) -> Runtime:
    kept = runtime.checkpoints
    return replace(
        runtime, monitor=Beside(runtime.monitor), checkpoints=kept and replace(kept, folder=kept.folder / "judge")
    )


def _train_vae(config: Config, dataset: Dataset, runtime: Runtime, out: Path) -> Curve:
    labels = sorted(set(dataset.labels.tolist()) - {dataset.anomaly_class})
    rows, held_out = (rows_of(config, dataset, split, labels, normal_only=True) for split in ("train", "validation"))
    schemas.require_likelihood(dataset.images, config.vae.likelihood)
    done = vae.train_vae(config.vae, rows, held_out, config.seed, runtime, _names(dataset, labels))
    _save(
        runtime, out, "vae", done.vae, shape=dataset.shape, network=config.vae.network, width=config.vae.width,
        latent_dim=config.vae.latent_dim, n_reference=len(done.vae.reference), neighbours=config.vae.score_neighbours,
        draws=config.vae.score_draws, likelihood=config.vae.likelihood, classes=done.vae.classes,
    )  # fmt: skip
    files.write_json(out / "network.json", {"parameters": count_parameters(done.vae)})
    return done.curve


def _train_gan(config: Config, dataset: Dataset, runtime: Runtime, out: Path) -> Curve:
    labels = sorted(set(dataset.labels.tolist()))
    names = _names(dataset, labels) if config.gan.conditional else ()
    done = gan.train_gan(config.gan, rows_of(config, dataset, "train", labels), config.seed, runtime, names)
    arguments = {"shape": dataset.shape, "network": config.gan.network, "width": config.gan.width, "classes": names}
    _save(runtime, out, "generator", done.generator, latent_dim=config.gan.latent_dim, **arguments)
    _save(runtime, out, "discriminator", done.discriminator, **arguments)
    files.write_json(out / "network.json", {"parameters": count_parameters(done.generator)})
    return done.curve


def _save(runtime: Runtime, out: Path, kind: str, module: nn.Module, **arguments: Any) -> None:
    if runtime.rank == 0:
        storage.save(out, kind, module, **arguments)


LOOPS = {"extractor": _train_extractor, "vae": _train_vae, "gan": _train_gan}
