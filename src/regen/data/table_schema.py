"""A table's schema in three forms that say the same: an editable YAML file, our `TableSchema`, and a pandera schema."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import polars as pl
import yaml

from regen.core import files
from regen.core.errors import ConfigError
from regen.data.columns import Column, ColumnKind, TableSchema

KINDS: tuple[str, ...] = get_args(ColumnKind)
TYPES: dict[str, pl.DataType] = {
    "numeric": pl.Float64(), "integer": pl.Int64(), "categorical": pl.String(), "boolean": pl.Boolean(),
    "datetime": pl.Datetime("us"),
}  # fmt: skip
"""What a column of each kind is held as; times are those of UTC."""
ROLES = ("key", "time", "label", "label_delay_days", "groups", "columns")
PARTS = ("kind", "nullable", "low", "high", "categories")
SHOWN = 8
"""How many categories a message names."""
HEADER = """\
# What the rows must be. `regen data schema` inferred this from data; edit it to say what you know.
# key names a row; time says when it came to be; label is 1 for an anomaly; label_delay_days passes until a label is known;
# groups say whom a row belongs to, such as a customer. Models see every other column; one whose entry is deleted is left out.
# A column's kind is numeric, integer, categorical, boolean or datetime (UTC). low, high and categories say which values pass.
"""


def to_yaml(schema: TableSchema) -> str:
    """The schema as an editable file, with the columns in their order."""
    raw: dict[str, Any] = {}
    for role in ("key", "time", "label"):
        if (name := getattr(schema, role)) is not None:
            raw[role] = name
    if schema.label is not None:
        raw["label_delay_days"] = _plain(schema.label_delay_days)
    said = yaml.safe_dump(raw, sort_keys=False) if raw else ""
    if schema.groups:
        said += yaml.safe_dump({"groups": list(schema.groups)}, default_flow_style=None)
    lines = [HEADER + said + "columns:"]
    for column in schema.columns:
        name = yaml.safe_dump({column.name: _entry(column)}, default_flow_style=True, sort_keys=False, width=10_000)
        lines.append(f"  {name.strip()[1:-1]}")
    return "\n".join(lines) + "\n"


def _entry(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": column.kind}
    if column.nullable:
        entry["nullable"] = True
    for bound in ("low", "high"):
        if (value := getattr(column, bound)) is not None:
            entry[bound] = shown_time(value) if column.kind == "datetime" else _plain(value)
    if column.categories:
        entry["categories"] = list(column.categories)
    return entry


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def shown_time(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601, in UTC.

    Example:
        >>> shown_time(0)
        '1970-01-01T00:00:00'
    """
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def from_yaml(text: str, origin: str = "the schema") -> TableSchema:
    """The schema that a file holds; errors speak of `origin`.

    Raises:
        ConfigError: it is not YAML, or says something that cannot be.

    Example:
        >>> from_yaml("columns: {amount: {kind: numerical}}")
        Traceback (most recent call last):
        regen.core.errors.ConfigError: the schema: columns.amount.kind is 'numerical'; did you mean numeric?
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("columns"), dict) or not raw["columns"]:
        raise ConfigError(f"{origin} holds no columns; write it anew by 'regen data schema PATH --out {origin}'")
    _require_known(raw, ROLES, origin, "")
    columns = tuple(_column(str(name), entry, origin) for name, entry in raw["columns"].items())
    groups = raw.get("groups", [])
    delay = raw.get("label_delay_days", 0)
    if not isinstance(groups, list):
        raise ConfigError(f"{origin}: groups is {groups!r}; wanted a list of columns, such as [customer]")
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay < 1e5:
        raise ConfigError(f"{origin}: label_delay_days is {delay!r}; wanted a number of days, 0 or more")
    key, time, label = (None if raw.get(role) is None else str(raw[role]) for role in ("key", "time", "label"))
    return checked(TableSchema(columns, key, time, label, float(delay), tuple(map(str, groups))), origin)


def _require_known(raw: Mapping[Any, Any], known: tuple[str, ...], origin: str, prefix: str) -> None:
    for name in raw:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known ones: {', '.join(known)}"
            raise ConfigError(f"{origin}: unknown key {prefix}{name}; {hint}")


def _column(name: str, entry: Any, origin: str) -> Column:
    where = f"{origin}: columns.{name}"
    if not isinstance(entry, dict) or "kind" not in entry:
        raise ConfigError(f"{where} is {entry!r}; wanted its kind at least, such as {{kind: numeric}}")
    _require_known(entry, PARTS, origin, f"columns.{name}.")
    kind, nullable, categories = entry["kind"], entry.get("nullable", False), entry.get("categories", [])
    if kind not in KINDS:
        near = get_close_matches(str(kind), KINDS, n=1)
        raise ConfigError(
            f"{where}.kind is {kind!r}; "
            + (f"did you mean {near[0]}?" if near else f"wanted one of {', '.join(KINDS)}")
        )
    if not isinstance(nullable, bool):
        raise ConfigError(f"{where}.nullable is {nullable!r}; wanted true or false")
    if not isinstance(categories, list) or (categories and kind != "categorical"):
        raise ConfigError(f"{where}.categories is {categories!r}; wanted a list, of a categorical column")
    texts = tuple(str(value).lower() if isinstance(value, bool) else str(value) for value in categories)
    if twice := sorted({text for text in texts if texts.count(text) > 1}):
        raise ConfigError(f"{where}.categories names {', '.join(twice)} twice; leave one out")
    low, high = (_bound(entry.get(bound), kind, f"{where}.{bound}") for bound in ("low", "high"))
    if low is not None and high is not None and low > high:
        raise ConfigError(f"{where}: low is above high; exchange them")
    return Column(name, kind, nullable, low, high, texts)


def _bound(value: Any, kind: str, where: str) -> float | None:
    if value is None:
        return None
    if kind == "datetime":
        try:
            moment = value if isinstance(value, date) else datetime.fromisoformat(str(value))
        except ValueError:
            raise ConfigError(f"{where} is {value!r}; wanted a time such as 2026-01-31T12:00:00") from None
        if not isinstance(moment, datetime):
            moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if kind not in ("numeric", "integer"):
        raise ConfigError(f"{where} has no meaning for a {kind} column; leave it out")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == float("inf"):
        raise ConfigError(f"{where} is {value!r}; wanted a finite number")
    return float(value)


def checked(schema: TableSchema, origin: str = "the schema") -> TableSchema:
    """The schema, if its columns can play the parts that it gives them.

    Raises:
        ConfigError: a part is played by a column that is not there, or cannot play it.
    """
    kinds = {column.name: column.kind for column in schema.columns}
    if taken := [name for name in kinds if name.startswith("__") and name.endswith("__")]:
        raise ConfigError(
            f"{origin}: names such as {taken[0]} are kept for columns that are computed; name it otherwise"
        )
    roles = [
        ("key", schema.key),
        ("time", schema.time),
        ("label", schema.label),
        *(("groups", g) for g in schema.groups),
    ]
    played: dict[str, str] = {}
    for role, name in roles:
        if name is None:
            continue
        if name not in kinds:
            near = get_close_matches(name, kinds, n=1)
            raise ConfigError(
                f"{origin}: {role} is {name}, which is no column; "
                + (f"did you mean {near[0]}?" if near else f"there are {', '.join(kinds)}")
            )
        if name in played:
            raise ConfigError(f"{origin}: {name} is both {played[name]} and {role}; give it one part")
        played[name] = role
    if schema.time is not None and kinds[schema.time] != "datetime":
        raise ConfigError(f"{origin}: time is {schema.time}, of kind {kinds[schema.time]}; set its kind to datetime")
    if schema.label is not None and kinds[schema.label] not in ("integer", "boolean"):
        raise ConfigError(
            f"{origin}: label is {schema.label}, of kind {kinds[schema.label]}; write it as 0 and 1, and its kind as integer"
        )
    if not schema.modelled:
        raise ConfigError(f"{origin}: every column is key, time, label or group; models need at least one other")
    return schema


def load(path: Path) -> TableSchema:
    """Reads a schema's file.

    Raises:
        ConfigError: it is not there, or says something that cannot be.
    """
    try:
        return from_yaml(path.read_text(), str(path))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no schema {path}; infer one by 'regen data schema CONFIG --out {path}', look it over, and run again"
        ) from None
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def save(schema: TableSchema, path: Path) -> None:
    """Writes a schema's file."""
    files.write_text(path, to_yaml(schema))


def to_pandera(schema: TableSchema, *, unique: bool = True) -> Any:
    """A pandera schema for polars frames, whose columns are of the types in `TYPES`.

    Args:
        unique: whether the key must be; a table that is looked at in chunks has that checked over all of them.
    """
    import pandera.polars as pa

    columns = {
        column.name: pa.Column(
            TYPES[column.kind], _checks(column, is_label=column.name == schema.label), nullable=column.nullable,
            metadata={"kind": column.kind},
        )
        for column in schema.columns
    }  # fmt: skip
    parts = {name: getattr(schema, name) for name in ("key", "time", "label", "label_delay_days", "groups")}
    keys = [schema.key] if unique and schema.key is not None else None
    return pa.DataFrameSchema(columns, unique=keys, metadata=parts)


def _checks(column: Column, *, is_label: bool) -> list[Any]:
    import pandera.polars as pa

    moments = column.kind == "datetime"
    shown = shown_time if moments else lambda value: f"{_plain(value)}"
    values = {
        bound: None if (value := getattr(column, bound)) is None else (_moment(value) if moments else _plain(value))
        for bound in ("low", "high")
    }
    found = []
    if is_label and column.kind == "integer":
        found.append(pa.Check.isin([0, 1], error="0 or 1, as a label"))
    if values["low"] is not None:
        found.append(pa.Check.ge(values["low"], error=f"at least {shown(column.low or 0)}"))
    if values["high"] is not None:
        found.append(pa.Check.le(values["high"], error=f"at most {shown(column.high or 0)}"))
    if column.categories:
        some = ", ".join(column.categories[:SHOWN]) + (", …" if len(column.categories) > SHOWN else "")
        found.append(pa.Check.isin(list(column.categories), error=f"one of {some}"))
    return found


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
