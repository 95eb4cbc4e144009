"""Takes new images or rows into a project's data, which is brought here first, and says what that came to."""

from base64 import b64encode
from pathlib import Path

import numpy as np

from regen.data import growth, sources, table_schema, versions
from regen.data import ingest as intake
from regen.data.ingest import Incoming, Ingested
from regen.data.raw import spread
from regen.evaluation.pictures import grid, png
from regen.stages.base import Context

SHOWN = 48
"""Images that the artifact shows."""


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
    schema = table_schema.load(context.schema_path) if growth.is_table(context.workspace.data(config.project)) else None
    return intake.ingest(context.workspace, config, path, source, schema, say)


def picture(context: Context, found: Ingested) -> bytes | None:
    """Some of the images that came in, as a PNG; None where none did, or where rows of a table did."""
    folder = context.workspace.data(found.project)
    if not found.added or growth.is_table(folder):
        return None
    images = sources.read(folder).images[found.rows - found.added :]
    return png(grid(np.asarray(images[spread(len(images), SHOWN)])))


def markdown(found: Ingested, drawn: bytes | None = None) -> str:
    """What taking in came to, as Prefect's page shows it.

    Args:
        drawn: a PNG of some of it.
    """
    now = "as before" if found.version == found.before else f"grown from `{found.before}`"
    lines = [
        f"# {found.project}: {found.added:,} taken in", "",
        f"Version `{found.version}`, {now}{', sent to the remote' if found.pushed else ''}.", "",
        f"| from `{found.origin}` | |", "|---|---:|",
        *(f"| {name} | {count:,} |" for name, count in intake.counts(found).items()), "",
    ]  # fmt: skip
    if found.quarantine:
        lines += [f"The bad ones are in `{found.quarantine}`:", ""]
        lines += [
            f"- {count:,} {'time' if count == 1 else 'times'}: {reason}"
            for reason, count in list(found.reasons.items())[:10]
        ]
    if drawn is not None:
        lines += ["", f"![Some of what came in](data:image/png;base64,{b64encode(drawn).decode()})"]
    return "\n".join(lines) + "\n"
