"""The value of a session: a header for scripts, a byte that names the codec, and the payload.

    1|<revision>|<tenant>|<write id>|<created µs>|<score>|<channel key>|<open or closed>|<index>|<index>…⏎p<JSON>

From the header a script compares the revision and finds the index entries to remove. A save changes the header, a move
between tiers only what follows it. Scripts never decode the JSON: Lua would turn `[]` into `{}`. After `z` instead of
`p` the payload is one zstd frame, with a checksum and the id of its dictionary (RFC 8878).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self
from uuid import UUID

import zstandard

from convostore.domain.codec import Unreadable
from convostore.domain.sessions import PAYLOAD
from convostore.errors import ValidationError
from convostore.models import Session, SessionStatus
from convostore.redis import keys
from convostore.redis.dictionaries import LEVEL, load_dictionary
from convostore.redis.keys import SessionName

PLAIN, COMPRESSED = b"p", b"z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_DAMAGE = (MemoryError, OverflowError, ValueError, zstandard.ZstdError)
"""What parsing a damaged header or decompressing a damaged payload raises."""


class Header(NamedTuple):
    """What is known of a stored session without decoding its payload."""

    revision: int
    tenant_id: UUID
    created_at: datetime
    last_activity_at: datetime
    channel: str
    state: str
    agent_id: UUID

    @property
    def score(self) -> int:
        """The session's score in sorted sets."""
        return -microseconds(self.last_activity_at)

    @property
    def pointer(self) -> keys.Pointer:
        """Its channel pointer."""
        return keys.Pointer(f"{self.channel}{self.state}", self.agent_id)

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Parse a header line.

        Raises:
            ValueError: it is damaged, or of another version.
        """
        version, revision, tenant, _, created, score, channel, state, index, *_ = line.decode().split("|")
        if version != "1" or not channel.startswith("convostore:{") or state not in ("open", "closed"):
            raise ValueError("not a header of this version")
        return cls(
            int(revision), UUID(tenant), moment(int(created)), moment(-int(score)), channel, state, keys.agent_of(index)
        )

    @classmethod
    def parsed(cls, line: bytes) -> Self | None:
        """Parse a header line; return None if there is none, or it is damaged."""
        try:
            return cls.parse(line)
        except _DAMAGE:
            return None


def payload(session: Session) -> bytes:
    """Return the codec and payload of a hot session."""
    return PLAIN + PAYLOAD.to_document(session)


class Codec:
    """Decodes values, and encodes them for the other tier.

    Args:
        dictionaries: from `train_dictionary`, newest first: the first compresses, all decompress.

    Raises:
        ValidationError: one is not a trained dictionary, or two have the same id.
    """

    def __init__(self, dictionaries: Sequence[bytes] = ()) -> None:
        trained = {each.dict_id(): each for each in map(load_dictionary, dictionaries)}
        if len(trained) < len(dictionaries):
            raise ValidationError("dictionaries: two have the same id")
        newest = next(iter(trained.values()), None)
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, dict_data=newest, write_checksum=True)
        self._decompressors = {name: zstandard.ZstdDecompressor(each) for name, each in trained.items()}
        self._decompressors[0] = zstandard.ZstdDecompressor()

    def decode(self, value: bytes, tenant_id: UUID | None, name: SessionName) -> Session | None:
        """Return the session in a value, or None if it is not this tenant's.

        Args:
            value: the value that was read.
            tenant_id: the tenant; None for any.
            name: the session, as its key names it.

        Raises:
            Unreadable: the value is damaged, another session's or of another version, or its dictionary is missing.
        """
        line, _, rest = value.partition(b"\n")
        try:
            header = Header.parse(line)
            if tenant_id not in (None, header.tenant_id):
                return None
            document = rest[1:] if rest[:1] == PLAIN else self._decompress(rest, name)
        except _DAMAGE as error:
            raise Unreadable("session", name) from error
        session = PAYLOAD.from_document(
            document,
            keys.id_of(name),
            revision=header.revision,
            created_at=header.created_at,
            last_activity_at=header.last_activity_at,
        )
        if session.tenant_id != header.tenant_id:
            raise Unreadable("session", name, why="header and payload name different tenants")
        if name not in (session.session_id, (session.tenant_id, session.session_id)):
            raise Unreadable("session", name, why="it is that of another session")
        return session

    def move(
        self, value: bytes, codec: bytes, name: SessionName, tenant_id: UUID | None = None
    ) -> tuple[Any, ...] | None:
        """Return the arguments of demote.lua or promote.lua, or None if nothing is to be done.

        The value has this codec already, or is another tenant's.

        Args:
            value: the value that was read.
            codec: `COMPRESSED` to demote, `PLAIN` to promote.
            name: the session, as its key names it.
            tenant_id: the tenant; None for any.

        Raises:
            Unreadable: as `decode` does: what nobody can read stays as it is.
        """
        session = self.decode(value, tenant_id, name)
        line, _, rest = value.partition(b"\n")
        if session is None or rest[:1] == codec:
            return None
        payload = self._compressor.compress(rest[1:]) if codec == COMPRESSED else self._decompress(rest, name)
        return line, rest[:1], codec + payload, -microseconds(session.last_activity_at)

    def _decompress(self, compressed: bytes, name: SessionName) -> bytes:
        """Return the payload after codec `z`."""
        if compressed[:1] != COMPRESSED:
            raise ValueError("not a codec of this version")
        frame = compressed[1:]
        needed = zstandard.get_frame_parameters(frame).dict_id
        if needed not in self._decompressors:
            why = f"it is compressed with dictionary {needed}, which this store was not given"
            raise Unreadable("session", name, why=why)
        return self._decompressors[needed].decompress(frame)


def is_demoted(value: bytes) -> bool:
    """Return whether a value is in the persistent tier: it is compressed."""
    return value.partition(b"\n")[2][:1] == COMPRESSED


def microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def state_of(session: Session) -> str:
    """Return which of its channel identity's two sets contains a session: `open` or `closed`."""
    return "closed" if session.status is SessionStatus.CLOSED else "open"


def recency(session: Session) -> tuple[int, UUID]:
    """Return what lists are ordered by: the most recently active session first, then by id."""
    return -microseconds(session.last_activity_at), session.session_id


def pointer_of(session: Session) -> keys.Pointer:
    """Return the channel pointer of a session."""
    return keys.Pointer(f"{keys.channel_of(session)}{state_of(session)}", session.agent_id)


def header_tail(session: Session) -> str:
    """Return the part of the header that follows from the session's own fields."""
    return "|".join((keys.channel_of(session), state_of(session), *keys.indexes_of(session)))


def moment(value: int) -> datetime:
    """Return the time that is so many microseconds after 1970."""
    return _EPOCH + value * _MICROSECOND
