"""Embedded PostgreSQL and Valkey: real servers from wheels, run by a supervisor process that ends with its clients.

    async with open_embedded(home) as engines:
        pool = await asyncpg.create_pool(engines.postgres_dsn)

A client holds a lease: a connection to the supervisor, which the kernel closes when the client dies, even by SIGKILL.
When the last lease ends, the supervisor stops the servers and exits. Clients of one home share its servers.

Tested on Linux only. On macOS the same code should work, with one known difference: there is no PR_SET_PDEATHSIG, so a
supervisor killed with SIGKILL leaves its servers running. Windows is not supported.
"""

from convostore.embedded.client import Embedded, open_embedded
from convostore.embedded.errors import EmbeddedError

__all__ = ["Embedded", "EmbeddedError", "open_embedded"]
