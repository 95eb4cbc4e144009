"""The frozen extractor: trained once for what decides its space, admitted by self-tests, registered, and used from then on.

Its key is the digest of that alone: the images' shape, the classes, its section of the project file, and which rows are its
own (`data.split_seed` and `data.extractor_share`, since a row's digest decides the rest). New data, other library sources and
other seeds leave it as it is, so scores stay comparable over months and over seeds, and no row that it has seen is ever a
test row.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from regen.core import files
from regen.core.environment import bootstrap
from regen.core.errors import EvaluationError, RegistryError
from regen.core.workspace import Workspace
from regen.data.splits import Dataset
from regen.evaluation import admission
from regen.evaluation.admission import Admission
from regen.models import storage
from regen.models.extractor import Extractor
from regen.models.extractors import Spec, resize_digest, resized
from regen.models.networks import to_tensor
from regen.registry import packaging, tracking, versions
from regen.registry.tracking import Run
from regen.registry.versions import Version
from regen.stages.base import Context
from regen.stages.prepare import dataset as prepared

RECORD = "frozen.json"
ADMITTED = "admitted"
"""What stands where the gate's verdict stands for other models."""


def spec(context: Context, dataset: Dataset) -> dict[str, Any]:
    """What decides the extractor's space and the rows it trains on."""
    config = context.config
    return {
        "shape": list(dataset.shape),
        "classes": {str(label): dataset.name(label) for label in sorted(set(dataset.labels.tolist()))},
        "extractor": config.extractor.model_dump(mode="json"),
        "split_seed": config.data.split_seed,
        "extractor_share": config.data.extractor_share,
    }


def frozen(context: Context, dataset: Dataset | None = None) -> Version | None:
    """The registered extractor of this project; None where there is none for its spec yet."""
    key = files.digest(spec(context, dataset or prepared(context)))
    return versions.by_key(context.config.model_name("extractor"), key)


def record(context: Context) -> dict[str, Any]:
    """Name, version and digests of the extractor that `train_extractor` left."""
    found: dict[str, Any] = files.read_json(context.results("train_extractor") / RECORD)
    return found


def still_holds(context: Context, out: Path) -> bool:
    """Whether the extractor in `out` is the registered one."""
    version = frozen(context)
    return version is not None and files.read_json(out / RECORD) == _record(version)


def use(context: Context) -> None:
    """Lets the alias `champion` name the extractor in use."""
    version = frozen(context)
    assert version is not None  # train_extractor has registered it
    if versions.CHAMPION not in version.aliases:
        versions.point(version, versions.CHAMPION)


def take(context: Context, version: Version, out: Path) -> None:
    """Copies the frozen extractor and what was recorded of it into `out`."""
    packaging.fetch(version.uri, out)
    files.write_json(out / RECORD, _record(version))
    context.progress.say(f"  train extractor: {version.model} {version.number} is frozen, it is used again")


def admit(context: Context, run: Run, tags: dict[str, str], out: Path) -> None:
    """Tries the extractor that was trained into `out`, and registers it when every ladder rises.

    Raises:
        EvaluationError: a ladder does not rise, or there are too few rows to tell.
    """
    dataset, config = prepared(context), context.config
    found = {name: examine(out, name, dataset, config.data.split_seed) for name in ("extractor", "judge")}
    files.write_json(out / "admission.json", {name: one.to_json() for name, one in found.items()})
    run.log_files({out / "admission.json": "training"})
    admission.require_admitted(found["extractor"], config.extractor.images)
    for ladder in found["judge"].failed:
        context.progress.say(f"warning: the second judge is a weak one: {ladder}, which does not rise at every rung")
    accuracy = _accuracy(out, dataset)
    run.log_metrics({"test/accuracy": accuracy, "admission/floor": found["extractor"].floor})
    wanted, name = spec(context, dataset), config.model_name("extractor")
    tags = tags | _tags(out, wanted, accuracy, found["extractor"]) | {"regen.run": run.id}
    card = model_card(context, dataset, accuracy, found, tags)
    uri = packaging.log_model(run, "extractor", name, out, dataset.shape, card)
    version = versions.register(name, "extractor", run, uri, files.digest(wanted), tags, card)
    if version.run_id != run.id:  # another machine was quicker, and one spec has one extractor
        packaging.fetch(version.uri, out)
    files.write_json(out / RECORD, _record(version))


def examine(folder: Path, name: str, dataset: Dataset, seed: int) -> Admission:
    """Climbs every ladder with one of the networks in `folder`, on rows that it was not trained on and no figure uses."""
    from regen.evaluation.measure import features_of  # which loads scikit-learn

    network = storage.load(folder, name)
    rows = np.concatenate([dataset.rows(split) for split in ("train", "validation")])
    few = rows[np.linspace(0, len(rows) - 1, min(len(rows), admission.LARGEST)).round().astype(np.int64)]
    return admission.examine(
        lambda pixels: features_of(network, pixels), np.asarray(dataset.images[few]), dataset.labels[few], seed
    )


def _accuracy(out: Path, dataset: Dataset) -> float:
    """Share of the validation rows whose class it names rightly."""
    labels = sorted(set(dataset.labels.tolist()))
    positions = np.searchsorted(labels, dataset.labels[dataset.rows("validation")])
    named = storage.load(out, "extractor").classes(to_tensor(dataset.pixels("validation"))).numpy()
    return float((named == positions).mean())


def _tags(out: Path, wanted: dict[str, Any], accuracy: float, found: Admission) -> dict[str, str]:
    channels, height, width = wanted["shape"]
    return {
        "regen.sha256": files.sha256(out / "extractor.safetensors"),
        "regen.judge_sha256": files.sha256(out / "judge.safetensors"),
        "regen.dim": str(wanted["extractor"]["features"]),
        "regen.input": f"uint8 n×{height}×{width}×{channels}",
        "regen.classes": str(len(wanted["classes"])),
        "regen.resize": "native",
        "regen.accuracy": f"{accuracy:.4f}",
        "regen.floor": f"{found.floor:.4g}",
        "regen.self_tests": "; ".join(map(str, found.ladders)),
        "regen.verdict": ADMITTED,
    }


def _record(version: Version) -> dict[str, Any]:
    tags = version.tags
    return {
        "name": version.model, "version": version.number, "spec": version.key,
        "sha256": tags["regen.sha256"], "judge_sha256": tags["regen.judge_sha256"],
    }  # fmt: skip


def model_card(
    context: Context, dataset: Dataset, accuracy: float, found: dict[str, Admission], tags: dict[str, str]
) -> str:
    """What a user of the extractor should know (Mitchell et al., *Model Cards*, 2019), as markdown."""
    config, mine = context.config, found["extractor"]
    names = [dataset.name(label) for label in sorted(set(dataset.labels.tolist()))]
    left_out = (
        "" if mine.modes == "classes" else " There is one class only, so clusters of similar images stand for modes."
    )
    lines = [
        f"# {config.model_name('extractor')}", "",
        "The space that Fréchet distances of this project are measured in. It is frozen: only another shape, other classes, "
        "another `extractor` section or other rows of its own make a new version.", "",
        f"A classifier of {len(names)} classes ({', '.join(names)}), right on {accuracy:.1%} of the validation rows; "
        f"{config.extractor.features} features, images of {tags['regen.input']} taken at their own size. It was trained on "
        f"{len(dataset.rows('extractor'))} rows that no generator, no threshold and no figure uses.", "",
        "| self-test | extractor | second judge |", "|---|---|---|",
        f"| two sets of {mine.rows} real rows | {mine.floor:.4g} | {found['judge'].floor:.4g} |",
        *(
            f"| {one.name} {', '.join(f'{level:g}' for level in one.levels)} "
            f"| {', '.join(f'{d:.4g}' for d in one.distances)} | {', '.join(f'{d:.4g}' for d in other.distances)} |"
            for one, other in zip(mine.ladders, found["judge"].ladders, strict=True)
        ), "",
        f"It is admitted since each ladder rises at every rung.{left_out}", "",
        f"Beside it lies a second judge, a network of another architecture ({config.extractor.judge}) trained on the same "
        "rows with half the budget. No gate asks it: what a model gains in the extractor's space alone, it does not see.", "",
        "Lineage: " + ", ".join(f"{key.removeprefix('regen.')} `{value}`" for key, value in sorted(tags.items()) if value), "",
        "Limits: distances in it compare models of this project alone; they are not FIDs.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Registered:
    """A project's frozen extractor, for images of any size."""

    spec: Spec
    network: Extractor

    def features(self, images: UInt8[np.ndarray, "n h w c"]) -> Float64[np.ndarray, "n d"]:
        """Each image's features."""
        pixels = torch.from_numpy(resized(images, self.spec.resolution)).permute(0, 3, 1, 2) / 255
        found: np.ndarray = self.network.features(pixels.contiguous()).double().numpy()
        return found


def open_registered(name: str) -> Registered:
    """The registered extractor that NAME, NAME@ALIAS or NAME/NUMBER means, in the workspace around the current folder.

    Raises:
        RegistryError: there is none, or it is another kind of model.
        EvaluationError: its images are not square.
    """
    workspace = Workspace.find()
    bootstrap(workspace)
    tracking.open_store(workspace)
    version = versions.resolve(name)
    if version.kind != "extractor":
        raise RegistryError(f"{version.model} is no extractor; name a project's own, PROJECT-extractor")
    height, width, channels = map(int, version.tags["regen.input"].removeprefix("uint8 n×").split("×"))
    if height != width:
        raise EvaluationError(
            f"{version.model} takes images of {height}×{width} pixels, and only square ones are compared"
        )
    tags = version.tags
    spec = Spec(
        version.model,
        str(version.number),
        tags["regen.sha256"],
        int(tags["regen.dim"]),
        height,
        channels,
        resize_digest(),
    )
    return Registered(spec, packaging.load_network("extractor", version.uri))
