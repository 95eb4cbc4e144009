"""Causal features of a table: what is known of a row's past at the moment it comes, and never anything of later.

After "Reproducible Machine Learning for Credit Card Fraud Detection" (Le Borgne et al., 2022, chapter 3): within each group
(a customer, a terminal) and for each window of days, how many rows came and their mean amount, and the share of anomalies
among those whose label is known by then. A row at time t looks back on

- itself and the rows of its group in [t − window, t), for counts and mean amounts. Rows of one moment do not see each
  other, so their order means nothing.
- the rows in [t − delay − window, t − delay), for the risk: a label is known once `label_delay_days` have passed.

Sums run within one group alone, so that a float is the same bit for bit whatever happens later or elsewhere.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from regen.core.errors import ConfigError
from regen.core.sections.tables import TablesConfig
from regen.data.columns import Column, TableSchema

DAY = 86_400_000_000
"""Microseconds."""
NIGHT_ENDS = 6
"""The hour."""
FIRST_WEEKEND_DAY = 6
MOST_RATIO = 1e6
RELATIVE_NOISE = 1e-9
"""A difference of two sums is 0 when it is smaller than this share of them: it is the rounding of floats."""


@dataclass(frozen=True)
class Timeline:
    """A table's rows sorted by group and time, with where each of them stands."""

    order: Int64[np.ndarray, " n"]
    """The rows' numbers, sorted."""
    first: Int64[np.ndarray, " n"]
    """Where each row's group begins."""
    group: Int64[np.ndarray, " n"]
    """Each row's group, from 0; sorted."""
    moments: Int64[np.ndarray, " m"]
    """The distinct times of all rows in microseconds, sorted."""
    moment: Int64[np.ndarray, " n"]
    """Which of them is each row's."""

    @classmethod
    def of(cls, group: pl.Series, moments: Int64[np.ndarray, " m"], moment: Int64[np.ndarray, " n"]) -> "Timeline":
        """The rows in their groups; a missing group is one of its own."""
        code = group.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
        order = np.argsort(code * len(moments) + moment, kind="stable")
        sorted_ = code[order]
        return cls(order, np.searchsorted(sorted_, sorted_), sorted_, moments, moment[order])

    def before(self, earlier: int) -> Int64[np.ndarray, " n"]:
        """For each row, the place of the first row of its group that is no more than `earlier` microseconds before it.

        With 0 it is the first row of the same moment. The place after the group's last row where there is none.
        """
        n = len(self.moments) + 1  # as numbers, groups and moments stand in the order of the rows
        wanted = self.group * n + np.searchsorted(self.moments, self.moments - earlier)[self.moment]
        found: Int64[np.ndarray, " n"] = np.searchsorted(self.group * n + self.moment, wanted)
        return found

    def running(self, values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """The sums of the sorted values from each group's first row to each row."""
        sums = pl.DataFrame({"group": self.group, "value": values}).select(pl.col("value").cum_sum().over("group"))
        return sums.to_series().to_numpy()

    def between(
        self, running: Float64[np.ndarray, " n"], low: Int64[np.ndarray, " n"], high: Int64[np.ndarray, " n"]
    ) -> Float64[np.ndarray, " n"]:
        """The sums over the places from `low` up to before `high`, both in the row's group; 0 of empty windows."""
        upto = np.where(high > self.first, running[np.maximum(high - 1, 0)], 0.0)
        since = np.where(low > self.first, running[np.maximum(low - 1, 0)], 0.0)
        noise = RELATIVE_NOISE * np.maximum(np.abs(upto), np.abs(since))
        return np.where((high > low) & (np.abs(upto - since) > noise), upto - since, 0.0)

    def back(self, values: np.ndarray) -> np.ndarray:
        """Sorted values in the rows' own order."""
        found = np.empty_like(values)
        found[self.order] = values
        return found


def _named(days: float) -> str:
    """A window in a column's name.

    Example:
        >>> _named(7), _named(0.5)
        ('7d', '0.5d')
    """
    return f"{days:g}d"


def require_usable(schema: TableSchema, config: TablesConfig) -> None:
    """Makes sure that the `tables` section fits the schema.

    Raises:
        ConfigError: `tables.amount` is no column of numbers, or a feature would have the name of a column.
    """
    kinds = {column.name: column.kind for column in schema.columns}
    if config.amount is not None and kinds.get(config.amount) not in ("numeric", "integer"):
        numbers = [column.name for column in schema.modelled if column.kind in ("numeric", "integer")]
        met = f"is of kind {kinds[config.amount]}" if config.amount in kinds else "is no column of the schema"
        raise ConfigError(f"tables.amount is {config.amount}, which {met}; name one of {', '.join(numbers) or 'none'}")
    if clash := sorted(set(kinds) & {column.name for column in columns(schema, config)}):
        raise ConfigError(
            f"the column {', '.join(clash)} has the name of a feature that is computed; name it otherwise"
        )


def columns(schema: TableSchema, config: TablesConfig) -> tuple[Column, ...]:
    """The columns that `features` computes, in their order; none without a time column."""
    if schema.time is None:
        return ()
    found = []
    if config.calendar:
        found += [Column("hour", "integer", low=0, high=23), Column("weekend", "boolean"), Column("night", "boolean")]
    for group in schema.groups:
        for days in config.windows_days:
            found.append(Column(f"{group}_count_{_named(days)}", "integer", low=1))
            if config.amount is not None:
                found.append(Column(f"{group}_mean_{_named(days)}", "numeric"))
                found.append(Column(f"{group}_ratio_{_named(days)}", "numeric"))
            if schema.label is not None:
                found.append(Column(f"{group}_risk_{_named(days)}", "numeric", low=0, high=1))
    return tuple(found)


def extended(schema: TableSchema, config: TablesConfig) -> TableSchema:
    """The schema with the columns that `features` computes."""
    return replace(schema, columns=(*schema.columns, *columns(schema, config)))


def needed(schema: TableSchema, config: TablesConfig) -> list[str]:
    """The columns that `features` reads."""
    names = [schema.time, config.amount, schema.label, *schema.groups]
    return list(dict.fromkeys(name for name in names if name is not None))


def features(rows: pl.DataFrame, schema: TableSchema, config: TablesConfig) -> pl.DataFrame:
    """The computed columns of each row, in the rows' order, which need not be that of time.

    A count holds the row itself. `mean` is that of the amounts in the window, this row's among them; `ratio` is this row's
    amount over that of the earlier ones, 1 where there are none. `risk` is the share of anomalies among the rows whose
    label is known, 0 where there are none. A missing amount is left out of sums; a missing label is never known.
    """
    if schema.time is None:
        return pl.DataFrame()
    time = rows[schema.time].dt.cast_time_unit("us").cast(pl.Int64).to_numpy()
    found: dict[str, np.ndarray | pl.Series] = {}
    if config.calendar:
        hour, day = rows[schema.time].dt.hour(), rows[schema.time].dt.weekday()
        found |= {"hour": hour.cast(pl.Int64), "weekend": day >= FIRST_WEEKEND_DAY, "night": hour < NIGHT_ENDS}
    moments, moment = np.unique(time, return_inverse=True)
    for group in schema.groups if config.windows_days else ():
        timeline = Timeline.of(rows[group], moments, moment)
        found |= {f"{group}_{name}": values for name, values in _of_group(rows, schema, config, timeline).items()}
    names = [column.name for column in columns(schema, config)]
    return pl.DataFrame(found).select(names) if names else pl.DataFrame()


def _of_group(
    rows: pl.DataFrame, schema: TableSchema, config: TablesConfig, timeline: Timeline
) -> dict[str, np.ndarray]:
    """The features of one group's windows, in the rows' order."""
    found: dict[str, np.ndarray] = {}
    now = timeline.before(0)
    if config.amount is not None:
        held = rows[config.amount].cast(pl.Float64)[timeline.order]
        own, there = held.fill_null(0.0).to_numpy(), held.is_not_null().to_numpy().astype(np.float64)
        amounts, givens = timeline.running(own), timeline.running(there)
    if schema.label is not None:
        delay = round(schema.label_delay_days * DAY)
        flags = rows[schema.label].cast(pl.Float64)[timeline.order]
        known_now = timeline.before(delay)
        anomalies = timeline.running(flags.fill_null(0.0).to_numpy())
        labelled = timeline.running(flags.is_not_null().to_numpy().astype(np.float64))
    for days in config.windows_days:
        length, name = round(days * DAY), _named(days)
        since = timeline.before(length)
        found[f"count_{name}"] = (now - since + 1).astype(np.int64)
        if config.amount is not None:
            earlier, n = timeline.between(amounts, since, now), timeline.between(givens, since, now)
            found[f"mean_{name}"] = (earlier + own) / np.maximum(n + there, 1)
            usual = earlier / np.maximum(n, 1)
            usable = (n > 0) & (there > 0) & (usual > 0)
            found[f"ratio_{name}"] = np.where(
                usable, own / np.where(usable, np.maximum(usual, np.abs(own) / MOST_RATIO), 1), 1.0
            )
        if schema.label is not None:
            known_since = timeline.before(delay + length)
            known = timeline.between(labelled, known_since, known_now)
            risky = timeline.between(anomalies, known_since, known_now)
            found[f"risk_{name}"] = risky / np.maximum(known, 1)
    return {name: timeline.back(values) for name, values in found.items()}
