# Migrate, then make the login of the pooler: what a connection in transaction mode needs, it brings along.
set -eu
convostore migrate
python - <<'PYTHON'
import asyncio
import os

import asyncpg

STATEMENTS = """
DO $$ BEGIN
    CREATE ROLE support_app LOGIN PASSWORD 'support' IN ROLE convostore_app;
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
ALTER ROLE support_app SET client_connection_check_interval = '500ms';
ALTER ROLE support_app SET lock_timeout = '5s';
ALTER ROLE support_app SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE support_app SET transaction_timeout = '5s';
ALTER ROLE support_app SET jit = off;
"""


async def main() -> None:
    connection = await asyncpg.connect(os.environ["CONVOSTORE_POSTGRES_URL"])
    await connection.execute(STATEMENTS)


asyncio.run(main())
PYTHON
