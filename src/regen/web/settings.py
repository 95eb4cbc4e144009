"""What a review page is started with."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from regen.preferences.voting import LEASE_MS

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def name_of(host: str) -> str:
    """What a browser of this machine calls an address that is listened on; for all its addresses at once, the loopback one.

    Example:
        >>> [name_of(host) for host in ("review.example", "127.0.0.1", "FD00:0::1", "0.0.0.0", "::")]
        ['review.example', '127.0.0.1', '[fd00::1]', '127.0.0.1', '[::1]']
    """
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        return "[::1]" if address.is_unspecified else f"[{address}]"
    return "127.0.0.1" if address.is_unspecified else str(address)


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
