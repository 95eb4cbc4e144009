"""Takes new images or rows into a project's data, which is brought here first, and says what that came to."""

from pathlib import Path

from regen.data import ingest as intake
from regen.data import versions
from regen.data.ingest import Incoming, Ingested
from regen.stages.base import Context


def ingest(context: Context, path: Path, source: Incoming | None = None) -> Ingested:
    """Appends what is sound at `path`, sets aside what is not, and records the new version.

    Args:
        source: how `path` is read; by default a folder as images with a subfolder a class, a file as a table.

    Raises:
        ValidationError: too many are bad; nothing was taken in.
        DataError: they cannot be read, or are of another kind than the project's.
        StaleDataError: data/PROJECT differs from data.dvc.
    """
    config, say = context.config, context.progress.say
    versions.pull(context.workspace, config.project, config.data, say)
    return intake.ingest(context.workspace, config, path, source, say)


def markdown(found: Ingested) -> str:
    """What taking in came to, as Prefect's page shows it."""
    now = "as before" if found.version == found.before else f"grown from `{found.before}`"
    lines = [
        f"# {found.project}: {found.added:,} taken in", "",
        f"Version `{found.version}`, {now}{', sent to the remote' if found.pushed else ''}.", "",
        f"| from `{found.origin}` | |", "|---|---:|",
        *(f"| {name} | {count:,} |" for name, count in intake.counts(found).items()), "",
    ]  # fmt: skip
    if found.quarantine:
        lines += [f"The bad ones are in `{found.quarantine}`:", ""]
        lines += [f"- {count:,} times: {reason}" for reason, count in list(found.reasons.items())[:10]]
    return "\n".join(lines) + "\n"
