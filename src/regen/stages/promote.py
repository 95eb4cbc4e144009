"""Judges both candidates by the gate, keeps the ledger, and promotes those that win."""

from pathlib import Path
from typing import Any

from regen.core import files
from regen.evaluation.gate import Decision, Verdict, judge
from regen.registry import approvals, promotion, tracking, versions
from regen.registry.versions import FINGERPRINT, Version
from regen.stages import evaluate, register
from regen.stages.base import Context, Outcome, perform
from regen.stages.evaluate import estimates


def finished(context: Context) -> dict[str, Version] | None:
    """The versions that these very inputs gave, when all has been done for them already; else None."""
    tracking.open_store(context.workspace)
    if not all(context.folder(stage).is_done() for stage in ("evaluate", "promote")):
        return None
    return _judged(context)


def _judged(context: Context) -> dict[str, Version] | None:
    found = register.candidates(context)
    if not found or any(version.tags.get(FINGERPRINT) != context.fingerprint for version in found.values()):
        return None
    return None if any(map(approvals.is_stale, found.values())) else found


def promote(context: Context) -> Outcome:
    """Writes verdicts.json: what became of each candidate, and why.

    Raises:
        RegistryError: a champion has changed since the comparison, or a winner fails its smoke test.
    """
    tracking.open_store(context.workspace)

    def body(work: Path, out: Path) -> None:
        found = evaluate.result(context)
        candidates = register.candidates(context) or {}
        verdicts = {kind: _decide(context, kind, version, found) for kind, version in candidates.items()}
        files.write_json(out / "verdicts.json", verdicts)
        for version in candidates.values():
            versions.tag(version, {FINGERPRINT: context.fingerprint})

    return perform(context, "promote", body, lambda out: _judged(context) is not None)


def result(context: Context) -> dict[str, Any]:
    """What `promote` wrote to verdicts.json."""
    found: dict[str, Any] = files.read_json(context.results("promote") / "verdicts.json")
    return found


def _decide(context: Context, kind: str, version: Version, found: dict[str, Any]) -> dict[str, Any]:
    mode, against = context.config.gate.mode, found["against"][kind]
    entry, rules = found["models"][kind], getattr(context.config.gate, kind)
    mine = estimates(entry["estimates"]) or {}
    if versions.CHAMPION in version.aliases:  # beside itself it has nothing to show but that it meets the floors
        verdict = Verdict(Decision.HOLD, ("it is the champion already",), judge(rules, mine, None).checks)
    elif mode == "off":
        verdict = Verdict(Decision.HOLD, ("gate.mode is off, so nothing is judged",))
    else:
        verdict = judge(
            rules, mine, estimates(entry["difference"]),
            rows=found["rows"]["test"], least_rows=context.config.gate.least_rows,
        )  # fmt: skip
    wins = verdict.decision == Decision.PROMOTE
    versions.record_verdict(version, verdict, against)
    run = tracking.Run(version.run_id)
    run.tag({"regen.verdict": str(verdict.decision), "regen.version": str(version.number)})
    waits = wins and mode == "approval" and approvals.ask(version, context.config.gate.approval_days)
    if wins and mode == "automatic":
        promotion.promote(context.workspace, version, "gate", "; ".join(verdict.reasons), against)
    entry = {
        **verdict.to_json(), "model": version.model, "version": version.number, "against": against,
        "promoted": (wins and mode == "automatic") or versions.CHAMPION in version.aliases, "waits": waits, "mode": mode,
    }  # fmt: skip
    ledger = context.folder("promote").work / f"{kind}-ledger.json"
    files.write_json(ledger, entry)
    run.log_files({ledger: "gate"})
    return entry
