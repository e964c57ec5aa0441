"""Saves of several rows where tables are distributed: a transaction of single saves instead of one statement."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from convostore.call.call import current_call
from convostore.domain.declaration import tenant_of
from convostore.domain.revisions import check_saved, set_managed, unique_conflict
from convostore.errors import ConflictError
from convostore.models.base import Model
from convostore.postgres.batches import in_order
from convostore.postgres.transaction import in_transaction

M = TypeVar("M", bound=Model)


async def save_each(
    table: Any,
    given: Mapping[tuple[Any, ...], M],
    moment: datetime,
    *,
    overwrite: bool,
) -> None:
    """Save rows of a table, all or none, in the order of their keys, so that concurrent calls cannot deadlock.

    Args:
        table: the `PostgresTable`, which imports this module.
        given: the rows by key, in the order of the call, in which the first that is refused is named.
        moment: when they are saved.
        overwrite: as for a single save.

    Raises:
        ConflictError: one is refused.
    """
    declaration, statements, call = table._declaration, table._statements, current_call()
    saved = {key: item.model_copy() for key, item in given.items()}
    compared = zip(*(table.mapping.parameters(item, statements.of_check) for item in saved.values()), strict=True)
    values = (*map(list, compared), call.write_id, overwrite)
    async with in_transaction(table._database) as database:
        for row in await database.fetch(statements.check_all(), tenant_of(next(iter(saved.values()))), *values):
            refused = given[tuple(row[column] for column in declaration.key)]
            check_saved(declaration, refused, row["refused"], row["revision"], overwrite=overwrite)
        within = table.on(database, lambda: moment)
        for key in in_order(saved):
            try:
                await within.save(saved[key], overwrite=overwrite)
            except ConflictError as conflict:
                for unique in declaration.unique:
                    if conflict.code == declaration.constraint(unique):
                        raise unique_conflict(declaration, unique, saved[key]) from conflict
                raise
    for key, item in given.items():
        set_managed(item, **{name: getattr(saved[key], name) for name in item.store_managed})
