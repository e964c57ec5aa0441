"""Every tenant in a Redis key and every comparison of one in a script, left out."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha1
from importlib.resources import files
from typing import Any
from uuid import UUID, uuid4

import pytest

from convostore.embedded import Embedded
from convostore.errors import ConflictError
from convostore.redis import create_client, keys
from convostore.redis.scripts import Script
from convostore.testing.factories import make_session
from tests.isolation.mutating import ENDLESS, tried
from tests.isolation.test_twins import check_keys_and_copies, sessions_on

SCRIPTS = {
    f"{package}/{path.name}": path.read_text("utf-8")
    for package in ("redis", "tiered")
    for path in files(f"convostore.{package}").joinpath("lua").iterdir()
}
_TENANT = re.compile(r"^-- ARGV\[(\d+)\] +(?:the )?tenant\b(?!')", re.MULTILINE)

INDEXES = ("agent_index", "customer_index", "step_index", "channel_index")
CONTAINED = dict.fromkeys(INDEXES, "the tenant of what an index leads to is compared again")
"""What makes the keys that a tenant stands in, and why none is noticed: an index is shared then, not its data."""

COMPARING = {
    "redis/acquire_lock.lua",
    "redis/release_lock.lua",
    "redis/delete.lua",
    "redis/save.lua",
    "tiered/evict.lua",
    "tiered/place_guard.lua",
    "tiered/read.lua",
    "tiered/release_guard.lua",
}
"""The scripts that compare a tenant."""


def comparisons() -> dict[str, tuple[str, str]]:
    """Return for each comparison of a tenant in a script its text, and the text without it."""
    found = {}
    for name, text in SCRIPTS.items():
        for number in _TENANT.findall(text):
            # Beside it may stand whether a tenant was given at all, which is compared with an empty text.
            for place in re.finditer(rf"([~=]=) ARGV\[{number}\]", text):
                always = "== '\\0'" if place[1] == "~=" else "~= '\\0'"
                line = text.count("\n", 0, place.start()) + 1
                found[f"{name}:{line}"] = text, f"{text[: place.start()]}{always}{text[place.end() :]}"
    return found


def test_the_scripts_that_compare_a_tenant_are_known() -> None:
    assert {name.partition(":")[0] for name in comparisons()} == COMPARING


def without_tenant(index: Callable[..., str]) -> Callable[..., str]:
    """Return what makes a key as if all tenants were one."""
    return lambda _, *arguments: index(UUID(int=0), *arguments)


@pytest.mark.trust
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("tiered", [False, True], ids=["redis", "tiered"])
async def test_a_tenant_left_out_of_a_key_or_a_script_is_noticed(
    engines: Embedded, tiered: bool, trust_facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fates: dict[str, str] = {}
    async with create_client(engines.redis_url) as client, sessions_on(engines, client, tiered=tiered) as store:
        further: dict[str, Any] = {
            "id of a strange session": refuses_the_id_of_a_strange_session,
            # That a copy is gone shows in no answer.
            "copies of a twin": lambda _: check_keys_and_copies(engines, tiered=tiered),
        }
        trial = await tried(store, further)
        for name in () if tiered else CONTAINED:
            with monkeypatch.context() as patched:
                patched.setattr(keys, name, without_tenant(getattr(keys, name)))
                fates[name] = await trial.fate(trial.parts)
        for name, (original, mutant) in comparisons().items():
            if not name.startswith("tiered" if tiered else "redis"):
                continue
            sent = {original: mutant}
            with monkeypatch.context() as patched:
                patched.setattr(Script, "by_text", _rewritten(Script.by_text, sent))
                patched.setattr(Script, "by_hash", _rewritten(Script.by_hash, sent))
                fates[name] = await trial.fate(trial.parts)
    contained = {name: CONTAINED[name] for name, fate in fates.items() if not fate and name in CONTAINED}
    killed = {name: fate for name, fate in fates.items() if fate and fate != ENDLESS}
    trust_facts[f"mutants of {'copies' if tiered else 'Redis'}"] = {"killed": killed, "contained": contained}
    assert fates.keys() == killed.keys() | contained.keys()


async def refuses_the_id_of_a_strange_session(store: Any) -> None:
    """Check that the one id that is unique across tenants cannot be taken over."""
    session = make_session(uuid4())
    await store.save(session)
    with pytest.raises(ConflictError):
        await store.save(make_session(uuid4(), session_id=session.session_id), overwrite=True)


def _rewritten(method: Callable[..., Any], sent: dict[str, str]) -> Callable[..., Any]:
    def by(script: Script, *arguments: Any) -> Any:
        text = sent.get(script.text, script.text)
        return method(Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest()), *arguments)

    return by
