"""The gate: a pure function from figures to PROMOTE, HOLD or REJECT, with a ledger of every check it made."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from regen.core.sections.evaluation import GateRules, Metric
from regen.evaluation.intervals import Estimate

HIGHER_IS_BETTER: dict[Metric, bool] = {
    "anomaly_auc": True,
    "anomaly_ap": True,
    "reconstruction_mse": False,
    "reconstruction_psnr": True,
    "reconstruction_ssim": True,
    "negative_elbo_bits": False,
    "iwae_bits": False,
    "frechet_distance": False,
    "kid": False,
    "precision": True,
    "recall": True,
    "density": True,
    "coverage": True,
    "class_shift": False,
    "anomaly_recall_fpr1": True,
    "anomaly_recall_fpr01": True,
    "memorisation": False,
    "preference_win_rate": True,
    "anomaly_precision_top_k": True,
    "column_error": False,
    "column_shapes": True,
    "pair_trends": True,
    "utility_auc": True,
    "utility_f1": True,
    "told_apart_auc": False,
    "closer_than_control": False,
    "copies": False,
}
"""Which way is better."""
ONLY_WHEN_MEASURED: frozenset[Metric] = frozenset({"preference_win_rate"})
"""Metrics whose guard stands only once there is something to go by: nobody may have voted yet."""


class Decision(StrEnum):
    """What becomes of a candidate."""

    PROMOTE = "PROMOTE"
    HOLD = "HOLD"
    REJECT = "REJECT"


@dataclass(frozen=True)
class Check:
    """One line of the ledger."""

    kind: str
    """rows, floor, primary or guard."""
    metric: str
    wanted: str
    met: str
    passed: bool

    def __str__(self) -> str:
        return f"{self.metric}: wanted {self.wanted}, got {self.met}"


@dataclass(frozen=True)
class Verdict:
    """A decision with its reasons and its ledger."""

    decision: Decision
    reasons: tuple[str, ...]
    checks: tuple[Check, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "decision": str(self.decision),
            "reasons": list(self.reasons),
            "checks": [asdict(check) for check in self.checks],
        }


def judge(
    rules: GateRules,
    candidate: Mapping[str, Estimate],
    difference: Mapping[str, Estimate] | None,
    *,
    rows: int | None = None,
    least_rows: int = 0,
) -> Verdict:
    """Judges a candidate by its own figures and, where there is a champion, by paired differences from it.

    Every floor must hold, and a missing or non-finite one rejects. A first model needs floors alone. Against a
    champion the primary metric must be better by its whole interval, else the candidate is held; each guard must not be
    worse by more than its margin, by its whole interval, else it is rejected. Without floors nothing is promoted, nor on
    figures of too few rows.

    Args:
        candidate: metric to figure.
        difference: metric to candidate minus champion, measured on the same rows and latents; None without a champion.
            Of preference_win_rate it is the share of votes for the candidate less one half.
        rows: test rows behind the figures; enough when not said.
        least_rows: rows under which the candidate is held.
    """
    if not rules.floors:
        return Verdict(Decision.HOLD, ("no floors are configured, so nothing is promoted; set gate's floors",))
    if rows is not None and rows < least_rows:
        few = Check("rows", "test rows", f"at least {least_rows}", str(rows), passed=False)
        return Verdict(Decision.HOLD, (f"not enough samples: {few}; add rows or raise data.test_share",), (few,))
    checks = [_floor(name, worst, candidate.get(name)) for name, worst in sorted(rules.floors.items())]
    if difference is not None:
        checks += [
            _guard(name, margin, difference.get(name))
            for name, margin in sorted(rules.guards.items())
            if name in difference or name not in ONLY_WHEN_MEASURED
        ]
        if rules.primary is not None:
            checks.append(_primary(rules.primary, difference.get(rules.primary)))
    failed = [check for check in checks if not check.passed]
    reasons = tuple(f"{check.kind} not met: {check}" for check in failed)
    if any(check.kind != "primary" for check in failed):
        return Verdict(Decision.REJECT, reasons, tuple(checks))
    if failed:
        return Verdict(Decision.HOLD, reasons, tuple(checks))
    if difference is None:
        return Verdict(Decision.PROMOTE, ("the first model, and every floor is met",), tuple(checks))
    if rules.primary is None:
        return Verdict(Decision.HOLD, ("no primary metric is configured to beat the champion by",), tuple(checks))
    return Verdict(
        Decision.PROMOTE, (f"better than the champion: {checks[-1].metric} {checks[-1].met}",), tuple(checks)
    )


def _floor(name: Metric, worst: float, estimate: Estimate | None) -> Check:
    higher = HIGHER_IS_BETTER[name]
    wanted = f"at {'least' if higher else 'most'} {worst:g}"
    if estimate is None or not estimate.is_finite:
        return Check("floor", name, wanted, "nothing" if estimate is None else "no number", passed=False)
    passed = estimate.value >= worst if higher else estimate.value <= worst
    return Check("floor", name, wanted, str(estimate), passed)


def _gain(name: Metric, difference: Estimate) -> Estimate:
    """The difference turned so that above 0 is better."""
    if HIGHER_IS_BETTER[name]:
        return difference
    return Estimate(0 - difference.value, 0 - difference.high, 0 - difference.low)  # of 0 not −0


def _primary(name: Metric, difference: Estimate | None) -> Check:
    wanted = "an interval of the gain over the champion above 0"
    if difference is None or not difference.is_finite:
        return Check("primary", name, wanted, "nothing to compare" if difference is None else "no number", passed=False)
    gain = _gain(name, difference)
    return Check("primary", name, wanted, f"a gain of {gain}", gain.low > 0)


def _guard(name: Metric, margin: float, difference: Estimate | None) -> Check:
    wanted = f"no loss against the champion beyond {margin:g}"
    if difference is None or not difference.is_finite:
        return Check("guard", name, wanted, "nothing to compare" if difference is None else "no number", passed=False)
    gain = _gain(name, difference)
    return Check("guard", name, wanted, f"a gain of {gain}", gain.low >= -margin)
