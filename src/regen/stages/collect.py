"""Ends a campaign and keeps what came of it: its votes as a file that DVC versions, its counts and agreement in MLflow."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regen.core import files
from regen.core.errors import ConfigError
from regen.data import versions as data
from regen.preferences import agreement, campaigns, export
from regen.preferences.agreement import Agreement
from regen.preferences.campaigns import Campaign
from regen.preferences.store import Store
from regen.registry import tracking
from regen.registry.tracking import Run
from regen.stages.base import Context

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Collection:
    """What came of a campaign."""

    campaign: int
    subject: str
    votes: int
    wanted: int
    people: int
    alpha: float | None
    """Krippendorff's α; None where too few pairs were judged twice."""
    file: str
    """Path of the votes; empty where there are none."""
    version: str
    """What votes.dvc records."""
    run: str
    """The MLflow run with counts and agreement; empty where nobody voted."""
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Wanted:
    """When a campaign has gone on for long enough."""

    votes: int | None
    """Votes that are enough; all that its pairs need if left out."""
    days: float
    """Days from its opening after which it is over, however many there are."""

    def seconds_left(self, campaign: Campaign, now: int) -> float:
        """Until the deadline; 0 where the campaign is closed, past it, or has votes enough.

        Args:
            now: milliseconds since 1970.
        """
        enough = campaign.wanted if self.votes is None else min(self.votes, campaign.wanted)
        if campaign.closed is not None or campaign.votes >= enough:
            return 0.0
        return max(campaign.created + self.days * DAY_MS - now, 0) / 1000


def votes_file(context: Context, campaign: Campaign) -> Path:
    """Where a campaign's votes are kept."""
    return context.workspace.root / "votes" / context.config.project / f"{campaign.name}.parquet"


def collect(context: Context, store: Store, number: int) -> Collection:
    """Closes a campaign, writes its votes to votes/PROJECT, records them in votes.dvc and their figures in MLflow.

    Raises:
        NotFoundError: there is no such campaign.
        ConfigError: it is about a model of another project.
    """
    campaign = campaigns.get(store, number)
    if not campaign.subject.startswith(f"{context.config.project}-"):
        raise ConfigError(
            f"campaign {number} is about {campaign.subject}, and this project is {context.config.project}; name its file"
        )
    campaigns.close(store, number)
    campaign, found = campaigns.get(store, number), export.votes(store, number)
    if found.empty:
        return Collection(
            number, campaign.subject, 0, campaign.wanted, 0, None, "", "", "", ("nobody voted; nothing was written",)
        )
    path = votes_file(context, campaign)
    with context.workspace.lock("votes"):
        with files.replacing(path) as temporary:
            temporary.write_bytes(export.write(found, "parquet"))
        version = data.add_votes(context.workspace)
    agreed = agreement.measure(found)
    run = _record(context, campaign, agreed, version)
    return Collection(
        number, campaign.subject, agreed.votes, campaign.wanted, agreed.people,
        agreed.alpha.value if agreed.alpha.is_finite else None, str(path.relative_to(context.workspace.root)), version, run.id,
        agreed.notes,
    )  # fmt: skip


def _record(context: Context, campaign: Campaign, agreed: Agreement, version: str) -> Run:
    """The campaign's MLflow run; the same again where it was collected before."""
    tracking.open_store(context.workspace)
    key = files.digest(["votes", campaign.name, campaign.created])
    tags = {"regen.campaign": campaign.name, "regen.subject": campaign.subject, "regen.votes_version": version}
    run = Run.of_key(context.workspace, context.config.project, f"votes {campaign.name}", key, tags)
    shares = {"left": agreed.left, "repeats": agreed.repeats, "gold": agreed.gold, "fast": agreed.fast}
    figures = {
        "votes/count": agreed.votes, "votes/wanted": campaign.wanted, "votes/people": agreed.people,
        "votes/shared_pairs": agreed.shared,
        **({"votes/alpha": agreed.alpha.value} if agreed.alpha.is_finite else {}),
        **{f"votes/{name}": share.estimate.value for name, share in shares.items() if share.of},
    }  # fmt: skip
    run.tag(tags)
    run.log_metrics(figures)
    run.close()
    return run


def markdown(found: Collection) -> str:
    """A collection as Prefect's page shows it."""
    alpha = "too few pairs were judged twice" if found.alpha is None else f"{found.alpha:.3f}"
    lines = [
        f"# Campaign {found.campaign} about {found.subject}", "", "| what | figure |", "|---|---|",
        f"| votes | {found.votes:,} of {found.wanted:,} |", f"| people | {found.people} |",
        f"| Krippendorff's α | {alpha} |", f"| file | `{found.file or 'none'}` |",
        f"| votes.dvc | `{found.version or 'unchanged'}` |", "", *(f"- {note}" for note in found.notes), "",
    ]  # fmt: skip
    return "\n".join(lines)
