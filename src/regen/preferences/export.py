"""Votes as tables: out as Parquet, JSON lines, TRL's preference pairs or Label Studio's tasks, and all back or none."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import sqlalchemy as sa

from regen.core.errors import DataError
from regen.preferences.store import Store
from regen.preferences.tables import Choice, Kind, State, annotator, assignment, campaign, sample, task, vote

Format = Literal["parquet", "jsonl", "trl", "labelstudio"]
FORMATS: tuple[Format, ...] = get_args(Format)
MOST_SHARE = 0.30
"""Largest share of the votes that a reward trains on that may be one person's."""
DTYPES = {
    "campaign": "str", "task": "int64", "annotator": "str",
    "model_a": "str", "version_a": "int64", "sample_a": "str", "seed_a": "int64", "values_a": "str",
    "model_b": "str", "version_b": "int64", "sample_b": "str", "seed_b": "int64", "values_b": "str",
    "choice": "int8", "both_bad": "bool", "skipped": "bool", "ms": "int64", "fast": "bool", "flipped": "bool",
    "gold": "bool", "gold_choice": "Int8", "repeat": "bool", "repeat_of": "Int64", "strategy": "str", "split": "str",
    "position": "int64", "need": "int64", "key": "str", "created": "datetime64[ms, UTC]",
}  # fmt: skip
"""The columns of an export. `choice` is −1 where `a` is preferred, +1 where `b` is, else 0; flipped, `b` stood left."""


def votes(store: Store, number: int | None = None) -> pd.DataFrame:
    """The votes that stand, of one campaign or of all, in the order they were cast."""
    a, b, first = sample.alias("a"), sample.alias("b"), task.alias("first")
    joined = (
        vote.join(assignment).join(task).join(campaign).join(annotator)
        .join(a, task.c.a == a.c.id).join(b, task.c.b == b.c.id)
        .outerjoin(first, task.c.repeat_of == first.c.id)
    )  # fmt: skip
    query = sa.select(
        campaign.c.name.label("campaign"), task.c.id.label("task"), annotator.c.name.label("annotator"),
        *(of.c[name].label(f"{'sample' if name == 'sha256' else name}_{side}")
          for side, of in (("a", a), ("b", b)) for name in ("model", "version", "sha256", "seed", "kind", "meta")),
        vote.c.choice.label("pressed"), vote.c.ms, vote.c.fast, assignment.c.flipped,
        task.c.gold.label("gold_choice"), task.c.repeat_of, task.c.strategy, task.c.split, task.c.position, task.c.need,
        vote.c.client_key.label("key"), vote.c.created,
    ).select_from(joined).where(assignment.c.state == State.VOTED).order_by(vote.c.id)  # fmt: skip
    if number is not None:
        query = query.where(task.c.campaign == number)
    with store.read() as connection:
        rows = [_row(row) for row in connection.execute(query).mappings()]
    return frame(rows)


def _row(row: Mapping[Any, Any]) -> dict[str, Any]:
    pressed = Choice(row["pressed"])
    side = {Choice.LEFT: -1, Choice.RIGHT: 1}.get(pressed, 0)
    found = {name: row[name] for name in DTYPES if name in row}
    for name in ("a", "b"):
        shown_as_row = row[f"kind_{name}"] == Kind.ROW
        found[f"values_{name}"] = json.dumps(row[f"meta_{name}"], sort_keys=True) if shown_as_row else None
    return found | {
        "choice": -side if row["flipped"] else side, "both_bad": pressed == Choice.BOTH_BAD,
        "skipped": pressed == Choice.SKIP, "gold": row["gold_choice"] is not None,
        "repeat": row["repeat_of"] is not None, "created": datetime.fromtimestamp(row["created"] / 1000, UTC),
    }  # fmt: skip


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table with the columns of an export."""
    return pd.DataFrame(rows, columns=list(DTYPES)).astype(DTYPES)


def for_training(found: pd.DataFrame, most_share: float = MOST_SHARE, seed: int = 0) -> pd.DataFrame:
    """The votes that a reward may learn from: no skipped, gold, repeated or hasty ones, and none's share too large.

    One person's share is at most `most_share` of what is left; who has more loses votes drawn at random. Among so few
    people that no choice of votes could keep to it, under four at .3, nobody loses any.

    Raises:
        DataError: no vote is left.

    Example:
        >>> rows = [{"task": i, "annotator": "abcd"[min(i // 10, 3)]} for i in range(100)]
        >>> whole = pd.DataFrame(rows).assign(skipped=False, gold=False, repeat=False, fast=False)
        >>> for_training(whole).annotator.value_counts().to_dict()
        {'d': 12, 'a': 10, 'b': 10, 'c': 10}
    """
    usable = found[~(found.skipped | found.gold | found.repeat | found.fast)]
    if usable.empty:
        raise DataError(
            f"no vote of {len(found)} can be learnt from: skipped, gold, repeated and hasty ones do not count; "
            "collect more votes"
        )
    counts = usable.annotator.value_counts()
    most = _largest_each(counts.to_numpy(), most_share)
    order = np.random.default_rng(seed).permutation(len(usable))
    shuffled = usable.iloc[order]
    kept = shuffled[shuffled.groupby("annotator").cumcount() < most]
    return kept.sort_index()


def _largest_each(counts: np.ndarray, most_share: float) -> int:
    """Most votes a person may keep, so that as many as possible stay and nobody has more than `most_share` of them."""
    if most_share * len(counts) < 1:
        return int(counts.max())
    return max(most for most in range(1, int(counts.max()) + 1) if most <= most_share * np.minimum(counts, most).sum())


def kept_by(found: pd.DataFrame, form: Format) -> "pd.Series[bool]":
    """Which votes a format can hold: TRL's holds a preference alone, so no ties, and neither known pairs nor repeats."""
    if form == "trl":
        return (found.choice != 0) & ~found.gold & ~found.repeat
    return pd.Series(data=True, index=found.index)


def write(found: pd.DataFrame, form: Format) -> bytes:
    """The votes as a file's bytes."""
    return WRITERS[form](found)


def _parquet(found: pd.DataFrame) -> bytes:
    buffer = BytesIO()
    found.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()


def plain(found: pd.DataFrame) -> list[dict[str, Any]]:
    """The votes as JSON values: times in ISO 8601, null where there is nothing."""
    times = found.assign(created=[time.isoformat() for time in found.created])
    return [
        dict(zip(times.columns, row, strict=True)) for row in times.astype(object).where(times.notna(), None).to_numpy()
    ]


def _jsonl(found: pd.DataFrame) -> bytes:
    return _lines(plain(found))


def _trl(found: pd.DataFrame) -> bytes:
    """TRL's preference format with an implicit prompt; ties, skipped and known pairs teach it nothing.

    https://huggingface.co/docs/trl/dataset_formats#preference
    """
    rows = []
    for row in plain(found[kept_by(found, "trl")]):
        chosen, rejected = ("a", "b") if row["choice"] < 0 else ("b", "a")
        rows.append({
            **{name: _content(row, side) for name, side in (("chosen", chosen), ("rejected", rejected))},
            "campaign": row["campaign"], "task": row["task"], "annotator": row["annotator"], "split": row["split"],
        })  # fmt: skip
    return _lines(rows)


def _labelstudio(found: pd.DataFrame) -> bytes:
    """Label Studio's tasks with annotations: `pairwise` where a side was preferred, else `choices` that name the tie.

    https://labelstud.io/guide/task_format
    """
    tasks: dict[int, dict[str, Any]] = {}
    for row in plain(found):
        left, right = ("b", "a") if row["flipped"] else ("a", "b")
        one = tasks.setdefault(
            row["task"],
            {"id": row["task"], "data": {"a": _content(row, "a"), "b": _content(row, "b")}, "annotations": []},
        )
        preferred = {-1: "a", 1: "b"}.get(row["choice"])
        word = "skip" if row["skipped"] else "both bad" if row["both_bad"] else "tie"
        verdict = (
            {
                "from_name": "preferred",
                "type": "pairwise",
                "value": {"selected": "left" if preferred == "a" else "right"},
            }
            if preferred
            else {"from_name": "verdict", "type": "choices", "value": {"choices": [word]}}
        )
        one["annotations"].append({
            "completed_by": {"username": row["annotator"]}, "was_cancelled": row["skipped"],
            "ground_truth": False, "lead_time": row["ms"] / 1000, "created_at": row["created"],
            "result": [{"id": row["key"], "to_name": "a,b", **verdict, "meta": {"left": left, "right": right}}],
        })  # fmt: skip
    return json.dumps(list(tasks.values()), indent=1).encode()


def _content(row: Mapping[str, Any], side: str) -> Any:
    """A row's values, or the name of a picture's file."""
    values = row[f"values_{side}"]
    return json.loads(values) if values else f"{row[f'sample_{side}']}.png"


WRITERS: dict[Format, Callable[[pd.DataFrame], bytes]] = {
    "parquet": _parquet, "jsonl": _jsonl, "trl": _trl, "labelstudio": _labelstudio,
}  # fmt: skip
