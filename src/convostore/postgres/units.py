"""A unit of work as one statement, composed of those of its stores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convostore.contracts.unit_of_work import Unit
from convostore.domain.revisions import managed_values, set_managed, take_over
from convostore.gateway.turn import ADDED, OF_PROFILES, RECORDED, TurnParts
from convostore.models import ItemStatus
from convostore.models.base import Model
from convostore.postgres.composition import Expression, Part, composed
from convostore.postgres.database import DEADLINE, Database
from convostore.postgres.queries import queries

_SESSIONS = 8
"""How many sessions at most are saved by one statement, whose text and plan grow with each."""

_KEPT = ("revision", "created_at")
"""What a saved session has in the database instead of what was to be set."""

_TOUCHED = Expression("SELECT t.id FROM touched AS t")


class UnitStatement:
    """Writes a unit of which nothing is there yet: few sessions, new items of one profile, new rows, and records.

    Each part begins when the one before it is done, so that locks are taken in the order of `gateway.turn.write`.

    Args:
        unit: the unit.
        stores: on the pool.
    """

    def __init__(self, unit: Unit, stores: TurnParts) -> None:
        self._unit = unit
        self._stores: Any = stores
        self._parts: list[Part] = []
        self._stored: list[tuple[Model, Model]] = []

    @property
    def is_possible(self) -> bool:
        """Whether the unit is such a one."""
        fields, assets = self._unit.of("update_field"), self._unit.of("add_asset")
        one_profile = len({each.options["profile_id"] for each in (*fields, *assets)}) <= 1
        each_once = len({each.item.name for each in fields}) == len(fields)
        active = all(each.item.status is not ItemStatus.SUPERSEDED for each in assets)
        return one_profile and each_once and active and len(self._unit.of("save_session")) <= _SESSIONS

    async def run(self, database: Database, *, invalidate_copies: bool) -> int | None:
        """Write the unit; on request increment the generation of hot copies; return the generation before.

        None if the unit is too large for a statement: then nothing is written.

        Raises:
            ConflictError, NotFoundError, ValidationError: something of it is there already, or refused.
        """
        tenant_id = self._unit.tenant_id
        saves = sorted(self._unit.of("save_session"), key=lambda save: save.item.session_id)
        managed = [self._save(number, save.item, **save.options) for number, save in enumerate(saves)]
        if invalidate_copies:
            self._add("invalidated", queries("session").invalidate_copies(tenant_id=tenant_id))
        if of_profile := self._unit.of(*OF_PROFILES):
            profiles, profile_id = self._stores.profiles, of_profile[0].options["profile_id"]
            fields, assets = ([each.item for each in self._unit.of(method)] for method in OF_PROFILES)
            self._add("fields", profiles._setting(tenant_id, profile_id, fields, len(assets)), rows=len(fields))
            if assets:
                self._add("assets", profiles._adding(tenant_id, _TOUCHED, assets), rows=len(assets))
        for method in ADDED:
            if (added := self._unit.of(method)) and not self._insert(method, [each.item for each in added]):
                return None
        if records := self._unit.of(*RECORDED):
            given = [(RECORDED[each.method], each.item) for each in records]
            self._add("recorded", self._stores.audit._recording(tenant_id, given))
        generation = queries("session").generation_of_copies(tenant_id=tenant_id)
        self._parts.append(Part("generation", generation[0]))
        row = await database.fetchrow_in_time(*composed(tenant_id, self._parts, self._result(len(saves)), DEADLINE))
        assert row is not None
        for number, (save, values) in enumerate(zip(saves, managed, strict=True)):
            set_managed(save.item, **values | {name: row[f"{name}{number}"] for name in _KEPT})
        for item, stored in self._stored:
            take_over(item, stored)
        found: int = row["generation"]
        return found

    def _save(self, number: int, session: Model, *, overwrite: bool, fence: int | None) -> dict[str, Any]:
        """Add the save of a session; return what it sets."""
        sessions = self._stores.sessions
        managed = managed_values(session, revision=0, created_at=None, now=sessions._clock())
        saving = sessions._sessions.saving(session, managed, overwrite=overwrite)
        self._add(f"saved{number}", (*saving, fence, DEADLINE), rows=1)
        return managed

    def _insert(self, method: str, items: list[Model]) -> bool:
        """Add the insertion of items and return True, or return False if they are too many."""
        memory = self._stores.memory
        adding = memory._table(ADDED[method]).adding(items, language=memory._language)
        if adding is None:
            return False
        fresh, statement = adding
        self._stored += zip(items, fresh, strict=True)
        self._add(ADDED[method].plural, statement)
        return True

    def _add(self, name: str, statement: Iterable[Any], rows: int | None = None) -> None:
        sql, _, *arguments = statement
        follows = self._parts[-1].name if self._parts else None
        self._parts.append(Part(name, sql, tuple(arguments), rows, follows))

    def _result(self, saved: int) -> str:
        kept = "".join(f"saved{number}.{name} AS {name}{number}, " for number in range(saved) for name in _KEPT)
        tables = ", ".join((f"{self._parts[-2].name}_done", *(f"saved{number}" for number in range(saved))))
        return (
            f"SELECT {kept}coalesce((TABLE generation), 0) AS generation, "
            f"convostore.in_time({{0}}::timestamptz) AS ended_in_time FROM {tables}"
        )
