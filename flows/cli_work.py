"""Commands that do the work: the flow, its stages, and the versions of the data."""

import sys
from pathlib import Path

import click

from flows.cli_base import as_json, cli, config_option, example, open_project, overrides, print_json

STAGE_NAMES = ("prepare", "train-extractor", "train-vae", "train-gan", "evaluate", "register", "promote")


@cli.command(
    epilog=example("regen run", "regen run configs/other.yaml", "regen run --set seed=1 --set gan.images=64000")
)
@config_option
@overrides
@as_json
def run(config: Path, settings: tuple[str, ...], as_json: bool) -> None:
    """Run the retrain flow, here and now: data, training, evaluation, registry, promotion.

    Work that was done before on the same data, configuration and code is found again and not repeated.
    """
    from flows import console

    context = open_project(config, settings)
    summary = console.run_retrain(context)
    if as_json:
        print_json(summary.to_json())
    else:
        console.print_summary(summary)


@cli.command(
    epilog=example(
        "regen stage prepare",
        "regen stage train-vae",
        "dvc repro   (runs them all, those whose inputs changed)",
        "torchrun --nproc-per-node 2 -m flows.cli stage train-vae --set training.devices=2   (on two devices)",
    )
)
@click.argument("name", type=click.Choice(STAGE_NAMES))
@config_option
@overrides
@as_json
def stage(name: str, config: Path, settings: tuple[str, ...], as_json: bool) -> None:
    """Run one stage, as dvc.yaml does; those before it must have run."""
    from flows import console
    from regen.core.environment import torchrun_rank

    outcome = console.run_stage(open_project(config, settings), name.replace("-", "_"))
    if torchrun_rank():  # the first of the processes speaks for all
        return
    if as_json:
        print_json({"stage": outcome.stage, "key": outcome.key, "reused": outcome.reused})
    else:
        click.echo(f"{name}: {'done before, nothing to do' if outcome.reused else 'done'} (key {outcome.key[:16]})")


@cli.group(epilog=example("regen data status", "regen data pull", "regen data add"))
def data() -> None:
    """Versions of the data: what is recorded, what is there."""


@data.command("add", epilog=example("regen data add", "git add data.dvc && git commit -m 'New data'"))
@config_option
@as_json
def data_add(config: Path, as_json: bool) -> None:
    """Record the present data/ as a new version, in data.dvc and DVC's cache."""
    from regen.data import versions

    context = open_project(config)
    versions.add(context.workspace)
    found = versions.status(context.workspace, context.config.project)
    if as_json:
        print_json({"project": context.config.project, "version": found.version})
    else:
        click.echo(
            f"data.dvc now records {context.config.project} {found.version}; commit data.dvc to keep the version"
        )


@data.command("status", epilog=example("regen data status", "regen data status --json"))
@config_option
@as_json
def data_status(config: Path, as_json: bool) -> None:
    """Compare the project's data with what data.dvc records; exit code 1 when they differ."""
    from regen.data import versions

    context = open_project(config)
    found = versions.status(context.workspace, context.config.project)
    if as_json:
        print_json({
            "project": context.config.project, "version": found.version, "clean": found.clean,
            "missing": found.missing, "changed": found.changed,
        })  # fmt: skip
    elif found.clean:
        click.echo(f"data/{context.config.project} is the recorded version {found.version}")
    if not found.clean:
        if as_json:
            sys.exit(1)
        versions.require_clean(context.workspace, context.config.project)


@data.command("pull", epilog=example("regen data pull"))
@config_option
@as_json
def data_pull(config: Path, as_json: bool) -> None:
    """Bring the data to its recorded version: from DVC's cache or remote, else from the source.

    Images of a folder that cannot be read are set aside: data/PROJECT/quarantine.csv lists them with the reason.
    """
    from regen.data import sources, versions

    context = open_project(config)
    project = context.config.project
    origin = versions.pull(context.workspace, project, context.config.data)
    if as_json:
        aside = sources.quarantined(context.workspace.data(project))
        print_json({"project": project, "version": context.data_version, "from": origin, "quarantined": aside})
    else:
        met = "was there already" if origin == "here" else f"came from the {origin}"
        click.echo(f"data/{project} {met}: version {context.data_version}")


@data.command(
    "schema",
    epilog=example(
        "regen data schema payments.parquet",
        "regen data schema configs/transactions.yaml --out schemas/transactions.yaml",
    ),
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file.  [default: print it]"
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@as_json
def data_schema(path: Path, out: Path | None, force: bool, as_json: bool) -> None:
    """Infer a schema, an editable file, from a table (Parquet, CSV) or from the source of a project file (YAML).

    What it guesses (ranges with slack, categories, key, time, label, groups) is yours to correct; `regen stage prepare`
    enforces it. A label's delay is never guessed.
    """
    from regen.core.errors import ConfigError
    from regen.data import table_inference, table_schema, table_sources
    from regen.data.raw import Place

    target = None if out is None else out.absolute()  # opening the project leaves the folder that the caller stands in
    if out is not None and out.exists() and not force:
        raise ConfigError(f"{out} is there already, perhaps edited; name another file, or add --force to replace it")
    if path.suffix.lower() in (".yaml", ".yml"):
        context = open_project(path)
        if not context.config.data.is_table:
            raise ConfigError(
                f"{path}: data.source is {context.config.data.source}, which gives images; a schema is a table's"
            )
        found = table_inference.of_source(context.config.data, Place(context.workspace.root))
    else:
        found = table_inference.infer(table_sources.scan_file(path), str(path))
    if target is not None:
        table_schema.save(found, target)
    parts = {"key": found.key, "time": found.time, "label": found.label, "groups": list(found.groups)}
    if as_json:
        print_json(
            {**parts, "columns": {c.name: c.kind for c in found.columns}, "out": None if out is None else str(out)}
        )
    elif out is None:
        click.echo(table_schema.to_yaml(found), nl=False)
    else:
        shown = "; ".join(f"{part}: {_listed(name)}" for part, name in parts.items())
        click.echo(f"{out}: {len(found.columns)} columns; {shown}. Look it over, and set label_delay_days")


def _listed(name: str | list[str] | None) -> str:
    return (", ".join(name) if isinstance(name, list) else name) or "none"
