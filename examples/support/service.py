"""The service: webhooks and a chat, search, what is known about a customer, and the record of what was said."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

from convostore import Stores, open_stores
from convostore.errors import ConflictError, StoreError, ValidationError
from convostore.health import app as probes
from convostore.models import Channel, TurnRecord
from convostore.models.fields import now
from examples.support.agents import LanguageModel, Script
from examples.support.seed import agent_of, seed
from examples.support.settings import Settings
from examples.support.turns import EMBEDDER, Message, Turns

_PAGE = Path(__file__).with_name("page.html")
_BEARER = HTTPBearer()


class Tenant:
    """The tenant of a request: its id, and stores that reach nobody else's data."""

    def __init__(self, request: Request, bearer: Annotated[HTTPAuthorizationCredentials, Depends(_BEARER)]) -> None:
        settings: Settings = request.app.state.settings
        if (tenant_id := settings.keys.get(bearer.credentials)) is None:
            raise HTTPException(401, "unknown key")
        self.id: UUID = tenant_id
        self.agent_id = agent_of(tenant_id)
        self.stores: Stores = request.app.state.stores.for_tenant(tenant_id)
        agent = LanguageModel(settings) if settings.model_url else Script()
        self.turns = Turns(self.stores, self.id, self.agent_id, agent)


OfTenant = Annotated[Tenant, Depends()]


class Incoming(BaseModel):
    """A message as a channel's webhook or the chat page sends it."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    user: Annotated[str, Field(min_length=1, max_length=512)]
    text: Annotated[str, Field(max_length=10_000)]
    sent_at: Annotated[datetime, Field(default_factory=now)]

    def on(self, channel: Channel) -> Message:
        return Message(self.id, channel, self.user, self.text, self.sent_at)


router = APIRouter()


@router.get("/")
async def page() -> FileResponse:
    return FileResponse(_PAGE)


@router.post("/webhooks/{channel}")
async def webhook(channel: Channel, incoming: Incoming, tenant: OfTenant) -> dict[str, str]:
    """Answer a message. A channel that hears nothing in time sends it again, and gets the same answer."""
    return {"answer": "".join([piece async for piece in tenant.turns.answer(incoming.on(channel))])}


@router.post("/chat")
async def chat(incoming: Incoming, tenant: OfTenant) -> StreamingResponse:
    """Answer a message of the chat page as server-sent events: `piece` for each, `done` when it is recorded."""

    async def events() -> AsyncIterator[str]:
        try:
            async for piece in tenant.turns.answer(incoming.on(Channel.WEBCHAT)):
                yield f"event: piece\ndata: {json.dumps(piece)}\n\n"
        except StoreError as error:
            yield f"event: failed\ndata: {json.dumps({'retry': error.retryable})}\n\n"
        else:
            yield "event: done\ndata: {}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.get("/rules")
async def rules(q: str, tenant: OfTenant) -> list[dict[str, Any]]:
    """Return the rules nearest to a question."""
    found = await tenant.stores.config.vector_search_rules(EMBEDDER.embed(q), tenant.id, tenant.agent_id, limit=5)
    return [{"rule": rule.name, "action": rule.action_text, "score": score} for rule, score in found]


@router.get("/memories")
async def memories(q: str, tenant: OfTenant) -> list[dict[str, Any]]:
    """Return what customers said about something."""
    found = await tenant.stores.memory.search_episodes(q, EMBEDDER.embed(q), tenant.id, tenant.agent_id)
    return [{"said": episode.content, "at": episode.occurred_at, "score": score} for episode, score in found]


@router.get("/customers/{channel}/{user}")
async def customer(channel: Channel, user: str, tenant: OfTenant) -> dict[str, Any]:
    """Return what is known about a customer, and from which session."""
    profile = await tenant.stores.profiles.get_by_channel_identity(tenant.id, channel, user)
    if profile is None:
        raise HTTPException(404)
    return {
        name: {"value": field.value, "source": field.source, "session": field.source_session_id}
        for name, field in profile.fields.items()
    }


@router.get("/customers/{channel}/{user}/turns")
async def turns(channel: Channel, user: str, tenant: OfTenant) -> list[TurnRecord]:
    """Return the turns of a customer's latest session."""
    session = await tenant.stores.sessions.get_by_channel(tenant.id, channel, user)
    if session is None:
        raise HTTPException(404)
    return await tenant.stores.audit.list_turns_by_session(tenant.id, session.session_id)


@router.get("/trail")
async def trail(tenant: OfTenant) -> dict[str, Any]:
    """Verify the tenant's audit trail."""
    result = await tenant.stores.audit.verify(tenant.id)
    return {"ok": result.ok, "records": result.records, "problem": result.problem}


async def failed(_: Request, error: Exception) -> JSONResponse:
    """Say what a caller can do about an error of a store; what happened is in the log."""
    if getattr(error, "retryable", False):
        return JSONResponse({"detail": "try again"}, 503, {"Retry-After": "1"})
    status = 400 if isinstance(error, ValidationError) else 409 if isinstance(error, ConflictError) else 500
    return JSONResponse({"detail": "refused" if status < 500 else "failed"}, status)


def create_app(settings: Settings | None = None, **options: Any) -> FastAPI:
    """Return the service; options are those of `open_stores`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings or Settings()
        async with open_stores(**options) as stores:
            app.state.stores = stores
            app.mount("/probes", probes(stores))
            for tenant_id in app.state.settings.keys.values():
                await seed(stores, tenant_id)
            yield

    app = FastAPI(title="Support", lifespan=lifespan, exception_handlers={StoreError: failed})
    app.include_router(router)
    return app
