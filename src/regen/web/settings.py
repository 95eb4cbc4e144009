"""What a review page is started with."""

from dataclasses import dataclass
from pathlib import Path

from regen.preferences.voting import LEASE_MS

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Settings:
    """One campaign's page."""

    campaign: int
    images: Path
    """The folder whose files are named by the digest of their content, DIGEST.png."""
    hosts: tuple[str, ...] = LOOPBACK
    """Names that the page answers to; a request for another is refused, against DNS rebinding."""
    votes_per_second: float = 5.0
    """What one person's bucket gains, in requests that write."""
    burst: int = 20
    """What one person's bucket holds."""
    lease_ms: int = LEASE_MS
