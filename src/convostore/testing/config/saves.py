"""Configuration: what a save stores, and what it refuses."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from convostore.contracts import ConfigStore
from convostore.errors import ConflictError, StoreError, ValidationError
from convostore.models.fields import now
from convostore.testing.base import StoreContract
from convostore.testing.config.rows import ConfigRows, agent_of, every_config, save_rules
from convostore.testing.factories import full_scenario, make_rule


class ConfigSaveContract(StoreContract):
    """Saving and reading one row, whichever it is."""

    @every_config
    async def test_what_is_saved_is_read_back_equal(self, store: ConfigStore, rows: ConfigRows) -> None:
        for item in (rows.make(uuid4(), uuid4()), rows.full(uuid4(), uuid4())):
            assert await rows.save(store, item) == item.id
            assert await rows.get(store, item) == item

    @every_config
    async def test_the_first_save_sets_the_store_managed_fields(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.make(uuid4(), uuid4(), created_at=now().replace(year=2001), updated_at=now().replace(year=2002))
        before = now()
        await rows.save(store, item)
        assert item.revision == 1
        assert before <= item.created_at == item.updated_at <= now()

    @every_config
    async def test_a_change_raises_the_revision_and_keeps_the_creation(
        self, store: ConfigStore, rows: ConfigRows
    ) -> None:
        item = rows.make(uuid4(), uuid4())
        await rows.save(store, item)
        created_at, updated_at = item.created_at, item.updated_at
        rows.change(item)
        await rows.save(store, item)
        assert (item.revision, item.created_at) == (2, created_at)
        assert item.updated_at >= updated_at
        assert await rows.get(store, item) == item

    @every_config
    async def test_values_go_in_and_come_out_as_copies(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.full(uuid4(), uuid4())
        await rows.save(store, item)
        original = item.model_copy(deep=True)
        rows.change(item)
        (await rows.get(store, original)).__dict__.clear()
        assert await rows.get(store, original) == original

    @every_config
    async def test_a_stale_revision_is_a_conflict_that_carries_the_stored_one(
        self, store: ConfigStore, rows: ConfigRows
    ) -> None:
        item = rows.make(uuid4(), uuid4())
        await rows.save(store, item)
        stale = item.model_copy()
        await rows.save(store, item)
        rows.change(stale)
        with pytest.raises(ConflictError) as caught:
            await rows.save(store, stale)
        assert caught.value.current_revision == 2
        assert stale.revision == 1
        assert await rows.get(store, item) == item

    @every_config
    async def test_overwriting_ignores_the_revision(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.make(uuid4(), uuid4())
        await rows.save(store, item)
        other = item.model_copy(update={"revision": 0})
        rows.change(other)
        await rows.save(store, other, overwrite=True)
        assert (other.revision, other.created_at) == (2, item.created_at)
        assert await rows.get(store, item) == other

    @every_config
    async def test_overwriting_what_is_not_there_stores_it(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.make(uuid4(), uuid4(), revision=9)
        await rows.save(store, item, overwrite=True)
        assert item.revision == 1
        assert await rows.get(store, item) == item

    @every_config
    async def test_a_new_object_cannot_take_an_id_in_use(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.make(uuid4(), uuid4())
        await rows.save(store, item)
        intruder = rows.make(item.tenant_id, agent_of(item), id=item.id)
        with pytest.raises(ConflictError) as caught:
            await rows.save(store, intruder)
        assert caught.value.current_revision == 1
        assert await rows.get(store, item) == item

    @every_config
    async def test_a_revision_of_something_unknown_is_a_conflict(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.make(uuid4(), uuid4(), revision=3)
        with pytest.raises(ConflictError) as caught:
            await rows.save(store, item)
        assert caught.value.current_revision is None
        assert await rows.get(store, item) is None

    @every_config
    async def test_of_many_concurrent_saves_of_one_revision_one_wins(
        self, store: ConfigStore, rows: ConfigRows
    ) -> None:
        item = rows.make(uuid4(), uuid4())
        await rows.save(store, item)
        copies = [item.model_copy() for _ in range(10)]
        results = await asyncio.gather(*(rows.save(store, copy) for copy in copies), return_exceptions=True)
        assert sum(result == item.id for result in results) == 1
        assert sum(isinstance(result, ConflictError) for result in results) == 9
        assert await rows.get(store, item) in copies

    @every_config
    async def test_tenants_may_use_the_same_id_without_seeing_each_other(
        self, store: ConfigStore, rows: ConfigRows
    ) -> None:
        mine = rows.make(uuid4(), uuid4())
        theirs = mine.model_copy(update={"tenant_id": uuid4()})
        rows.change(theirs)
        await rows.save(store, mine)
        assert await rows.get(store, theirs) is None
        assert await rows.delete(store, theirs) is False
        assert await rows.list(store, theirs.tenant_id, agent_of(mine)) == []
        await rows.save(store, theirs)
        assert (await rows.get(store, mine), await rows.get(store, theirs)) == (mine, theirs)
        await rows.delete(store, theirs)
        assert await rows.get(store, mine) == mine
        assert await rows.restore(store, mine) is False

    @every_config
    async def test_what_became_invalid_after_construction_is_refused(
        self, store: ConfigStore, rows: ConfigRows
    ) -> None:
        item = rows.make(uuid4(), uuid4())
        item.__dict__["revision"] = "one"
        with pytest.raises(ValidationError, match="revision") as caught:
            await rows.save(store, item)
        assert isinstance(caught.value, ValueError)
        assert await rows.get(store, item) is None

    async def test_mutated_lists_are_checked_again(self, store: ConfigStore) -> None:
        rule = make_rule(uuid4(), uuid4())
        rule.attached_tool_ids.append(5)  # type: ignore[arg-type]
        with pytest.raises(ValidationError, match="attached_tool_ids"):
            await store.save_rule(rule)
        scenario = full_scenario(uuid4(), uuid4())
        scenario.steps[0].transitions[0].__dict__["condition_text"] = None
        with pytest.raises(ValidationError, match=r"steps.*transitions.*condition_text"):
            await store.save_scenario(scenario)
        assert await store.get_scenario(scenario.tenant_id, scenario.id) is None

    @every_config
    async def test_errors_say_where_they_come_from(self, store: ConfigStore, rows: ConfigRows) -> None:
        with pytest.raises(StoreError) as caught:
            await rows.save(store, rows.make(uuid4(), uuid4(), revision=3))
        error = caught.value
        assert (error.store, error.operation) == ("config", rows.methods["save"])
        assert (error.retryable, error.outcome) == (False, "not_applied")

    @every_config
    async def test_a_store_bound_to_a_tenant_refuses_others(self, store: ConfigStore, rows: ConfigRows) -> None:
        item = rows.make(uuid4(), uuid4())
        await rows.save(store.for_tenant(item.tenant_id), item)
        stranger = store.for_tenant(uuid4())
        for call in (rows.get, rows.save, rows.delete, rows.restore):
            with pytest.raises(ValidationError, match="tenant_id"):
                await call(stranger, item)
        assert await rows.get(store, item) == item

    async def test_an_agent_need_not_exist_for_its_rules(self, store: ConfigStore) -> None:
        (rule,) = await save_rules(store, uuid4(), uuid4(), {})
        assert await store.get_rule(rule.tenant_id, rule.id) == rule
