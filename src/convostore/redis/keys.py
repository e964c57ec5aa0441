"""The keys. A session's value and index entries share a hash tag, and so a slot, in which one script may use them all.

    convostore:{aapb}:session:<session>                                 string: header, then payload
    convostore:{aapb}:agent:<tenant>:<agent>:<status>                   sorted set of sessions
    convostore:{aapb}:customer:<tenant>:<customer>                      sorted set of sessions
    convostore:{aapb}:step:<tenant>:<scenario>:<version>:<sha256>       sorted set of active sessions
    convostore:{aapb}:hot, …:cold                                       sorted sets of sessions, by tier
    convostore:{aapb}:lock:<session>                                    string: owner, expires
    convostore:{aapb}:fence:<session>                                   string: the last fencing token
    convostore:{<sha256 of tenant, channel, user>}:open, …:closed       sorted sets of pointers, <session>:<agent>
    convostore:{<sha256 of tenant, channel, user>}:claim:<agent>        string: the session to be created, expires

<session> is the id of a session, or `<tenant>:<id>` where ids are unique per tenant alone (see `SessionName`).

Scores are the microseconds from 1970 to the last activity, negated: ascending order is most recent first, ties by id.
They are exact until the year 2255. The bucket is crc32(session id) mod 64. Keys contain free text only as a hash.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple, TypeAlias
from uuid import UUID
from zlib import crc32

from convostore.models import Session, SessionStatus

TAGS = (
    *("abeu", "bquh", "acwt", "baey", "bbpn", "ayik", "bcbo", "aapb", "afix", "blrm", "aora", "beit", "ebih", "adnn"),
    *("bgnb", "amuw", "abtw", "bhob", "acfv", "bpvk", "bbal", "ahzy", "bcsm", "aihx", "afxz", "bdjw", "aocc", "bexv"),
    *("bfma", "alvt", "bovx", "aemm", "bqtx", "abde", "badi", "acvd", "ahjk", "bjxf", "aaqr", "bkjg", "bdze", "afhh"),
    *("behd", "agzi", "alff", "bntk", "amtg", "bgor", "bhnr", "abug", "bauk", "acgf", "aqpa", "bjid", "aiih", "brpm"),
    *("bdkg", "afyj", "beyf", "agkk", "alwd", "bflq", "amee", "bowh"),
)
"""The hash tags of the buckets: tag n is the first word of four letters whose slot is 256n + 128.

Tools give each primary an equal range of the 16,384 slots. As the tags are in the middles of 64 equal ranges, such
primaries hold equal numbers of buckets, give or take one.
"""

BUCKETS = tuple(f"convostore:{{{tag}}}:" for tag in TAGS)
"""The prefix of each bucket's keys."""


class OfTenant(NamedTuple):
    """Names a session where ids are unique per tenant alone."""

    tenant_id: UUID
    session_id: UUID

    def __str__(self) -> str:
        return f"{self.tenant_id}:{self.session_id}"


SessionName: TypeAlias = UUID | OfTenant
"""What names a session in keys and indexes: its id, with the tenant where ids are unique per tenant alone."""


def id_of(name: SessionName) -> UUID:
    """Return the id of a session."""
    return name.session_id if isinstance(name, OfTenant) else name


def bucket(name: SessionName) -> str:
    """Return the prefix of the keys in a session's bucket."""
    return BUCKETS[crc32(id_of(name).bytes) % len(BUCKETS)]


def prefix_of(key: str) -> str:
    """Return the prefix of the keys in a key's bucket."""
    return key[: len(BUCKETS[0])]


def name_in(member: bytes, prefix: str = "") -> SessionName | None:
    """Return the session that a member of an index names, or None: it names none, or not one of this bucket."""
    tenant, colon, session = member.rpartition(b":")
    try:
        session_id = UUID(session.decode())
        found = OfTenant(UUID(tenant.decode()), session_id) if colon else session_id
    except ValueError:
        return None
    return found if str(found).encode() == member and prefix in ("", bucket(found)) else None


class Pointer(NamedTuple):
    """Where a session's channel pointer is: in the set with this key, with the agent that it names."""

    key: str
    agent_id: UUID

    def member(self, name: SessionName) -> str:
        """Return the pointer as it stands in the set."""
        return f"{name}:{self.agent_id}"


def pointed(member: bytes) -> tuple[SessionName, UUID] | None:
    """Return the session and the agent that a channel pointer names, or None if it names none."""
    session, _, agent = member.rpartition(b":")
    found = name_in(session), name_in(agent)
    return (found[0], found[1]) if found[0] is not None and isinstance(found[1], UUID) else None


def value_key(name: SessionName) -> str:
    """Return the key of a session's value."""
    return f"{bucket(name)}session:{name}"


def agent_index(tenant_id: UUID, agent_id: UUID, status: str) -> str:
    """Return an agent's index within a bucket; with "" as status, what all of them begin with."""
    return f"agent:{tenant_id}:{agent_id}:{status}"


def agent_of(index: str) -> UUID:
    """Return the agent whose index this is.

    Raises:
        ValueError: it is no agent's.
    """
    kind, _, agent, _ = index.split(":")
    if kind != "agent":
        raise ValueError("not the index of an agent")
    return UUID(agent)


def customer_index(tenant_id: UUID, customer_profile_id: UUID) -> str:
    """Return a customer's index within a bucket."""
    return f"customer:{tenant_id}:{customer_profile_id}"


def step_index(tenant_id: UUID, scenario_id: UUID, version: int, step_content_hash: str) -> str:
    """Return a step's index within a bucket."""
    return f"step:{tenant_id}:{scenario_id}:{version}:{_hashed(step_content_hash)}"


def channel_index(tenant_id: UUID, channel: str, user_channel_id: str) -> str:
    """Return the prefix of the two keys of a channel identity."""
    return f"convostore:{{{_hashed(f'{tenant_id}:{channel}:{user_channel_id}')}}}:"


def indexes_of(session: Session) -> list[str]:
    """Return the indexes of its bucket that contain a session, its agent's first."""
    found = [agent_index(session.tenant_id, session.agent_id, session.status)]
    if session.customer_profile_id is not None:
        found.append(customer_index(session.tenant_id, session.customer_profile_id))
    last = session.step_history[-1] if session.step_history else None
    if (
        session.status is SessionStatus.ACTIVE
        and session.active_scenario_id is not None
        and session.active_scenario_version is not None
        and last is not None
        and last.step_content_hash is not None
    ):
        found.append(
            step_index(
                session.tenant_id,
                session.active_scenario_id,
                session.active_scenario_version,
                last.step_content_hash,
            )
        )
    return found


def channel_of(session: Session) -> str:
    """Return the prefix of the two keys of a session's channel identity."""
    return channel_index(session.tenant_id, session.channel, session.user_channel_id)


def _hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()
