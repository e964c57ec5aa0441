"""Embedded PostgreSQL and Valkey: real servers from wheels, run by a supervisor process that nothing can orphan.

    async with open_embedded(home) as engines:
        pool = await asyncpg.create_pool(engines.postgres_dsn)

Clients hold a lease: a connection to the supervisor that the kernel closes when they die, however they die. When the
last lease ends, the supervisor stops the servers and exits. Whoever opens a home whose servers run shares them.

Tested on Linux only. On macOS the same code is meant to work, with one known difference: there is no PR_SET_PDEATHSIG,
so if the *supervisor* itself is killed with SIGKILL the servers stay behind. Windows is not supported.
"""

from convostore.embedded.client import Embedded, open_embedded
from convostore.embedded.errors import EmbeddedError

__all__ = ["Embedded", "EmbeddedError", "open_embedded"]
