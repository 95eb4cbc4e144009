"""The project file: one frozen model reads every YAML, and names the nearest known key when it meets an unknown one.

YAML holds what differs from the defaults in `sections/`.
"""

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from regen.core.errors import ConfigError
from regen.core.sections.alignment import AlignConfig, RewardConfig
from regen.core.sections.base import Section
from regen.core.sections.data import DataConfig, without_password
from regen.core.sections.deployment import ScheduleConfig
from regen.core.sections.evaluation import OF_IMAGES, OF_TABLES, EvaluationConfig, GateConfig
from regen.core.sections.models import ExtractorConfig, GanConfig, TrainingConfig, VaeConfig
from regen.core.sections.operations import IngestConfig, MonitorConfig
from regen.core.sections.tables import TablesConfig


class Config(Section):
    """A whole project."""

    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """Name: the folder under data/, the MLflow experiment, and the first half of the models' names."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Every random draw descends from it, but for the splits' and the extractor's."""
    data: DataConfig = DataConfig()
    tables: TablesConfig = TablesConfig()
    training: TrainingConfig = TrainingConfig()
    extractor: ExtractorConfig = ExtractorConfig()
    vae: VaeConfig = VaeConfig()
    gan: GanConfig = GanConfig()
    reward: RewardConfig = RewardConfig()
    align: AlignConfig = AlignConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    ingest: IngestConfig = IngestConfig()
    monitor: MonitorConfig = MonitorConfig()

    @model_validator(mode="after")
    def sections_go_with_the_rows(self) -> "Config":
        """Refuses settings of images in a project of a table, and the other way about, where nobody would read them."""
        images = {"vae": self.vae == VaeConfig(), "gan": self.gan == GanConfig()}
        if self.data.is_table and (wrong := [name for name, untouched in images.items() if not untouched]):
            raise ValueError(f"the section {wrong[0]} is of images, and the source is a table; set tables.{wrong[0]}")
        if self.data.is_table and self.extractor != ExtractorConfig():
            raise ValueError(
                "the section extractor is of images, and the source is a table, which needs none; leave it out"
            )
        if not self.data.is_table and self.tables != TablesConfig():
            raise ValueError(
                f"the section tables is of tables, and the source {self.data.source} gives images; leave it out, or set "
                "data.source to table:PATH, sql:URL or transactions"
            )
        return self

    @model_validator(mode="after")
    def gates_go_with_the_rows(self) -> "Config":
        """Refuses figures that no model of these rows has, since they would reject every candidate."""
        rows, foreign = ("a table", OF_IMAGES) if self.data.is_table else ("images", OF_TABLES)
        for kind in ("vae", "gan"):
            if wrong := sorted(getattr(self.gate, kind).asked & foreign):
                raise ValueError(f"gate.{kind} asks for {', '.join(wrong)}, which no model of {rows} has; leave it out")
        return self

    def model_name(self, kind: str) -> str:
        """The registered model's name, such as digits-vae."""
        return f"{self.project}-{kind}"

    def recipe(self, kind: str) -> Section:
        """The section that says how a kind of model is made: `vae`, or of a table's `tables.vae`."""
        found: Section = getattr(self.tables if self.data.is_table else self, kind)
        return found


def load(path: Path, overrides: Mapping[str, str] | None = None) -> Config:
    """Reads a project file; `overrides` maps dotted keys to YAML values that replace its own.

    Raises:
        ConfigError: the file is missing or not YAML, or a key or a value is not accepted.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=1)
        hint = (
            f"did you mean {path.with_name(near[0])}?"
            if near
            else "run the command where params.yaml is, or name a project file"
        )
        raise ConfigError(f"there is no project file {path}; {hint}") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds {type(raw).__name__}, wanted keys and values such as 'project: digits'")
    for key, text in (overrides or {}).items():
        _set(raw, key, text)
    return parse(raw, str(path))


def replaced(config: Config, settings: Mapping[str, Any]) -> Config:
    """The same project with other values for some dotted keys.

    Raises:
        ConfigError: a key or a value is not accepted.

    Example:
        >>> replaced(Config(project="digits"), {"gan.loss": "hinge"}).gan.loss
        'hinge'
    """
    raw = config.model_dump(mode="json")
    for key, value in settings.items():
        _set(raw, key, json.dumps(value))
    return parse(raw, config.project)


def parse(raw: Mapping[str, Any], origin: str = "the project") -> Config:
    """The configuration that `raw` describes; errors speak of `origin`.

    Example:
        >>> parse({"project": "digits", "vae": {"widht": 8}})
        Traceback (most recent call last):
        regen.core.errors.ConfigError: the project: unknown key vae.widht; did you mean vae.width?
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{origin}: " + "; ".join(_explain(dict(e)) for e in error.errors())) from None


def _explain(error: dict[str, Any]) -> str:
    where = [str(part) for part in error["loc"] if part != "[key]"]
    dotted = ".".join(where)
    if error["type"] == "extra_forbidden":
        known = list(keys())
        section = "".join(f"{part}." for part in where[:-1])
        inside = {key.removeprefix(section): key for key in known if key.startswith(section)}
        namesakes = [key for key in known if key.split(".")[-1] == where[-1]]
        near = sorted(namesakes, key=lambda key: (-len({*key.split(".")} & {*where}), key.count(".")))[:1]
        near = near or [inside[name] for name in get_close_matches(where[-1], inside, n=1, cutoff=0.6)]
        near = near or get_close_matches(dotted, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known ones: {', '.join(known)}"
        return f"unknown key {dotted}; {hint}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{dotted} is missing"
    met = error["input"]
    shown = without_password(repr(met))
    if not dotted:
        return message
    return f"{dotted}: {message[0].lower()}{message[1:]}" + (f", got {shown}" if not isinstance(met, dict) else "")


def keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Every key the project file knows, dotted, sections included."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")


def _set(raw: dict[str, Any], dotted: str, text: str) -> None:
    *sections, last = dotted.split(".")
    for section in sections:
        inner = raw.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {dotted}: {section} is no section")
        raw = inner
    try:
        raw[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {dotted}: {text!r} is not a YAML value") from None
