"""Distributes one table with its rows, and refuses if one of them changes.

Citus gives shards the triggers that a table has and copies the rows into them afterwards, so triggers fire (Citus's
source, commands/create_distributed_table.c, CreateCitusTable). What fires on INSERT is therefore taken off before and
put back after. A trigger that names TRUNCATE stays where it is, as Citus sends its removal and its creation to no shard
(commands/trigger.c, CitusCreateTriggerCommandDDLJob); the copy does not fire it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from convostore.errors import StoreError
from convostore.postgres.mapping import quoted
from convostore.postgres.migrations.scripts import LOCK_TIMEOUT

# Sequential: one connection per node, on which the triggers that are put back see the shards.
_SETTINGS = ("SET LOCAL citus.multi_shard_modify_mode = 'sequential'", f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")

# pg_trigger.tgtype: 4 is INSERT, 32 is TRUNCATE. A definition does not say of a trigger that it is not merely enabled.
_TRIGGERS = """
SELECT t.tgname::text AS name, pg_get_triggerdef(t.oid) AS definition,
    t.tgtype & (4 | 32) = 4 AND t.tgenabled = 'O' AS fires
FROM pg_catalog.pg_trigger AS t
WHERE t.tgrelid = $1::text::regclass AND NOT t.tgisinternal
"""

# Generated columns are not copied. As seconds, moments do not depend on the TimeZone and DateStyle of a node.
_CHECKSUM = """
SELECT format(
    'SELECT count(*) AS rows, sum(hashtextextended(format(%L, %s), 0)) AS checksum FROM %s AS t',
    string_agg('%L', ' ' ORDER BY a.attnum),
    string_agg(format(
        CASE WHEN a.atttypid::regtype::text ~ '^(date|timestamp)' THEN 'extract(epoch FROM t.%I)' ELSE 't.%I' END,
        a.attname), ', ' ORDER BY a.attnum),
    a.attrelid::regclass)
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
GROUP BY a.attrelid
"""


async def distribute_table(connection: Any, table: str, statement: str, dropped: Collection[str] = ()) -> None:
    """Distribute a table, if all of its rows arrive as they are. To be called in a transaction.

    Args:
        connection: of a superuser.
        table: its name.
        statement: distributes it.
        dropped: the triggers that it has no longer then.

    Raises:
        StoreError: some rows did not arrive, or changed.
    """
    name = f"convostore.{table}"
    for setting in _SETTINGS:
        await connection.execute(setting)
    await connection.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
    put_back = []
    for trigger in await connection.fetch(_TRIGGERS, name):
        if trigger["fires"] or trigger["name"] in dropped:
            await connection.execute(f"DROP TRIGGER {quoted(trigger['name'])} ON {name}")
            put_back += [] if trigger["name"] in dropped else [trigger["definition"]]
    checksum = await connection.fetchval(_CHECKSUM, name)
    before = await connection.fetchrow(checksum)
    await connection.execute(statement)
    after = await connection.fetchrow(checksum)
    if after != before:
        raise StoreError(f"{name}: of {before['rows']} rows, {after['rows']} would be distributed, or not as they are")
    for definition in put_back:
        await connection.execute(definition)
