"""What a run came to, for the terminal, for machines and for Prefect's page."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from regen.evaluation.intervals import Estimate
from regen.evaluation.report import LABELS, comparison_table, frechet_note
from regen.evaluation.report_tables import say
from regen.registry import approvals
from regen.registry.approvals import State
from regen.registry.versions import CHAMPION
from regen.stages import evaluate, promote
from regen.stages.base import Context


@dataclass(frozen=True)
class ModelSummary:
    """One model's part of the summary."""

    model: str
    version: int
    decision: str
    promoted: bool
    """Whether it is the champion now."""
    waits: bool
    """Whether it waits for a person's approval."""
    reasons: tuple[str, ...]
    champion: int | None
    """The champion it was compared with."""
    figures: dict[str, tuple[str, str]]
    """Label to the candidate's and the champion's figure; the latter is empty without a champion."""
    estimates: dict[str, dict[str, Any]]
    """Metric to the same as numbers, for machines."""
    was_promoted: bool = False
    """Whether the run that made it promoted it."""

    @property
    def standing(self) -> str:
        """What it is by now."""
        if self.promoted:
            return f"it is {self.model}@champion"
        if self.was_promoted:
            return "it was promoted then, and another version is the champion now"
        return "it is registered, and not the champion"

    @property
    def way_on(self) -> str:
        """What a person does with a version that waits."""
        return f"it waits for approval: regen promote {self.model} {self.version} --by NAME, or with --reject"


@dataclass(frozen=True)
class Summary:
    """What a run came to."""

    project: str
    data_version: str
    fingerprint: str
    reused: bool
    """Whether an earlier run had done all of it."""
    report: str
    """Path of the report."""
    note: str
    """What the figures are measured in or on, and what to hold them against."""
    models: tuple[ModelSummary, ...]

    @property
    def same_as_before(self) -> str:
        """Why there was nothing to do."""
        return (
            f"the same data ({self.data_version[:12]}), configuration and code were run before "
            f"(fingerprint {self.fingerprint[:12]})"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values; figures are numbers with their intervals."""
        plain = asdict(self)
        for model in plain["models"]:
            model["figures"] = model.pop("estimates")
        return plain


def summarise(context: Context, *, reused: bool) -> Summary:
    """Reads the summary from what `evaluate` and `promote` wrote."""
    found, verdicts = evaluate.result(context), promote.result(context)
    models = []
    for kind, verdict in verdicts.items():
        entry = found["models"][kind]
        champion = (entry["champion"] or {}).get("estimates", {})
        mine = entry["estimates"]
        figures = {
            label: (str(Estimate(**mine[name])), str(Estimate(**champion[name])) if name in champion else "")
            for name, label in LABELS.items()
            if name in mine
        }
        numbers = {name: {"candidate": value, "champion": champion.get(name)} for name, value in mine.items()}
        models.append(
            ModelSummary(
                verdict["model"], verdict["version"], verdict["decision"], verdict["promoted"], verdict["waits"],
                (*verdict["reasons"], *(f"warning: {one}" for one in entry["warnings"])), verdict["against"], figures,
                numbers, verdict["promoted"],
            )
        )  # fmt: skip
    report = context.workspace.outputs(context.config.project) / "evaluate" / "report.html"
    return Summary(
        context.config.project, context.data_version, context.fingerprint, reused,
        str(report.relative_to(context.workspace.root)), note(found), tuple(models),
    )  # fmt: skip


def note(found: Mapping[str, Any]) -> str:
    """What the figures are measured in or on, and what to hold them against."""
    return str(found["note"]) if "note" in found else frechet_note(found)


def find_finished(context: Context) -> Summary | None:
    """The summary of an earlier run on these very inputs, if there was one."""
    if (versions := promote.finished(context)) is None:
        return None
    earlier = summarise(context, reused=True)
    champions = {version.model for version in versions.values() if CHAMPION in version.aliases}
    waiting = {version.model for version in versions.values() if approvals.state(version) is State.PENDING}
    return replace(
        earlier,
        models=tuple(replace(m, promoted=m.model in champions, waits=m.model in waiting) for m in earlier.models),
    )


def report_markdown(context: Context) -> str:
    """The figures as Prefect's page shows them."""
    found = evaluate.result(context)
    path = context.results("evaluate") / "report.html"
    whole = f"The whole report: `{path}`, and in both MLflow runs."
    if context.config.data.is_table:
        lines = ["| figure | VAE | GAN |", "|---|---|---|"]
        both = [found["models"][kind]["estimates"] for kind in ("vae", "gan")]
        lines += [
            f"| {label} | {' | '.join(say(one[name]) if name in one else '–' for one in both)} |"
            for name, label in LABELS.items()
            if any(name in one for one in both)
        ]
        return "\n".join(["# Anomaly detection and synthesis", "", *lines, "", note(found), "", whole, ""])
    lines = ["| question | GAN | VAE | perfect |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in comparison_table(found)]
    return "\n".join(["# GAN versus VAE", "", *lines, "", whole, ""])


def summary_markdown(summary: Summary) -> str:
    """The verdicts as Prefect's page shows them."""
    lines = [f"# {summary.project}", ""]
    if summary.reused:
        lines += [f"Nothing to do: {summary.same_as_before}. What that run came to:", ""]
    for model in summary.models:
        lines += [
            f"## {model.model}, version {model.version}: {model.decision}",
            "",
            *(f"- {r}" for r in (*model.reasons, *([model.way_on] if model.waits else []))),
            "",
        ]
        lines += [f"| figure | candidate | champion {model.champion or ''} |", "|---|---|---|"]
        lines += [f"| {label} | {mine} | {theirs or '–'} |" for label, (mine, theirs) in model.figures.items()]
        lines.append("")
    return "\n".join(lines)
