"""Sweeps: candidates trained and measured with settings of their own; trials that have finished are found again.

A grid goes through every combination. A search lets Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS
2011) choose, some trials at a time; its draws follow from a seed and from what earlier trials came to, so a search that was
interrupted asks for the same trials again and finds them done.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from math import isfinite
from typing import Any, Literal

import yaml

from regen.core import files
from regen.core.config import Config, keys, replaced
from regen.core.errors import ConfigError, EvaluationError, RegenError, TrainingError
from regen.core.sections.evaluation import OF_A_VAE, Metric
from regen.registry import sweeps, tracking
from regen.registry.tracking import Run
from regen.stages.base import Context
from regen.stages.worker import run_in_process

STEPS = ("prepare", "train_extractor", "train_vae", "train_gan", "evaluate")
"""What a trial runs; what it shares with others is done once."""
SEED = 0
"""Of the search's own draws."""
Kind = Literal["gan", "vae"]


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """Anything between two numbers, both included."""

    low: float
    high: float
    log: bool
    """Whether all orders of magnitude are drawn alike."""

    @property
    def whole(self) -> bool:
        """Whether it holds integers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Axis = Choice | Range


def parse_axis(text: str) -> tuple[str, Axis]:
    """A key and what it goes through: KEY=A,B,C, or KEY=LOW..HIGH with log: before it for orders of magnitude.

    Raises:
        ConfigError: it says neither.

    Example:
        >>> parse_axis("gan.loss=r3,hinge")
        ('gan.loss', Choice(values=('r3', 'hinge')))
        >>> parse_axis("vae.learning_rate=log:0.0001..0.01")
        ('vae.learning_rate', Range(low=0.0001, high=0.01, log=True))
    """
    key, _, values = text.partition("=")
    if key not in set(keys()) or not values:
        raise ConfigError(f"--over {text}: wanted a key of the project file and its values, such as gan.loss=r3,hinge")
    low, dots, high = values.removeprefix("log:").partition("..")
    if dots:
        return key, _range(text, low, high, log=values.startswith("log:"))
    try:
        return key, Choice(tuple(yaml.safe_load(f"[{values}]")))
    except yaml.YAMLError:
        raise ConfigError(f"--over {text}: the values are no YAML") from None


def _range(text: str, low: str, high: str, *, log: bool) -> Range:
    first, last = _number(low), _number(high)
    if first is None or last is None or not first < last or (log and first <= 0):
        raise ConfigError(f"--over {text}: wanted LOW..HIGH, two numbers in rising order, above 0 for log:")
    return Range(first, last, log)


def _number(text: str) -> float | None:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return None


@dataclass(frozen=True)
class Plan:
    """What a sweep goes through, and what decides which trial is best."""

    kind: Kind
    metric: Metric
    axes: dict[str, Axis]
    at_once: int
    """Trials that run at the same time; a search also chooses so many together."""
    trials: int | None = None
    """How many a search makes; None for a grid."""

    @classmethod
    def of(
        cls,
        config: Config,
        over: Sequence[str],
        kind: Kind | None,
        metric: Metric | None,
        at_once: int,
        trials: int | None,
    ) -> "Plan":
        """The plan that a command line asks for.

        Raises:
            ConfigError: an axis cannot be read or cannot be gone through, or nothing says which figure decides.
        """
        axes = dict(parse_axis(text) for text in over)
        chosen = _kind(axes, kind)
        decides: Metric | None = metric or getattr(config.gate, chosen).primary
        if decides is None:
            raise ConfigError(f"gate.{chosen}.primary is not set; say by --metric which figure decides")
        if chosen == "gan" and decides in OF_A_VAE:
            raise ConfigError(f"a GAN has no {decides}; name a figure of its samples, such as frechet_distance")
        if trials is None and (ranges := [key for key, axis in axes.items() if isinstance(axis, Range)]):
            raise ConfigError(
                f"a grid cannot go through a range ({', '.join(ranges)}); list values, or ask for --search"
            )
        return cls(chosen, decides, axes, at_once, trials)

    @property
    def higher_is_better(self) -> bool:
        """Which way is better."""
        from regen.evaluation.gate import HIGHER_IS_BETTER

        return HIGHER_IS_BETTER[self.metric]

    def key(self, context: Context) -> str:
        """What the sweep follows from; more trials go on in the same one."""
        axes = {key: [type(axis).__name__, vars(axis)] for key, axis in self.axes.items()}
        how = None if self.trials is None else [SEED, self.at_once]
        return files.digest(["sweep", context.key("evaluate"), self.kind, self.metric, axes, how])


def _kind(axes: Mapping[str, Axis], said: Kind | None) -> Kind:
    if said is not None:
        return said
    touched = {key.split(".")[0] for key in axes} & {"gan", "vae"}
    if len(touched) != 1:
        raise ConfigError("the settings are not of one model alone; say by --model whether the gan or the vae decides")
    return "gan" if "gan" in touched else "vae"


@dataclass(frozen=True)
class Trial:
    """One setting and what came of it."""

    number: int
    settings: dict[str, Any]
    run: str
    """Its MLflow run."""
    figure: tuple[float, float, float] | None
    """The metric with its interval; None when it failed."""
    reused: bool = False
    """Whether it had finished before."""
    error: str = ""


def run_trial(context: Context, plan: Plan, parent: str, number: int, settings: Mapping[str, Any]) -> Trial:
    """Trains and measures with these settings, unless that was done before; a failure is the trial's own."""
    tracking.open_store(context.workspace)
    own = Context(context.workspace, replaced(context.config, settings), publishes=False)
    project, key = context.config.project, files.digest(["trial", own.key("evaluate"), plan.kind, plan.metric])
    name = ", ".join(f"{setting}={value}" for setting, value in settings.items())
    earlier = sweeps.finished(context.workspace, project, key, plan.metric)
    run = sweeps.open_trial(context.workspace, project, Run(parent), name, key, settings)
    try:
        with run.running():
            figure = earlier or _measure(own, plan)
            sweeps.record(run, plan.metric, figure)
    except RegenError as error:
        run.tag({"regen.error": str(error)})
        return Trial(number, dict(settings), run.id, None, error=str(error))
    return Trial(number, dict(settings), run.id, figure, reused=earlier is not None)


def _measure(context: Context, plan: Plan) -> tuple[float, float, float]:
    run_in_process(context, *STEPS)
    found = files.read_json(context.results("evaluate") / "evaluation.json")
    estimates = found["models"][plan.kind]["estimates"]
    if plan.metric not in estimates:
        raise ConfigError(f"{plan.metric} is not measured in this project; name one of {', '.join(estimates)}")
    figure = estimates[plan.metric]
    if not isfinite(figure["value"]):
        raise EvaluationError(
            f"{plan.metric} could not be measured, it came out as {figure['value']}; look at the warnings in "
            f"{context.results('evaluate') / 'evaluation.json'}, or decide by another figure with --metric"
        )
    return figure["value"], figure["low"], figure["high"]


Settings = dict[str, Any]


class Grid:
    """Every combination, the last axis the quickest."""

    def __init__(self, plan: Plan) -> None:
        values = [axis.values for axis in plan.axes.values() if isinstance(axis, Choice)]
        self._left = [dict(zip(plan.axes, one, strict=True)) for one in product(*values)]
        self._at_once = plan.at_once

    def ask(self) -> list[Settings]:
        """The next settings to try at the same time; none when all are tried."""
        now, self._left = self._left[: self._at_once], self._left[self._at_once :]
        return now

    def tell(self, trials: Sequence[Trial]) -> None:
        """A grid learns nothing."""


class Search:
    """Optuna's choice among the settings, from what earlier ones came to."""

    def __init__(self, plan: Plan) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=SEED, constant_liar=True)
        self._study = optuna.create_study(
            sampler=sampler, direction="maximize" if plan.higher_is_better else "minimize"
        )
        self._plan, self._left, self._asked = plan, plan.trials or 0, list[Any]()

    def ask(self) -> list[Settings]:
        """The next settings to try at the same time; none when enough were tried."""
        count = min(self._plan.at_once, self._left)
        self._left -= count
        self._asked = [self._study.ask() for _ in range(count)]
        return [{key: _suggest(one, key, axis) for key, axis in self._plan.axes.items()} for one in self._asked]

    def tell(self, trials: Sequence[Trial]) -> None:
        """What the settings came to, in the order they were asked for."""
        from optuna.trial import TrialState

        for asked, trial in zip(self._asked, trials, strict=True):
            if trial.figure is None:
                self._study.tell(asked, state=TrialState.FAIL)
            else:
                self._study.tell(asked, trial.figure[0])


def _suggest(trial: Any, key: str, axis: Axis) -> Any:
    if isinstance(axis, Choice):
        return trial.suggest_categorical(key, axis.values)
    if axis.whole:
        return trial.suggest_int(key, axis.low, axis.high, log=axis.log)
    return trial.suggest_float(key, axis.low, axis.high, log=axis.log)


def proposals(plan: Plan) -> Grid | Search:
    """Whoever says what to try next."""
    return Grid(plan) if plan.trials is None else Search(plan)


@dataclass(frozen=True)
class Sweep:
    """What a sweep came to."""

    run: str
    """Its MLflow run, the trials' parent."""
    plan: Plan
    trials: tuple[Trial, ...]

    @property
    def ranked(self) -> list[Trial]:
        """Best first, failed ones last."""
        sign = -1 if self.plan.higher_is_better else 1
        return sorted(self.trials, key=lambda t: (t.figure is None, sign * t.figure[0] if t.figure else 0, t.number))

    @property
    def best(self) -> Trial:
        """The best trial.

        Raises:
            TrainingError: none has finished.
        """
        first = self.ranked[0]
        if first.figure is None:
            raise TrainingError(f"no trial has finished; the first one: {first.error}")
        return first

    def to_json(self) -> dict[str, Any]:
        """As plain values, best first."""
        trials = [
            {
                "number": trial.number, "settings": trial.settings, "run": trial.run, "reused": trial.reused,
                "error": trial.error or None, **dict(zip(("value", "low", "high"), trial.figure or [None] * 3, strict=True)),
            }
            for trial in self.ranked
        ]  # fmt: skip
        return {
            "run": self.run, "model": self.plan.kind, "metric": self.plan.metric,
            "higher_is_better": self.plan.higher_is_better, "best": self.best.settings, "trials": trials,
        }  # fmt: skip


def begin(context: Context, plan: Plan) -> Run:
    """The sweep's MLflow run, opened again where it was interrupted."""
    tracking.open_store(context.workspace)
    params = {"metric": plan.metric, "model": plan.kind, **{f"over {key}": axis for key, axis in plan.axes.items()}}
    name = "sweep over " + ", ".join(plan.axes)
    return sweeps.open_sweep(context.workspace, context.config.project, name, plan.key(context), params)


def end(run: Run, plan: Plan, trials: Sequence[Trial]) -> Sweep:
    """Records the best trial in the sweep's run and closes it.

    Raises:
        TrainingError: no trial has finished.
    """
    sweep = Sweep(run.id, plan, tuple(trials))
    best = sweep.best
    assert best.figure is not None
    sweeps.record(run, plan.metric, best.figure)
    run.tag({"regen.best": best.run, **{f"regen.best.{key}": str(value) for key, value in best.settings.items()}})
    run.close()
    return sweep
