"""What the steps of an alignment share: the model that is tuned, the votes it is tuned toward, keys, and the rows.

The steps are `learn` (the reward), `tune`, `prove` (arms, guards, the evaluation beside the base) and `conclude` (registry,
gate). Each one's key is the digest of all that can change its results, so the same votes are never learned from twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from regen.core import files
from regen.core.errors import ConfigError, RegistryError, TooFewVotesError
from regen.data.splits import Dataset
from regen.models.extractor import Extractor
from regen.preferences.store import Store
from regen.registry import packaging, tracking, versions
from regen.registry.tracking import Run
from regen.registry.versions import Version
from regen.stages import freeze, reevaluate, train, votes
from regen.stages.base import Context, Outcome, perform
from regen.stages.prepare import dataset as prepared
from regen.stages.prepare import prepare
from regen.stages.votes import Collected

KINDS = ("gan", "vae")
READS: dict[str, tuple[str, ...]] = {
    "learn": ("reward",), "tune": ("align", "extractor"), "prove": ("evaluation",), "conclude": ("gate",),
}  # fmt: skip
"""The sections of the project file that each step reads, in the order of the steps; `tune` also that of the model's kind."""
BASE, CAMPAIGNS, VOTES = "regen.base", "regen.campaigns", "regen.votes"
"""The tags that say what a tuned version was tuned from, and toward which votes."""
ALIKE = {"gan": ("loss", "batch_size", "penalty_weight", "augment_probability"), "vae": ("likelihood", "latent_dim")}
"""What tuning takes over from the training of its base."""


@dataclass(frozen=True)
class Alignment:
    """A registered model that is to be tuned toward the votes on its samples."""

    context: Context
    base: Version
    votes: Collected
    controls: bool = False
    """Whether arms that need a tuning of their own are measured too."""

    @property
    def kind(self) -> str:
        """Gan or vae."""
        return self.base.kind

    @property
    def name(self) -> str:
        """What people call the base, such as digits-gan/1."""
        return f"{self.base.model}/{self.base.number}"

    def key(self, step: str) -> str:
        """The key of a step: of what it reads, and of what those before it read."""
        dump = self.context.config.model_dump(mode="json")
        read = {section: dump[section] for before in _upto(step) for section in READS[before]}
        if step != "learn":
            read[self.kind] = dump[self.kind]
        controls = self.controls if step in ("prove", "conclude") else False
        return files.digest([
            step, self.context.common(), read, self.base.model, self.base.number, self.base.key, self.votes.digest, controls,
        ])  # fmt: skip

    def stage(self, step: str) -> str:
        """The name of the folder that a step's results lie in."""
        return f"{step}_{self.kind}"

    def perform(
        self, step: str, body: Callable[[Path, Path], None], still_holds: Callable[[Path], bool] = lambda out: True
    ) -> Outcome:
        """Runs a step's body unless its results are there."""
        return perform(self.context, self.stage(step), body, still_holds, self.key(step))

    def results(self, step: str) -> Path:
        """The folder of a step's results, which are there."""
        return self.context.workspace.stage(self.stage(step), self.key(step)).out

    def is_done(self, step: str) -> bool:
        """Whether a step's results are there, whole."""
        return self.context.workspace.stage(self.stage(step), self.key(step)).is_done()

    def network(self) -> Any:
        """The base."""
        return packaging.load_network(self.kind, self.base.uri)

    @cached_property
    def dataset(self) -> Dataset:
        """The project's rows."""
        return prepared(self.context)

    @cached_property
    def extractor(self) -> Extractor:
        """The judge of distances and classes.

        Raises:
            RegistryError: there is none yet.
        """
        frozen = freeze.frozen(self.context, self.dataset)
        if frozen is None:
            raise RegistryError(
                f"{self.context.config.model_name('extractor')} has no version for this project file; run 'regen run' first"
            )
        return cast(Extractor, packaging.load_network("extractor", frozen.uri))

    def pixels(self, *splits: str) -> np.ndarray:
        """Rows of these splits that the model is to be like, `n h w c`."""
        return np.concatenate([self.dataset.pixels(split, normal_only=self.kind == "vae") for split in splits])

    @property
    def labels(self) -> list[int]:
        """All labels, in the order of the extractor's classes."""
        return sorted(set(self.dataset.labels.tolist()))

    def open_run(self, step: str) -> Run:
        """The MLflow run of a step, with its parameters and lineage."""
        config = self.context.config
        name = self.base.model if step == "tune" else f"{self.base.model}-reward"
        run = Run.of_key(self.context.workspace, config.project, name, self.key(step), lineage(self))
        dump: dict[str, Any] = config.model_dump(mode="json")
        sections = {"learn": ("reward",), "tune": ("align", self.kind)}[step]
        run.log_params(
            {"seed": config.seed, "base": self.name}
            | {f"{s}.{k}": v for s in sections for k, v in dump[s].items() if not isinstance(v, dict)}
            | {f"align.{self.kind}.{k}": v for k, v in dump["align"][self.kind].items() if step == "tune"}
        )
        return run


def _upto(step: str) -> Sequence[str]:
    steps = list(READS)
    return steps[: steps.index(step) + 1]


def lineage(alignment: Alignment) -> dict[str, str]:
    """Where a tuned model comes from, as tags: those of any training, and its base, campaigns and votes."""
    votes_, dump = alignment.votes, alignment.context.config.model_dump(mode="json")
    recipe = [dump[section] for section in (alignment.kind, "align", "reward")]
    return train.lineage(alignment.context, alignment.kind) | {
        "regen.recipe": files.digest([recipe, alignment.base.key, votes_.digest]),  # no seed of the base's own recipe
        BASE: alignment.name, CAMPAIGNS: ", ".join(votes_.campaigns), VOTES: votes_.digest,
    }  # fmt: skip


def open_alignment(context: Context, store: Store, reference: str, *, controls: bool = False) -> Alignment:
    """The alignment of one registered model toward the votes on its samples.

    Where the model is what came of tuning another toward these very votes, it is the alignment of that one.

    Raises:
        TooFewVotesError: they are too few to learn from.
        RegistryError: there is no such model, or it makes no images.
        ConfigError: it is of another project, shape or split, or was trained with other settings than tuning would go on with.
    """
    tracking.open_store(context.workspace)
    base = versions.resolve(reference)
    subject = reevaluate.find(f"{base.model}/{base.number}")
    if subject.project != context.config.project:
        raise ConfigError(
            f"{subject.label} is of the project {subject.project}, and this is {context.config.project}; name its project file"
        )
    found = votes.collect(store, base.model)
    votes.require_enough(found, context.config.reward)
    prepare(context)
    reevaluate.require_fit(subject, prepared(context), context.config)
    _require_same_recipe(context, base)
    opened = Alignment(context, base, found, controls)
    return _made_by(opened) or opened


def open_all(
    context: Context, store: Store, references: Sequence[str] = (), kind: str | None = None, *, controls: bool = False
) -> list[Alignment]:
    """The alignments of the models that are named or, where none is, of each champion that enough people voted on.

    Raises:
        TooFewVotesError: on no model's samples are there enough votes.
        RegistryError: none is named, and there is no champion.
    """
    tracking.open_store(context.workspace)
    if references:
        return [open_alignment(context, store, reference, controls=controls) for reference in references]
    names = [context.config.model_name(one) for one in KINDS if kind in (None, one)]
    champions = [name for name in names if versions.by_alias(name, versions.CHAMPION)]
    if not champions:
        raise RegistryError(f"{' and '.join(names)} have no champion to tune; run 'regen run' first, or name a --model")
    opened, refused = [], []
    for name in champions:
        try:
            opened.append(open_alignment(context, store, name, controls=controls))
        except TooFewVotesError as error:
            refused.append(error)
    if not opened:
        raise refused[0]
    for missing in refused:
        context.progress.say(f"  align: {missing}")
    return opened


def _made_by(alignment: Alignment) -> Alignment | None:
    """The alignment that the base came of, where it is one toward these very votes whose results are there."""
    base = alignment.base
    if base.tags.get(VOTES) != alignment.votes.digest:
        return None
    named = (one for one in versions.all_versions(base.model) if f"{one.model}/{one.number}" == base.tags.get(BASE))
    earlier = [replace(alignment, base=one) for one in named]
    return next((one for one in earlier if one.key("tune") == base.key and all(map(one.is_done, READS))), None)


def _require_same_recipe(context: Context, base: Version) -> None:
    recorded = tracking.Run(base.run_id).data().params
    section = context.config.model_dump(mode="json")[base.kind]
    for key in ALIKE[base.kind]:
        met = recorded.get(f"{base.kind}.{key}", str(section[key]))
        if met != str(section[key]):
            raise ConfigError(
                f"{base.model} {base.number} was trained with {base.kind}.{key} {met}, and the project file says "
                f"{section[key]}; bring it back, or name it by --set {base.kind}.{key}={met}"
            )
