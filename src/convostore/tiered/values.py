"""What the hot tier has of a session: its copy, and the tokens of those who read or write it.

A copy is `C|<revision>|<tenant>|<created µs>|<activity µs>|<server>|<generation>⏎p<JSON>`.
"""

from __future__ import annotations

from typing import NamedTuple, Self
from uuid import UUID

from convostore.domain.sessions import PAYLOAD
from convostore.models import Session
from convostore.redis import codec


class Copy(NamedTuple):
    """A session as it was published.

    Attributes:
        session: the session.
        server: the identity of the server that it was published on.
        generation: of its tenant's copies.
    """

    session: Session
    server: str
    generation: int

    @property
    def value(self) -> bytes:
        """What is stored."""
        session = self.session
        created, activity = codec.microseconds(session.created_at), codec.microseconds(session.last_activity_at)
        line = f"C|{session.revision}|{session.tenant_id}|{created}|{activity}|{self.server}|{self.generation}\n"
        return line.encode() + codec.payload(session)

    @staticmethod
    def is_in(value: bytes) -> bool:
        """Return whether a value is that of a copy."""
        return value.startswith(b"C|")

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Return the copy in a value.

        Raises:
            ValueError, OverflowError, Unreadable: it is damaged, or of another tenant than it says.
        """
        line, _, payload = value.partition(b"\n")
        _, revision, tenant, created, activity, server, generation = line.decode().split("|")
        session = PAYLOAD.from_document(
            payload.removeprefix(codec.PLAIN),
            "of a hot copy",
            revision=int(revision),
            created_at=codec.moment(int(created)),
            last_activity_at=codec.moment(int(activity)),
        )
        if str(session.tenant_id) != tenant:
            raise ValueError("the session is of another tenant than its copy")
        return cls(session, server, int(generation))


class Guard(NamedTuple):
    """A caller's token in the guard of a session."""

    session_id: UUID
    tenant_id: UUID
    token: str
