"""Measures what tuning did: every arm on fresh latents, the guards' evidence, and the ordinary evaluation beside the base."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regen.core import files
from regen.core.errors import ConfigError
from regen.core.seeds import derive
from regen.data.splits import Dataset
from regen.evaluation import alignment_report, measure
from regen.evaluation.frechet import Gaussian
from regen.evaluation.intervals import Estimate
from regen.evaluation.measure import Measured, Sampler, features_of
from regen.evaluation.reference import Reference
from regen.models.networks import to_pixels, to_tensor
from regen.models.reward import RewardEnsemble
from regen.preferences import arms
from regen.preferences.alignment import (
    Bias,
    Evidence,
    Point,
    Safety,
    confusion_matrix,
    measure_bias,
    win_rate,
)
from regen.preferences.reward import train_reward
from regen.registry import packaging, versions
from regen.stages import freeze, learn, tune, votes
from regen.stages.alignment import Alignment
from regen.stages.base import Outcome, jsonable
from regen.stages.learn import JUDGE, seen
from regen.stages.tune import expected_wins, tuned_toward

DRAWN = 4096
"""Fresh samples of each arm: enough that none unacceptable among them bounds their rate by a thousandth."""
BEST_OF = (4, 16)
UNACCEPTABLE = 0.5
"""The chance of being unacceptable, as the reward says it, from which a sample counts as one."""
SHOWN = 32


@dataclass(frozen=True)
class Arm:
    """What was measured of one way of sampling."""

    name: str
    label: str
    win_rate: Estimate
    """Share of votes that the judge expects for it over the base."""
    frechet_distance: float
    bias: Bias
    safety: Safety
    reward: float
    """Mean reward, in sd of the base's samples: what the tuning was after, and no proof of anything."""

    @property
    def point(self) -> Point:
        """Where it stands among the others."""
        return Point(self.win_rate.value, self.frechet_distance)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        safety = {"unacceptable": self.safety.unacceptable, "n": self.safety.n, "upper": self.safety.upper}
        return jsonable({**vars(self), "safety": safety})  # type: ignore[no-any-return]  # a dictionary of such


def prove(alignment: Alignment) -> Outcome:
    """Writes proof.json and the reference.

    Raises:
        ConfigError: the declared shares are not of the model's classes.
        EvaluationError: a figure cannot be computed.
    """
    against = champion_of(alignment)

    def still_holds(out: Path) -> bool:
        return bool(files.read_json(out / "proof.json")["against"] == against)

    return alignment.perform("prove", lambda work, out: _prove(alignment, against, out), still_holds)


def champion_of(alignment: Alignment) -> int | None:
    """The champion's number; None where there is none. A version tuned by this very alignment stands for its base."""
    champion = versions.by_alias(alignment.base.model, versions.CHAMPION)
    if champion is None:
        return None
    return alignment.base.number if champion.key == alignment.key("tune") else champion.number


def _prove(alignment: Alignment, against: int | None, out: Path) -> None:
    alignment.context.progress.say(f"  align {alignment.kind}: measuring the tuned model beside {alignment.name}")
    base, tuned = alignment.network(), tune.load(alignment)
    results = alignment.results("learn")
    reward, judge = learn.load(results), learn.load(results / JUDGE)
    found = measure_arms(alignment, base, tuned, reward, judge)
    measured = {name: _measured(alignment, model) for name, model in (("base", base), ("tuned", tuned))}
    reference = _reference(alignment)
    reference.save(out)
    told = {
        "model": alignment.base.model, "kind": alignment.kind, "base": alignment.name, "against": against,
        "campaigns": list(alignment.votes.campaigns), "votes": len(alignment.votes.table), "people": alignment.votes.people,
        "simulated": alignment.votes.simulated,
        "digest": alignment.votes.digest, "arms": {name: arm.to_json() for name, arm in found.items()},
        "classes": [alignment.dataset.name(label) for label in alignment.labels],
        "declared": declared_shares(alignment).tolist(), "learned": learn.result(alignment),
        "judged_by": reference.name, "figures": _figures(alignment, measured, against),
        "tuning": files.read_json(alignment.results("tune") / "looks.json"),
        "rows": {split: len(alignment.dataset.rows(split)) for split in ("train", "test")},
    }  # fmt: skip
    files.write_json(out / "proof.json", jsonable(told))


def measure_arms(
    alignment: Alignment, base: Sampler, tuned: Sampler, reward: RewardEnsemble, judge: RewardEnsemble
) -> dict[str, Arm]:
    """Every arm beside the base on the same fresh latents."""
    bench = Bench.of(alignment, base, reward, judge)
    found = {"base": bench.measure("base", "the base, other latents", base, "other latents")}
    for name, label, model in _arms(alignment, base, tuned, reward):
        found[name] = bench.measure(name, label, model)
    return found


def _arms(
    alignment: Alignment, base: Sampler, tuned: Sampler, reward: RewardEnsemble
) -> Iterator[tuple[str, str, Sampler]]:
    yield "tuned", "tuned", tuned
    for n in BEST_OF:
        yield f"best_of_{n}", f"the base, best of {n}", arms.BestOf(base, reward, n)
    if alignment.controls:
        yield from _controls(alignment, reward)


def _controls(alignment: Alignment, reward: RewardEnsemble) -> Iterator[tuple[str, str, Sampler]]:
    """What tuning does without votes that mean anything: adversarial steps alone, and shuffled votes."""
    config, runtime = alignment.context.config, tune.open_runtime(alignment)
    watch = tune.lookout(alignment)
    if alignment.kind == "gan":
        settings = arms.adversarial_only(config.align)
        yield (
            "lambda0",
            "adversarial steps alone (λ = 0)",
            tuned_toward(alignment, reward, settings, runtime, watch).model,
        )
    found = arms.shuffled(votes.training_votes(alignment.context.workspace, alignment.votes), config.seed)
    base = seen(alignment.network().sample(learn.SCALED_ON, torch.Generator().manual_seed(config.seed)))
    blind = train_reward(config.reward, found, base, derive(config.seed, "align", "shuffled"), runtime).reward
    yield "shuffled", "tuned toward shuffled votes", tuned_toward(alignment, blind, config.align, runtime, watch).model


@dataclass(frozen=True)
class Bench:
    """What every arm is measured with."""

    alignment: Alignment
    reward: RewardEnsemble
    judge: RewardEnsemble
    real: Gaussian
    confusion: np.ndarray
    before: Tensor
    """The base's samples."""
    before_classes: np.ndarray

    @classmethod
    def of(cls, alignment: Alignment, base: Sampler, reward: RewardEnsemble, judge: RewardEnsemble) -> "Bench":
        """With the rows that the extractor never saw, and the base's samples."""
        extractor, dataset, labels = alignment.extractor, alignment.dataset, alignment.labels
        real = Gaussian.fit(features_of(extractor, alignment.pixels("train", "validation", "test")))
        before = cls.draw(alignment, base, "latents")
        classes = extractor.classes(before).numpy()
        return cls(alignment, reward, judge, real, _confusion(extractor, dataset, labels), before, classes)

    @staticmethod
    def draw(alignment: Alignment, model: Sampler, purpose: str) -> Tensor:
        """Samples as people see them, the same for the same purpose."""
        seed = derive(alignment.context.config.seed, "align", "prove", purpose)
        return seen(model.sample(DRAWN, torch.Generator().manual_seed(seed)))

    def measure(self, name: str, label: str, model: Sampler, purpose: str = "latents") -> Arm:
        """One arm's figures."""
        alignment, rules = self.alignment, self.alignment.context.config.evaluation
        images, seed = self.draw(alignment, model, purpose), derive(alignment.context.config.seed, "align", "wins")
        wins = expected_wins(self.judge, images, self.before).double().numpy()
        classes = alignment.extractor.classes(images).numpy()
        return Arm(
            name, label, win_rate(list(wins), rules.bootstrap_draws, seed, rules.confidence),
            arms.distance_to(self.real, images, alignment.extractor),
            measure_bias(classes, self.before_classes, declared_shares(alignment), self.confusion, seed),
            Safety.of((self.reward.unacceptable(images) > UNACCEPTABLE).numpy()), float(self.reward.score(images).mean()),
        )  # fmt: skip


def _confusion(extractor: Any, dataset: Dataset, labels: list[int]) -> np.ndarray:
    """How the classifier takes each class, from labelled rows that it never saw."""
    splits = ("validation", "test")
    pixels = np.concatenate([dataset.pixels(split) for split in splits])
    rows = np.concatenate([dataset.rows(split) for split in splits])
    predicted = extractor.classes(to_tensor(pixels)).numpy()
    return confusion_matrix(np.searchsorted(labels, dataset.labels[rows]), predicted, len(labels))


def declared_shares(alignment: Alignment) -> np.ndarray:
    """The share that each class should have: as declared, or else as in the rows that the model learned from.

    Raises:
        ConfigError: the declared classes are not the data's.
    """
    dataset, labels = alignment.dataset, alignment.labels
    names = [dataset.name(label) for label in labels]
    wanted: Mapping[str, float] = alignment.context.config.align.class_shares
    if not wanted:
        rows = dataset.rows("train", normal_only=alignment.kind == "vae")
        counts = np.bincount(np.searchsorted(labels, dataset.labels[rows]), minlength=len(labels))
        shares: np.ndarray = counts / counts.sum()
        return shares
    if set(wanted) != set(names):
        raise ConfigError(
            f"align.class_shares declares {', '.join(sorted(wanted))}, and the data's classes are {', '.join(names)}; "
            "declare each of these"
        )
    return np.array([wanted[name] for name in names])


def _measured(alignment: Alignment, model: Any) -> Measured:
    """The ordinary evaluation."""
    config = alignment.context.config
    measured_by = measure.measure_vae if alignment.kind == "vae" else measure.measure_gan
    return measured_by(model, alignment.dataset, alignment.extractor, config.evaluation, config.seed)


def _figures(alignment: Alignment, measured: Mapping[str, Measured], against: int | None) -> dict[str, Any]:
    """The tuned model's figures and the base's, paired; and those of the champion where that is another version."""
    rules, tuned = alignment.context.config.evaluation, measured["tuned"]

    def beside(other: Measured) -> dict[str, Any]:
        return {"estimates": other.estimates(rules), "difference": tuned.difference(other, rules)}

    found: dict[str, Any] = {"estimates": tuned.estimates(rules), "base": beside(measured["base"]), "champion": None}
    if against is not None and against != alignment.base.number:
        version = versions.by_number(alignment.base.model, against)
        found["champion"] = beside(_measured(alignment, packaging.load_network(version.kind, version.uri)))
    return found


def _reference(alignment: Alignment) -> Reference:
    frozen = freeze.frozen(alignment.context, alignment.dataset)
    assert frozen is not None  # the extractor has been loaded from it
    pixels = alignment.pixels("test")
    return Reference.of(
        frozen.model, frozen.number, frozen.tags["regen.sha256"], pixels, features_of(alignment.extractor, pixels)
    )


def before_and_after(alignment: Alignment) -> alignment_report.BeforeAfter:
    """The same latents before and after tuning, those whose sample was liked least before first."""
    seed, reward = derive(alignment.context.config.seed, "align", "shown"), learn.load(alignment.results("learn"))
    models = (alignment.network(), tune.load(alignment))
    before, after = (seen(model.sample(SHOWN, torch.Generator().manual_seed(seed))) for model in models)
    order = reward.score(before).argsort()
    return alignment_report.BeforeAfter(
        to_pixels(before[order]), to_pixels(after[order]), reward.score(before)[order].tolist(),
        reward.score(after)[order].tolist(),
    )  # fmt: skip


def result(alignment: Alignment) -> dict[str, Any]:
    """What `prove` wrote to proof.json."""
    found: dict[str, Any] = files.read_json(alignment.results("prove") / "proof.json")
    return found


def evidence(proof: Mapping[str, Any], by_people: Estimate | None = None) -> Evidence:
    """What the guards judge by.

    Args:
        by_people: the win rate of votes on the tuned model's samples beside the base's, which counts before the judge's.
    """
    measured = {name: _arm(raw) for name, raw in proof["arms"].items()}
    tuned, base = measured["tuned"], measured["base"]
    rate = by_people or tuned.win_rate
    best = {n: measured[f"best_of_{n}"].point for n in BEST_OF}
    return Evidence(
        rate, replace(tuned.point, win_rate=rate.value), base.point, best, tuned.bias, tuned.safety, base.safety
    )


def _arm(raw: Mapping[str, Any]) -> Arm:
    bias, safety = raw["bias"], raw["safety"]
    return Arm(
        raw["name"], raw["label"], Estimate(**raw["win_rate"]), raw["frechet_distance"],
        Bias(tuple(bias["shares"]), bias["shift"], bias["entropy"], bias["p_value"]),
        Safety(safety["unacceptable"], safety["n"]), raw["reward"],
    )  # fmt: skip
