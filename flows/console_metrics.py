"""What `regen metrics` prints: a bar while it works in a terminal, lines elsewhere, then a table of figures."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from regen.stages.metrics import Scores
from regen.stages.progress import Watch

PLAIN_SECONDS = 10.0
"""Seconds between two plain lines."""
WORST = 5
"""How many columns, pairs or files are named."""


@contextmanager
def watching() -> Iterator[Watch]:
    """Shows long work on standard error until it is done."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def line(task: str, done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > PLAIN_SECONDS:
                last = time.monotonic()
                print(f"  {task}: {done:,} of {total:,}", file=sys.stderr, flush=True)

        yield line
        return
    columns = (TextColumn("  {task.description:20}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        known: dict[str, TaskID] = {}

        def bar(task: str, done: int, total: int) -> None:
            if task not in known:
                known[task] = bars.add_task(task, total=total)
            bars.update(known[task], completed=done)

        yield bar


def print_scores(scores: Scores) -> None:
    """A table of figures, then what is worst and what was left out."""
    console = Console(highlight=False)
    interval = "95 % interval"
    table = Table(Column("figure", overflow="fold"), Column("value", justify="right"), interval, "best")
    for one in scores.figures.values():
        value, _, bounds = str(one.estimate).partition(" ")
        table.add_row(escape(one.label), value, "–" if isnan(one.estimate.low) else escape(bounds), one.best)
    console.print(table)
    if scores.kind == "images":
        print_about_images(console, scores)
        return
    columns = sorted(scores.columns.items(), key=lambda item: item[1])[:WORST]
    console.print(_listed("Columns least alike", [f"{name} {value:.3f}" for name, value in columns]), soft_wrap=True)
    if pairs := sorted(scores.pairs.items(), key=lambda item: item[1])[:WORST]:
        told = [f"{a} with {b} {value:.3f}" for (a, b), value in pairs]
        console.print(_listed("Pairs least alike", told), soft_wrap=True)


def print_about_images(console: Console, scores: Scores) -> None:
    """At what size images were compared, and which were left out."""
    side = scores.extractor["compared_at"]
    console.print(f"{scores.n:,} images of each, compared at {side}×{side} pixels, seed {scores.seed}", soft_wrap=True)
    for called, bad in scores.skipped.items():
        named = [f"{file}: {reason}" for file, reason in bad[:WORST]] + (["…"] if len(bad) > WORST else [])
        console.print(_listed(f"{len(bad)} left out of {called}", named), soft_wrap=True)


def _listed(title: str, items: list[str]) -> str:
    return escape(f"{title}: {', '.join(items)}")
