"""Which servers are in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convostore import urls


@dataclass(frozen=True)
class Engine:
    """A server, without its credentials.

    Attributes:
        host: its name or address, of several `one,two`; None at a Unix socket.
        port: its port, the first of several; None at a Unix socket.
        database: the name or number of the database, or the service that sentinels know.
        socket: the path of its Unix socket or of the directory in which it is, None over TCP.
        embedded: whether convostore started it.
        pooler: the mode of the pooler that was said to stand before it.
    """

    host: str | None
    port: int | None
    database: str | None
    socket: str | None
    embedded: bool
    pooler: Literal["session", "transaction"] | None = None

    def __str__(self) -> str:
        place = self.socket or (f"{self.host}:{self.port}" if self.port else self.host)
        database = f", database {self.database}" if self.database else ""
        pooler = f", behind a pooler in {self.pooler} mode" if self.pooler else ""
        return f"{place}{database}{pooler}{', embedded' * self.embedded}"


@dataclass(frozen=True)
class Engines:
    """The servers behind the stores; None for what is not used, as both are in memory.

    Attributes:
        postgres: PostgreSQL.
        redis: Redis or Valkey.
    """

    postgres: Engine | None = None
    redis: Engine | None = None


def postgres_engine(url: str, *, embedded: bool, pooler: Literal["session", "transaction"] | None = None) -> Engine:
    """Return the PostgreSQL server that a URL leads to."""
    from convostore.postgres import driver
    from convostore.postgres.pool import connect_arguments

    addresses, database = driver.parsed(connect_arguments(url)["dsn"])
    if isinstance(addresses[0], str):
        return Engine(None, None, database, addresses[0], embedded, pooler)
    hosts = [address for address in addresses if not isinstance(address, str)]
    return Engine(",".join(host for host, _ in hosts), hosts[0][1], database, None, embedded, pooler)


def redis_engine(url: str, *, embedded: bool) -> Engine:
    """Return the Redis or Valkey server, cluster or service that a URL leads to."""
    found = urls.parsed(url, urls.REDIS, name="redis_url")
    if found.scheme == "unix":
        return Engine(None, None, found.options.get("db", "0"), found.path, embedded)
    hosts = found.hosts or (("localhost", None),)
    port = hosts[0][1] or (26_379 if "sentinel" in found.scheme else 6_379)
    database = found.path or found.options.get("db", "0")
    return Engine(",".join(host or "localhost" for host, _ in hosts), port, database, None, embedded)
