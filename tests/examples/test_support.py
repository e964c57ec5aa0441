"""The example of a service works on real engines, and its files for containers say what they should."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from convostore import open_stores
from convostore.embedded import Embedded
from convostore.errors import StoreError
from convostore.settings import Settings as ConvostoreSettings
from convostore.testing.factories import make_profile, make_rule
from convostore.testing.faults import LostAnswers
from tests.docs.pages import ROOT

pytest.importorskip("fastapi", reason="the examples' own packages are locked for development only")

import httpx

from examples.support.agents import LanguageModel, Situation
from examples.support.seed import RULES, agent_of, seed
from examples.support.service import create_app
from examples.support.settings import Settings

FOLDER = ROOT / "examples" / "support"
ONE, OTHER = uuid4(), uuid4()
SETTINGS = Settings(keys={"one": ONE, "other": OTHER})


@asynccontextmanager
async def client(engines: Embedded, key: str = "one", **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service of its own, on the engines that all tests share."""
    urls = {"postgres_url": engines.postgres_dsn, "redis_url": engines.redis_url, "sweep_every": 0}
    app = create_app(SETTINGS, **urls, **options)
    async with app.router.lifespan_context(app):
        headers = {"Authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://support", headers=headers) as opened:
            yield opened


def message(text: str, user: str, identifier: str | None = None) -> dict[str, str]:
    return {"id": identifier or str(uuid4()), "user": user, "text": text, "sent_at": "2026-11-26T12:00:00Z"}


async def test_a_webhook_that_comes_twice_is_answered_once(engines: Embedded) -> None:
    user, said = str(uuid4()), message("Hello, my name is Ann", "")
    said["user"] = user
    async with client(engines) as http:
        answers = await asyncio.gather(*(http.post("/webhooks/whatsapp", json=said) for _ in range(4)))
        assert len({answer.json()["answer"] for answer in answers}) == 1
        asked = await http.post("/webhooks/whatsapp", json=message("Where is my parcel?", user))
        assert asked.json()["answer"].startswith("Ann, your parcel left us this morning.")
        turns = (await http.get(f"/customers/whatsapp/{user}/turns")).json()
        assert [turn["turn_number"] for turn in turns] == [0, 1]
        assert (await http.get(f"/customers/whatsapp/{user}")).json()["name"]["value"] == "Ann"
        assert (await http.get("/trail")).json()["ok"]


async def test_the_chat_streams_pieces_and_ends_when_the_turn_is_recorded(engines: Embedded) -> None:
    user = str(uuid4())
    async with client(engines) as http:
        events = (await http.post("/chat", json=message("I want my money back", user))).text.strip().split("\n\n")
        named = [event.split("\n") for event in events]
        assert {name for name, _ in named[:-1]} == {"event: piece"}
        assert named[-1][0] == "event: done"
        said = "".join(json.loads(data.removeprefix("data: ")) for _, data in named[:-1])
        assert said.startswith("I have started your refund")
        (turn,) = (await http.get(f"/customers/webchat/{user}/turns")).json()
        assert turn["agent_response"] == said


@pytest.mark.parametrize("lost", ["load_turn", "commit"])
async def test_a_turn_that_failed_is_answered_once_when_its_message_comes_again(engines: Embedded, lost: str) -> None:
    user, first = str(uuid4()), message("Hello, my name is Ann", "")
    first["user"] = user
    async with client(engines, interceptors=[LostAnswers(lost, times=1)]) as http:
        failed = await http.post("/webhooks/sms", json=first)
        assert (failed.status_code, failed.headers["Retry-After"]) == (503, "1")
        again = await http.post("/webhooks/sms", json=first)
        second = await http.post("/webhooks/sms", json=message("Where is my parcel?", user))
        assert second.json()["answer"].startswith("Ann, "), second.text
        turns = (await http.get(f"/customers/sms/{user}/turns")).json()
        assert [turn["turn_number"] for turn in turns] == [0, 1]
        assert again.json()["answer"] == turns[0]["agent_response"]
        found = (await http.get("/memories", params={"q": "parcel"})).json()
        assert "Where is my parcel?" in [memory["said"] for memory in found]


async def test_a_tenant_sees_nothing_of_another(engines: Embedded) -> None:
    user = str(uuid4())
    async with client(engines) as http, client(engines, "other") as other, client(engines, "none") as nobody:
        await http.post("/webhooks/email", json=message(f"My secret is {user}", user))
        assert (await other.get(f"/customers/email/{user}")).status_code == 404
        assert user not in (await other.get("/memories", params={"q": user})).text
        assert user in (await http.get("/memories", params={"q": user})).text
        assert (await nobody.get("/trail")).status_code == 401
        assert (await http.get("/probes/readyz")).json()["status"] == "ok"
        assert "convostore" in (await http.get("/probes/metrics")).text
        assert "<title>Support</title>" in (await http.get("/")).text


async def test_seeding_saves_what_differs_also_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    async def seeded() -> dict[str, tuple[str, int]]:
        await seed(stores, ONE)
        found = await stores.config.get_rules(ONE, agent_of(ONE))
        return {rule.name: (rule.action_text, rule.revision) for rule in found}

    lost = [LostAnswers(name, times=1) for name in ("save_agent", "save_rules")]
    async with open_stores(backend="memory", interceptors=lost) as stores:
        for _ in range(2):
            with pytest.raises(StoreError):
                await seed(stores, ONE)
        first = await seeded()
        assert first == {name: (action, 1) for name, (_, action) in RULES.items()}
        assert await seeded() == first
        monkeypatch.setitem(RULES, "parcels", ("the customer asks where the parcel is", "it is lost."))
        assert await seeded() == {**first, "parcels": ("it is lost.", 2)}


async def test_a_language_model_is_told_rules_and_facts_and_its_answer_is_streamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = list[dict[str, Any]]()

    def model(request: httpx.Request) -> httpx.Response:
        told.append(json.loads(request.content))
        pieces = [json.dumps({"choices": [{"delta": {"content": word}}]}) for word in ("Good ", "morning.")]
        return httpx.Response(200, text="".join(f"data: {piece}\n\n" for piece in (*pieces, "[DONE]")))

    original = httpx.AsyncClient
    monkeypatch.setattr(httpx, "AsyncClient", lambda **given: original(transport=httpx.MockTransport(model), **given))
    rule = make_rule(ONE, uuid4(), condition_text="it is morning", action_text="say so")
    agent = LanguageModel(Settings(model_url="http://model/v1/chat/completions"))
    situation = Situation("Hello", make_profile(ONE), [(rule, 0.9)], [])
    assert [piece async for piece in agent.answer(situation)] == ["Good ", "morning."]
    assert "If it is morning: say so" in told[0]["messages"][0]["content"]


def test_the_compose_file_starts_what_it_says_and_sets_only_settings() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the documentation's packages")
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    assert set(services) == {"postgres", "migrate", "pgbouncer", "valkey", "service", "sweeper"}
    known = {f"CONVOSTORE_{name.upper()}" for name in ConvostoreSettings.model_fields}
    for service in ("migrate", "service", "sweeper"):
        given = {name for name in services[service]["environment"] if name.startswith("CONVOSTORE_")}
        assert given <= known
        settings = {name.removeprefix("CONVOSTORE_").lower(): services[service]["environment"][name] for name in given}
        assert ConvostoreSettings(**settings).embedded is False
        build = services[service]["build"]
        assert (FOLDER / build["context"] / build["dockerfile"]).is_file()
    for service in services.values():
        assert set(service.get("depends_on", [])) <= set(services)
    for path in re.findall(r"examples/\S+", (FOLDER / "Dockerfile").read_text()):
        assert (ROOT / path).is_file()
