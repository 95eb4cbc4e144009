"""Registers the tuned model as a version of its base's model, judges it, and promotes it as the gate's mode says."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regen.core import files
from regen.core.sections.evaluation import GateRules
from regen.evaluation import alignment_report
from regen.evaluation.gate import Check, Decision, Verdict, judge
from regen.evaluation.intervals import Estimate
from regen.evaluation.report import LABELS
from regen.preferences.alignment import decide
from regen.preferences.store import Store
from regen.registry import approvals, packaging, promotion, tracking, versions
from regen.registry.versions import Version
from regen.stages import earlier, fresh, prove
from regen.stages.alignment import BASE, VOTES, Alignment, lineage
from regen.stages.base import Outcome, jsonable
from regen.stages.evaluate import estimates
from regen.stages.prove import evidence

WIN_RATE = "preference_win_rate"
BY_PEOPLE = "votes on its samples beside the base’s"
ORDER = {Decision.PROMOTE: 0, Decision.HOLD: 1, Decision.REJECT: 2}


@dataclass(frozen=True)
class AlignSummary:
    """What an alignment came to."""

    model: str
    version: int
    base: str
    decision: str
    promoted: bool
    """Whether it is the champion now."""
    reasons: tuple[str, ...]
    win_rate: dict[str, float]
    by: str
    """Who says so."""
    arms: dict[str, dict[str, Any]]
    votes: int
    digest: str
    report: str
    reused: bool
    """Whether all of it had been done before."""
    notes: tuple[str, ...] = ()
    """What else is to be known, such as of votes that no verdict counts."""
    is_current: bool = True
    """Whether it is the version that the data and settings of now make, so that fresh votes on it count."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        plain: dict[str, Any] = jsonable(self)
        return plain


def conclude(alignment: Alignment, store: Store, prefect_run: str = "") -> Outcome:
    """Writes verdict.json, report.html and before_after.png, and what it says comes true in the registry.

    Raises:
        RegistryError: a champion has changed since the comparison, or the winner fails its smoke test.
    """
    tracking.open_store(alignment.context.workspace)

    def still_holds(out: Path) -> bool:
        against, found = prove.result(alignment)["against"], files.read_json(out / "verdict.json")
        return _holds(alignment, store, found) and bool(found["against"] == against)

    def body(work: Path, out: Path) -> None:
        proof = prove.result(alignment)
        version = _register(alignment, proof, prefect_run)
        verdict = _judge(alignment, store, proof, version)
        files.write_json(out / "verdict.json", verdict)
        alignment_report.write(
            out,
            alignment.context.config,
            proof,
            files.read_json(out / "verdict.json"),
            prove.before_and_after(alignment),
        )
        _publish(alignment, version, verdict, out)

    return alignment.perform("conclude", body, still_holds)


def _holds(alignment: Alignment, store: Store, verdict: Mapping[str, Any]) -> bool:
    """Whether all that a verdict rests on is as it was: the champion, the fresh votes, and that it was of a champion."""
    version = registered(alignment)
    return bool(
        version is not None
        and verdict["version"] == version.number
        and verdict["fresh_votes"] == fresh.count(store, version, alignment.base.number)
        and verdict["against"] == prove.champion_of(alignment)
        and (versions.CHAMPION in version.aliases or not verdict.get("as_champion"))
    )


def registered(alignment: Alignment) -> Version | None:
    """The version that this alignment's tuning made."""
    return versions.by_key(alignment.base.model, alignment.key("tune"))


def _register(alignment: Alignment, proof: Mapping[str, Any], prefect_run: str) -> Version:
    model, run = alignment.base.model, alignment.open_run("tune")
    run.log_metrics({
        f"test/{name}{suffix}": value
        for name, estimate in (estimates(proof["figures"]["estimates"]) or {}).items()
        for suffix, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
    })  # fmt: skip
    run.log_metrics({f"align/win_rate_{name}": arm["win_rate"]["value"] for name, arm in proof["arms"].items()})
    run.log_metrics({f"align/frechet_{name}": arm["frechet_distance"] for name, arm in proof["arms"].items()})
    results = alignment.results("prove")
    run.log_files({results / name: "evaluation" for name in ("proof.json", "reference.npz", "reference.json")})
    if version := registered(alignment):
        return version
    tags = lineage(alignment) | {
        earlier.EXTRACTOR: proof["judged_by"]["sha256"], earlier.REFERENCE: proof["judged_by"]["rows"],
        "regen.run": run.id, "regen.prefect_run": prefect_run,
    }  # fmt: skip
    card = model_card(alignment, proof, tags)
    uri = packaging.log_model(run, alignment.kind, model, alignment.results("tune"), alignment.dataset.shape, card)
    return versions.register(model, alignment.kind, run, uri, alignment.key("tune"), tags, card)


def model_card(alignment: Alignment, proof: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """What a user of the tuned model should know, as markdown."""
    figures = estimates(proof["figures"]["estimates"]) or {}
    tuned = proof["arms"]["tuned"]
    lines = [
        f"# {alignment.base.model}", "",
        f"{alignment.name}, tuned toward {proof['votes']:,} votes of {proof['people']} people"
        f"{alignment_report.simulated_among(proof)} on its samples (campaigns {', '.join(proof['campaigns'])}).", "",
        "| figure | value, with its interval |", "|---|---|",
        f"| Win rate over {alignment.name}, as the judge expects it | {Estimate(**tuned['win_rate'])} |",
        *(f"| {label} | {figures[metric]} |" for metric, label in LABELS.items() if metric in figures), "",
        f"Measured on {proof['judged_by']['n']} test rows (`{str(proof['judged_by']['rows'])[:8]}`) that no training saw.", "",
        "Lineage: " + ", ".join(f"{key.removeprefix('regen.')} `{value}`" for key, value in sorted(tags.items()) if value), "",
        "Limits: it follows the taste of the people who voted, by the guidelines that they had. It knows only data like its "
        "training rows. Samples may resemble training rows.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _judge(alignment: Alignment, store: Store, proof: Mapping[str, Any], version: Version) -> dict[str, Any]:
    config, n_fresh = alignment.context.config, fresh.count(store, version, alignment.base.number)
    people = fresh.by_people(store, version, alignment.base.number, config)
    found = evidence(proof, people)
    verdict = decide(found, config.align)
    if config.gate.mode != "off":
        verdict = both(verdict, _by_the_gate(alignment, proof, found.win_rate))
    if versions.CHAMPION in version.aliases:
        verdict = _as_champion(version, verdict)
    elif config.gate.mode == "off":
        verdict = Verdict(Decision.HOLD, ("gate.mode is off, so nothing is judged",))
    return {
        **verdict.to_json(), "model": version.model, "version": version.number, "base": alignment.name,
        "against": proof["against"], "mode": config.gate.mode, "win_rate": jsonable(found.win_rate),
        "by": _by(n_fresh, counted=people is not None), "fresh_votes": n_fresh, "counted_votes": n_fresh if people else 0,
        "as_champion": versions.CHAMPION in version.aliases,
    }  # fmt: skip


def _by(n_fresh: int, *, counted: bool) -> str:
    """Who says the win rate."""
    if counted:
        return f"{n_fresh} {BY_PEOPLE}"
    few = f"; of fresh votes there are {n_fresh}, which count instead from {fresh.LEAST_VOTES} on" if n_fresh else ""
    return f"as the judge expects it, learned from held-out votes{few}"


def _as_champion(version: Version, verdict: Verdict) -> Verdict:
    """What is said of a champion: that it is one and, where it would not become one now, the way back."""
    reasons: tuple[str, ...] = ("it is the champion already",)
    if verdict.decision != Decision.PROMOTE:
        reasons = (*reasons, *verdict.reasons, f"'regen rollback {version.model}' goes back")
    return Verdict(Decision.HOLD, reasons, verdict.checks)


def _by_the_gate(alignment: Alignment, proof: Mapping[str, Any], rate: Estimate) -> Verdict:
    """The project's own gate, the win rate among its figures.

    Where the champion is the base, what the tuned model must be better in is what people prefer: votes against it reject it,
    and votes that may be chance leave it held. Another champion it must beat as any candidate does.
    """
    config, figures = alignment.context.config, proof["figures"]
    rules: GateRules = getattr(config.gate, alignment.kind)
    mine = {**(estimates(figures["estimates"]) or {}), WIN_RATE: rate}
    difference = None
    if proof["against"] == alignment.base.number:
        over = Estimate(rate.value - 0.5, rate.low - 0.5, rate.high - 0.5)
        difference = {**(estimates(figures["base"]["difference"]) or {}), WIN_RATE: over}
        guards = {} if rate.low < 0.5 <= rate.high else {WIN_RATE: 0.0}
        rules = rules.model_copy(update={"primary": WIN_RATE, "guards": {**guards, **rules.guards}})
    elif figures["champion"] is not None:
        difference = estimates(figures["champion"]["difference"])
    verdict = judge(rules, mine, difference, rows=proof["rows"]["test"], least_rows=config.gate.least_rows)
    return replace(verdict, checks=tuple(_of_the_gate(check, alignment.kind) for check in verdict.checks))


def _of_the_gate(check: Check, kind: str) -> Check:
    """A check of the gate that says so, beside those against the base."""
    section = {"floor": f"gate.{kind}.floors", "guard": f"gate.{kind}.guards"}.get(check.kind, "gate")
    return replace(check, wanted=f"{check.wanted} ({section})")


def both(one: Verdict, other: Verdict) -> Verdict:
    """The stricter of two verdicts, with the reasons of those that are as strict, and all checks."""
    strictest = max((one, other), key=lambda verdict: ORDER[verdict.decision]).decision
    reasons = tuple(r for verdict in (one, other) if verdict.decision == strictest for r in verdict.reasons)
    return Verdict(strictest, reasons, (*one.checks, *other.checks))


def _publish(alignment: Alignment, version: Version, verdict: Mapping[str, Any], out: Path) -> None:
    """Records the verdict and the report with the version, and promotes it if it won and the mode says so."""
    run, decided = tracking.Run(version.run_id), Decision(verdict["decision"])
    reasons = tuple(verdict["reasons"])
    run.log_metrics({f"test/{WIN_RATE}": verdict["win_rate"]["value"]})
    run.log_files(
        {out / "report.html": "evaluation", out / "before_after.png": "evaluation", out / "verdict.json": "gate"}
    )
    run.tag({"regen.verdict": str(decided), "regen.version": str(version.number)})
    versions.tag(version, {fresh.COUNTED: str(verdict["counted_votes"])})
    if versions.CHAMPION in version.aliases:
        return
    checks = tuple(Check(**check) for check in verdict["checks"])
    versions.record_verdict(version, Verdict(decided, reasons, checks), verdict["against"])
    if decided == Decision.PROMOTE and verdict["mode"] == "approval":
        approvals.ask(version, alignment.context.config.gate.approval_days)
    if decided == Decision.PROMOTE and verdict["mode"] == "automatic":
        promotion.promote(alignment.context.workspace, version, "gate", "; ".join(reasons), verdict["against"])


def find_finished(alignment: Alignment, store: Store) -> AlignSummary | None:
    """What an earlier alignment on these very votes came to, if nothing has changed since."""
    tracking.open_store(alignment.context.workspace)
    if earlier_one := made_of(alignment, store):
        return earlier_one
    if not all(alignment.is_done(step) for step in ("learn", "tune", "prove", "conclude")):
        return None
    return summarise(alignment, store, reused=True) if _holds(alignment, store, result(alignment)) else None


def made_of(alignment: Alignment, store: Store) -> AlignSummary | None:
    """The base itself as the outcome, where it is what came of tuning toward these very votes, as its run recorded it."""
    base, tags = alignment.base, alignment.base.tags
    if tags.get(VOTES) != alignment.votes.digest:
        return None
    run, origin = tracking.Run(base.run_id), tags.get(BASE, "")
    proof, verdict = run.read_json("evaluation/proof.json") or {}, run.read_json("gate/verdict.json") or {}
    anew = f"{origin} was deleted, so it cannot be tuned anew"
    if origin in {f"{one.model}/{one.number}" for one in versions.all_versions(base.model)}:
        anew = f"'regen align --model {origin}' tunes {origin} anew, with the data and settings of now"
    return AlignSummary(
        base.model, base.number, origin, verdict.get("decision", base.verdict), versions.CHAMPION in base.aliases,
        tuple(verdict.get("reasons", base.reasons)), verdict.get("win_rate", {}), verdict.get("by", ""),
        proof.get("arms", {}), len(alignment.votes.table), alignment.votes.digest,
        f"evaluation/report.html of the MLflow run {base.run_id}", reused=True,
        notes=(anew, *fresh.uncounted(alignment, store)), is_current=False,
    )  # fmt: skip


def result(alignment: Alignment) -> dict[str, Any]:
    """What `conclude` wrote to verdict.json."""
    found: dict[str, Any] = files.read_json(alignment.results("conclude") / "verdict.json")
    return found


def summarise(alignment: Alignment, store: Store, *, reused: bool) -> AlignSummary:
    """Reads the summary from what `prove` and `conclude` wrote."""
    found, proof = result(alignment), prove.result(alignment)
    version = registered(alignment)
    context = alignment.context
    report = context.workspace.outputs(context.config.project) / alignment.stage("conclude") / "report.html"
    return AlignSummary(
        found["model"], found["version"], found["base"], found["decision"],
        version is not None and versions.CHAMPION in version.aliases, tuple(found["reasons"]), found["win_rate"], found["by"],
        proof["arms"], proof["votes"], proof["digest"], str(report.relative_to(context.workspace.root)), reused,
        (*_simulated(proof), *fresh.uncounted(alignment, store)),
    )  # fmt: skip


def _simulated(proof: Mapping[str, Any]) -> tuple[str, ...]:
    """That people were simulated, if any were."""
    n, people = proof.get("simulated", 0), proof["people"]
    return (
        f"{n} of the {people} people who voted are simulated: a trial of the way, no proof of what people like",
    ) * bool(n)


def markdown(summary: AlignSummary) -> str:
    """An alignment as Prefect's page shows it."""
    rows = [
        f"| {arm['label']} | {Estimate(**arm['win_rate'])} | {arm['frechet_distance']:.1f} | {arm['bias']['shift']:.3f} "
        f"| {arm['safety']['unacceptable']} of {arm['safety']['n']} |"
        for arm in alignment_report.in_order(summary.arms)
    ]
    return "\n".join([
        f"# {summary.model}, version {summary.version}: {summary.decision}", "",
        f"{summary.base} tuned toward {summary.votes} votes.", "",
        *([f"Win rate: {Estimate(**summary.win_rate)}, {summary.by}.", ""] if summary.win_rate else []),
        *(f"- {line}" for line in (*summary.reasons, *summary.notes)), "",
        "| arm | win rate | Fréchet distance | class shift | disallowed |", "|---|---|---|---|---|", *rows, "",
        f"The whole report: `{summary.report}`, and in the MLflow run.", "",
    ])  # fmt: skip
