"""Scores registered models of a table anew on the project's test rows; `stages/reevaluate.py` says what is asked."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from regen.core import files
from regen.core.errors import EvaluationError
from regen.core.sections.evaluation import Metric
from regen.evaluation.table_measure import TableMeasured
from regen.stages.base import Context
from regen.stages.prepare import table as prepared
from regen.stages.reevaluate import Line, Reevaluation, Subject, record_lines
from regen.stages.tables.evaluate import Test, judged_by
from regen.stages.tables.models import registered
from regen.stages.tables.rows import TableRows


def reevaluate_rows(
    context: Context, subjects: Sequence[Subject], n: int | None, out: Path | None, *, record: bool
) -> Reevaluation:
    """Scores one model, or two of one kind side by side.

    Args:
        n: how many test rows to use, evenly spaced; all if left out.

    Raises:
        RegistryError: a model's files are gone or damaged.
        EvaluationError: there are fewer rows, or the two are of different kinds.
    """
    if len({subject.kind for subject in subjects}) > 1:
        raise EvaluationError(
            f"{' and '.join(subject.label for subject in subjects)} have no figure of a table in common; name two of one kind"
        )
    rows = TableRows(prepared(context), context.config)
    if n is not None and n > rows.dataset.sizes["test"]:
        raise EvaluationError(
            f"{n} test rows were asked for, and there are {rows.dataset.sizes['test']}; lower --n or leave it out"
        )
    rows = replace(rows, most_test=n)
    test = Test(context, rows)
    if "vae" in {subject.kind for subject in subjects}:
        test.tell_unknown()
    measured = [test.measure(subject.kind, registered(subject.kind, subject.uri)) for subject in subjects]
    found = Reevaluation(
        subjects[0].label, subjects[1].label if len(subjects) > 1 else None, judged_by(rows),
        context.config.evaluation.confidence, _lines(measured, context),
    )  # fmt: skip
    if record:
        found = replace(found, run=record_lines(context, found))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        files.write_json(out / "evaluation.json", found.to_json())
    return found


def _lines(measured: Sequence[TableMeasured], context: Context) -> tuple[Line, ...]:
    rules = context.config.evaluation
    mine = measured[0].estimates(rules)
    theirs = measured[1].estimates(rules) if len(measured) > 1 else {}
    difference = measured[0].difference(measured[1], rules) if len(measured) > 1 else {}
    return tuple(
        Line(metric, mine[metric], theirs.get(metric), difference.get(metric))
        for metric in get_args(Metric)
        if metric in (difference if len(measured) > 1 else mine)
    )
