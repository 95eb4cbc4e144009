"""`regen votes`: what is done with the votes of a review, and who may vote."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli_base import (
    FiniteRange,
    Group,
    as_json,
    cli,
    config_option,
    example,
    open_project,
    open_workspace,
    overrides,
    persons,
    print_json,
)

if TYPE_CHECKING:
    from regen.preferences.agreement import Agreement, Share
    from regen.preferences.campaigns import Campaign
    from regen.preferences.store import Store

FORMATS = ("parquet", "jsonl", "trl", "labelstudio")
LEFT_OUT = {
    "training": "a reward does not learn from skipped, known, repeated and hasty pairs, nor from one person beyond 30%",
    "trl": "TRL's pairs hold preferences alone, so no ties, skipped, known or repeated pairs",
}
"""Why an export leaves votes out."""
campaign_option = click.option("--campaign", type=click.IntRange(1), help="Its number.  [default: the newest]")


@cli.group(
    cls=Group,
    epilog=example("regen votes agreement", "regen votes export --training", "regen votes annotators add ada"),
)
def votes() -> None:
    """Votes of a review: export, import, agreement, and who may vote."""


@contextmanager
def _opening() -> "Iterator[tuple[Any, Store]]":
    """The workspace and, until the block ends, its store of votes."""
    from regen.stages import review as stage

    workspace = open_workspace()
    with stage.open_store(workspace) as store:
        yield workspace, store


@votes.command("export", epilog=example("regen votes export", "regen votes export --format trl --out pairs.jsonl"))
@campaign_option
@click.option("--format", "form", type=click.Choice(FORMATS), default="parquet", show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file.  [default: campaign-NUMBER with the format, in the current folder]",
)
@click.option(
    "--training",
    is_flag=True,
    help="Only votes that a reward may learn from, at most 30% of them one person's where four or more have voted.",
)
@as_json
def votes_export(campaign: int | None, form: Any, out: Path | None, training: bool, as_json: bool) -> None:
    """Write a campaign's votes to a file; it says how many the file holds, and why others are left out.

    The folder votes/ is that of 'regen votes collect', whose files votes.dvc records.
    """
    from regen.stages import review as stage

    with _opening() as (workspace, store):
        done = stage.export_votes(workspace, store, campaign, form, out, training=training)
    left_out = done.votes - done.written
    if as_json:
        told = {"votes": done.written, "left_out": left_out, "people": done.people}
        print_json({"out": str(done.file), "campaign": done.campaign, "format": form, **told})
        return
    why = "; ".join([LEFT_OUT["training"]] * training + [LEFT_OUT["trl"]] * (form == "trl"))
    click.echo(
        f"{done.written} of {done.votes} votes of campaign {done.campaign}, by {persons(done.people)}: {done.file}"
    )
    if left_out:
        click.echo(f"  left out {left_out}: {why}")
    if done.is_recorded:
        click.echo("  note: votes.dvc records this folder, and differs from it now; 'dvc add votes' records it anew")


@votes.command("import", epilog=example("regen votes import campaign-1.parquet"))
@click.argument("file", type=click.Path(path_type=Path))
@as_json
def votes_import(file: Path, as_json: bool) -> None:
    """Record the votes of a FILE that an export wrote: all of them, or none when a row is broken."""
    from regen.stages import review as stage

    with _opening() as (_, store):
        new, n = stage.import_votes(store, file)
    if as_json:
        print_json({"new": new, "votes": n})
    else:
        click.echo(f"{new} new votes; {n - new} of {n} were recorded already")


@votes.command("agreement", epilog=example("regen votes agreement", "regen votes agreement --campaign 2 --json"))
@campaign_option
@as_json
def votes_agreement(campaign: int | None, as_json: bool) -> None:
    """Say how far votes can be relied on: among people, with themselves, with known answers; and side bias."""
    from regen.preferences import agreement, campaigns, export, history

    with _opening() as (_, store):
        chosen = campaigns.choose(store, campaign)
        found = agreement.measure(export.votes(store, chosen.id))
        broken = history.first_broken(store)
    if as_json:
        print_json({"campaign": chosen.id, **found.to_json(), "first_broken_event": broken})
    else:
        _print_agreement(chosen, found, broken)


def _print_agreement(chosen: "Campaign", found: "Agreement", broken: int | None) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    click.echo(f"Campaign {chosen.id} about {chosen.subject}: {found.votes} votes of {persons(found.people)}")
    if found.alpha.is_finite:
        click.echo(
            f"  Krippendorff's α {found.alpha} on {found.shared} pairs that two or more judged (1 full agreement, 0 chance)"
        )
    for label, share in (
        ("votes for the left side", found.left), ("pairs seen twice and judged alike", found.repeats),
        ("known pairs answered rightly", found.gold), ("votes under 0.3 s", found.fast),
    ):  # fmt: skip
        if share.of:
            click.echo(f"  {label}: {_show(share)}")
    for note in found.notes:
        click.echo(f"  note: {note}")
    click.echo(f"  history: {'whole' if broken is None else f'BROKEN from event {broken} on'}")
    name = Column("annotator", no_wrap=True)
    titles = ("votes", "agrees with others", "known pairs", "seen twice", "left", "skips", "median s")
    table = Table(name, *(Column(title, overflow="fold") for title in titles))
    for one in found.each:
        shares = (one.agrees, one.gold, one.repeats, one.left, one.skips)
        table.add_row(one.annotator, str(one.votes), *map(_stacked, shares), f"{one.median_seconds:.1f}")
    Console().print(table)


def _show(share: "Share") -> str:
    return f"{share.estimate} of {share.of}" if share.of else "–"


def _stacked(share: "Share") -> str:
    """The same in lines short enough for a narrow column."""
    if not share.of:
        return "–"
    found = share.estimate
    return f"{found.value:.2f}\n[{found.low:.2f},\n{found.high:.2f}]\nof {share.of}"


@votes.command(
    "collect",
    epilog=example(
        "regen votes collect --campaign 1 --now",
        "regen votes collect --model digits-vae --votes 500 --days 3",
        "regen votes collect configs/fashion_mnist.yaml --now --json",
    ),
)
@config_option
@campaign_option
@click.option("--model", help="About whose samples a campaign is awaited; it is opened where there is none.")
@click.option(
    "--votes", "enough", type=click.IntRange(1), help="How many votes are enough.  [default: all that the pairs need]"
)
@click.option(
    "--days", type=FiniteRange(0, 36_500), default=7.0, show_default=True,
    help="Days from its opening after which it is over.",
)  # fmt: skip
@click.option("--now", is_flag=True, help="End it now, with the votes that there are.")
@overrides
@as_json
def votes_collect(
    config: Path, campaign: int | None, model: str | None, enough: int | None, days: float, now: bool,
    settings: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Wait for a campaign's votes, close it, and keep them: votes/PROJECT in votes.dvc, agreement in MLflow.

    'regen review' serves the page meanwhile.
    """
    from flows import console_align

    found = console_align.run_review(
        open_project(config, settings), campaign, model, votes=enough, days=0.0 if now else days
    )
    if as_json:
        print_json(found.to_json())
    else:
        console_align.print_collection(found)


@votes.command("close", epilog=example("regen votes close 1"))
@click.argument("campaign", type=click.IntRange(1))
@as_json
def votes_close(campaign: int, as_json: bool) -> None:
    """End a CAMPAIGN: nobody can vote in it any more, and the next review opens a new one."""
    from regen.preferences import campaigns

    with _opening() as (_, store):
        campaigns.close(store, campaign)
        found = campaigns.get(store, campaign)
    if as_json:
        print_json(asdict(found))
    else:
        click.echo(f"campaign {campaign} is closed with {found.votes} of {found.wanted} votes")


@votes.group(cls=Group, epilog=example("regen votes annotators list", "regen votes annotators add ada"))
def annotators() -> None:
    """Who may vote: people known by tokens."""


@annotators.command("list", epilog=example("regen votes annotators list --json"))
@as_json
def annotators_list(as_json: bool) -> None:
    """List everybody with the state of their tokens; the tokens themselves cannot be read."""
    from regen.preferences import people

    with _opening() as (_, store):
        everyone = people.everyone(store)
    if as_json:
        print_json([asdict(person) for person in everyone])
        return
    for person in everyone:
        end = "for ever" if person.expires is None else f"until {_day(person.expires)}"
        state = f"revoked {_day(person.revoked)}" if person.revoked is not None else f"good {end}"
        click.echo(f"{person.name:20} {person.role:9} {state}")


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()


@annotators.command(
    "add", epilog=example("regen votes annotators add ada", "regen votes annotators add ops --role admin --days 7")
)
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["reviewer", "admin"]),
    default="reviewer",
    show_default=True,
    help="admin also opens the API.",
)
@click.option(
    "--days", type=click.IntRange(1, 36_500), default=90, show_default=True, help="How long the token is good for."
)
@as_json
def annotators_add(name: str, role: str, days: int, as_json: bool) -> None:
    """Make NAME somebody who may vote, and print their token, once."""
    from regen.preferences import people
    from regen.preferences.tables import Role

    with _opening() as (_, store):
        token = people.add(store, name, Role(role), days)
    if as_json:
        print_json({"name": name, "role": role, "token": token})
    else:
        click.echo(f"{name}'s token, shown this once: {token}")


@annotators.command("revoke", epilog=example("regen votes annotators revoke ada"))
@click.argument("name")
@as_json
def annotators_revoke(name: str, as_json: bool) -> None:
    """End NAME's token and sessions at once; their votes stay."""
    from regen.preferences import people

    with _opening() as (_, store):
        people.revoke(store, name)
    if as_json:
        print_json({"name": name, "state": "revoked"})
    else:
        click.echo(f"{name}'s token is revoked; their votes stay")
