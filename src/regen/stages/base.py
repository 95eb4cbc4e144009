"""What every stage shares: its key, its folder, the lock around it, and the copy of its results for people and DVC.

A key is the digest of everything that can change a result: the data's version, the sections of the configuration that
the stage and those before it read, all library sources, torch's version, the seed, the kind of device. It is the stage's
cache key, a tag of the MLflow run and of the registered version, and so the same work is never done twice.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import regen
from regen.core import files
from regen.core.config import Config
from regen.core.errors import StaleDataError, writes_to
from regen.core.workspace import StageFolder, Workspace
from regen.data import versions
from regen.stages.progress import Progress, current

READS: dict[str, tuple[str, ...]] = {
    "prepare": ("data",),
    "train_extractor": ("extractor",),
    "train_vae": ("vae",),
    "train_gan": ("gan",),
    "evaluate": ("evaluation",),
    "register": (),
    "promote": ("gate",),
}
"""The sections of the project file that each stage reads, in the order the stages run; all read the project's name."""
TABLE_READS: dict[str, tuple[str, ...]] = {"train_vae": ("tables.vae",), "train_gan": ("tables.gan",)}
"""What the stages read in the project file of a table, where that differs; `prepare` reads the rest of `tables` too."""
AFTER: dict[str, tuple[str, ...]] = {
    "prepare": (),
    "train_extractor": ("prepare",),
    "train_vae": ("prepare",),
    "train_gan": ("prepare",),
    "evaluate": ("train_extractor", "train_vae", "train_gan"),
    "register": ("evaluate",),
    "promote": ("register",),
}
"""The stages whose results each stage reads."""
NOT_OF_TABLES = "train_extractor"
"""The stage that has nothing to do in a project of a table: its figures need no space of features."""
SEEDLESS = ("prepare", "train_extractor")
"""The stages that the project's seed does not touch, so that models of every seed meet the same rows in the same space."""


@cache
def source_digest() -> str:
    """The digest of all library sources, templates among them."""
    root = Path(regen.__file__).parent
    sources = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".j2"))
    return files.digest({str(path.relative_to(root)): files.sha256(path) for path in sources})


@cache
def device_class(wanted: str) -> str:
    """cpu, cuda or mps: what `training.device` comes down to on this machine.

    Raises:
        DeviceError: it is not there.
    """
    if wanted == "cpu":
        return "cpu"
    from regen.training.runtime import resolve_device

    return resolve_device(wanted).type


@dataclass(frozen=True)
class Context:
    """A project in its workspace."""

    workspace: Workspace
    config: Config
    publishes: bool = True
    """Whether results are copied to outputs/; a sweep's trials leave there what a run has left."""

    @cached_property
    def data_version(self) -> str:
        """The recorded version of the project's data, whose files are checked to be those."""
        return versions.require_clean(self.workspace, self.config.project)

    @property
    def schema_path(self) -> Path:
        """The file that says what a table's rows must be."""
        return self.workspace.root / (self.config.tables.schema_file or f"schemas/{self.config.project}.yaml")

    def common(self, *, seeded: bool = True) -> dict[str, Any]:
        """What every key holds.

        Raises:
            StaleDataError: data/ and data.dvc disagree.
            DeviceError: the device that was asked for is not there.
        """
        training = self.config.training
        return {
            "data": self.data_version,
            "project": self.config.project,
            "seed": self.config.seed if seeded else None,
            "sources": source_digest(),
            "torch": version("torch").partition("+")[0],  # builds for other devices are told apart by the device
            "device": self.device,
            "arithmetic": [training.threads, training.devices, training.precision],
        }

    def key(self, stage: str) -> str:
        """The stage's key.

        Raises:
            StaleDataError: data/ and data.dvc disagree.
            DeviceError: the device that was asked for is not there.
        """
        dump, common = self.config.model_dump(mode="json"), self.common(seeded=stage not in SEEDLESS)
        sections = {section: _section(dump, section) for section in self.reads(stage)}
        if stage == "prepare" and self.config.data.is_table:
            sections["tables"] = {key: value for key, value in dump["tables"].items() if key not in ("vae", "gan")}
            sections["schema"] = files.sha256(self.schema_path) if self.schema_path.is_file() else None
        if stage.startswith("train_"):  # a loop inspects its model at each checkpoint, and may act on what it sees
            sections["inspected"] = dump["training"]["checkpoint_every_images"]
        return files.digest([stage, common, sections, [self.key(before) for before in self.after(stage)]])

    def reads(self, stage: str) -> tuple[str, ...]:
        """The sections of the project file that the stage reads, dotted."""
        return (TABLE_READS if self.config.data.is_table else READS).get(stage, READS[stage])

    def after(self, stage: str) -> tuple[str, ...]:
        """The stages whose results the stage reads."""
        return tuple(name for name in AFTER[stage] if not (self.config.data.is_table and name == NOT_OF_TABLES))

    @property
    def device(self) -> str:
        """The kind of device that trains: this machine's, or the one that a pool's workers are said to have.

        Raises:
            DeviceError: it is not there.
        """
        training = self.config.training
        return device_class(training.device) if training.pool is None else training.device.partition(":")[0]

    @property
    def fingerprint(self) -> str:
        """The key of the whole run."""
        return self.key("promote")

    def folder(self, stage: str) -> StageFolder:
        """Where the stage's results lie or will lie."""
        return self.workspace.stage(stage, self.key(stage))

    def results(self, stage: str) -> Path:
        """The results of a stage that has run.

        Raises:
            StaleDataError: it has not, or its results are damaged.
        """
        folder = self.folder(stage)
        if not folder.is_done():
            raise StaleDataError(
                f"there are no results of {stage} for these inputs; run 'regen stage {stage.replace('_', '-')}'"
            )
        return folder.out

    @property
    def progress(self) -> Progress:
        """Whoever shows progress in this process."""
        return current()


def _section(dump: dict[str, Any], dotted: str) -> Any:
    """The part of a configuration with this dotted name."""
    for part in dotted.split("."):
        dump = dump[part]
    return dump


@dataclass(frozen=True)
class Outcome:
    """What running a stage came to: a reference to its results, never the results themselves."""

    stage: str
    key: str
    reused: bool
    """Whether the results were there already."""


def perform(
    context: Context,
    stage: str,
    body: Callable[[Path, Path], None],
    still_holds: Callable[[Path], bool] = lambda out: True,
    key: str | None = None,
) -> Outcome:
    """Runs `body(work, out)` unless its results are there, then copies them to outputs/PROJECT/STAGE.

    Two processes with the same work do it once: the second waits and finds it done. `work` outlives an interruption.

    Args:
        still_holds: says of results that are there whether the world outside the key has stayed as it was.
        key: of work that depends on more than the project; the stage's own if left out.
    """
    key = key or context.key(stage)
    folder = context.workspace.stage(stage, key)
    with context.workspace.lock(f"{stage}-{key[:16]}"):
        reused = folder.is_done() and still_holds(folder.out)
        if not reused:
            with writes_to(folder.path):
                shutil.rmtree(folder.out, ignore_errors=True)
                folder.out.mkdir(parents=True)
                folder.work.mkdir(exist_ok=True)
                body(folder.work, folder.out)
            folder.finish()
            shutil.rmtree(folder.work, ignore_errors=True)
        if context.publishes:
            publish(context, stage, folder)
    return Outcome(stage, key, reused)


def publish(context: Context, stage: str, folder: StageFolder) -> None:
    """Copies a stage's results to their fixed place, unless they lie there already."""
    from regen.core.workspace import digests

    target = context.workspace.outputs(context.config.project) / stage
    if target.is_dir() and digests(target) == digests(folder.out):
        return
    with files.replacing_folder(target) as temporary:
        shutil.copytree(folder.out, temporary, dirs_exist_ok=True)


def jsonable(value: Any) -> Any:
    """Plain values from dataclasses and their containers."""
    from dataclasses import asdict, is_dataclass

    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, dict):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(inner) for inner in value]
    return value
