"""What the vote store refuses, each with its own class, so that a page can answer each in its own way.

VoteError
├── NotFoundError       there is no such pair, or it is somebody else's: both look the same from outside
├── ConflictError       it contradicts what is recorded
│   └── ClosedError         the campaign is closed
├── LeaseError          the pair was given to somebody else meanwhile
└── TokenError          a token or a session is unknown, expired or revoked
"""

from regen.core.errors import RegenError


class VoteError(RegenError):
    """The vote store refuses."""


class NotFoundError(VoteError):
    """There is no such pair, or it is somebody else's: both look the same from outside."""


class ConflictError(VoteError):
    """It contradicts what is recorded."""


class ClosedError(ConflictError):
    """The campaign is closed."""


class LeaseError(VoteError):
    """The pair was given to somebody else meanwhile."""


class TokenError(VoteError):
    """A token or a session is unknown, expired or revoked."""
