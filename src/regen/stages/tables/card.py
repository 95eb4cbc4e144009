"""The model card of a table's model (Mitchell et al., *Model Cards*, 2019), as markdown."""

from collections.abc import Mapping
from typing import Any

from regen.core.config import Config
from regen.evaluation.intervals import Estimate
from regen.evaluation.report import LABELS

USES = {
    "vae": "Scores rows by how unlike its training rows they are, flags the strangest, and names the columns that say so.",
    "gan": "Synthesises rows like its training rows; any of its columns may be given.",
}
TAKES = {
    "vae": "It takes rows as they come in. What it computes from their past looks back on the newest rows at the time of its "
    "training, which travel with it, and on the rows that are scored together.",
    "gan": "It takes a number, a seed, and values of columns that all of the rows shall have.",
}


def model_card(config: Config, kind: str, found: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """What a user of the model should know."""
    measured = {name: Estimate(**values) for name, values in found["models"][kind]["estimates"].items()}
    judged_by, rows = found["models"][kind]["judged_by"], found["rows"]
    begins = found["begins"]
    time = f", those before {begins['validation']} less the label's delay" if begins else ""
    learnt = "those not known to be anomalies" if kind == "vae" else "a tenth kept back to measure privacy"
    lines = [
        f"# {config.model_name(kind)}", "", USES[kind], TAKES[kind], "",
        "| figure | value, with its interval |", "|---|---|",
        *(f"| {label} | {measured[metric]} |" for metric, label in LABELS.items() if metric in measured), "",
        found["note"],
        f"Measured on {judged_by['n']} test rows (`{judged_by['rows'][:8]}`) that no training saw; trained on "
        f"{rows['train']} rows{time}, {learnt}.",
        f"Network: {found['parameters'][kind]:,} parameters. Seed {config.seed}.", "",
        "Lineage: " + ", ".join(f"{key.removeprefix('regen.')} `{value}`" for key, value in sorted(tags.items()) if value), "",
        "Limits: it knows only data like its training rows, and a drift of the data wears its figures out. "
        "Synthetic rows may resemble training rows; the privacy figures say how far.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
