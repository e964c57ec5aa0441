"""How the servers behind the stores are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class BackendHealth:
    """How a server is, as seen by this process. Figures are None where they do not apply or nothing answered.

    Attributes:
        ok: whether it answered within the deadline, and is as this release needs it.
        problem: what is wrong and what mends it, in a sentence without secrets; None if it is ok.
        latency: seconds that the answer took, a connection included if one had to be opened.
        version: of the server.
        role: of PostgreSQL, the user that statements run as.
        schema: of PostgreSQL, the version of the schema.
        connections: how many this process has open.
        in_use: how many of them are at work.
        pool_size: how many it opens at most.
        bypassed: of a hot tier, whether calls leave it out for the moment because it failed several times in a row.
    """

    ok: bool
    problem: str | None = None
    latency: float | None = None
    version: str | None = None
    role: str | None = None
    schema: str | None = None
    connections: int | None = None
    in_use: int | None = None
    pool_size: int | None = None
    bypassed: bool | None = None


@dataclass(frozen=True)
class Health:
    """How the stores are.

    Attributes:
        ok: whether every backend is.
        serves: whether calls succeed: a lost hot tier costs speed alone.
        backends: by name, `"postgres"` and `"redis"`, or `"memory"`.
        swept_at: when the sweeper of these stores last finished, None if it has not yet or there is none.
    """

    ok: bool
    serves: bool
    backends: Mapping[str, BackendHealth]
    swept_at: datetime | None = None
