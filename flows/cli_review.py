"""`regen review`: the page on which people judge pairs."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli_base import (
    as_json,
    cli,
    config_option,
    example,
    open_project,
    overrides,
    print_json,
)

if TYPE_CHECKING:
    from socket import socket

    from regen.preferences.campaigns import Campaign
    from regen.preferences.store import Store
    from regen.stages.review import Opened


@cli.command(
    epilog=example(
        "regen review",
        "regen review --model digits-gan@champion --pairs 400 --need 3",
        "regen review --pairs 1000 --simulate",
        "regen review --model digits-gan/2 --against digits-gan/1",
        "regen review configs/fashion_mnist.yaml --guidelines guidelines.txt --port 8400",
    )
)
@config_option
@click.option("--model", help="Whose samples people judge: NAME, NAME@ALIAS or NAME/NUMBER.  [default: PROJECT-gan]")
@click.option(
    "--pairs",
    type=click.IntRange(4, 100_000),
    help="How many pairs, known ones and repeats included; settled when the campaign opens.  [default: 200]",
)
@click.option(
    "--need", type=click.IntRange(1, 100), help="How many people judge each pair; settled likewise.  [default: 1]"
)
@click.option(
    "--against",
    metavar="NAME/NUMBER",
    help="Another model: each pair is one sample of either, to say which is preferred.",
)
@click.option("--guidelines", type=click.Path(path_type=Path), help="A text file that says what to look for.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to listen on; others reach only another one."
)
@click.option("--port", default=8321, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name by which browsers may ask for the page.")
@click.option(
    "--simulate", is_flag=True, help="Let simulated people of a known taste vote instead of serving the page."
)
@overrides
@as_json
def review(
    config: Path, model: str | None, pairs: int | None, need: int | None, against: str | None, guidelines: Path | None,
    host: str, port: int, allow_host: tuple[str, ...], simulate: bool, settings: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Serve the page on which people say which of two samples is better; Ctrl-C ends it, what was sent is kept.

    The first call about a model's version opens a campaign and prints a reviewer's token, once; later calls go on with it.
    For other --pairs or --need, end it by 'regen votes close NUMBER'; the next call then opens another.
    Votes are kept in .regen/votes.db, or where REGEN_VOTES says (postgresql://USER@HOST/DATABASE).
    """
    from regen.stages import review as stage
    from regen.web.server import listen

    text = None if guidelines is None else stage.read_guidelines(guidelines.expanduser().absolute())
    context = open_project(config, settings)
    listening = nullcontext() if simulate else listen(host, port)  # before a token is made that is shown only once
    with listening as listener, stage.open_store(context.workspace) as store:
        name = model or context.config.model_name("gan")
        least_sure = stage.newest_reward(context.workspace, context.config.project, name)
        opened = stage.open_review(
            context.workspace,
            store,
            name,
            context.config.seed,
            pairs,
            need,
            text,
            least_sure,
            against,
            invites=not simulate,
        )
        if listener is None:
            _simulate(context, store, opened.campaign, as_json=as_json)
        else:
            _serve(context, store, opened, listener, host, allow_host, as_json=as_json)


def _serve(
    context: Any, store: "Store", opened: "Opened", listener: "socket", host: str, allow_host: tuple[str, ...],
    *, as_json: bool,
) -> None:  # fmt: skip
    from regen.stages.drawing import images_folder
    from regen.web.server import serve_on
    from regen.web.settings import LOOPBACK, Settings, name_of

    campaign = opened.campaign

    def say(address: str) -> None:
        if as_json:
            print_json({"address": address, "token": opened.token, "new": opened.is_new, "campaign": asdict(campaign)})
            return
        click.echo(f"Campaign {campaign.id} about {campaign.subject}: {campaign.votes} of {campaign.wanted} votes")
        click.echo(f"Page     {address}")
        if opened.token:
            click.echo(f"Token    {opened.token}   of {opened.reviewer}; it is shown this once")
        else:
            click.echo("Token    as handed out before; regen votes annotators add NAME makes another")
        click.echo("Ctrl-C ends the page; votes are kept.")

    hosts = (*LOOPBACK, name_of(host), *allow_host)
    try:
        serve_on(listener, store, Settings(campaign.id, images_folder(context.workspace), hosts), host, say)
    except KeyboardInterrupt:
        click.echo("The page has ended; the votes are kept.", err=True)


def _simulate(context: Any, store: "Store", opened: "Campaign", *, as_json: bool) -> None:
    from regen.preferences import campaigns
    from regen.stages.simulate import simulate_votes

    votes = simulate_votes(context.workspace, store, opened.id, opened.need, context.config.seed)
    found = campaigns.get(store, opened.id)
    if as_json:
        print_json({"simulated": votes, "campaign": asdict(found)})
    else:
        click.echo(
            f"{votes} simulated votes in campaign {found.id} about {found.subject}: {found.votes} of {found.wanted}"
        )
        if not votes:
            click.echo(f"  'regen votes close {found.id}' ends it, and the next review opens another")
